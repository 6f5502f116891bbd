"""A sequence of tasks: learning and forgetting of each task."""

from __future__ import annotations

from dataclasses import replace

from gradinc.records import summary
from gradinc.records.curves import Points
from gradinc.records.groups import RunGroup
from gradinc.records.matrix import accuracy_matrix, forgetting_curve, mean_accuracy, mean_matrix, together
from gradinc.records.metrics import Matrix
from gradinc.records.statistics import estimate
from gradinc.studies.report.charts import Line, chart, heat_map_figure
from gradinc.studies.report.document import Entry, Figure, ReportTable, Section
from gradinc.studies.report.subject import Page

_KINDS = {"matrix": "", "task_matrix": ", with the task known"}
"""Matrices of a result, and their titles."""

_OF_TOKENS = {"perplexity_matrix": "perplexity", "bits_per_byte_matrix": "bits per byte"}
"""Matrices of a language model's result, which are no shares, and their measures."""

DEFINITIONS = (
    "R[i,j] is the test accuracy on task j after i tasks. Mean accuracy after i tasks: the mean of R[i,j] over j ≤ i. "
    "Forgetting after i tasks: the mean over j < i of (the best R[k,j] with j ≤ k < i) − R[i,j]."
)
_MOST_TASKS = 10
"""Largest number of tasks whose lines have colours."""

MOST_MATRICES = 24
"""Largest number of settings with figures of their own: a matrix and the accuracy on each task."""

_MOST_COLUMNS = 200
"""Largest number of tasks for which the matrix is also a table; ``result.json`` has every matrix."""


def tasks_section(page: Page) -> Section | None:
    """Accuracy matrices, and the curves that are computed from them; None if no run has a matrix."""
    subject = page.subject
    figures, tables = [], []
    for kind, words in _KINDS.items():
        own = {one: mean_matrix(found) for one in subject.settings if (found := _of_one_shape(one, kind))}
        if own:
            figures += _over_tasks(page, own, kind)
        for one in [one for one in subject.styles if one in own][:MOST_MATRICES]:
            name = "accuracy matrix" + words + (f": {one.name}" if len(subject.settings) > 1 else "")
            figures.append(Figure(heat_map_figure(page.numbers, name, own[one]), f"{name} (columns: tasks)"))
            tables += [_table(name, own[one])] if len(own[one][0]) <= _MOST_COLUMNS else []
        for one in [one for one in subject.styles if one in own and not together(own[one])][:MOST_MATRICES]:
            figures.append(_each_task(page, own[one], words, one.name if len(subject.settings) > 1 else ""))
    for kind, name in _OF_TOKENS.items():
        for one in list(subject.styles)[:MOST_MATRICES]:
            found = _of_one_shape(one, kind)
            if found and len(found[0][0]) <= _MOST_COLUMNS:
                title = f"{name} matrix" + (f": {one.name}" if len(subject.settings) > 1 else "")
                tables.append(_table(title, mean_matrix(found), name))
    if not figures:
        return None
    figures += _stability(page)
    protocols = sorted({run.protocol for run in subject.runs if run.protocol})
    notes = [
        DEFINITIONS,
        f"Metrics in the tables: {'; '.join(summary.MEASURES.values())}.",
        *([f"Protocol: {'; '.join(protocols)}."] if protocols else []),
    ]
    if len(subject.runs) > len(subject.settings):
        notes.append("A matrix is the mean of its setting's finished runs.")
    if subject.part == "validation":
        notes.append("These runs use no test rows: accuracies are on validation rows.")
    if any(run.value("config", "stream", "scored_tasks") is not None for run in subject.runs):
        notes.append("The metrics in the tables are of the scored tasks only; the figures show all tasks.")
    return Section("Tasks", [*notes, *_undefined(page)], subject.legend, figures, tables=tables)


def _of_one_shape(one: RunGroup, kind: str) -> list[Matrix]:
    found = [matrix for run in one.drawn if (matrix := accuracy_matrix(run, kind)) is not None]
    return [m for m in found if (len(m), len(m[0])) == (len(found[0]), len(found[0][0]))]


