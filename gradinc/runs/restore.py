"""Resuming a run from its newest undamaged checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, create_model

from gradinc.core.learner import Learner
from gradinc.core.state import expect
from gradinc.records.directory import RunDirectory
from gradinc.records.matrix import logged_rows
from gradinc.runs import checkpoint
from gradinc.runs.checkpoint import Damaged, Mark
from gradinc.runs.position import LOGGED, Position

_FIELDS: dict[str, Any] = {name: (kind, None) for name, kind in get_type_hints(Position).items()}
_SavedPosition: Any = create_model("_SavedPosition", __config__=ConfigDict(strict=True, extra="forbid"), **_FIELDS)
"""A position in a checkpoint; an older checkpoint lacks fields that were added later."""


class _Saved(BaseModel):
    """The part of a run's checkpoint that its learner does not check."""

    model_config = ConfigDict(strict=True)

    learner: dict[str, Any]
    position: _SavedPosition
    seconds: float
    log_offset: Annotated[int, Ge(0)]
    log_digest: str


@dataclass(frozen=True)
class Restored:
    """The position from which a start of a run continues: a checkpoint, or the beginning.

    Attributes:
        step: number of updates at the checkpoint, None at the beginning.
        seconds: training time of the run so far.
        log_offset: length of ``metrics.jsonl`` in bytes.
        log_digest: SHA-256 of that many bytes; None at the beginning.
        file: the checkpoint.
        windows: windows that the learner had closed.
        damaged: newer checkpoints that cannot be used.
    """

    position: Position = field(default_factory=Position)
    step: int | None = None
    seconds: float = 0.0
    log_offset: int = 0
    log_digest: str | None = None
    file: Path | None = None
    windows: int = 0
    damaged: tuple[tuple[Mark, Damaged], ...] = ()

    def untried(self, learner: Learner) -> Path | None:
        """Return the checkpoint until the first window after it is closed: it may be the cause of an error."""
        return self.file if self.windows == learner.place.windows else None


def restore(directory: RunDirectory, learner: Learner, tasks: int) -> Restored:
    """Load the newest undamaged checkpoint of a run into its learner.

    Args:
        tasks: length of the stream.

    Raises:
        UserError: the checkpoint's state does not fit this program. The learner may have loaded half of it.
    """
    damaged: list[tuple[Mark, Damaged]] = []
    for mark, state in _newest(directory, learner):
        if not isinstance(state, Damaged):
            return _load(directory, learner, tasks, mark, state, tuple(damaged))
        damaged.append((mark, state))
    return Restored(damaged=tuple(damaged))


def restore_beside(step: int | None, directory: RunDirectory, learner: Learner, tasks: int) -> Restored:
    """Load the state that the first process of a run has loaded, in a process that writes nothing.

    Args:
        step: `Restored.step` of the first process.
    """
    for mark, state in _newest(directory, learner) if step is not None else ():
        if mark.updates == step and not isinstance(state, Damaged):
            restored = _load(directory, learner, tasks, mark, state, ())
            if learner.window.taken:  # one process has the gradient of the open window: it must be added only once
                learner.weights.grad.zero_()
            return restored
    return Restored()


def _newest(directory: RunDirectory, learner: Learner) -> Iterator[tuple[Mark, dict[str, Any] | Damaged]]:
    return checkpoint.newest(directory.path / "ckpt", directory.identity, learner.weights.value.device)


def _load(
    directory: RunDirectory,
    learner: Learner,
    tasks: int,
    mark: Mark,
    state: dict[str, Any],
    damaged: tuple[tuple[Mark, Damaged], ...],
) -> Restored:
    file = directory.path / "ckpt" / str(mark)
    with checkpoint.fitting(file):
        saved = _Saved.model_validate(state)
        learner.load_state_dict(state["learner"])
        _check_window(learner)
        rows = logged_rows(directory.path / "metrics.jsonl", saved.log_offset)
        logged = dict(zip(LOGGED, rows.values(), strict=True))
        position = Position(**{**state["position"], **logged})
        if not bool(position.tasks) == bool(position.task) or position.task > tasks:
            raise ValueError("its position is not one of this stream")
        if len(position.began) != len(Position().began):
            raise ValueError("its position does not say where the task began")
    windows = learner.place.windows
    log = (saved.log_offset, saved.log_digest)
    return Restored(position, mark.updates, state["seconds"], *log, file, windows, damaged)


def _check_window(learner: Learner) -> None:
    """Check that the batches of an open window fit the model, before a method reads them again.

    Raises:
        ValueError, RuntimeError: they do not fit.
    """
    work, notes = learner.work.state_dict(), learner.notes.state_dict()
    for index, (batch, kept) in enumerate(zip(learner.window.batches, learner.window.outputs, strict=True)):
        with learner.passes.undisturbed(index):
            out = learner.passes.forward(batch)
            expect("an output of the window", kept, out)
            learner.objective(batch, out)
    learner.work.load_state_dict(work)
    learner.notes.load_state_dict(notes)
