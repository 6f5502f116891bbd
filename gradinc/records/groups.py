"""Groups of runs that differ only in the seed: repeated measurements of one setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from gradinc.config.identity import named_beside
from gradinc.records.keys import MISSING, OPTIMIZER, SEEDS, STRATEGY, differing, label, named_settings, settings
from gradinc.records.recorded import SCORES, RecordedRun
from gradinc.records.statistics import Estimate, estimate


@dataclass(frozen=True, eq=False)
class RunGroup:
    """The runs of one setting.

    Attributes:
        name: the keys in which it differs from the others, or the setting itself if it is the only one.
        values: these keys, in full, with their values.
        runs: its runs, by name.
    """

    name: str
    values: dict[str, str]
    runs: tuple[RecordedRun, ...]

    @property
    def finished(self) -> tuple[RecordedRun, ...]:
        """The finished runs; only finished runs are averaged."""
        return tuple(run for run in self.runs if run.status == "finished")

    @property
    def drawn(self) -> tuple[RecordedRun, ...]:
        """The runs whose curves represent the setting: the finished runs, or all runs if none is finished."""
        return self.finished or self.runs

    def score(self, measure: str) -> Estimate | None:
        """Return the measure on the rows that results are measured on, over the finished runs."""
        values = [run.number("result", run.part, measure) for run in self.finished]
        bounds = (0.0, 1.0) if measure == "accuracy" else (0.0, inf)
        return estimate([value for value in values if value is not None], bounds)


def group(runs: Sequence[RecordedRun], by: Sequence[str] = ()) -> tuple[list[str], list[RunGroup]]:
    """Return the keys besides the seed in which runs differ, and the settings of these keys.

    Runs with an unreadable config belong to no setting. The order follows the runs' values.

    Args:
        by: the keys that make settings instead; their runs may differ in other keys too.
    """
    readable = [run for run in runs if run.config and run.status != "damaged"]
    keys = list(by) or [key for key in differing(readable) if key not in SEEDS]
    by_values: dict[tuple[str, ...], list[RecordedRun]] = {}
    for run, values in zip(readable, named_settings(readable), strict=True):
        by_values.setdefault(tuple(values.get(key, MISSING) for key in keys), []).append(run)
    found = [
        RunGroup(
            label(dict(zip(keys, values, strict=True)), keys) if keys else _whole_name(members[0]),
            dict(zip(keys, values, strict=True)),
            tuple(sorted(members, key=lambda run: run.name)),
        )
        for values, members in sorted(by_values.items(), key=lambda item: [value_order(value) for value in item[0]])
    ]
    return keys, found


def ranked(found: Sequence[RunGroup], measure: str) -> list[RunGroup]:
    """Return settings by their score, the best first, and settings without a score last."""
    scored = [(score.mean, one) for one in found if (score := one.score(measure)) is not None]
    scored.sort(key=lambda pair: pair[0], reverse=SCORES[measure])
    return [*(one for _, one in scored), *(one for one in found if one.score(measure) is None)]


def _whole_name(run: RecordedRun) -> str:
    values = settings(run)
    first = [values.get(key, MISSING) for key in ("data.name", "model.name")]
    return " · ".join([*first, *named_beside(values.get(STRATEGY, MISSING), values.get(OPTIMIZER, MISSING))])


def value_order(value: str) -> tuple[int, float, str]:
    """Return a sort key: numbers by size, then text alphabetically."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
