"""``gradinc table``: compares published numbers with ours, with a verdict."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json
from gradinc.cli.arguments import Parser
from gradinc.records.statistics import SPREADS

if TYPE_CHECKING:
    from gradinc.studies.tables.cells import Cell
    from gradinc.studies.tables.collecting import MeasuredRun
    from gradinc.studies.tables.specification import Table

FAILURES = ("failed", "diverged", "damaged")
"""States of a run that failed."""


def main(arguments: Sequence[str]) -> int:
    """List tables, or run the missing runs of one and show it.

    Returns:
        0 if no judged number differs from the published one and no run failed, now or earlier, else 1; after a
        signal, the signal's code.
    """
    options = _parser().read(arguments)
    folders = [Path(folder) for folder in options.config_dir]
    if options.name is not None and "=" in options.name:
        options.name, options.overrides = None, [options.name, *options.overrides]
    if options.name is None:
        for option in ("rows", "seeds", "dry_run", "collect", "to", "from"):
            if getattr(options, option):
                where = f"--{option.replace('_', '-')}"
                raise UserError(where, "needs the NAME of a table", "gradinc table without it lists them")
        return _list(folders, options.overrides, options.json)
    from gradinc.studies.tables.cells import SET_BY_TABLE, chosen_rows, compose_cells, open_table, with_seeds
    from gradinc.studies.tables.earlier import read_earlier

    table = open_table(options.name, folders)
    earlier = {
        key: run for file in getattr(options, "from") for key, run in read_earlier(Path(file), table.name).items()
    }
    extra = list(options.overrides)
    if options.quiet:
        extra.append("progress=quiet")
    for override in extra:
        if "=" not in override:
            raise UserError(override, "gradinc table takes one NAME and key=value", "See gradinc table --help")
        if override.partition("=")[0].lstrip("+~") in SET_BY_TABLE:
            raise UserError(override, "is set by the table", "Use --seeds 0,1,2")
    rows, seeds = chosen_rows(table, options.rows), _seeds(options.seeds)
    # The files keep the table's own seeds beside the chosen ones.
    all_seeds = None if seeds is None else {*seeds, *(seed for row in table.rows for seed in table.seeds_of(row))}
    every = compose_cells(table, rows, all_seeds, extra, folders, beside=list(table.rows))
    cells = [with_seeds(cell, seeds or table.seeds_of(cell.row)) for cell in every if cell.row in rows]
    if options.dry_run:
        return _dry_run(table, cells, earlier)
    return _run_and_show(table, cells, every, earlier, options, arguments)


def _run_and_show(
    table: Table,
    cells: Sequence[Cell],
    every: Sequence[Cell],
    earlier: Mapping[str, MeasuredRun],
    options: Any,
    arguments: Sequence[str],
) -> int:
    """Run the missing runs of the chosen cells and show these cells; files have every cell of the table."""
    from rich.console import Console

    from gradinc.base.files import write_whole
    from gradinc.base.streams import going_on
    from gradinc.base.text import counted
    from gradinc.studies.figures.style import save_figure
    from gradinc.studies.figures.table import draw_table
    from gradinc.studies.tables.cells import file_name
    from gradinc.studies.tables.collecting import measured_runs, recorded_runs, with_earlier
    from gradinc.studies.tables.document import table_document
    from gradinc.studies.tables.duration import duration_of
    from gradinc.studies.tables.plan import composing_state, keep_plan
    from gradinc.studies.tables.rendering import FILES
    from gradinc.studies.tables.running import (
        cells_of_files,
        jobs_of,
        make_measurements,
        missing_jobs,
        missing_measurements,
        run,
    )
    from gradinc.studies.tables.terminal import show

    code = 0
    console = Console()
    output = Path(next((job.config.output for job in jobs_of(cells).values()), "outputs"))
    if not options.collect and (missing := missing_jobs(table, cells, earlier)):
        # A JSON document is printed alone.
        with redirect_stdout(sys.stderr) if options.json else going_on():
            if missing[0].config.progress != "quiet":
                expected = duration_of(table, cells, missing, earlier)
                console.print(f"{counted(len(missing), 'run')} to do, expected time: {expected}")
            code = run(missing, console, ["table", *arguments])
    if not options.collect and output.is_dir() and file_name(table, every) == table.name:
        keep_plan(output, table, every, composing_state([Path(folder) for folder in options.config_dir]))
    if code > 1:  # a signal
        return code
    if not options.collect and (unmeasured := missing_measurements(table, cells)):
        code = max(code, make_measurements(unmeasured, Console(stderr=True, quiet=options.quiet)))
    whole = cells_of_files(table, cells, every, earlier)
    runs = with_earlier(measured_runs(table, whole, recorded_runs(whole)), earlier)
    document = table_document(table, cells, runs, options.spread)
    folder = Path(options.to) if options.to else output / "tables"
    if options.json:
        print_json(document)
    else:
        show(document, console)
    written = table_document(table, whole, runs, options.spread)
    if written["code"] or options.to:
        folder.mkdir(parents=True, exist_ok=True)
        name = file_name(table, whole)
        for ending, render in FILES.items():
            write_whole(folder / f"{name}.{ending}", render(written).encode())
        save_figure(draw_table(written), folder / f"{name}.pdf")
        if not options.json:
            others = "" if len(cells) == len(whole) else ", with all rows"
            print(f"written: {folder / name}.{{{','.join([*FILES, 'pdf'])}}}{others}")
    return code or int("differs" in document["verdicts"] or _has_failures(document))


def _has_failures(document: Mapping[str, Any]) -> bool:
    """Return whether a run failed, in this command or an earlier one."""
    cells = [cell for row in document["rows"] for cell in row["cells"]]
    return any(seed["status"] in FAILURES for cell in cells for seed in cell["seeds"])


def _dry_run(table: Table, cells: Sequence[Cell], earlier: Mapping[str, MeasuredRun]) -> int:
    from gradinc.studies.tables.duration import duration_of
    from gradinc.studies.tables.running import jobs_of, missing_jobs, missing_measurements, status

    missing = missing_jobs(table, cells, earlier)
    left = {job.directory for job in missing}
    lines = [["row", "seed", "status", "run", "columns"]]
    for row in dict.fromkeys(cell.row for cell in cells):
        own = [cell for cell in cells if cell.row == row]
        lines += [[row, "–", missing, "", ""] for missing in dict.fromkeys(c.missing for c in own if c.missing)]
        for place, job in jobs_of(own).items():
            columns = [cell.column for cell in own if place in (each.directory for each in cell.jobs.values())]
            more = f" and {len(columns) - 2} more" if len(columns) > 3 else ""
            shown = ", ".join(columns[:2] if more else columns) + more
            state = status(place) if place in left or status(place) != "missing" else "in --from"
            lines.append([row, str(job.config.seed), state, place.name, shown])
    print_columns(lines)
    print(f"{len(jobs_of(cells))} runs, {len(left)} to do ({table.budget} for the whole table)")
    if missing:
        print(f"expected time: {duration_of(table, cells, missing, earlier)}")
    if unmeasured := missing_measurements(table, cells):
        print(f"{len(unmeasured)} measurements of the weights of finished runs to do")
    _tell_missing_data(cells)
    return 0


def _tell_missing_data(cells: Sequence[Cell]) -> None:
    """Print the data sets that a table needs and that are missing, and a replacement with the same protocol."""
    from gradinc.data.availability import availability
    from gradinc.studies.tables.running import jobs_of

    configs = {job.config.data.name: job.config.data for job in jobs_of(cells).values()}
    for name, data in sorted(configs.items()):
        found = availability(name, data.root)
        if not found.here:
            print(f"data={name} is not here: {found.how}.")
            if name == "mnist" and availability("fashion_mnist").here:
                print("data=fashion_mnist runs the same protocol; printed numbers are then not comparable.")


def _list(folders: Sequence[Path], extra: Sequence[str], as_json: bool) -> int:
    from rich.console import Console
    from rich.progress import track

    from gradinc.config import groups
    from gradinc.studies.tables.cells import open_table
    from gradinc.studies.tables.listing import sizes
    from gradinc.studies.tables.terminal import show_columns

    tables = [open_table(name, folders) for name in groups.names("table", folders)]
    waiting = Console(stderr=True)  # to find existing runs, hundreds of configs may be composed, which takes seconds
    counted = sizes(tables, extra, folders)
    options: dict[str, Any] = {"total": len(tables), "console": waiting, "transient": True}
    found = list(zip(tables, track(counted, "composing", disable=not waiting.is_terminal, **options), strict=True))
    if as_json:
        keys = ("table", "title", "budget", "cells_built", "cells", "runs_finished", "runs")
        rows = [(t.name, t.title, t.budget, s.built, s.cells, s.finished, s.runs) for t, s in found]
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return 0
    lines = [["table", "cost", "cells built", "runs done", "title"]]
    for t, s in found:
        lines.append([t.name, t.budget, f"{s.built} of {s.cells}", f"{s.finished} of {s.runs}", t.title])
    show_columns(lines, Console())
    return 0


def _seeds(text: str | None) -> list[int] | None:
    """Return the seeds of the option, in order; None without it.

    Raises:
        UserError: the text is not a list of seeds.
    """
    if text is None:
        return None
    try:
        seeds = sorted({int(word) for word in text.split(",")})
    except ValueError:
        seeds = [-1]
    if seeds[0] < 0:
        raise UserError(f"--seeds {text}", "need whole numbers ≥ 0 with commas between them", "Such as --seeds 0,1,2")
    return seeds


def _parser() -> Parser:
    parser = Parser(
        "table",
        "Run the missing runs of a published table, and compare its numbers with ours,\n"
        "with a verdict: reproduced, differs, interval too wide, or not judged.",
        "gradinc table                          # list tables, their cost and their state\n"
        "gradinc table mnist1d --dry-run        # list its runs\n"
        "gradinc table mnist1d --rows mlp --seeds 0,1,2\n"
        "gradinc table der_rotated data=fashion_mnist --collect     # never trains\n"
        "gradinc table mnist1d --from docs/results/mnist1d.json     # trains what the file lacks\n\n"
        "Exit code 1: a number differs from the published one, or a run failed or diverged.",
    )
    parser.add_argument("name", nargs="?", help="the table; by default all tables are listed")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for all its runs, after its protocol")
    rows = "train and show only these rows; files have all rows"
    parser.add_argument("--rows", type=lambda text: text.split(","), metavar="A,B", help=rows)
    parser.add_argument("--seeds", metavar="0,1", help="these seeds instead of the table's own")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their state; train nothing")
    parser.add_argument("--collect", action="store_true", help="show the finished runs; train nothing")
    again = "a table's JSON file, of this machine or another: the runs in it are not repeated; repeatable"
    parser.add_argument("--from", action="append", default=[], metavar="FILE", help=again)
    parser.add_argument("--to", metavar="DIR", help="directory of its files (default: tables/ under outputs)")
    kinds = "what follows the ± of our means (default: sd): "
    kinds += "; ".join(f"{kind}: {words}" for kind, words in SPREADS.items()).replace("%", "%%")
    parser.add_argument("--spread", choices=list(SPREADS), default="sd", help=kinds)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    folder = "a folder of your own YAML"
    parser.add_argument("--config-dir", "-cd", action="append", default=[], metavar="DIR", help=folder)
    return parser
