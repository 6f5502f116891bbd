"""Writing a report: as one self-contained page, and as Markdown."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gradinc import __version__
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain, storing, write_whole
from gradinc.base.text import printable
from gradinc.studies.report.document import Report
from gradinc.studies.report.svg import SHAPES, marker

MARK = f"gradinc {__version__}"
_OURS = re.compile(rb"gradinc [0-9]")


def html(report: Report) -> str:
    """Return the report as one HTML file.

    Its security policy allows only its own style, and its own script by its digest.
    """
    script = _source("page.js").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment(autoescape=True)
        .get_template("page.html.j2")
        .render(
            report=report,
            style=Markup(_source("style.css").strip()),
            script=Markup(script),
            digest=digest,
            mark=MARK,
            shapes=SHAPES,
            marker=marker,
        )
    )


def report_markdown(report: Report) -> str:
    """Return the report as Markdown, without the figures."""
    text = _environment(autoescape=False).get_template("page.md.j2").render(report=report, mark=MARK)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def write_report(report: Report, page: Path) -> list[Path]:
    """Write the page, and the Markdown beside it.

    Returns:
        The files.

    Raises:
        UserError: one of the files exists and is not a report.
        StorageError: a file could not be written.
    """
    contents = {page: html(report), page.with_suffix(".md"): report_markdown(report)}
    for path in contents:
        if not _may_be_replaced(path):
            raise UserError(str(path), "exists already and is not a report", "Give another place with --out FILE.html")
    with storing(page.parent):
        page.parent.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        write_whole(path, content.encode())
    return list(contents)


def _may_be_replaced(path: Path) -> bool:
    """Return whether a place is free or contains a report."""
    try:
        with open_plain(path) as file:
            return _OURS.search(file.read(400)) is not None
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters["md"] = _for_markdown
    environment.filters["code"] = lambda text: re.sub(r"`{3,}", "``", str(text))
    return environment


def _clean(value: Any) -> Any:
    """Return text from data, line by line without invalid characters."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(printable(line) for line in value.split("\n"))
    return value


def _for_markdown(value: object) -> str:
    """Return text that Markdown shows unchanged, on one line: without markup, HTML or cell separators."""
    line = " ".join(printable(part) for part in str(value).split("\n"))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", line)


@cache
def _source(name: str) -> str:
    return files("gradinc.studies.report").joinpath("page", name).read_text(encoding="utf-8")
