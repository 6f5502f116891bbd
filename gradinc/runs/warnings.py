"""Warnings of a run: before training, about its stream of tasks; during training, about unusual events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from gradinc.base.text import counted
from gradinc.config.catalog import load_part
from gradinc.config.schema import Config, ScheduleSection, StreamSection
from gradinc.core.due import Due
from gradinc.core.learner import Learner
from gradinc.core.memory import Ring
from gradinc.core.method import Method
from gradinc.core.normalization import BATCH_NORMS, NORMS
from gradinc.core.plan import usable
from gradinc.data.outputs import Outputs
from gradinc.data.source import DATA_PARTS
from gradinc.data.stream import Stream
from gradinc.data.task import Setting

NEAR = 1e-12

MOST_NAMES = 5
"""Largest number of classes that a warning lists."""


def before_training(config: Config, stream: Stream, learner: Learner) -> list[str]:
    """Return the warnings about the config, the data and the model, which are known before training."""
    named, tasks = learner.named, len(stream)
    acting = named if tasks > 1 else {}
    return [
        *without_past(config, named, stream),
        *undone_projections(acting, config.optimizer.name, config.optimizer.options),
        *resting_norms(named, learner.model, tasks),
        *rows_alone(acting, config.strategy.window.rule, learner),
        *uneven_rings(named, stream.setting),
        *missing_classes(stream),
        *given_answers(stream),
        *without_other_key(config),
        *fewer_samples(stream),
        *short_epochs(config, learner.window.due, stream.lengths, learner.place.world.size),
    ]


def expected(outputs: Outputs | None, tasks: int, mode: str, methods: Sequence[Method]) -> str | None:
    """Return a sentence about the accuracy that is normal for a scenario with these methods; None for one task.

    Args:
        outputs: which outputs of the model count, or None if the tasks share all outputs.
        mode: ``stream.data``.
    """
    if tasks == 1:
        return None
    if mode in ("joint", "cumulative"):
        return "Earlier data are trained on again: the result is the upper bound for the other strategies."
    changing = [method for method in methods if type(method).batch is not Method.batch]
    replays = any(method.role not in ("steers", "confines") for method in changing) or mode == "memory"
    if outputs is None:
        return (
            "The tasks share their classes. Later tasks overwrite a part of what was learned; replay and projections "
            "preserve most of it. Joint training is the upper bound."
        )
    if outputs.test == "task":
        return "The task of a row is known in testing: accuracies far above class-incremental accuracies are normal."
    if replays:
        return "Class-incremental with replay: an accuracy between fine-tuning and joint training is normal."
    return (
        f"Class-incremental without replay: an accuracy near 1/{tasks} is normal, also with penalties or projections, "
        "since only the last task's classes are predicted."
    )


def small_memories(methods: Mapping[str, Method], setting: Setting, batch_size: int) -> list[str]:
    """Return a warning for each method that stores less than a batch of each task."""
    lines = []
    for name, method in methods.items():
        if 0 < (rows := setting.capacity(method.capacity)) < setting.tasks * batch_size:
            lines.append(
                f"the memory of {name} holds {rows} examples for {setting.tasks} tasks, less than one batch of "
                f"{batch_size} for each"
            )
    return lines


def uneven_rings(methods: Mapping[str, Method], setting: Setting) -> list[str]:
    """Return a warning for each ring that stores fewer rows than its option allows, to have as many of each class."""
    lines = []
    for name, method in methods.items():
        if not setting.pairs or not any(isinstance(part, Ring) for part in vars(method).values()):
            continue
        allowed = setting.capacity(method.capacity)
        if rest := allowed % setting.pairs:
            step = setting.pairs // math.gcd(setting.pairs, setting.capacity(1))
            below = method.capacity // step * step
            lines.append(
                f"strategy.methods.{name}.memory={method.capacity}: a ring stores the same number of rows of each of "
                f"{setting.pairs} classes of {counted(setting.tasks, 'task')}: {allowed - rest:,} of {allowed:,} rows. "
                f"Use {f'{below} or ' if below else ''}{below + step}{setting.per} to have them all"
            )
    return lines


def short_epochs(config: Config, due: Due, lengths: Sequence[int], processes: int = 1) -> list[str]:
    """Return a warning for each size of a micro-batch or window that has no effect or is longer than an epoch.

    Args:
        lengths: training rows of each task.
        processes: number of processes that share the micro-batches of a window.
    """
    window, rows, lines = config.strategy.window, config.data.batch_size, []
    if (few := _too_few(lengths, rows, "training row")) is not None:
        lines.append(f"data.batch_size={rows}: {few}, so each micro-batch has all rows of its task")
    size = due.size(0, window.size, rows)
    if window.size != 1 and size == due.size(0, 1, rows):
        does = f"makes {'' if due.steady else 'the first '}windows of {counted(size, 'micro-batch')}"
        lines.append(f"strategy.window.size={window.size}: has no effect, since due={window.due} {does}")
    where = f"strategy.window.{'size' if window.due == 'size' else 'due'}"
    asked = {f"{where}={window.size if window.due == 'size' else window.due}": size * processes}
    asked |= {f"strategy.window.layers={{{name}:{wait}}}": wait for name, wait in window.layers.items()}
    noun = "full micro-batch" if window.last == "drop" else "micro-batch"
    epochs = [usable(length, rows, window.last) for length in lengths]
    for key, wanted in asked.items():
        if (few := _too_few(epochs, wanted, noun)) is not None:
            done = f"so {_SHORT[window.last]} (last={window.last})"
            lines.append(f"{key}: {few} in an epoch for windows of {wanted:,}, {done}")
    most = due.most(window.size, rows)
    if window.last == "drop" and most > size and (few := _too_few(epochs, most, noun)) is not None:
        grown = f"so no update follows once windows have grown beyond that, up to {most} (last=drop)"
        lines.append(f"strategy.window.due={window.due}: {few} in an epoch, {grown}")
    return lines


_SHORT = {
    "flush": "every window ends with its epoch",
    "carry": "windows continue from epoch to epoch, and the last one ends with its task",
    "drop": "no window is ever full and nothing is trained",
}
"""Treatment of windows that are longer than an epoch, by ``strategy.window.last``."""


def _too_few(found: Sequence[int], wanted: int, noun: str) -> str | None:
    """Return in words how many the largest or the smallest task has, if this is fewer than `wanted`; else None."""
    if max(found) < wanted:
        return f"{'there are' if len(found) == 1 else 'a task has at most'} {counted(max(found), noun)}"
    return f"the smallest task has {counted(min(found), noun)}" if min(found) < wanted else None


def undone_projections(methods: Mapping[str, Method], optimizer: str, options: Mapping[str, object]) -> list[str]:
    """Return a warning for each method whose projection is lost in the optimizer's step.

    A step has to be a multiple of the projected gradient, or a sum of gradients projected onto the same space.

    Args:
        optimizer: name of the optimizer.
        options: options of the optimizer.
    """
    lines = []
    for name, method in methods.items():
        if method.role not in ("steers", "confines") or type(method).stepped is not Method.stepped:
            continue  # those with `stepped` project the step itself
        if optimizer != "sgd":
            why, fix = f"optimizer={optimizer} makes other steps of it", "optimizer=sgd optimizer.momentum=0"
        elif options.get("weight_decay"):
            why, fix = "weight decay leaves the allowed directions", "optimizer.weight_decay=0"
        elif options.get("momentum") and method.role != "confines":
            why, fix = "momentum adds removed directions again", "optimizer.momentum=0"
        else:
            continue
        lines.append(f"{name} projects the gradient, and {why}: its paper's guarantee does not hold. Use {fix}")
    return lines


def used_before_training(task: int, limit: str) -> str:
    """Return a warning about a task whose rows or passes were used up before its training.

    Args:
        limit: the limit's name.
    """
    what = f"at the end of the task before, methods used as many rows as budget.{limit} allows for this task"
    return f"task {task + 1}: {what}, so nothing is trained in it"


def while_training(task: int, first: float, loss: float, notes: Mapping[str, float]) -> dict[str, str]:
    """Return the warnings about a line of the log, each with a name, so that it is given only once in a task.

    Args:
        first: the training loss of the task's first line.
        notes: numbers that methods noted.
    """
    found = {"idle": idle_penalty(notes, task), "rising": rising(first, loss)}
    return {name: line for name, line in found.items() if line is not None}


def idle_penalty(notes: Mapping[str, float], task: int) -> str | None:
    """Return a warning if a penalty has no gradient after the first task."""
    if task > 0 and notes.get("penalty_gradient", 1.0) < NEAR:
        return "the penalty has had no gradient since the first task: it has no effect. Use a larger strength"
    return None


def known_task_hurts(row: Sequence[float | None], task_row: Sequence[float | None]) -> str | None:
    """Return a warning if accuracy is lower when the task is known, which indicates a bug in gradinc."""
    for task, (of_all, in_task) in enumerate(zip(row, task_row, strict=True)):
        if of_all is not None and in_task is not None and in_task < of_all - NEAR:
            return f"on task {task + 1} the accuracy is lower among the task's own classes than among all: a mistake"
    return None


def rising(first: float | None, last: float | None) -> str | None:
    """Return a warning if the training loss at the end of a task is far above its first value."""
    if first is not None and last is not None and last > 3 * max(first, 0.1):
        return f"the training loss rose from {first:.3g} to {last:.3g} within the task. Use a smaller optimizer.lr"
    return None


def without_past(config: Config, methods: Mapping[str, Method], stream: Stream) -> list[str]:
    """Return a warning if methods or keys have no effect before the second task, and the run trains on one task."""
    if len(stream) > 1:
        return []
    idle = [f"strategy.methods.{name}" for name, method in methods.items() if method.needs_past]
    if stream.tested == 1 and config.stream.data in ("joint", "cumulative"):
        idle.append(f"stream.data={config.stream.data}")
    if config.stream.restart != "nothing":
        idle.append(f"stream.restart={config.stream.restart}")
    if config.schedule.task_factor != 1:
        idle.append(f"schedule.task_factor={config.schedule.task_factor:g}")
        if has_floor(config.schedule):
            idle.append(f"schedule.task_floor={config.schedule.task_floor:g}")
    if not idle:
        return []
    one = len(idle) == 1
    trains = "stream.data=joint trains on all tasks as one" if stream.tested > 1 else "this run has one"
    return [
        f"{', '.join(idle)}: {'acts' if one else 'act'} from the second task on, and {trains}: "
        f"training is the same without {'it' if one else 'them'}"
    ]


def has_floor(schedule: ScheduleSection) -> bool:
    """Return whether ``schedule.task_floor`` can bound the factor of a later task."""
    return schedule.task_floor > 0 and schedule.task_factor < 1


def without_other_key(config: Config) -> list[str]:
    """Return a warning for each common key that only has an effect with a value of another key.

    They are no errors: a sweep or a strategy's file can set them for other runs.
    """
    schedule, stream, lines = config.schedule, config.stream, []
    if schedule.task_floor > 0 and not has_floor(schedule):
        lines.append(f"schedule.task_floor={schedule.task_floor:g}: has no effect without schedule.task_factor below 1")
    if schedule.warmup_factor is not None and schedule.warmup == 0:
        lines.append(f"schedule.warmup_factor={schedule.warmup_factor:g}: has no effect without schedule.warmup")
    if schedule.updates is not None and not _spans(schedule, schedule.updates):
        lines.append(f"schedule.updates={schedule.updates}: has no effect with schedule={schedule.name}")
    if stream.memory != StreamSection.memory and stream.data != "memory":
        lines.append(f"stream.memory={stream.memory}: has no effect without stream.data=memory")
    return lines


def _spans(schedule: ScheduleSection, updates: int) -> bool:
    """Return whether a schedule depends on the number of updates."""
    factor = partial(load_part("schedule", schedule.name), **schedule.options)
    return any(factor(update, updates) != factor(update, 2 * updates) for update in (updates // 2, updates))


def fewer_samples(stream: Stream) -> list[str]:
    """Return a warning if some tasks have fewer training rows than ``stream.samples_per_task``."""
    most = stream.options.samples_per_task
    if most is None:
        return []
    sizes = [stream.size("train", task) for task in range(stream.tested)]
    if (few := sum(size < most for size in sizes)) == 0:
        return []
    has, takes = ("has", "it takes all of its rows") if few == 1 else ("have", "they take all of their rows")
    which = f"{few} of {len(sizes)} tasks {has} fewer training rows, the smallest {min(sizes):,}"
    return [f"stream.samples_per_task={most}: {which}; {takes}"]


def resting_norms(methods: Mapping[str, Method], model: nn.Module, tasks: int) -> list[str]:
    """Return a warning for each method that stops training the model's normalisations after the first task."""
    norms = [m for m in model.modules() if isinstance(m, NORMS)]
    own = {
        "statistics": any(isinstance(m, BATCH_NORMS) and m.track_running_stats for m in norms),
        "weights": any(p.requires_grad for m in norms for p in m.parameters(recurse=False)),
    }
    lines = []
    for name, method in methods.items():
        rests = [part for part in own if own[part] and part in method.rests]
        if rests and tasks > 1:
            lines.append(
                f"{name} does not change the {' and '.join(rests)} of the model's normalisations after the first task, "
                "so that old outputs stay the same: they do not adapt to later tasks"
            )
    return lines


