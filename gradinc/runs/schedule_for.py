"""The schedule of a config, over the updates that its budget allows."""

from __future__ import annotations

from gradinc.base.errors import UserError
from gradinc.config.schema import Config
from gradinc.core.due import Due
from gradinc.core.plan import plan, usable
from gradinc.core.schedules import Schedule
from gradinc.data.stream import Stream
from gradinc.runs.budget import limits


def schedule_for(config: Config, due: Due, rows: int, stream: Stream | None, processes: int) -> Schedule:
    """Return the schedule over the updates that the budget allows, or over ``schedule.updates`` updates.

    Args:
        rows: training rows of a task.
        stream: the sequence of tasks, if there is more than one task.
        processes: the processes that share each window: it has the micro-batches of all of them.

    Raises:
        UserError: ``last=drop`` leaves no window in an epoch.
    """
    window, schedule = config.strategy.window, config.schedule
    batch = config.data.batch_size
    size = due.size(0, window.size, batch) * processes
    spans = plan(usable(rows, batch, window.last), size, 0, window.last)
    per_epoch = sum(span.closes for span in spans) * config.stream.updates_per_batch
    least = rows if stream is None else min(stream.lengths)
    if window.last == "drop" and least < size * batch:
        of = "" if least == rows else " of the smallest task"
        raise UserError(
            "strategy.window.last=drop",
            f"an epoch{of} has fewer than the {size * batch:,} rows of a window, so no update would be made",
            "Use last=flush or a smaller window",
        )
    updates, work = schedule.updates, None
    if updates is None:
        known = limits(config.budget, rows, stream)
        trained = sum(span.count for span in spans) * batch if window.last == "drop" else rows
        updates = known.updates(trained, per_epoch) if due.steady else known.steps
        work = known.work(batch)
    return Schedule(
        schedule.name,
        schedule.options,
        warmup=schedule.warmup,
        warmup_factor=schedule.warmup_factor,
        updates=updates,
        rows=work,
        task_factor=schedule.task_factor,
        task_floor=schedule.task_floor,
    )
