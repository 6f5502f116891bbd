"""Quantities of cells: numbers that are read from a run's records, by name.

A quantity is a dotted path into ``result.json``, or one of the functions below with its options. For a run without
this number the reason is given.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_type_hints

from gradinc.base.errors import UserError
from gradinc.config.check import value
from gradinc.config.names import choose, shown
from gradinc.config.values import Count, Fraction, Whole
from gradinc.records.matrix import Filled
from gradinc.records.measured import FOLDER, Measurement
from gradinc.records.metrics import METRICS
from gradinc.records.recorded import RecordedRun, finite
from gradinc.studies.tables.measured import MEASURED, NOT_MEASURED, NUMBER

_MEASURES = ("loss", "accuracy", "accuracy_in_task", "mse", "r2", "perplexity", "bits_per_byte")
RECORDED: dict[str, Sequence[str]] = {
    "test": _MEASURES,
    "validation": _MEASURES,
    "best": ("score", "step"),
    "oracle": ("score", "step"),
    "metrics": (*METRICS, "online", "online_mse", "aaa"),
    "task_metrics": tuple(METRICS),
}
"""Names that runs record in the parts of ``result.json``, to detect a misspelling before runs of hours."""

_COUNTS = ("steps", "samples", "rows", "forward_rows", "backward_rows", "passes", "seconds", "epochs", "peak_memory")
"""The numbers at the top level of ``result.json``."""


class NoValue(Exception):
    """A finished run has no such number; the text gives the reason."""


@dataclass(frozen=True)
class Quantity:
    """A function that reads a number from a run.

    Attributes:
        name: the path, or the function with its options, as in the YAML.
        read: returns the number, or raises `NoValue`.
        measurement: the measurement of a finished run's weights that it is read from, or None.
    """

    name: str
    read: Callable[[RecordedRun], float]
    measurement: Measurement | None = None


def read_quantity(given: Any, where: str) -> Quantity:
    """Return the quantity that a YAML names: a path, a function, or a function with options.

    Raises:
        UserError: the quantity does not exist, or an option is wrong.
    """
    name: Any = given
    options: Any = {}
    if isinstance(given, Mapping) and len(given) == 1:
        ((name, options),) = given.items()
    if not isinstance(name, str) or not isinstance(options, Mapping):
        what = "need a name, or a name with its options"
        raise UserError(f"{where}={shown(given)}", what, "Write it such as {updates_to: {accuracy: 0.9}}")
    head, _, rest = name.partition(".")
    if head in RECORDED and rest and rest not in RECORDED[head]:
        raise UserError(f"{where}={name}", "no run records it", choose(rest, RECORDED[head], section=f"{head}."))
    if (head in RECORDED and rest) or name in _COUNTS:
        keys = tuple(name.split("."))
        return Quantity(name, lambda run: _recorded(run, keys))
    if name not in QUANTITIES and name not in MEASURED:
        paths = [f"{part}.{name}" for part in ("metrics", "test") if name in RECORDED[part]]
        if paths:
            raise UserError(f"{where}={name}", "unknown", f"Did you mean {paths[0]}?")
        known = [*(f"{r}.…" for r in RECORDED), *QUANTITIES, *MEASURED, *_COUNTS]
        raise UserError(f"{where}={name}", "unknown", choose(name, known))
    function: Callable[..., Any] = QUANTITIES[name] if name in QUANTITIES else MEASURED[name]
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "run"]
    hints = get_type_hints(function, include_extras=True)
    for key in options:
        if key not in hints or key in ("run", "return"):
            raise UserError(
                f"{where}.{name}.{key}", "no such option", f"It has {', '.join(p.name for p in parameters)}"
            )
    chosen = {p.name: options.get(p.name, p.default) for p in parameters}
    for key, item in chosen.items():
        if item is inspect.Parameter.empty:
            raise UserError(f"{where}.{name}.{key}", "is missing", f"Write quantity: {{{name}: {{{key}: …}}}}")
        chosen[key] = value(hints[key], item, f"{where}.{name}.{key}")
    label = name + (f" ({', '.join(f'{k} {shown(v)}' for k, v in chosen.items())})" if chosen else "")
    if name in MEASURED:
        measurement: Measurement = function(**chosen)
        return Quantity(label, lambda run: _measured(run, measurement), measurement)
    return Quantity(label, lambda run: function(run, **chosen))


def _measured(run: RecordedRun, measurement: Measurement) -> float:
    found = (measurement.found(run) or {}).get(NUMBER[measurement.kind])
    if found is None and measurement.is_damaged(run):
        raise NoValue(f"damaged ({FOLDER}/{measurement.file}; gradinc table without --collect measures again)")
    if found is None:
        raise NoValue(NOT_MEASURED)
    return found


def _recorded(run: RecordedRun, keys: tuple[str, ...]) -> float:
    found = run.number("result", *keys)
    if found is None:
        reasons = run.value("result", "undefined")
        reason = reasons.get(keys[-1]) if isinstance(reasons, Mapping) else None
        if keys == ("passes",):
            reason = "is of a version that counted calls of the model as passes"
        raise NoValue(str(reason or f"result.json has no {'.'.join(keys)}"))
    return found


def updates_to(run: RecordedRun, *, accuracy: Fraction) -> float:
    """Updates until the validation accuracy was reached."""
    return float(_reached(run, accuracy)["step"])


def samples_to(run: RecordedRun, *, accuracy: Fraction) -> float:
    """Training rows seen until the validation accuracy was reached."""
    return float(_reached(run, accuracy)["samples"])


def rows_to(run: RecordedRun, *, accuracy: Fraction) -> float:
    """Rows through the model, the mean of forward and backward, until the validation accuracy was reached."""
    rows = finite(_reached(run, accuracy).get("rows"))
    if rows is None:
        raise NoValue("its log is of a version that did not count rows")
    return rows


def updates_to_recover(run: RecordedRun, *, within: Fraction = 0.02) -> float:
    """Updates from the end of a burst of corrupted gradients until the validation accuracy has recovered.

    Recovered means at most `within` below the last accuracy measured before the burst. Validation happens once every
    `evaluate.epochs`, which limits the resolution of the number.
    """
    start, stop = (finite(run.value("config", "corrupt", key)) for key in ("start", "stop"))
    if stop is None or start is None or not finite(run.value("config", "corrupt", "prob")):
        raise NoValue("needs a burst: corrupt.prob, corrupt.start and corrupt.stop")
    before = [score for line, score in _scores(run) if line["step"] <= start]
    if not before:
        raise NoValue("its log has no validation before corrupt.start")
    for line, score in _scores(run):
        if line["step"] >= stop and score >= before[-1] - within:
            return float(line["step"] - stop)
    raise NoValue(f"did not return to within {100 * within:g} points of {100 * before[-1]:.1f} % after the burst")


def seconds_to(run: RecordedRun, *, accuracy: Fraction) -> float:
    """Seconds of the run until the validation accuracy was reached."""
    step = _reached(run, accuracy)["step"]
    found = [finite(line.get("seconds")) for line in run.timing if (finite(line.get("step")) or 0) >= step]
    if not found or found[0] is None:
        raise NoValue("timing.jsonl does not reach that step")
    return found[0]


def samples_per_second(run: RecordedRun) -> float:
    """Training rows per second over the whole run."""
    samples, seconds = run.number("result", "samples"), run.number("result", "seconds")
    if samples is None or not seconds:
        raise NoValue("its seconds were not recorded")
    return samples / seconds


def best_validation(run: RecordedRun) -> float:
    """The highest validation accuracy of the run."""
    return max(_scores(run), key=lambda pair: pair[1])[1]


def logged(run: RecordedRun, *, note: str, statistic: Literal["mean", "variation"] = "mean") -> float:
    """A number that diagnostics=true logs: its mean over the log lines, or its standard deviation over its mean."""
    found = [number for line in _lines(run) if (number := finite((line.get("notes") or {}).get(note))) is not None]
    if len(found) < 2:
        raise NoValue(f"its log has no {note}; it needs diagnostics=true, and windows that it can be measured on")
    mean = statistics.fmean(found)
    return mean if statistic == "mean" else statistics.stdev(found) / mean


def gradient_noise(run: RecordedRun, *, ratio: Literal["signal_to_noise", "noise_scale"]) -> float:
    """A ratio that diagnostics=true logs, over the whole run: signal over noise of the window's gradient, or rows.

    The estimates of signal and noise from one window can be negative, so the mean of their ratio does not exist. Signal
    + noise is the squared norm of the gradient, so both follow from a log line of one update; their sums have means.

    Paper: McCandlish et al. 2018, arXiv 1812.06162, appendix A.1 (averages before the ratio).
    """
    if run.value("config", "log", "steps") != 1:
        raise NoValue("needs log.steps=1: the parts of a logged ratio are known for single updates only")
    signals, noises, traces, before = 0.0, 0.0, 0.0, 0.0
    for line in _lines(run):
        rows, before = (finite(line.get("samples")) or 0.0) - before, finite(line.get("samples")) or before
        notes = line.get("notes") or {}
        norm, quotient, scale = (finite(notes.get(n)) for n in ("gradient_norm", "signal_to_noise", "noise_scale"))
        if norm is None or rows <= 0:
            continue
        # Without noise the quotient is not finite, but the scale is: tr(Σ) / ‖G‖².
        if quotient is not None and quotient > -1:
            noise = norm**2 / (1 + quotient)
        elif scale is not None and scale > -rows:
            noise = norm**2 * scale / (rows + scale)
        else:
            continue
        signals, noises, traces = signals + norm**2 - noise, noises + noise, traces + noise * rows
    if not noises > 0 or not signals > 0:
        raise NoValue(
            "its log has no noise of gradients; it needs diagnostics=true and windows of several micro-batches"
        )
    return signals / noises if ratio == "signal_to_noise" else traces / signals


def rising_losses(run: RecordedRun) -> float:
    """The share of log lines with a higher training loss than the line before."""
    losses = _losses(run)
    if len(losses) < 2:
        raise NoValue("its log has fewer than two losses")
    return sum(later > before for before, later in pairwise(losses)) / (len(losses) - 1)


def final_loss(run: RecordedRun) -> float:
    """The mean training loss over the last tenth of the log."""
    losses = _losses(run)
    if not losses:
        raise NoValue("its log has no loss")
    return statistics.fmean(losses[-max(1, len(losses) // 10) :])


def loss_gap(run: RecordedRun) -> float:
    """The test loss minus the training loss at the end."""
    return _recorded(run, ("test", "loss")) - final_loss(run)


def options(run: RecordedRun) -> float:
    """Return the number of options of its methods, its window and its window's rule that a user must choose."""
    window = run.value("config", "strategy", "window") or {}
    methods = run.value("config", "strategy", "methods") or {}
    count = sum(len(each or {}) for each in methods.values()) + (window.get("size") != 1)
    return float(count + sum(len(each) for each in window.values() if isinstance(each, Mapping)))


