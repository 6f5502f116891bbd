"""``gradinc drill N -- train …``: kills a job of yours repeatedly and compares its bits with an undisturbed run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import counted, printable
from gradinc.cli.arguments import Parser

_HOW = "Write gradinc drill 10 -- train model=cnn …"


def main(arguments: Sequence[str]) -> int:
    """Print the verdict in one line.

    Returns:
        0 if the killed run equals the undisturbed run, 1 otherwise.
    """
    own, words = _split(arguments)
    options = _parser().read(own)
    kills = _number(options.kills)
    if words is None:
        raise UserError("gradinc drill", "names no job", _HOW)
    _check(words)
    from gradinc.studies.drill import Drill

    def tell(line: str) -> None:
        if not options.quiet:
            print(printable(line), file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="gradinc-drill-") as scratch:
        drilled = Drill(words, Path(scratch), tell).run(kills)
    for line in drilled.differences:
        print(printable(line))
    starts = ", ".join(map(str, drilled.starts))
    print(f"{counted(drilled.kills, 'kill')}, starts from steps {starts}: {_verdict(drilled.differences)}")
    if not drilled.differences and not any(drilled.starts):
        print("No start was from a checkpoint, so no resume was tried. Give a longer job.", file=sys.stderr)
    return int(bool(drilled.differences))


def _verdict(differences: Sequence[str]) -> str:
    return "NOT the same as undisturbed" if differences else "the same bits as undisturbed"


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the command's own arguments, and the arguments after ``-- train``."""
    if "--" not in arguments:
        return list(arguments), None
    place = list(arguments).index("--")
    words = list(arguments[place + 1 :])
    if words[:1] != ["train"]:
        raise UserError("gradinc drill", "drills gradinc train only", _HOW)
    return list(arguments[:place]), words[1:]


def _number(given: str | None) -> int:
    if given is None or not (given.isascii() and given.isdecimal() and 1 <= int(given[:9]) <= 100_000):
        raise UserError(f"gradinc drill {given or ''}".strip(), "needs a number of kills, 1 to 100000", _HOW)
    return int(given)


def _check(words: Sequence[str]) -> None:
    """Refuse runs that are not reproducible, and commands with several runs.

    Raises:
        UserError: the command is refused or invalid.
    """
    from gradinc.cli.train import read_arguments
    from gradinc.config.compose import load_config

    options, overrides = read_arguments(words)
    free = ("config_dir", "folders", "quiet", "run")
    asked = [name for name, value in vars(options).items() if value and name not in free]
    if asked:
        raise UserError(f"--{asked[0].replace('_', '-')}", "gradinc drill kills a single run", "Leave it out")
    config = load_config(overrides, [Path(folder) for folder in options.config_dir])
    if config.budget.seconds is not None:
        what = "ends a run by the clock, so that no two runs are the same"
        raise UserError(f"budget.seconds={config.budget.seconds:g}", what, "Use budget.steps or budget.samples")


def _parser() -> Parser:
    parser = Parser(
        "drill",
        "Run a job undisturbed in a scratch directory, then kill the same job N times (kill -9) at any moment,\n"
        "let it finish, and compare every bit. Your own outputs are not changed.\n"
        "Exit code 0: equal; 1: different.",
        "gradinc drill 10 -- train model=cnn strategy=accumulate budget.epochs=5",
    )
    parser.add_argument("kills", nargs="?", metavar="N", help="how often")
    return parser
