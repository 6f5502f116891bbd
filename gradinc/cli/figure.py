"""``gradinc figure``: figures for papers as PDF, SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import print_warnings, printable
from gradinc.cli.arguments import Parser
from gradinc.cli.result_options import add_label_option, chosen_labels

_METRICS = {"curves": ["validation.accuracy"]}
"""Metrics of kinds that do not show results."""


def main(arguments: Sequence[str]) -> int:
    """Draw a figure of runs, grouped by setting."""
    options = _parser().read(arguments)
    from gradinc.records.find import found_and_chosen
    from gradinc.records.results import default_metrics, result_table, sorted_settings
    from gradinc.records.summary import doubts
    from gradinc.studies.figures.draw import Request, draw
    from gradinc.studies.figures.style import FORMATS, WIDTHS, save_figure

    file = Path(options.to)
    if file.suffix not in FORMATS:
        raise UserError(f"--to {options.to}", "unknown format", f"Give a name that ends in {', '.join(FORMATS)}")
    width, height = _inches("--width", options.width, WIDTHS), _inches("--height", options.height, {})
    labels = chosen_labels(options)
    runs = found_and_chosen(options.runs, options.output)
    print_warnings(doubts(runs))
    asked = [name for name in (options.metrics or "").split(",") if name] or None
    metrics = asked or _METRICS.get(options.kind) or default_metrics(runs)[:1]
    table = result_table(runs, metrics, labels)
    if options.sort:
        table = replace(table, settings=sorted_settings(table, options.sort, reverse=options.reverse))
    request = Request(table, width or WIDTHS["column"], height, options.over, options.key)
    save_figure(draw(options.kind, request), file)
    if not options.quiet:
        print(f"{printable(file)}  {len(table.settings)} settings, {len(runs)} runs")
    return 0


def _inches(option: str, text: str | None, named: dict[str, float]) -> float | None:
    if text is None or text in named:
        return named.get(text or "")
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.5 <= number <= 50:
        words = f"{', '.join(named)} or " if named else ""
        raise UserError(f"{option} {text}", f"need {words}a number of inches", f"Such as {option} 3.25")
    return number


def _parser() -> Parser:
    parser = Parser(
        "figure",
        "Draw a figure of runs for a paper: means of settings (runs that differ in the seed only) with Student's 95 %\n"
        "intervals, cut at 0 and 100 % for shares; fonts are embedded, and colours differ for everybody.\n\n"
        "curves   numbers of the log during training: --metrics validation.accuracy,train.loss --over samples\n"
        "average  average accuracy on the tasks so far, after each task\n"
        "tasks    accuracy on each task after each task, one panel for each setting\n"
        "online   online accuracy of each task, before its rows are trained on\n"
        "matrix   accuracy matrices side by side\n"
        "bars     means with intervals: --metrics acc,forgetting\n"
        "sweep    a metric over a key: --key optimizer.lr --metrics test",
        "gradinc figure bars outputs --metrics acc,bwt --to bars.pdf\n"
        "gradinc figure average outputs strategy=er,finetune --to average.pdf --label 'er=Experience replay'\n"
        "gradinc figure sweep rates --key optimizer.lr --to rates.svg --width text",
    )
    parser.add_argument("kind", metavar="KIND", help="curves, average, tasks, online, matrix, bars or sweep")
    text = "a run, a directory of runs, a pattern, the beginning of names, or a condition key=value"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=text)
    parser.add_argument("--to", required=True, metavar="FILE", help="output file, which ends in .pdf, .svg or .png")
    parser.add_argument("--metrics", metavar="A,B", help="the numbers to draw, a panel each")
    axes = ("samples", "updates", "rows", "passes", "seconds")
    parser.add_argument("--over", default="samples", choices=axes, help="horizontal axis of curves")
    parser.add_argument("--key", metavar="KEY", help="horizontal axis of a sweep (default: the one with most numbers)")
    width = "column (3.25 inches, the default), text (5.5), page (6.75), or inches"
    parser.add_argument("--width", metavar="WIDTH", help=width)
    parser.add_argument("--height", metavar="INCHES", help="height (default: from the width)")
    add_label_option(parser)
    parser.add_argument("--sort", metavar="KEY", help="order of settings, by a key or a number")
    parser.add_argument("--reverse", action="store_true", help="reverse the order")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    return parser
