"""Sphinx extension: formulas as MathML, which browsers draw without JavaScript and without the network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.errors import ExtensionError


def converted(text: str, display: str) -> str:
    """Return a formula in MathML.

    Raises:
        ExtensionError: it has a command that the converter does not know.
    """
    made = convert(text, display=display)
    if unknown := re.search(r"\\\w+", made):
        raise ExtensionError(f"{unknown[0]} is not known, in the formula {text}")
    return made


def _inline(self: Any, node: nodes.math) -> None:
    self.body.append(converted(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(self: Any, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{converted(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
