"""What is normal in a stream of tasks, said before a run, and what is not, said when it is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradinc.criterion import Outputs
from gradinc.data.stream import Setting
from gradinc.method import Method

NEAR = 1e-12


def expected(outputs: Outputs | None, tasks: int, mode: str, methods: Sequence[Method]) -> str | None:
    """The range that is normal for a scenario with these methods, in a sentence; None where there is one task only.

    Args:
        outputs: which outputs of the model count, None where the tasks share all.
        mode: ``stream.data``.
    """
    if tasks == 1:
        return None
    if mode in ("joint", "cumulative"):
        return "Training on earlier data again: what comes out is the upper bound for the other strategies."
    changing = [method for method in methods if type(method).batch is not Method.batch]
    replays = any(not method.projects for method in changing) or mode == "memory"
    if outputs is None:
        return (
            "The tasks share their classes: later tasks overwrite a part of what was learned; replay and projections "
            "keep most of it, and joint training is the upper bound."
        )
    if outputs.test == "task":
        return "Which task a row is of is known: accuracies far above those without that knowledge are normal."
    if replays:
        return "Class-incremental with replay: between that of the last task alone and joint training is normal."
    return (
        f"Class-incremental without replay: an accuracy near 1/{tasks}, the last task's classes only, is normal, "
        "whatever holds or projects the weights."
    )


def small_memories(methods: Mapping[str, Method], setting: Setting, batch_size: int) -> list[str]:
    """A warning for each method that keeps less than a batch of each task."""
    lines = []
    for name, method in methods.items():
        if 0 < (rows := setting.capacity(method.capacity)) < setting.tasks * batch_size:
            lines.append(
                f"the memory of {name} holds {rows} examples for {setting.tasks} tasks, less than one batch of "
                f"{batch_size} for each"
            )
    return lines


def undone_projections(methods: Mapping[str, Method], optimizer: str, options: Mapping[str, object]) -> list[str]:
    """A warning for each method whose projected gradient the optimizer turns into another step.

    A step has to be a multiple of the projected gradient, or a sum of gradients projected onto one space.

    Args:
        optimizer: its name.
        options: the optimizer's.
    """
    lines = []
    for name, method in methods.items():
        if not method.projects or type(method).stepped is not Method.stepped:
            continue  # those with `stepped` project the step itself
        if optimizer != "sgd":
            why, mend = f"optimizer={optimizer} makes other steps of it", "optimizer=sgd optimizer.momentum=0"
        elif options.get("weight_decay"):
            why, mend = "weight decay leaves what it allows", "optimizer.weight_decay=0"
        elif options.get("momentum") and not method.confines:
            why, mend = "momentum brings back what it took away", "optimizer.momentum=0"
        else:
            continue
        lines.append(f"{name} projects the gradient, and {why}: its paper's guarantee does not hold. Use {mend}")
    return lines


def idle_penalty(notes: Mapping[str, float], task: int) -> str | None:
    """A warning where a penalty has no gradient after the first task."""
    if task > 0 and notes.get("penalty_gradient", 1.0) < NEAR:
        return "the penalty has had no gradient since the first task: nothing is held. Use a larger strength"
    return None


def known_task_hurts(row: Sequence[float | None], task_row: Sequence[float | None]) -> str | None:
    """A warning where accuracy falls by knowing the task, which cannot be."""
    for task, (of_all, in_task) in enumerate(zip(row, task_row, strict=True)):
        if of_all is not None and in_task is not None and in_task < of_all - NEAR:
            return f"on task {task + 1} the accuracy is lower among the task's own classes than among all: a mistake"
    return None


def no_effect(own: Sequence[Mapping[str, object]], plain: Sequence[Mapping[str, object]]) -> bool:
    """Whether every training loss of a run is exactly that of plain fine-tuning.

    Args:
        own, plain: the lines of the two logs.
    """
    losses = [[line["train"] for line in log if "train" in line] for log in (own, plain)]
    return bool(losses[0]) and losses[0] == losses[1]


def rising(first: float | None, last: float | None) -> str | None:
    """A warning where the training loss at the end of a task is far above that at its beginning."""
    if first is not None and last is not None and last > 3 * max(first, 0.1):
        return f"the training loss rose from {first:.3g} to {last:.3g} within the task. Use a smaller optimizer.lr"
    return None
