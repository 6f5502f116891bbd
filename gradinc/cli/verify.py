"""``gradinc verify RUN``: repeats the last updates of a run elsewhere, and compares bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gradinc.base.errors import Interrupted, UserError
from gradinc.base.text import print_json, printable
from gradinc.cli.arguments import Parser


def main(arguments: Sequence[str]) -> int:
    """Print the verdict.

    Returns:
        0 if everything is equal, 1 otherwise.
    """
    options = _parser().read(arguments)
    if options.run is None:
        raise UserError("gradinc verify", "names no run", "Give its directory: gradinc verify outputs/RUN")
    from gradinc.records.directory import find_run

    path = find_run(options.run)
    from rich.console import Console

    from gradinc.base.signals import interruption
    from gradinc.studies.terminal import TerminalDisplay
    from gradinc.studies.verify import verify

    console = Console(stderr=True)
    setting = "quiet" if options.json or options.quiet or not console.is_terminal else "auto"
    with TerminalDisplay(console, setting) as display, interruption() as stop:
        try:
            verdict = verify(path, display, stop)
        except Interrupted as interrupted:
            return 128 + interrupted.signum
    same = not verdict.differences
    if options.json:
        print_json({"same": same, **asdict(verdict)})
        return int(not same)
    for line in verdict.differences:
        print(printable(line))
    for line in verdict.notes:
        print(printable(f"note: {line}: the last bits may differ"))
    stretch = f"steps {verdict.first} to {verdict.last}"
    told = f"{stretch} again, the same bits" if same else f"not the same ({stretch})"
    told += " (unsealed: the other files cannot be checked)" if verdict.unsealed else ""
    print(printable(f"{verdict.run}: {told}"))
    return int(not same)


def _parser() -> Parser:
    parser = Parser(
        "verify",
        "Repeat a run from its last but one checkpoint to its last one in a scratch directory, and compare every\n"
        "bit. The run is not changed. Exit code 0: equal; 1: different.",
        "gradinc verify outputs/RUN",
    )
    parser.add_argument("run", nargs="?", help="the run's directory, or its name under outputs/")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
