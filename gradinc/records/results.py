"""Numbers of runs by name, one row for each run or for each setting, and paired differences between settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from statistics import fmean
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.text import number_text, percent_text
from gradinc.config.names import choose, nearest_key, short
from gradinc.records.groups import RunGroup, group, value_order
from gradinc.records.keys import named_settings
from gradinc.records.recorded import RecordedRun, finite
from gradinc.records.statistics import Estimate, estimate
from gradinc.records.summary import MEASURES

_SIGNED = ("bwt", "fwt", "forgetting")
"""Differences of shares, from −1 to 1; other shares are from 0 to 1."""

_POSITIVE = ("loss", "mse", "test", "validation", "seconds", "time", "samples", "updates", "steps", "rows", "passes")
"""Numbers that are not negative, besides shares."""

_PARTS = ("metrics", "test", "validation", "best")
"""Parts of a result whose numbers need no first word: ``acc``, ``loss``."""

_DATA = ("data.name", "stream.name")
"""Settings that differ in these keys are not compared."""

_COUNTS = {"updates": "steps", "time": "seconds"}
"""Other names of numbers at the top level of a result."""

STREAM_METRICS, METRICS_OF_ONE_TASK = ("acc", "bwt", "forgetting"), ("test", "loss")
"""The metrics of a table unless others are asked for: those of streams if all finished runs have them."""


def value_of(run: RecordedRun, name: str) -> float | None:
    """Return a number of a run by name, or None.

    The name is ``test`` or ``validation`` (the score on these rows), a metric of a stream such as ``acc``, a path of
    ``result.json`` such as ``task_metrics.acc`` or ``matrix.5.0``, or a path of ``metrics.jsonl`` such as
    ``train.loss`` (its last value).
    """
    if name in ("test", "validation"):
        return None if run.measure is None else run.number("result", name, run.measure)
    words = _COUNTS.get(name, name).split(".")
    paths = [words, *([part, *words] for part in _PARTS)] if len(words) == 1 else [words]
    for path in paths:
        if (found := finite(_under(run.result, path))) is not None:
            return found
    if len(words) == 1 or words[0] in run.result:
        return None
    column = run.columns.get(tuple(words))
    return column.values[-1] if column is not None and run.result else None


def check_metric(name: str, runs: Sequence[RecordedRun]) -> None:
    """Check that at least one run has a number of this name.

    Raises:
        UserError: no run has it.
    """
    if not runs or any(value_of(run, name) is not None for run in runs):
        return
    known = {path for run in runs for path in _paths(run.result)}
    known |= {path.partition(".")[2] for path in known if path.startswith("metrics.")}
    known |= {"test", "validation", "train.loss", *_COUNTS}
    near = nearest_key(name, known)
    named = ", ".join([*(path for path in MEASURES if path in known), "test", "loss", "seconds"])
    raise UserError(name, "no run has this number", f"Did you mean {near}?" if near else f"Such as {named}")


def default_metrics(runs: Sequence[RecordedRun]) -> list[str]:
    """Return the metrics that are shown unless others are asked for."""
    of_streams = all(run.value("result", "metrics") for run in runs if run.status == "finished")
    chosen = [name for name in STREAM_METRICS if of_streams and any(value_of(run, name) is not None for run in runs)]
    chosen = chosen or [name for name in METRICS_OF_ONE_TASK if any(value_of(run, name) is not None for run in runs)]
    return chosen or (["validation"] if any(value_of(run, "validation") is not None for run in runs) else ["test"])


def is_share(name: str, runs: Sequence[RecordedRun]) -> bool:
    """Return whether a number is a share, shown in percent."""
    last, first = name.rpartition(".")[2], name.partition(".")[0]
    if name in ("test", "validation", "best.score", "score"):
        return any(run.measure == "accuracy" for run in runs)
    return (
        (last in MEASURES and not last.endswith("mse"))
        or last.startswith("accuracy")
        or first in ("matrix", "task_matrix")
    )


def bounds(name: str, runs: Sequence[RecordedRun]) -> tuple[float, float] | None:
    """Return the range that a number can have; None if it is not known."""
    if not is_share(name, runs):
        last = name.rpartition(".")[2]
        return (0.0, inf) if last in _POSITIVE or last.endswith("mse") else None
    return (-1.0, 1.0) if name.rpartition(".")[2] in _SIGNED else (0.0, 1.0)


@dataclass(frozen=True)
class PairedDifference:
    """A setting's difference from another one in a metric, paired by seed.

    Attributes:
        name: the setting.
        metric: the metric.
        found: the mean over the seeds that both settings have, with its interval; None without a common seed.
    """

    name: str
    metric: str
    found: Estimate | None


@dataclass(frozen=True)
class ResultTable:
    """The numbers of runs, by run and by setting.

    Attributes:
        runs: the runs.
        metrics: names of the numbers.
        keys: the keys in which settings differ.
        settings: the settings, in the order of the table.
        labels: other names of settings and metrics, for what is shown.
    """

    runs: Sequence[RecordedRun]
    metrics: Sequence[str]
    keys: Sequence[str]
    settings: Sequence[RunGroup]
    labels: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> str:
        """Return the name under which a setting or a metric is shown."""
        return self.labels.get(name, name)

    @cached_property
    def shares(self) -> set[str]:
        """The metrics that are shares."""
        return {name for name in self.metrics if is_share(name, self.runs)}

    def values(self, one: RunGroup, metric: str) -> list[float]:
        """Return the numbers of a setting's finished runs."""
        return [value for run in one.finished if (value := value_of(run, metric)) is not None]

    def found(self, one: RunGroup, metric: str) -> Estimate | None:
        """Return the mean of a setting's finished runs, with an interval that no share leaves."""
        return estimate(self.values(one, metric), bounds(metric, self.runs))

    def by_setting(self, base: RunGroup | None = None) -> list[dict[str, Any]]:
        """Return a record for each setting.

        It has the setting's keys, the number of runs, and for each metric mean, ``_sd``, ``_low`` and ``_high`` (the
        95 % interval of the mean) and ``_n``.

        Args:
            base: the setting that the others are compared with. Then a record also has its name, ``against``, and for
                each metric the paired difference from it: ``_difference``, its 95 % interval ``_difference_low`` and
                ``_difference_high``, and the number of ``_pairs``.
        """
        apart = {} if base is None else {(each.name, each.metric): each.found for each in self.differences(base)}
        records = []
        for one in self.settings:
            record: dict[str, Any] = {"setting": self.named(one.name), **one.values}
            record |= {"runs": len(one.runs), "n": len(one.finished)}
            for metric in self.metrics:
                found = self.found(one, metric)
                low, high = (None, None) if found is None or found.interval is None else found.interval
                record[metric] = None if found is None else found.mean
                record[f"{metric}_sd"] = None if found is None else found.deviation
                record |= {f"{metric}_low": low, f"{metric}_high": high}
                record[f"{metric}_n"] = 0 if found is None else found.count
                if base is not None:
                    record |= _difference(metric, apart.get((one.name, metric)))
            if base is not None:
                record["against"] = None if one is base else self.named(base.name)
            records.append(record)
        return _with_numbers(records, self.keys)

    def by_run(self) -> list[dict[str, Any]]:
        """Return a record for each run: its name, state, setting, seed, keys and metrics."""
        names = {id(run): self.named(one.name) for one in self.settings for run in one.runs}
        records = []
        for run, values in zip(self.runs, named_settings(self.runs), strict=True):
            record: dict[str, Any] = {"run": run.name, "status": run.status, "setting": names.get(id(run))}
            record |= {key: values.get(key) for key in dict.fromkeys(["seed", "strategy", *self.keys])}
            records.append({**record, **{name: value_of(run, name) for name in self.metrics}, "path": str(run.path)})
        return _with_numbers(records, ["seed", *self.keys])

    def equal_runs(self) -> str:
        """Return a note on settings whose runs all have the same number: their interval has width 0."""
        pairs = ((one, name) for name in self.metrics for one in self.settings)
        return _equal("runs", ((self.named(one.name), self.named(name), self.found(one, name)) for one, name in pairs))

    def equal_pairs(self, base: RunGroup) -> str:
        """Return a note on settings whose differences from another one are the same for every seed."""
        found = self.differences(base)
        return _equal("pairs", ((self.named(each.name), self.named(each.metric), each.found) for each in found))

    def differences(self, base: RunGroup) -> list[PairedDifference]:
        """Return the differences of other settings on the same data from one setting, in every metric."""
        found = []
        for one in self.settings:
            if one is not base and all(one.values.get(key) == base.values.get(key) for key in _DATA):
                for metric in self.metrics:
                    mine, other = (_by_seed(each, metric) for each in (one, base))
                    pairs = [mine[seed] - other[seed] for seed in sorted(mine.keys() & other.keys())]
                    found.append(
                        PairedDifference(one.name, metric, estimate(pairs, _widened(bounds(metric, self.runs))))
                    )
        return found