def online(run: RecordedRun, *, first: Fraction = 0.0, last: Fraction = 1.0) -> float:
    """The online accuracy, or MSE of a regression: mean over the tasks between two shares of their number."""
    found = run.value("result", "online")
    values = [finite(value) for value in found] if isinstance(found, list) else []
    start = min(int(first * len(values)), len(values) - 1)
    chosen = values[max(start, 0) : max(start + 1, round(last * len(values)))]
    numbers = [value for value in chosen if value is not None]
    if not numbers or len(numbers) < len(chosen):
        raise NoValue("its rows were not predicted before they were trained on; it needs a stream of tasks")
    return statistics.fmean(numbers)


def matrix_entry(
    run: RecordedRun,
    *,
    matrix: Literal["accuracy", "loss", "perplexity", "bits_per_byte"],
    task: Count,
    after: Whole | None = None,
) -> float:
    """The entry of a matrix for a task after a number of tasks; null means after the last one, 0 before any."""
    name = "matrix" if matrix == "accuracy" else f"{matrix}_matrix"
    rows = run.value("result", name)
    if not isinstance(rows, list) or not rows:
        raise NoValue(f"result.json has no {name}")
    filled, row = Filled(rows), len(rows) - 1 if after is None else after
    found = finite(filled[row][task - 1]) if row < len(rows) and task <= len(filled[row]) else None
    if found is None:
        raise NoValue(f"was not measured on task {task} after task {row}")
    return found


