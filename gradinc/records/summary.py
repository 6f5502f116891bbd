"""The numbers of a run in the form shown to people; a missing number is a dash."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradinc.base.text import NONE, bytes_text, count_text, duration_text, number_text, percent_text
from gradinc.records.metrics import UNMEASURED
from gradinc.records.recorded import RecordedRun


def score_text(value: float | None, measure: str | None) -> str:
    """Return a score with its unit: ``99.16 %``, ``MSE 0.4812``, or ``perplexity 12.34``."""
    if value is None or measure is None:
        return NONE
    name = "MSE" if measure == "mse" else measure
    return percent_text(value, 2) if measure == "accuracy" else f"{name} {value:.4g}"


def chosen_text(value: float | None, measure: str | None) -> str:
    """Return the score that chose the best weights, with its unit: a language model is judged by its loss."""
    return score_text(value, "loss" if measure == "perplexity" else measure)


def score_shown(measures: dict[str, float] | None) -> str:
    """Return the main measure of a model: accuracy, perplexity, or MSE and R²."""
    if not measures:
        return NONE
    if "perplexity" in measures:
        return f"perplexity {measures['perplexity']:.2f}"
    if "accuracy" in measures:
        return score_text(measures["accuracy"], "accuracy")
    return f"{score_text(measures['mse'], 'mse')}, R² {measures['r2']:.3f}"


MEASURES = {
    "acc": "ACC, average accuracy at the end",
    "aia": "AIA, average incremental accuracy",
    "la": "LA, learning accuracy",
    "bwt": "BWT, backward transfer",
    "forgetting": "forgetting, from the best accuracy",
    "fwt": "FWT, forward transfer (vs. untrained)",
    "aaa": "AAA, average anytime accuracy",
    "online": "online accuracy (prequential)",
    "online_mse": "online MSE (prequential)",
}
"""Measures of the accuracy matrix, and of the stream's rows before they are trained on, under ``metrics`` in a result
(accuracies are shares of 1), with their labels."""


def metric_text(run: RecordedRun, part: str, name: str) -> str:
    """Return a metric of an accuracy matrix, under `part` of a result, or that its cells were not measured."""
    value = run.number("result", part, name)
    unmeasured = str(run.value("result", "undefined", name)).startswith(UNMEASURED)
    if value is None and run.value("result", part) and unmeasured:
        return UNMEASURED
    return NONE if value is None else metric_shown(name, value)


def metric_shown(name: str, value: float) -> str:
    """Return a value of `MEASURES` with its unit."""
    return score_text(value, "mse" if name.endswith("mse") else "accuracy")


def _metric(part: str, name: str) -> Callable[[RecordedRun], str]:
    return lambda run: metric_text(run, part, name)


RESULTS: dict[str, Callable[[RecordedRun], str]] = {
    "status": lambda run: run.status,
    "protocol": lambda run: run.protocol or NONE,
    "test": lambda run: score_text(run.score, run.measure),
    "test bits per byte": lambda run: number_text(run.number("result", "test", "bits_per_byte")),
    "test loss": lambda run: number_text(run.number("result", "test", "loss")),
    "validation": lambda run: score_text(run.number("result", "validation", run.measure or ""), run.measure),
    "best validation": lambda run: chosen_text(run.number("result", "best", "score"), run.measure),
    **{name: _metric("metrics", name) for name in MEASURES},
    **{f"{name}, task known": _metric("task_metrics", name) for name in ("acc", "forgetting")},
    "best measurement (oracle)": lambda run: chosen_text(run.number("result", "oracle", "score"), run.measure),
    "values found on": lambda run: str(run.value("result", "search", "judged_by") or NONE),
    "ended by": lambda run: str(run.value("result", "ended_by") or NONE),
    "samples": lambda run: count_text(run.number("result", "samples")),
    "updates": lambda run: count_text(run.number("result", "steps")),
    "rows": lambda run: count_text(run.number("result", "rows")),
    "passes": lambda run: count_text(run.number("result", "passes")),
    "time": lambda run: duration_text(run.number("result", "seconds")),
    "peak memory": lambda run: bytes_text(run.number("result", "peak_memory")),
}
"""The lines of a run's result."""


_MOST = 5
"""Largest number of damaged runs that are named one by one."""


def doubts(runs: Sequence[RecordedRun]) -> list[str]:
    """Return sentences about damaged runs, whose numbers are left out, and about runs without a seal."""
    damaged = [(run, *run.damage) for run in runs if run.damage is not None]
    said = [f"{run.name} is damaged, its numbers are left out: {file} {what}." for run, file, what in damaged[:_MOST]]
    if len(damaged) > _MOST:
        said.append(f"{len(damaged) - _MOST} more runs are damaged.")
    unsealed = sum(run.unsealed for run in runs)
    if unsealed:
        of = f"{unsealed} of {len(runs)} runs are" if len(runs) > 1 else f"{runs[0].name} is"
        said.append(f"{of} unsealed (of a version that did not seal runs): damage may go unnoticed.")
    return said


def results_of(runs: list[RecordedRun]) -> dict[str, list[str]]:
    """Return the lines of `RESULTS` for some runs, without lines that are empty for all of them."""
    lines = {name: [show(run) for run in runs] for name, show in RESULTS.items()}
    return {name: values for name, values in lines.items() if any(value != NONE for value in values)}
