"""The kinds of figures: curves, average, tasks and online accuracy over time, accuracy matrices, bars, and sweeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config.names import choose, short
from gradinc.records.curves import curve, with_interval
from gradinc.records.groups import RunGroup, value_order
from gradinc.records.matrix import accuracy_matrix, mean_accuracy, mean_matrix, together
from gradinc.records.metrics import Matrix
from gradinc.records.online import are_errors, mean_of_tasks, online_curves
from gradinc.records.recorded import finite
from gradinc.records.results import ResultTable, bounds, is_share
from gradinc.studies.figures.layout import finish, label_axes, panels, slant, whole_ticks
from gradinc.studies.figures.style import colour, look, marker_of, paper_style

_MOST_POINTS = 20
"""Largest number of tasks with a tick each."""

WIDE_RANGE = 8.0
"""Ratio of values above which an axis is logarithmic."""

MOST_PANELS = 12
"""Largest number of settings that have a panel each."""

BRIGHT = 0.55
"""Accuracy above which a cell needs dark letters."""


TASK_POINTS = 20
"""Points of the online accuracy; more tasks are divided into equal parts."""


@dataclass(frozen=True)
class Request:
    """A figure that was asked for.

    Attributes:
        table: the runs, their settings and their metrics.
        width, height: size in inches; without a height it follows from the width.
        over: the horizontal axis of curves.
        key: the key on the horizontal axis of a sweep.
    """

    table: ResultTable
    width: float
    height: float | None = None
    over: str = "samples"
    key: str | None = None


def draw(kind: str, request: Request) -> Any:
    """Return the figure of a kind.

    Raises:
        UserError: the kind is unknown, or the runs do not have what it shows.
    """
    if kind not in FIGURES:
        raise UserError(kind, "no such figure", choose(kind, list(FIGURES)))
    with paper_style():
        return FIGURES[kind](request)


def draw_curves(request: Request) -> Any:
    """Numbers of the log during training: the mean of a setting's runs, and its 95 % interval."""
    from matplotlib.ticker import LogFormatter

    table, names = request.table, request.table.metrics
    figure, axes = panels(request.width, request.height, len(names))
    for axis, name in zip(axes, names, strict=True):
        keys = tuple(name.split("."))
        share, between = is_share(name, table.runs), bounds(name, table.runs)
        any_line = False
        for index, one in enumerate(table.settings):
            line, band = with_interval([curve(run, request.over, *keys) for run in one.drawn], between)
            any_line |= bool(line)
            _line(axis, index, table.named(one.name), line, band, scale=100 if share else 1)
        if not any_line:
            raise UserError(name, f"no log has it over {request.over}", "Such as train.loss or validation.accuracy")
        label_axes(axis, request.over, _with_unit(table.named(name.replace(".", " ")), share))
        if not share and keys[-1] == "loss":
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    finish(request.height, figure, axes)
    return figure


def draw_average(request: Request) -> Any:
    """Average accuracy on the tasks so far after each task, and its 95 % interval."""
    figure, (axis,) = panels(request.width, request.height, 1)
    tasks = 0
    for index, one in enumerate(_with_matrix(request.table)):
        found = [mean_accuracy(matrix) for matrix in _matrices(one)]
        line, band = with_interval(found, (0.0, 1.0))
        tasks = max(tasks, *(int(x) for x, _ in line)) if line else tasks
        _line(axis, index, request.table.named(one.name), line, band, scale=100, marker=marker_of(index))
    label_axes(axis, "tasks learnt", "average accuracy (%)")
    whole_ticks(axis, tasks)
    finish(request.height, figure, [axis])
    return figure


def draw_tasks(request: Request) -> Any:
    """Accuracy on each task after each task, one panel for each setting; the black line is the average so far."""
    settings = _with_matrix(request.table)
    figure, axes = panels(request.width, request.height, len(settings))
    for axis, one in zip(axes, settings, strict=True):
        matrix = mean_matrix(_matrices(one))
        if together(matrix):
            raise UserError(one.name, "trained on all tasks together, so it has no tasks over time", "Leave it out")
        count = len(matrix[0])
        for j in range(count):
            points = [(i, 100 * v) for i in range(j + 1, count + 1) if (v := matrix[i][j]) is not None]
            axis.plot(*zip(*points, strict=True), **_shade(j, count), marker=".")
        mean = mean_accuracy(matrix)
        if mean:
            axis.plot([x for x, _ in mean], [100 * y for _, y in mean], color="black", linewidth=1.6)
        label_axes(axis, "tasks learnt", "accuracy (%)")
        whole_ticks(axis, count)
        axis.set_title(request.table.named(one.name))
        axis.set_ylim(-2, 102)
    finish(request.height, figure, axes)
    return figure