def _over_tasks(page: Page, own: dict[RunGroup, Matrix], kind: str) -> list[Figure]:
    """Mean accuracy and forgetting after each task, of all settings."""
    figures = []
    count = max(len(matrix[0]) for matrix in own.values())
    for name, points in (("mean accuracy", mean_accuracy), ("forgetting", forgetting_curve)):
        curves: dict[RunGroup, list[Points]] = {
            one: [points(matrix) for run in one.drawn if (matrix := accuracy_matrix(run, kind)) is not None]
            for one in own
        }
        title = f"{name}{_KINDS[kind]}"
        picture = chart(
            page.numbers, title, page.subject.lines(curves), "tasks learnt", percent=True, ticks=_ticks(count)
        )
        if picture:
            figures.append(Figure(picture, f"{title} after each task"))
    return figures


def _stability(page: Page) -> list[Figure]:
    """Stability (BWT) against plasticity (LA) of the settings, with 95 % intervals of the stability."""
    lines = []
    for line in page.subject.with_places({}):
        one = next(one for one, place in page.subject.places.items() if place == line.place)
        found = [
            estimate([v for run in one.finished if (v := run.number("result", "metrics", name)) is not None], between)
            for name, between in (("la", (0.0, 1.0)), ("bwt", (-1.0, 1.0)))
        ]
        if found[0] is not None and found[1] is not None:
            x = 100 * found[0].mean
            errors = [(x, *found[1].interval)] if found[1].interval is not None else []
            points = [(x, found[1].mean)]
            lines.append(replace(line, points=points, errors=errors, style=f"{line.style} dots", dots=True))
    if not lines:
        return []
    title = "stability (BWT) against plasticity (LA)"
    picture = chart(page.numbers, title, lines, "learning accuracy, %", percent=True)
    return [Figure(picture, f"{title}; up and right is better")]


def _ticks(tasks: int) -> list[tuple[float, str]]:
    return [(float(task), str(task)) for task in range(1, tasks + 1)]


def _each_task(page: Page, matrix: Matrix, words: str, setting: str) -> Figure:
    """Return the accuracy on every task during the training on later tasks."""
    lines = []
    for j in range(len(matrix[0])):
        points = [(float(i), v) for i in range(j + 1, len(matrix)) if (v := matrix[i][j]) is not None]
        style = f"c{j + 1}" if len(matrix[0]) <= 6 else "faint" if len(matrix[0]) > _MOST_TASKS else f"c{j % 6 + 1}"
        lines.append(Line(f"task {j + 1}", points, style, dots=len(matrix[0]) <= 6))
    title = f"accuracy on each task{words}" + (f": {setting}" if setting else "")
    return Figure(
        chart(page.numbers, title, lines, "tasks learnt", percent=True, ticks=_ticks(len(matrix[0]))),
        f"{title}, each from the end of its training",
    )


def _table(name: str, matrix: Matrix, measure: str = "accuracy") -> ReportTable:
    head = ["after task", *(f"on {j}" for j in range(1, len(matrix[0]) + 1))]
    rows = []
    for i, row in enumerate(matrix):
        after = "none" if i == 0 else "all" if together(matrix) else str(i)
        rows.append([Entry(after), *(Entry(_cell(v, measure), v) for v in row)])
    return ReportTable(name, head, rows, folded=True)


def _cell(value: float | None, measure: str) -> str:
    return summary.score_text(value, measure).removeprefix(f"{measure} ")


def _undefined(page: Page) -> list[str]:
    """Return the reasons for measures without a number, one sentence for each reason."""
    reasons: dict[str, dict[str, None]] = {}
    for run in page.subject.runs:
        found = run.value("result", "undefined")
        for name, reason in found.items() if isinstance(found, dict) else ():
            reasons.setdefault(str(reason), {})[str(name)] = None
    return [f"Not defined: {', '.join(names)} ({reason})." for reason, names in list(reasons.items())[:8]]
