"""``gradinc invert RUN``: reconstructs training images from a run's gradients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.text import percent_text, print_columns, print_json
from gradinc.cli.arguments import Parser, check_counts, check_device, check_seed


def main(arguments: Sequence[str]) -> int:
    """Print the quality of the reconstructions, for each window and variant."""
    options = _parser().read(arguments)
    chosen = _checked(options)
    from gradinc.records.directory import find_run

    path = find_run(options.run)
    figure = options.figure
    if figure is not None:
        if figure.suffix != ".png" or not figure.parent.is_dir() or figure.is_dir():
            raise UserError(f"--figure {figure}", "need the name of a PNG file in an existing folder")
        if figure.resolve().is_relative_to(path.resolve()):
            raise UserError(f"--figure {figure}", "is inside the run, which must not change", "Choose another place")
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from gradinc.runs.trained import FinishedRun
    from gradinc.studies.attacks.leak import InversionSettings, leaks, picture  # torch, after all other checks

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("inverting: {task.completed} steps"), TimeElapsedColumn())
    quiet = options.quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=None)
        found = leaks(FinishedRun.open(path), InversionSettings(**chosen), lambda: progress.advance(task))
    if figure is not None:
        picture(found, figure)
    if options.json:
        print_json([leak.document() for leak in found])
        return 0
    print_columns([["run", str(path)], ["weights", "fresh" if options.fresh else "last"]])
    print()
    rows = [["rows", "variant", "mean PSNR", "best PSNR", "labels found"]]
    for leak in found:
        told = leak.document()
        ratios = [f"{told[name]:.1f} dB" for name in ("psnr", "best")]
        rows.append([str(leak.window), leak.variant, *ratios, percent_text(told["labels"], 0)])
    print_columns(rows)
    return 0


def _checked(options: Any) -> dict[str, Any]:
    """Return the options for the measurement.

    Raises:
        UserError: an option is out of range.
    """
    windows = [item if re.fullmatch(r"[1-9][0-9]{0,3}", item) else None for item in options.windows.split(",")]
    if None in windows:
        raise UserError(f"--windows {options.windows}", "need whole numbers from 1 to 9999, such as 1,2,4")
    check_counts(options, "steps")
    check_seed(options)
    check_device(options)
    names = ("steps", "seed", "fresh", "device")
    return {"windows": tuple(int(item) for item in windows if item), **{n: getattr(options, n) for n in names}}


def _parser() -> Parser:
    parser = Parser(
        "invert",
        "Reconstruct training images from the gradient of a window, as the rule of the run's\n"
        "window computes it: by matching the gradient (dlg) and its direction (cosine).\n"
        "PSNR above 30 dB is a copy that looks like the original.",
        "gradinc invert outputs/RUN\ngradinc invert outputs/RUN --fresh --windows 1,4 --figure leak.png --json",
    )
    parser.add_argument("run", help="the run's directory, or its name under outputs/")
    parser.add_argument("--windows", default="1,2,4,8,16", help="rows of the windows (default 1,2,4,8,16)")
    parser.add_argument("--steps", type=int, default=400, help="steps of the reconstruction (default 400)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--fresh", action="store_true", help="use the weights before training")
    parser.add_argument("--figure", type=Path, help="write originals above reconstructions to this PNG file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