QUANTITIES: dict[str, Callable[..., float]] = {
    function.__name__: function
    for function in (
        updates_to,
        updates_to_recover,
        samples_to,
        rows_to,
        seconds_to,
        samples_per_second,
        best_validation,
        logged,
        gradient_noise,
        rising_losses,
        final_loss,
        loss_gap,
        matrix_entry,
        online,
        options,
    )
}


def _lines(run: RecordedRun) -> list[dict[str, Any]]:
    """Return the lines of the run's log."""
    lines = run.metrics
    if not run.log_is_whole:
        raise NoValue("its metrics.jsonl is damaged")
    return lines


def _scores(run: RecordedRun) -> list[tuple[dict[str, Any], float]]:
    """Return the log's validation lines, with their accuracy."""
    found = [
        (line, score)
        for line in _lines(run)
        if isinstance(line.get("validation"), dict)
        and (score := finite(line["validation"].get("accuracy"))) is not None
    ]
    if not found:
        raise NoValue("its log has no validation")
    return found


def _reached(run: RecordedRun, accuracy: float) -> dict[str, Any]:
    for line, score in _scores(run):
        if score >= accuracy:
            return line
    raise NoValue(f"{100 * accuracy:g} % was not reached in {run.value('result', 'steps')} updates")


def _losses(run: RecordedRun) -> list[float]:
    return list(_train_losses(run))


def _train_losses(run: RecordedRun) -> Iterator[float]:
    for line in _lines(run):
        train = line.get("train")
        loss = finite(train.get("loss")) if isinstance(train, dict) else None
        if loss is not None:
            yield loss
