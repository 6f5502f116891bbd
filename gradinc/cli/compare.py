"""``gradinc compare``: runs or settings side by side."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json, print_warnings, printable
from gradinc.cli.arguments import Parser
from gradinc.cli.result_options import (
    add_label_option,
    add_result_options,
    chosen_labels,
    chosen_metrics,
    document_of,
    print_blocks,
    print_settings,
    settle_files,
    shortened,
    write_formats,
)

if TYPE_CHECKING:
    from gradinc.records.groups import RunGroup
    from gradinc.records.results import ResultTable

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

SIDE_BY_SIDE = 6
"""Largest number of runs that are shown side by side unless settings are asked for."""


def main(arguments: Sequence[str]) -> int:
    """Print the results of settings and their paired differences, or of runs with the keys that differ."""
    options = _parser().read(arguments)
    settle_files(options, options.runs)
    from gradinc.records.find import found_and_chosen
    from gradinc.records.results import result_table, sorted_settings
    from gradinc.records.summary import doubts

    runs = found_and_chosen(options.runs, options.output)
    if len(runs) < 2:
        found = f"needs two runs or more, and {' '.join(options.runs) or options.output} is {len(runs) or 'none'}"
        raise UserError("gradinc compare", found, "Give others; gradinc runs lists them")
    table = _labelled(result_table(runs, chosen_metrics(options)), chosen_labels(options))
    by_setting = _by_setting(options, table)
    if by_setting:
        key = options.sort or table.metrics[0]
        backwards = options.reverse != (options.sort is None and _higher_is_better(table))
        table = replace(table, settings=sorted_settings(table, key, reverse=backwards))
    print_warnings(doubts(runs))
    base = _base(table, options.against) if by_setting else None
    if write_formats(options, table, base, by_setting=by_setting):
        return 0
    if by_setting:
        _show_settings(table, base, options)
    else:
        _show_runs(table, options)
    return 0


def _by_setting(options: Namespace, table: ResultTable) -> bool:
    """Return whether settings are compared: on request, if there are several runs of them, or too many runs."""
    if options.by is not None:
        return bool(options.by == "setting")
    asked = bool(options.label) or any(
        getattr(options, name) is not None
        for name in ("against", "metrics", "sort", "spread", "csv", "parquet", "latex")
    )
    several = 1 < len(table.settings) < len([run for run in table.runs if run.config and run.status != "damaged"])
    return asked or several or len(table.runs) > SIDE_BY_SIDE


def _labelled(table: ResultTable, labels: dict[str, str]) -> ResultTable:
    """Return the table with labels of its metrics, and of its settings, which are named as after ``--against``."""
    from gradinc.records.results import named_setting

    def whole(name: str) -> str:
        return name if name in table.metrics else named_setting(table, name, f"--label {name}={labels[name]}").name

    return replace(table, labels={whole(name): label for name, label in labels.items()})


def _higher_is_better(table: ResultTable) -> bool:
    return table.metrics[0] in table.shares and table.metrics[0] != "forgetting"


def _show_settings(table: ResultTable, base: RunGroup | None, options: Namespace) -> None:
    if options.json:
        differences = table.differences(base) if base is not None else []
        plain = [
            {"setting": table.named(each.name), "metric": each.metric, **_interval(each.found)} for each in differences
        ]
        against = None if base is None else table.named(base.name)
        print_json({"settings": document_of(table), "against": against, "differences": plain})
        return
    print_settings(table, base, options.spread)


def _interval(found: Any) -> dict[str, Any]:
    if found is None:
        return {"mean": None, "low": None, "high": None, "pairs": 0}
    low, high = found.interval or (None, None)
    return {"mean": found.mean, "low": low, "high": high, "pairs": found.count}


def _base(table: ResultTable, name: str | None) -> RunGroup | None:
    """Return the setting that the others are compared with: the named one, or else the first."""
    from gradinc.records.results import named_setting

    if len(table.settings) < 2:
        return None
    return table.settings[0] if name is None else named_setting(table, name, f"--against {name}")


def _show_runs(table: ResultTable, options: Namespace) -> None:
    from gradinc.records.keys import MISSING, differing, named_settings
    from gradinc.records.summary import results_of

    runs = list(table.runs)
    values = named_settings(runs)
    keys = {key: [each.get(key, MISSING) for each in values] for key in differing(runs, free=True)}
    if options.json:
        print_json([_document(run, {key: column[i] for key, column in keys.items()}) for i, run in enumerate(runs)])
        return
    names = [_letters(number) for number in range(len(runs))]
    room = get_terminal_size().columns - len(names[-1]) - 2
    print_columns([[name, shortened(printable(run.name), room)] for name, run in zip(names, runs, strict=True)])
    print()
    lines = [["", *names], *([name, *row] for name, row in results_of(runs).items())]
    differences = [[key, *row] for key, row in keys.items()] or [["no key differs", *[""] * len(runs)]]
    print_blocks([*lines, ["", *[""] * len(runs)], *differences], kept=1)


def _letters(number: int) -> str:
    """Return A, B, …, Z, AA, AB, … for 0, 1, …"""
    before, last = divmod(number, len(LETTERS))
    return (_letters(before - 1) if before else "") + LETTERS[last]


def _document(run: Any, keys: dict[str, str]) -> dict[str, Any]:
    document = {"run": run.name, "path": str(run.path), "status": run.status, "measure": run.measure}
    document |= {"damage": run.damage, "unsealed": run.unsealed}
    return {**document, "result": dict(run.result), "differing": keys}


def _parser() -> Parser:
    parser = Parser(
        "compare",
        "Compare settings (runs that differ in the seed only) by the mean of their finished runs ± deviation,\n"
        "with Student's 95 % interval of the mean, and by their differences paired by seed. Two to six runs of one\n"
        "seed each are shown side by side with the keys that differ. Intervals of shares are cut at 0 and 100 %.\n"
        "CSV, Parquet, LaTeX and JSON have the differences too.",
        "gradinc compare outputs/RUN outputs/RUN …\n"
        "gradinc compare outputs --metrics acc,bwt,forgetting --against finetune\n"
        "gradinc compare outputs strategy=er,finetune 'optimizer.lr<0.1' --latex table.tex --spread ci95\n"
        "gradinc compare outputs --latex --label 'er=Experience replay' --label acc=Accuracy\n"
        "gradinc compare 'digits-cnn-*'     # or the end of a name: ef31df18",
    )
    text = "a run, a directory of runs, a pattern, the beginning of names, or a condition key=value"
    parser.add_argument("runs", nargs="*", metavar="RUN", help=text)
    add_result_options(parser)
    add_label_option(parser)
    parser.add_argument("--against", metavar="SETTING", help="differences from this setting (default: the first one)")
    parser.add_argument("--sort", metavar="KEY", help="order by this key or number, the smallest first")
    parser.add_argument("--reverse", action="store_true", help="reverse the order")
    return parser
