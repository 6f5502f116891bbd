"""Metrics of learning task after task: pure functions of the accuracy matrix.

R[i][j] is the accuracy on task j after the training on i tasks, a share of 1; row 0 is before any training. There
are T tasks. A cell that was not measured is None. A metric that is not defined is a reason, never a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Matrix = Sequence[Sequence[float | None]]
"""Accuracy on each task (columns) before training (first row) and after each task (the other rows).

A run that was trained on all tasks together has two rows: before training, and after all tasks.
"""

ONE_TASK = "there is one task only"
UNMEASURED = "not measured"
TOGETHER = "all tasks were trained on together"


class Undefined(Exception):
    """A metric has no value; the text gives the reason."""


def acc(matrix: Matrix) -> float:
    """Average accuracy at the end: mean over j of R[T][j] (Lopez-Paz & Ranzato 2017, arXiv 1706.08840)"""
    return _mean(_row(matrix, len(matrix) - 1))


def aia(matrix: Matrix) -> float:
    """Average incremental accuracy: mean over i of the mean over j ≤ i of R[i][j]"""
    return _mean([_mean(_row(matrix, i)[:i]) for i in _steps(matrix)])


def la(matrix: Matrix) -> float:
    """Learning accuracy: mean over j of R[j][j], each task just learned (Riemer et al. 2019, arXiv 1810.11910)"""
    return _mean([_cell(matrix, j, j - 1) for j in _steps(matrix)])


def bwt(matrix: Matrix) -> float:
    """Backward transfer: mean over j < T of R[T][j] − R[j][j], over T − 1 (arXiv 1706.08840, equation 3)"""
    last = len(_steps(matrix))
    _several(matrix)
    return _mean([_cell(matrix, last, j - 1) - _cell(matrix, j, j - 1) for j in range(1, last)])


def forgetting(matrix: Matrix) -> float:
    """Forgetting: mean over j < T of max over j ≤ i < T of R[i][j], minus R[T][j] (Chaudhry et al. 2018, 1801.10112)"""
    last = len(_steps(matrix))
    _several(matrix)
    best = [max(_cell(matrix, i, j - 1) for i in range(j, last)) for j in range(1, last)]
    return _mean([high - _cell(matrix, last, j) for j, high in enumerate(best)])


def fwt(matrix: Matrix) -> float:
    """Forward transfer: mean over j > 1 of R[j−1][j] − R[0][j] (arXiv 1706.08840, equation 4)"""
    last = len(_steps(matrix))
    _several(matrix)
    return _mean([_cell(matrix, j - 1, j - 1) - _cell(matrix, 0, j - 1) for j in range(2, last + 1)])


METRICS: dict[str, Callable[[Matrix], float]] = {
    "acc": acc,
    "aia": aia,
    "la": la,
    "bwt": bwt,
    "forgetting": forgetting,
    "fwt": fwt,
}
"""The metrics of a single run, by name."""


LEFT_OUT: dict[str, tuple[str, ...]] = {
    "needed": ("aia", "forgetting"),
    "current": ("aia", "forgetting", "fwt"),
    "none": tuple(METRICS),
}
"""Metrics that need other accuracies than a value of ``evaluate.tasks`` measures."""


MOST_SEEN = 100
"""Largest number of tasks for which ``evaluate.tasks=auto`` measures all tasks so far after each task."""


def measured_tasks(chosen: str, tasks: int) -> str:
    """Return the value of ``evaluate.tasks``; auto depends on the number of tasks that are trained one by one."""
    if chosen != "auto":
        return chosen
    return "seen" if tasks <= MOST_SEEN else "current"


def measured_metrics(
    matrix: Matrix, scored: Sequence[int] | None = None, measured: str = "needed"
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return all metrics of a matrix.

    Args:
        scored: the tasks that count, a contiguous range; by default all. The stream then begins with the first of
            them, untrained as it was at that time.
        measured: the value of ``evaluate.tasks`` that the reasons name.

    Returns:
        The metrics by name, None for an undefined metric; and the reason for each undefined metric.
    """
    if measured == "none" and len(matrix) == 0:
        return dict.fromkeys(METRICS), dict.fromkeys(METRICS, _unmeasured(measured))
    matrix = _scored(matrix, scored)
    values: dict[str, float | None] = {}
    reasons = {}
    for name, metric in METRICS.items():
        try:
            values[name] = metric(matrix)
        except Undefined as reason:
            text = str(reason)
            values[name], reasons[name] = None, _unmeasured(measured) if text == UNMEASURED else text
    return values, reasons


def _unmeasured(measured: str) -> str:
    return f"{UNMEASURED} with evaluate.tasks={measured}"


def _scored(matrix: Matrix, scored: Sequence[int] | None) -> Matrix:
    if scored is None or len(matrix) == 0 or len(scored) == len(matrix[0]) or len(matrix) != len(matrix[0]) + 1:
        return matrix
    columns = slice(scored[0], scored[-1] + 1)
    return [list(row)[columns] for row in list(matrix)[scored[0] :]]


def _steps(matrix: Matrix) -> range:
    """Return the numbers of the rows after training."""
    if len(matrix) < 2:
        raise Undefined("no task is done")
    if len(matrix) != len(matrix[0]) + 1:
        raise Undefined(TOGETHER)
    return range(1, len(matrix))


def _several(matrix: Matrix) -> None:
    if len(matrix[0]) < 2:
        raise Undefined(ONE_TASK)


def _row(matrix: Matrix, i: int) -> list[float | None]:
    if len(matrix) < 2:
        raise Undefined("no task is done")
    return list(matrix[i])


def _cell(matrix: Matrix, i: int, j: int) -> float:
    value = matrix[i][j]
    if value is None:
        raise Undefined(UNMEASURED)
    return value


def _mean(values: Sequence[float | None]) -> float:
    found = [value for value in values if value is not None]
    if len(found) != len(values) or not found:
        raise Undefined(UNMEASURED)
    return sum(found) / len(found)
