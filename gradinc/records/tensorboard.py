"""Event files for TensorBoard; no other module uses it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.files import storing
from gradinc.records.scalars import Scalar


def check_tensorboard() -> None:
    """Check that TensorBoard can be imported.

    Raises:
        UserError: it cannot be imported.
    """
    if find_spec("tensorboard") is None:
        raise UserError("--tensorboard", "needs the package tensorboard", "pip install 'gradinc[tensorboard]'")


def write_events(numbers: Iterable[Scalar], folder: Path) -> int:
    """Write an event file into a folder, and return how many numbers are in it.

    Raises:
        StorageError: it could not be written.
    """
    from tensorboard.summary import Writer

    count = 0
    with storing(folder):
        writer = Writer(str(folder))
        for number in numbers:
            writer.add_scalar(number.name, number.value, number.step, wall_time=number.time)
            count += 1
        writer.close()
    return count