def result_table(
    runs: Sequence[RecordedRun], metrics: Sequence[str] | None = None, labels: Mapping[str, str] | None = None
) -> ResultTable:
    """Return the numbers of some runs.

    Args:
        labels: other names of settings and metrics.

    Raises:
        UserError: no run has one of the metrics.
    """
    for name in metrics or ():
        check_metric(name, runs)
    keys, settings = group(runs)
    return ResultTable(runs, list(metrics) if metrics else default_metrics(runs), keys, settings, labels or {})


def sorted_settings(table: ResultTable, key: str, *, reverse: bool = False) -> list[RunGroup]:
    """Return the settings by a key in which they differ, or by the mean of a number; without it last.

    Raises:
        UserError: neither a key nor a number.
    """
    named = {short(each, table.keys): each for each in table.keys} | {each: each for each in table.keys}
    if key in named:
        key = named[key]
        return sorted(table.settings, key=lambda one: value_order(one.values[key]), reverse=reverse)
    check_metric(key, table.runs)
    means = {id(one): fmean(values) for one in table.settings if (values := table.values(one, key))}
    with_mean = sorted((one for one in table.settings if id(one) in means), key=lambda one: means[id(one)])
    return [*(reversed(with_mean) if reverse else with_mean), *(o for o in table.settings if id(o) not in means)]


