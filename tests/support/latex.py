"""Reads LaTeX tables."""

from __future__ import annotations

import re

_RULES = (r"\toprule", r"\midrule", r"\bottomrule")


def latex_tables(text: str) -> list[list[list[str]]]:
    """The cells of each tabular, without its notes, after a check that its lines are whole and its braces are pairs."""
    plain = re.sub(r"(?m)^%.*$", "", text)
    assert re.sub(r"\\[{}]", "", plain).count("{") == re.sub(r"\\[{}]", "", plain).count("}")
    assert len(re.findall(r"(?<!\\)\$", plain)) % 2 == 0
    found = []
    for align, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.+?)\\end\{tabular\}", plain, re.DOTALL):
        lines = body.splitlines()
        assert [line for line in lines if line in _RULES] == list(_RULES)
        rows = [line for line in lines if line not in _RULES and not line.startswith(r"\multicolumn")]
        assert all(line.endswith(r" \\") for line in lines if line not in _RULES)
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))] for line in rows]
        assert {len(row) for row in cells} == {len(align)}
        found.append(cells)
    return found