def draw_online(request: Request) -> Any:
    """Online accuracy, or MSE, of each task, before its rows are trained on: mean and 95 % interval."""
    curves = online_curves(request.table.settings)
    if not curves:
        raise UserError(
            "gradinc figure", "none of these runs has several tasks", "Train with a stream, as stream=split"
        )
    figure, (axis,) = panels(request.width, request.height, 1)
    errors = are_errors(curves)
    for index, (one, found) in enumerate(curves.items()):
        line, band = mean_of_tasks(found, errors=errors, parts=TASK_POINTS)
        _line(axis, index, request.table.named(one.name), line, band, scale=1 if errors else 100)
    label_axes(axis, "task", "online MSE" if errors else "online accuracy (%)", zero=False)
    if max(len(points) for found in curves.values() for points in found) <= _MOST_POINTS:
        whole_ticks(axis, max(int(x) for found in curves.values() for points in found for x, _ in points))
    finish(request.height, figure, [axis])
    return figure


def draw_matrices(request: Request) -> Any:
    """Accuracy matrices side by side, with one scale of colours: rows after each task, columns for each task."""
    settings = _with_matrix(request.table)
    figure, axes = panels(request.width, request.height, len(settings), ratio=0.95)
    image = None
    for axis, one in zip(axes, settings, strict=True):
        found = mean_matrix(_matrices(one))
        rows = found[1:]
        values = [[math.nan if value is None else 100 * value for value in row] for row in rows]
        image = axis.imshow(values, vmin=0, vmax=100, cmap="cividis", aspect="auto")
        axis.grid(visible=False)
        axis.set_title(request.table.named(one.name))
        axis.set_xlabel("accuracy on task")
        axis.set_ylabel("after task")
        step = 1 + (len(found[0]) - 1) // 10
        axis.set_xticks(range(0, len(found[0]), step), range(1, len(found[0]) + 1, step))
        axis.set_yticks(range(0, len(rows), step), ["all"] if together(found) else range(1, len(rows) + 1, step))
        if len(found[0]) <= 6:
            for i, row in enumerate(values):
                for j, value in enumerate(row):
                    if value == value:
                        shade = "black" if value > 100 * BRIGHT else "white"
                        axis.text(j, i, f"{value:.0f}", ha="center", va="center", color=shade, fontsize=6)
    finish(request.height, figure, axes)
    figure.colorbar(image, ax=list(axes), label="accuracy (%)", shrink=0.9, aspect=10 * figure.get_figheight())
    return figure


def draw_bars(request: Request) -> Any:
    """Means of settings with their 95 % intervals, one panel for each metric."""
    table = request.table
    figure, axes = panels(request.width, request.height, len(table.metrics))
    for axis, name in zip(axes, table.metrics, strict=True):
        scale = 100 if name in table.shares else 1
        for index, one in enumerate(table.settings):
            if (found := table.found(one, name)) is None:
                continue
            mean = scale * found.mean
            low, high = (scale * end for end in found.interval) if found.interval else (mean, mean)
            axis.bar(index, mean, color=colour(index), width=0.7)
            axis.errorbar(index, mean, [[mean - low], [high - mean]], color="black", capsize=2, linewidth=0.8)
        names = [table.named(one.name) for one in table.settings]
        room = request.width / axis.get_gridspec().ncols - 0.5
        axis.set_xticks(range(len(names)), names, **slant(names, room))
        axis.grid(visible=False, axis="x")
        axis.set_ylabel(_with_unit(table.named(name), name in table.shares))
    return figure


