"""A sequence of tasks: learning and forgetting of each task."""

from __future__ import annotations

from dataclasses import replace

from gradinc.records import summary
from gradinc.records.curves import Points, average
from gradinc.records.groups import RunGroup
from gradinc.records.matrix import accuracy_matrix, forgetting_curve, mean_accuracy, mean_matrix, together
from gradinc.records.metrics import Matrix
from gradinc.records.statistics import estimate
from gradinc.studies.report.charts import Line, chart
from gradinc.studies.report.document import Entry, Figure, Gallery, ReportTable, Section
from gradinc.studies.report.heat_map import heat_map_figure
from gradinc.studies.report.subject import Page, Subject
from gradinc.studies.report.svg import STYLES

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
"""Largest number of tasks in the table; ``result.json`` has every matrix."""


def tasks_section(page: Page) -> Section | None:
    """Accuracy matrices, and the curves that are computed from them; None if no run has a matrix."""
    subject = page.subject
    own = {kind: _mean_matrices(subject, kind) for kind in _KINDS}
    if not any(own.values()):
        return None
    first = next(kind for kind in _KINDS if own[kind])
    figures = [figure for kind in _KINDS for figure in _over_tasks(page, own[kind], kind)] + _stability(page)
    galleries = [each for kind in _KINDS for each in _galleries(page, own[kind], kind, folded=kind != first)]
    tables = [_table(page, own[kind], f"accuracy matrix{words}") for kind, words in _KINDS.items() if own[kind]]
    for kind, name in _OF_TOKENS.items():
        if found := _mean_matrices(subject, kind):
            tables.append(_table(page, found, f"{name} matrix", name))
    protocols = sorted({run.protocol for run in subject.runs if run.protocol})
    notes = [
        DEFINITIONS,
        f"Metrics in the tables: {'; '.join(summary.MEASURES.values())}.",
        "Accuracy on each task: the line of task j begins at j, and the thick line is the mean accuracy.",
        *([f"Protocol: {'; '.join(protocols)}."] if protocols else []),
    ]
    if len(subject.runs) > len(subject.settings):
        notes.append("A matrix is the mean of its setting's finished runs. Bands are the range of the runs.")
    if subject.part == "validation":
        notes.append("These runs use no test rows: accuracies are on validation rows.")
    if any(run.value("config", "stream", "scored_tasks") is not None for run in subject.runs):
        notes.append("The metrics in the tables are of the scored tasks only; the figures show all tasks.")
    notes += _undefined(page)
    return Section("Tasks", notes, subject.legend, figures, galleries=galleries, tables=tables)


def _mean_matrices(subject: Subject, kind: str) -> dict[RunGroup, Matrix]:
    found = {one: _of_one_shape(one, kind) for one in subject.styles}
    return {one: mean_matrix(matrices) for one, matrices in found.items() if matrices}


def _galleries(page: Page, own: dict[RunGroup, Matrix], kind: str, *, folded: bool) -> list[Gallery]:
    """Return the matrices side by side, and the accuracy on each task of each setting."""
    words, drawn = _KINDS[kind], list(own.items())[:MOST_MATRICES]
    matrices, tasks = [], []
    for one, matrix in drawn:
        setting = one.name if len(page.subject.settings) > 1 else ""
        name = f"accuracy matrix{words}" + (f": {setting}" if setting else "")
        matrices.append(Figure(heat_map_figure(page.numbers, name, matrix), setting or name))
        if not together(matrix):
            tasks.append(_each_task(page, one, matrix, kind, setting))
    galleries = [
        Gallery(f"Accuracy matrices{words} (columns: tasks)", matrices, folded),
        Gallery(f"Accuracy on each task{words}, from the end of its training", tasks, folded),
    ]
    return [gallery for gallery in galleries if gallery.figures]


def _of_one_shape(one: RunGroup, kind: str) -> list[Matrix]:
    found = [matrix for run in one.drawn if (matrix := accuracy_matrix(run, kind)) is not None]
    return [m for m in found if (len(m), len(m[0])) == (len(found[0]), len(found[0][0]))]


def _over_tasks(page: Page, own: dict[RunGroup, Matrix], kind: str) -> list[Figure]:
    """Mean accuracy and forgetting after each task, of all settings."""
    figures = []
    count = max((len(matrix[0]) for matrix in own.values()), default=0)
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
            lines.append(replace(line, points=points, errors=errors, dots=True))
    if not lines:
        return []
    title = "stability (BWT) against plasticity (LA)"
    picture = chart(page.numbers, title, lines, "learning accuracy, %", percent=True)
    return [Figure(picture, f"{title}; up and right is better")]


def _ticks(tasks: int) -> list[tuple[float, str]]:
    return [(float(task), str(task)) for task in range(1, tasks + 1)]


def _each_task(page: Page, one: RunGroup, matrix: Matrix, kind: str, setting: str) -> Figure:
    """Return the accuracy on every task during the training on later tasks, and the mean over the tasks so far."""
    lines = []
    count = len(matrix[0])
    for j in range(count):
        points = [(float(i), v) for i in range(j + 1, len(matrix)) if (v := matrix[i][j]) is not None]
        style = f"c{j % STYLES + 1}" if count <= _MOST_TASKS else "faint"
        lines.append(Line(f"task {j + 1}", points, style, dots=count <= _MOST_TASKS))
    means = [mean_accuracy(found) for run in one.drawn if (found := accuracy_matrix(run, kind)) is not None]
    mean, band = average(means)
    lines.append(Line("mean over the tasks so far", mean, "mean", band))
    title = f"accuracy on each task{_KINDS[kind]}" + (f": {setting}" if setting else "")
    picture = chart(page.numbers, title, lines, "tasks learnt", percent=True, ticks=_ticks(count))
    return Figure(picture, setting or title)


def _table(page: Page, own: dict[RunGroup, Matrix], title: str, measure: str = "accuracy") -> ReportTable:
    several = len(page.subject.settings) > 1
    columns = min(max(len(matrix[0]) for matrix in own.values()), _MOST_COLUMNS)
    head = [*(["setting"] if several else []), "after task", *(f"on {j}" for j in range(1, columns + 1))]
    rows = []
    for one, matrix in own.items():
        for i, row in enumerate(matrix):
            after = "none" if i == 0 else "all" if together(matrix) else str(i)
            values = [*row, *[None] * columns][:columns]
            cells = [Entry(_cell(v, measure), v) for v in values]
            rows.append([*([Entry(one.name)] if several else []), Entry(after), *cells])
    return ReportTable(title, head, rows, folded=True)


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
