"""Attacks on finished runs, with their numbers stored in the runs' directories."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from gradinc.records.measured import Measurement
from gradinc.records.recorded import RecordedRun
from gradinc.runs.trained import FinishedRun
from gradinc.studies.attacks import leak, measure


def keep(measurement: Measurement, run: RecordedRun) -> None:
    """Make a measurement on a finished run's last weights and store its numbers in the run's directory.

    Raises:
        UserError: the run cannot be attacked in this way, its data are missing, or its weights are damaged.
        StorageError: the numbers could not be written.
    """
    measurement.keep(run, MAKERS[measurement.kind](FinishedRun.open(run.path), measurement.settings))


def _attacked(run: FinishedRun, settings: Any) -> dict[str, float]:
    own = {key: value for key, value in settings.items() if key != "eps"}
    found = measure.attack(run, measure.AttackSettings(eps=(settings["eps"],), **own))
    numbers = {each.attack: each.accuracy for each in found}
    return {**numbers, "warnings": float(sum(len(each.warnings) for each in found))}


def _inverted(run: FinishedRun, settings: Any) -> dict[str, float]:
    found = []
    for seed in range(settings["windows"]):
        asked = leak.InversionSettings(
            windows=(settings["rows"],), variants=(settings["variant"],), steps=settings["steps"], seed=seed
        )
        found += [each.document() for each in leak.leaks(run, asked)]
    return {name: fmean(each[name] for each in found) for name in ("psnr", "best", "labels", "distance")}


MAKERS: dict[str, Callable[[FinishedRun, Any], dict[str, float]]] = {
    "attack": _attacked,
    "inversion": _inverted,
}
"""Functions for each kind of measurement."""