def draw_sweep(request: Request) -> Any:
    """A metric over a key, with 95 % intervals: a line for each combination of the other keys that differ."""
    table = request.table
    key = _swept(table, request.key)
    numeric = all(_number(one.values[key]) is not None for one in table.settings)
    values = sorted({one.values[key] for one in table.settings}, key=value_order)
    places = {value: float(value) if numeric else float(place) for place, value in enumerate(values)}
    families: dict[str, list[RunGroup]] = {}
    others = [each for each in table.keys if each != key]
    for one in table.settings:
        families.setdefault(_family(one, others), []).append(one)
    figure, axes = panels(request.width, request.height, len(table.metrics))
    for axis, name in zip(axes, table.metrics, strict=True):
        scale = 100 if name in table.shares else 1
        for index, (family, members) in enumerate(families.items()):
            points = []
            for one in members:
                if (found := table.found(one, name)) is not None:
                    low, high = found.interval or (found.mean, found.mean)
                    points.append((places[one.values[key]], *(scale * v for v in (found.mean, low, high))))
            points.sort()
            xs, means = [p[0] for p in points], [p[1] for p in points]
            errors = [[p[1] - p[2] for p in points], [p[3] - p[1] for p in points]]
            style = {**look(index), "marker": marker_of(index), "capsize": 2, "elinewidth": 0.7}
            axis.errorbar(xs, means, errors, label=table.named(family), **style)
        if numeric and min(places.values()) > 0 and max(places.values()) / min(places.values()) >= WIDE_RANGE:
            axis.set_xscale("log")
        if not numeric:
            axis.set_xticks(list(places.values()), values)
        label_axes(
            axis,
            table.named(short(key, table.keys)),
            _with_unit(table.named(name), name in table.shares),
            zero=False,
        )
    finish(request.height, figure, axes)
    return figure


FIGURES: dict[str, Callable[[Request], Any]] = {
    "curves": draw_curves,
    "average": draw_average,
    "tasks": draw_tasks,
    "online": draw_online,
    "matrix": draw_matrices,
    "bars": draw_bars,
    "sweep": draw_sweep,
}
"""The kinds of figures, by name."""


def _line(axis: Any, index: int, name: str, line: Any, band: Any, *, scale: float, **style: Any) -> None:
    if not line:
        return
    if len(line) == 1:  # a line through one point has no length
        style["marker"] = marker_of(index)
    axis.plot([x for x, _ in line], [scale * y for _, y in line], label=name, **look(index), **style)
    if band:
        ends = [scale * low for _, low, _ in band], [scale * high for _, _, high in band]
        axis.fill_between([x for x, _, _ in band], *ends, color=colour(index), alpha=0.18, linewidth=0)


def _shade(task: int, count: int) -> dict[str, Any]:
    if count <= 8:
        return {"color": colour(task), "label": f"task {task + 1}"}
    from matplotlib import colormaps

    return {"color": colormaps["cividis"](task / count), "linewidth": 0.8}


def _with_unit(name: str, share: bool) -> str:
    return f"{name} (%)" if share else name


def _matrices(one: RunGroup) -> list[Matrix]:
    found = [matrix for run in one.drawn if (matrix := accuracy_matrix(run)) is not None]
    return [m for m in found if (len(m), len(m[0])) == (len(found[0]), len(found[0][0]))]


def _with_matrix(table: ResultTable) -> list[RunGroup]:
    found = [one for one in table.settings if _matrices(one)]
    if not found:
        raise UserError(
            "gradinc figure", "none of these runs has several tasks", "Train with a stream, as stream=split"
        )
    if len(found) > MOST_PANELS:
        what = f"would have {len(found)} settings, more than {MOST_PANELS}"
        raise UserError("gradinc figure", what, "Give fewer with a condition, such as strategy=er,finetune")
    return found


def _swept(table: ResultTable, key: str | None) -> str:
    """Return the key on the axis: the named one, else the one with the most numbers."""
    named = {short(each, table.keys): each for each in table.keys} | {each: each for each in table.keys}
    if key is not None and key not in named:
        raise UserError(f"--key {key}", "does not differ between these runs", choose(key, list(table.keys)))
    if key is not None:
        return named[key]
    counts = {each: len({one.values[each] for one in table.settings}) for each in table.keys}
    numbers = [each for each in counts if all(_number(one.values[each]) is not None for one in table.settings)]
    if not counts:
        raise UserError("gradinc figure sweep", "no key differs between these runs", "Give runs of a sweep")
    return max(numbers or list(counts), key=lambda each: counts[each])


def _family(one: RunGroup, keys: Sequence[str]) -> str:
    from gradinc.records.keys import label

    return label(one.values, keys) if keys else "all"


def _number(value: str) -> float | None:
    try:
        return finite(float(value))
    except ValueError:
        return None