def named_setting(table: ResultTable, name: str, where: str) -> RunGroup:
    """Return the setting that a name means: its own name, or the value of one of its keys.

    Args:
        where: what the message of an error begins with.

    Raises:
        UserError: no setting, or several, have this name.
    """
    value = name.partition("=")[2] or name
    same = [one for one in table.settings if one.name in (name, value) or table.named(one.name) == name]
    same = same or [one for one in table.settings if value in (one.name.split(), *one.values.values())]
    if len(same) != 1:
        names = [one.name for one in table.settings]
        raise UserError(where, f"names {len(same)} of the settings", choose(name, names))
    return same[0]


def value_text(value: float | None, *, share: bool) -> str:
    """Return a number with four digits, or a share in percent with two decimals and without the sign."""
    return percent_text(value, 2).removesuffix(" %") if share else number_text(value)


def _equal(what: str, found: Iterable[tuple[str, str, Estimate | None]]) -> str:
    """Return the note on estimates of equal numbers, given with their setting and metric; empty without one."""
    equal: defaultdict[str, list[str]] = defaultdict(list)
    for setting, metric, each in found:
        if each is not None and each.deviation == 0:
            equal[metric].append(setting)
    listed = [f"{key} of {names[0] if len(names) == 1 else f'{len(names)} settings'}" for key, names in equal.items()]
    return f"all {what} are equal: {', '.join(listed)}" if listed else ""


def _difference(metric: str, found: Estimate | None) -> dict[str, Any]:
    """Return the values of a record about one paired difference."""
    low, high = (None, None) if found is None or found.interval is None else found.interval
    mean, pairs = (None, 0) if found is None else (found.mean, found.count)
    ends = {"difference": mean, "difference_low": low, "difference_high": high, "pairs": pairs}
    return {f"{metric}_{end}": number for end, number in ends.items()}


def _with_numbers(records: list[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return records with numbers instead of texts under keys that have a number in every record."""
    found = {key: [_number(record[key]) for record in records] for key in keys}
    numeric = {key: numbers for key, numbers in found.items() if None not in numbers}
    return [
        {**record, **{key: numbers[index] for key, numbers in numeric.items()}} for index, record in enumerate(records)
    ]


def _number(text: str | None) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text or "")
        except ValueError:
            continue
    return None


def _by_seed(one: RunGroup, metric: str) -> dict[str, float]:
    """Return the metric of a setting by seed; of several runs with one seed the mean."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for run in one.finished:
        if (value := value_of(run, metric)) is not None:
            found[str(run.value("config", "seed"))].append(value)
    return {seed: fmean(values) for seed, values in found.items()}


def _widened(between: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if between is None else (between[0] - between[1], between[1] - between[0])


def _under(node: Any, path: Sequence[str]) -> Any:
    for word in path:
        if isinstance(node, Mapping):
            node = node.get(word)
        elif isinstance(node, list) and word.isdecimal() and int(word) < len(node):
            node = node[int(word)]
        else:
            return None
    return node


def _paths(node: Mapping[str, Any], where: str = "") -> list[str]:
    found = []
    for name, value in node.items():
        if isinstance(value, Mapping):
            found += _paths(value, f"{where}{name}.")
        elif finite(value) is not None:
            found.append(f"{where}{name}")
    return found
