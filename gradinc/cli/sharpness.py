"""``gradinc sharpness RUN``: the largest eigenvalue of the Hessian of the training loss."""

from __future__ import annotations

from collections.abc import Sequence

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json
from gradinc.cli.arguments import Parser, check_counts


def main(arguments: Sequence[str]) -> int:
    """Print the sharpness of a run and its accuracy."""
    options = _parser().read(arguments)
    check_counts(options, "rows", least=0, fix="0 takes all rows")
    check_counts(options, "iterations")
    if not 0 < options.tolerance < 1:
        raise UserError(f"--tolerance {options.tolerance}", "need a number > 0 and < 1")
    from gradinc.records.directory import find_run

    path = find_run(options.run)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from gradinc.runs.trained import FinishedRun  # torch, after all other checks
    from gradinc.studies.sharpness import sharpness

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} products"),
        TimeElapsedColumn(),
    )
    chosen = {name: getattr(options, name) for name in ("rows", "best", "device", "tolerance", "iterations")}
    quiet = options.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("power iteration", total=None)
        found = sharpness(FinishedRun.open(path), **chosen, watch=lambda: progress.advance(task))
    if options.json:
        print_json(found)
        return 0
    reached = "" if found["converged"] else f" after {found['products']} products; increase --iterations"
    rows = [
        ["run", found["run"]],
        ["weights", f"{found['weights']}, over {found['rows']:,} training rows"],
        ["sharpness", f"{found['sharpness']:.6g} ± {found['residual']:.2g}{reached}"],
    ]
    if found["dominant"] != found["sharpness"]:
        rows.append(["dominant", f"{found['dominant']:.6g}, the eigenvalue of largest magnitude"])
    print_columns(rows)
    return 0


def _parser() -> Parser:
    parser = Parser(
        "sharpness",
        "The largest eigenvalue of the Hessian of the mean training loss at a run's\n"
        "weights, by power iteration. Dropout is off and BatchNorm has its running\n"
        "statistics. The same command gives the same number.",
        "gradinc sharpness outputs/RUN\ngradinc sharpness outputs/RUN --rows 0 --tolerance 1e-4 --json",
    )
    parser.add_argument("run", help="the run's directory, or its name under outputs/")
    parser.add_argument("--rows", type=int, default=2048, help="training rows, evenly spread (default 2048, 0: all)")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="‖Hv − λv‖ / |λ| to stop at (default 1e-3)")
    parser.add_argument("--iterations", type=int, default=200, help="most products with the Hessian (default 200)")
    parser.add_argument("--best", action="store_true", help="use the weights with the best validation score")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
