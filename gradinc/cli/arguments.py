"""Options of commands, and checks of options that several commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from gradinc.base.errors import UserError
from gradinc.config.own_parts import use_parts
from gradinc.config.values import DEVICE


class Parser(argparse.ArgumentParser):
    """An argument parser that raises each error as a `UserError`.

    Args:
        command: the command's name.
        description: its description in ``--help``.
        examples: last lines of ``--help``.
    """

    def __init__(self, command: str, description: str, examples: str = "", **options: Any) -> None:
        super().__init__(
            prog=f"gradinc {command}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        self.add_argument("--quiet", "-q", action="store_true", help="no progress, only errors and results")
        own = "a folder of your own models, methods and other parts; repeatable"
        self.add_argument("--with", dest="folders", action="append", default=[], metavar="FOLDER", help=own)

    def error(self, message: str) -> NoReturn:
        raise UserError(self.prog, message, f"See {self.prog} --help")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments.

        Raises:
            UserError: an argument is unknown.
        """
        options, others = self.parse_known_intermixed_args(arguments)
        for other in others:
            known = [name for action in self._actions for name in action.option_strings]
            near = get_close_matches(other, known, n=1)
            raise UserError(
                other, f"{self.prog} does not take it", f"Did you mean {near[0]}?" if near else "Leave it out"
            )
        use_parts(options.folders)
        return options


def check_counts(options: argparse.Namespace, *names: str, least: int = 1, fix: str = "") -> None:
    """Check options that are whole numbers.

    Raises:
        UserError: a number is less than `least`.
    """
    for name in names:
        if (number := getattr(options, name)) < least:
            raise UserError(f"--{name} {number}", f"need a whole number ≥ {least}", fix)


def check_seed(options: argparse.Namespace) -> None:
    """Check ``--seed``.

    Raises:
        UserError: the seed is negative, or has more than 63 bits.
    """
    if not 0 <= options.seed < 2**63:
        raise UserError(f"--seed {options.seed}", "need a whole number ≥ 0")


def check_device(options: argparse.Namespace) -> None:
    """Check ``--device``.

    Raises:
        UserError: it is not the name of a device.
    """
    if not re.fullmatch(DEVICE, options.device):
        raise UserError(f"--device {options.device}", "need auto, cpu, cuda or cuda:N")
