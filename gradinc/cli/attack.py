"""``gradinc attack RUN``: how many of a run's test images an adversary can fool."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradinc.base.errors import UserError
from gradinc.base.text import percent_text, print_columns, print_json, printable
from gradinc.cli.arguments import Parser, check_counts, check_device, check_seed

if TYPE_CHECKING:
    from gradinc.studies.attacks.measure import AttackResult

EPS = {"linf": "0.01,0.03,0.1,0.3", "l2": "0.25,0.5,1,2"}
"""Default sizes, by the norm."""


def main(arguments: Sequence[str]) -> int:
    """Print the accuracy under each attack at each ε, and warnings about it."""
    options = _parser().read(arguments)
    chosen = _checked(options)
    from gradinc.records.directory import find_run

    path = find_run(options.run)
    if options.figure is not None:
        _check_figure(options.figure, path)
    from gradinc.runs.trained import FinishedRun
    from gradinc.studies.attacks.measure import AttackSettings, attack, document  # torch, after all other checks

    run, settings = FinishedRun.open(path), AttackSettings(**chosen)
    measured = _with_progress(options.quiet, lambda watch: attack(run, settings, watch))
    if options.figure is not None:
        from gradinc.base.files import write_whole
        from gradinc.studies.attacks.figure import figure

        write_whole(options.figure, figure(f"{path.name} under attack", measured).encode())
    if options.json:
        print_json(document(measured, run, settings))
    else:
        _print(measured, str(path), settings)
    for each in measured:
        for said in each.warnings:
            place = "" if each.attack in ("clean", "limit") else f"at ε = {each.eps:g} "
            sys.stderr.write(f"gradient masking? {printable(place + said)}.\n")
    return 0


def _print(measured: list[AttackResult], run: str, settings: Any) -> None:
    clean, *others, limit = measured
    how = f"{settings.norm}, {settings.steps} steps, {settings.restarts} restarts, seed {settings.seed}"
    print_columns(
        [
            ["run", run],
            ["weights", f"{'best' if settings.best else 'last'}, {clean.rows:,} test images"],
            ["attack", how],
        ]
    )
    print()
    names = list(dict.fromkeys(each.attack for each in others))
    rows = [
        ["ε", *names, "95 % interval of worst"],
        ["0", *[percent_text(clean.accuracy)] * len(names), _interval(clean)],
    ]
    for start in range(0, len(others), len(names)):
        row = others[start : start + len(names)]
        rows.append([f"{row[0].eps:.4g}", *(percent_text(each.accuracy) for each in row), _interval(row[-1])])
    print_columns(rows)
    print()
    print(f"worst: a row counts if it withstands all. At ε = {limit.eps:.4g}, where any image")
    print(f"can become grey, PGD leaves {percent_text(limit.accuracy)}.")


def _interval(each: AttackResult) -> str:
    return f"{100 * each.low:.1f} – {percent_text(each.high)}"


def _with_progress(quiet: bool, work: Any) -> Any:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed} passes over images"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("attacking", total=None)
        return work(lambda: progress.advance(task))


def _checked(options: Any) -> dict[str, Any]:
    """Return the options for the measurement.

    Raises:
        UserError: an option is out of range.
    """
    check_counts(options, "rows", least=0, fix="0 takes all rows")
    check_counts(options, "steps", "restarts")
    check_device(options)
    check_seed(options)
    step = None if options.step_size is None else _size("--step-size", options.step_size)
    if step == 0:
        raise UserError(f"--step-size {options.step_size}", "need a number > 0")
    eps = tuple(_size("--eps", item) for item in (options.eps or EPS[options.norm]).split(","))
    if options.norm == "linf" and max(eps) > 1:
        what = "is more than the whole range of an image, which is 0 to 1"
        raise UserError(f"--eps {max(eps):g}", what, "Give it in input units, for example 8/255")
    names = ("norm", "steps", "restarts", "rows", "seed", "best", "device")
    return {"eps": eps, "step_size": step, **{name: getattr(options, name) for name in names}}


def _size(option: str, given: str) -> float:
    """Return a size in input units, also from a fraction.

    Raises:
        UserError: it is not a size.
    """
    try:
        value = float(Fraction(given.strip())) if "/" in given else float(given)
    except (ValueError, ZeroDivisionError, OverflowError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(f"{option} {given or '(nothing)'}", "need a number ≥ 0, such as 0.03 or 8/255")
    return value


def _check_figure(figure: Path, run: Path) -> None:
    if figure.suffix != ".svg" or not figure.parent.is_dir() or figure.is_dir():
        raise UserError(f"--figure {figure}", "need the name of an SVG file in an existing folder")
    if figure.resolve().is_relative_to(run.resolve()):
        raise UserError(f"--figure {figure}", "is inside the run, which must not change", "Choose another place")


def _parser() -> Parser:
    parser = Parser(
        "attack",
        "Count the test images of a run that an adversary with its weights can fool:\n"
        "FGSM, PGD on the cross-entropy and on the margin of the logits, and noise of the\n"
        "same size for comparison. Warns if the model only hides its gradients.",
        "gradinc attack outputs/RUN\n"
        "gradinc attack outputs/RUN --eps 2/255,4/255,8/255 --restarts 5 --figure robust.svg\n"
        "gradinc attack outputs/RUN --norm l2 --eps 0.5,1 --rows 0 --json",
    )
    parser.add_argument("run", help="the run's directory, or its name under outputs/")
    parser.add_argument("--eps", help=f"sizes, in input units of 0 to 1 (default {EPS['linf']}; l2: {EPS['l2']})")
    parser.add_argument("--norm", choices=("linf", "l2"), default="linf", help="norm of the size (default linf)")
    parser.add_argument("--steps", type=int, default=20, help="steps of PGD (default 20)")
    parser.add_argument("--restarts", type=int, default=2, help="starts of PGD and of noise (default 2)")
    parser.add_argument("--step-size", help="step of PGD, in input units (default 2.5 ε / steps)")
    parser.add_argument("--rows", type=int, default=1000, help="test images, drawn by the seed (default 1000, 0: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--best", action="store_true", help="use the weights with the best validation score")
    parser.add_argument("--figure", type=Path, help="write accuracy against ε to this SVG file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
