"""Errors that the user can fix."""

from __future__ import annotations


class UserError(Exception):
    """Bad input. Shown as one line, ``<where>: <what is wrong>. <the fix>.``, with exit code 2.

    Args:
        where: the key, file or command that is wrong, as the user wrote it.
        what: what is wrong with it, without a full stop.
        fix: what to do about it, without a full stop.
    """

    def __init__(self, where: str, what: str, fix: str = "") -> None:
        self.where, self.what, self.fix = where, what, fix
        end = "" if fix.endswith("?") else "."
        line = f"{where}: {what}." + (f" {fix}{end}" if fix else "")
        super().__init__(" ".join(line.split()))


class Diverged(Exception):
    """A loss or a weight is not finite; nothing that follows from it was measured, logged or saved.

    Args:
        step: number of the update, from 1.
        tensor: name of the value that is not finite: ``loss``, or the name of a weight.
    """

    def __init__(self, step: int, tensor: str) -> None:
        self.step, self.tensor = step, tensor
        super().__init__(f"{tensor} is not finite at step {step}")


class StorageError(UserError):
    """A file of the run could not be written. Exit code 1: the run exists, and can be resumed later."""


class Unwritable(StorageError):
    """A place that cannot be written to, found before the run exists: bad input, exit code 2."""


class Stalled(UserError):
    """No window makes an update any more, so training would never end. Exit code 1, since the run exists."""


class Lost(UserError):
    """Another process of the run has ended. Exit code 1: the run resumes from its last checkpoint."""


class Interrupted(Exception):
    """A signal asked the run to stop; its state is saved.

    Args:
        signum: the signal's number.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"signal {signum}")