def rows_alone(methods: Mapping[str, Method], rule: str, learner: Learner) -> list[str]:
    """Return a warning if gradients of single rows are needed and the model needs a separate pass for each row."""
    names = [name for name, method in methods.items() if method.by_row]
    names += [rule] if learner.window.rule.by_row else []
    if not names or (layer := learner.passes.layers.unknown) is None:
        return []
    one = len(names) == 1
    needs = f"{' and '.join(names)} {'needs' if one else 'need'} each row's gradient"
    return [f"{needs}, and {layer} is no layer whose gradients all rows have together: each row is a pass of its own"]


def missing_classes(stream: Stream) -> list[str]:
    """Return a warning for each part of the data without any row of some classes."""
    lines = []
    for dataset in {id(each.dataset): each.dataset for each in stream.experiences}.values():
        if dataset.classes is None:
            continue
        counts = [getattr(dataset, part).y.bincount(minlength=len(dataset.classes)) for part in DATA_PARTS]
        rows: Tensor = sum(counts[1:], counts[0])
        for part, found in zip(DATA_PARTS, counts, strict=True):
            missing = (found == 0).nonzero().flatten().tolist() if int(found.sum()) else []
            if missing:
                named = ", ".join(
                    f"{dataset.classes[label]} ({int(rows[label])} in all)" for label in missing[:MOST_NAMES]
                )
                more = f" and {len(missing) - MOST_NAMES:,} more" if len(missing) > MOST_NAMES else ""
                done = {
                    "train": "are not trained",
                    "validation": "do not count in validation",
                    "test": "are not tested",
                }
                lines.append(f"data={dataset.name}: classes without {part} rows {done[part]}: {named}{more}")
    return lines


def given_answers(stream: Stream) -> list[str]:
    """Return a warning if tasks have one class and the task of a test row is known, and so its class."""
    if stream.protocol is None or stream.labels is None or stream.protocol.scenario == "class":
        return []
    single = [task + 1 for task, own in enumerate(stream.labels.of_task) if len(own) == 1]
    if not single or (stream.protocol.scenario == "domain" and stream.setting.outputs > 1):
        return []
    which = "every task has" if len(single) == stream.tested else f"{len(single)} of {stream.tested} tasks have"
    return [f"{which} one class only: its accuracy is 100 % without any training ({stream.protocol})"]
