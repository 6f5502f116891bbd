"""Online measures: the accuracy or MSE on the rows of each task, each predicted before it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradinc.records.curves import GRID, Band, Points, thinned
from gradinc.records.groups import RunGroup
from gradinc.records.recorded import RecordedRun
from gradinc.records.statistics import estimate


def online_curves(settings: Iterable[RunGroup]) -> dict[RunGroup, list[Points]]:
    """Return the online measure over the number of the task, for each setting with runs of two tasks or more."""
    curves = {one: [found for run in one.drawn if len(found := _curve(run)) > 1] for one in settings}
    return {one: found for one, found in curves.items() if found}


def are_errors(settings: Iterable[RunGroup]) -> bool:
    """Return whether the measure is the MSE of a regression in all runs, instead of an accuracy."""
    return all(run.value("result", "metrics", "online_mse") is not None for one in settings for run in one.drawn)


def mean_of_tasks(curves: Sequence[Points], *, errors: bool, parts: int = GRID) -> tuple[Points, Band]:
    """Return the mean of curves with its 95 % interval, as far as all of them reach.

    More tasks than `parts` are divided into as many equal parts, and a point is the mean of a part.

    Args:
        errors: whether the measure is an error; an accuracy is between 0 and 1.
    """
    tasks = min(len(points) for points in curves)
    line, band = [], []
    for each in zip(*(thinned(points[:tasks], parts)[0] for points in curves), strict=True):
        found = estimate([y for _, y in each], None if errors else (0.0, 1.0))
        assert found is not None
        line.append((each[0][0], found.mean))
        if found.interval is not None:
            band.append((each[0][0], *found.interval))
    return line, band


def _curve(run: RecordedRun) -> Points:
    column = run.columns.get(("task_online",))
    return [] if column is None else [(float(task), value) for task, value in enumerate(column.values, start=1)]
