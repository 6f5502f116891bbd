"""``gradinc report``: a page about one run or several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradinc.base.errors import UserError
from gradinc.base.text import printable
from gradinc.cli.arguments import Parser

if TYPE_CHECKING:
    from gradinc.records.recorded import RecordedRun


def main(arguments: Sequence[str]) -> int:
    """Write the report of the runs, as HTML and as Markdown."""
    options = _parser().read(arguments)
    out = None if options.out is None else Path(options.out)
    if out is not None and out.suffix not in (".html", ".htm"):
        raise UserError(f"--out {options.out}", "is not an HTML file", "Give a name that ends in .html")
    from gradinc.records.find import found_and_chosen
    from gradinc.records.query import is_condition, known_key
    from gradinc.studies.report.compose import compose
    from gradinc.studies.report.write import write_report

    runs = found_and_chosen(options.runs, options.output)
    if not runs:
        raise UserError(" ".join(filter(is_condition, options.runs)), "no run meets this", "Leave a condition out")
    by = [known_key(key, runs) for key in (options.group or "").split(",") if key]
    name = runs[0].name if len(runs) == 1 else _common(options.runs, options.output)
    name, title = _table(options.runs, options.output) or (name, name)
    _read_logs(runs, quiet=options.quiet)
    report = compose(options.title or title, runs, by)
    page = out or Path("reports") / f"{_file_name(options.title or name)}.html"
    for path in write_report(report, page):
        if not options.quiet:
            print(f"{printable(path)}  {path.stat().st_size / 1000:,.0f} kB")
    return 0


def _read_logs(runs: Sequence[RecordedRun], *, quiet: bool) -> None:
    """Read the logs, the slowest step, with a bar on a terminal."""
    if quiet or not sys.stderr.isatty():
        return  # logs are read on demand
    from rich.console import Console
    from rich.progress import track

    for run in track(runs, "reading", console=Console(stderr=True), transient=True):
        _ = run.columns


def _table(arguments: Sequence[str], output: str) -> tuple[str, str] | None:
    """Return the name and the title of the table whose JSON file lists the runs; None without a table."""
    from gradinc.records.query import is_condition
    from gradinc.records.schemas import read_json

    files = [Path(argument) for argument in arguments if argument.endswith(".json") or not is_condition(argument)]
    if len(files) != 1 or files[0].suffix != ".json":
        return None
    document = next(filter(None, map(read_json, (files[0], output / files[0]))), {})
    title = document.get("title")
    return (files[0].stem, title) if isinstance(title, str) and title.strip() else None


def _common(arguments: Sequence[str], output: str) -> str:
    """Return a common name for the arguments."""
    names = [argument.rstrip("/*?") or argument for argument in arguments]
    names = [Path(name).name or name for name in names]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _file_name(title: str) -> str:
    letters = "".join(letter if letter.isalnum() or letter in "._=,+-" else "-" for letter in title)
    return letters.strip(".-")[:100] or "report"


def _parser() -> Parser:
    parser = Parser(
        "report",
        "Write one HTML file about runs, with figures, config and provenance, and the same content as Markdown.\n"
        "The page needs no network, and the same runs give the same page.",
        "gradinc report outputs/RUN\ngradinc report outputs strategy=er,finetune --out two.html\n"
        "gradinc report 'digits-cnn-*'",
    )
    text = "a run, a directory of runs, a pattern, the beginning of names, or a condition key=value"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=text)
    parser.add_argument("--out", metavar="FILE.html", help="output file (default reports/NAME.html)")
    parser.add_argument(
        "--group", metavar="A,B", help="keys that make settings (default: all that differ but the seed)"
    )
    parser.add_argument("--title", help="heading (default: the name of the run or runs)")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    return parser
