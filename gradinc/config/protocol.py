"""The protocol of a stream of tasks: which outputs of the model count in training and in testing.

The terms are those of van de Ven & Tolias 2019, arXiv 1904.07734. Class-incremental: the task of a test row is not
known. Task-incremental: it is. Domain-incremental: the tasks share their outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradinc.base.errors import UserError

if TYPE_CHECKING:
    from gradinc.config.schema import StreamSection

Scenario = Literal["class", "task", "domain"]
Heads = Literal["single", "masked", "multi"]
Visible = Literal["all", "seen", "task"]
"""Outputs that count: all, the outputs of the tasks so far, or the outputs of the row's own task."""

CHOICES = {
    "scenario": ("class", "task", "domain"),
    "heads": ("single", "masked", "multi"),
    "train_logits": ("all", "seen", "task"),
    "test_logits": ("all", "seen", "task"),
}


@dataclass(frozen=True)
class Protocol:
    """The protocol that a run on a stream of tasks measures.

    Attributes:
        scenario: class-, task- or domain-incremental.
        heads: one output layer, one with masks, or an output layer for each task.
        train_logits, test_logits: the outputs that count in training and in testing.
    """

    scenario: Scenario
    heads: Heads
    train_logits: Visible
    test_logits: Visible

    def __str__(self) -> str:
        """Its name, with the keys in which it is not the plain form: ``class-incremental (train_logits=seen)``."""
        usual = {"heads": "single", "train_logits": "all", "test_logits": "all"}
        if self.scenario == "task":
            usual = {"heads": "", "train_logits": "task", "test_logits": "task"}
        own = [f"{key}={getattr(self, key)}" for key, value in usual.items() if getattr(self, key) != value]
        return f"{self.scenario}-incremental" + (f" ({', '.join(own)})" if own else "")

    def record(self) -> dict[str, str]:
        """The entry ``protocol`` of ``meta.json`` and ``result.json``."""
        return asdict(self)


def recorded_protocol(record: Any) -> Protocol | None:
    """The protocol in a record; None if the record has none or is damaged."""
    if not isinstance(record, Mapping) or any(record.get(key) not in values for key, values in CHOICES.items()):
        return None
    return Protocol(**{key: record[key] for key in CHOICES})


def protocol(scenario: Scenario | None, stream: StreamSection, *, shared: bool = False) -> Protocol:
    """The protocol that the keys ask for.

    Args:
        scenario: ``scenario``. If null, tasks that share their classes are domain-incremental, and others are
            class-incremental, or task-incremental if ``stream.heads`` or ``stream.test_logits`` use the row's task.
        stream: the ``stream`` section of the config.
        shared: whether all tasks have the same classes.

    Raises:
        UserError: the keys contradict each other.
    """
    heads: Heads = stream.heads or ("multi" if scenario == "task" else "single")
    knows = heads != "single" or stream.test_logits == "task"
    chosen: Scenario = scenario or ("domain" if shared else "task" if knows else "class")
    usual: Visible = "all" if heads == "single" else "task"
    found = Protocol(chosen, heads, stream.train_logits or usual, stream.test_logits or usual)
    {"class": _check_class, "task": _check_task, "domain": _check_domain}[chosen](found)
    return found


def check_one_task(scenario: Scenario | None, stream: StreamSection) -> None:
    """Refuse keys about tasks with ``stream=iid``, which has one task.

    Raises:
        UserError: one of these keys is given.
    """
    keys = {"scenario": scenario, **{f"stream.{key}": getattr(stream, key) for key in CHOICES if key != "scenario"}}
    for key, value in keys.items():
        if value is not None:
            fix = f"Choose a stream of tasks, such as stream=split, or leave {key} out"
            raise UserError(f"{key}={value}", "stream=iid has one task only", fix)


def _check_class(found: Protocol) -> None:
    if found.heads != "single":
        what = "uses the task of each row, which scenario=class does not know"
        raise UserError(f"stream.heads={found.heads}", what, "Use scenario=task, or leave stream.heads out")
    if found.test_logits == "task":
        what = "uses the task of each test row, which scenario=class does not know"
        fix = "Use scenario=task with stream.heads=single, or leave stream.test_logits out"
        raise UserError("stream.test_logits=task", what, fix)


def _check_task(found: Protocol) -> None:
    if found.test_logits != "task":
        where = f"stream.heads={found.heads} stream.test_logits={found.test_logits}"
        what = "ignores the task of each test row, which scenario=task knows"
        raise UserError(where, what, "Use scenario=class, or stream.test_logits=task")
    if found.heads == "multi" and found.train_logits != "task":
        where = f"stream.train_logits={found.train_logits}"
        what = "trains outputs of other tasks, which do not change with stream.heads=multi"
        raise UserError(where, what, "Use stream.heads=masked, or stream.train_logits=task")


def _check_domain(found: Protocol) -> None:
    if found.heads != "single":
        what = "the tasks of scenario=domain share their outputs"
        raise UserError(f"stream.heads={found.heads}", what, "Use scenario=task")
    for key in ("train_logits", "test_logits"):
        if getattr(found, key) != "all":
            what = "the tasks of scenario=domain share their outputs, and all of them count"
            raise UserError(
                f"stream.{key}={getattr(found, key)}", what, f"Use scenario=class, or leave stream.{key} out"
            )
