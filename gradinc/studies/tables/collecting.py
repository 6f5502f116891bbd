"""The numbers of a cell's runs, read only from their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from gradinc.config.catalog import OWN
from gradinc.config.code import recorded_digests
from gradinc.config.identity import identity_digest
from gradinc.records.environment import ENVIRONMENT, changes
from gradinc.records.recorded import RecordedRun
from gradinc.studies.tables.cells import Cell
from gradinc.studies.tables.quantities import NoValue, Quantity

_MISSING = "missing"

LARGEST = 1e100
"""Largest number in a mean or a spread: larger numbers would overflow."""


@dataclass(frozen=True)
class SeedResult:
    """One seed of a cell.

    Attributes:
        status: status of its run, or ``missing``.
        run: the run's name, or None.
        number: its number, or None; then `reason` gives the reason.
        code: the version of gradinc's code that made the run, None if not known.
        data: digest of its data, None if not known.
        resumed: whether the run used more than one kind of software or hardware.
        unsealed: whether the run ended without a seal.
        versions: digests of the code that made the run, by package: gradinc and plug-ins.
    """

    seed: int
    status: str
    run: str | None
    number: float | None
    reason: str | None
    code: str | None
    data: str | None
    seconds: float | None
    resumed: bool
    unsealed: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)


def recorded_runs(cells: Iterable[Cell]) -> list[RecordedRun]:
    """Return the existing runs of some cells, without repetition."""
    places = dict.fromkeys(job.directory for cell in cells for job in cell.jobs.values())
    return [RecordedRun.open(place) for place in places if (place / "config.yaml").is_file()]


def by_identity(runs: Iterable[RecordedRun]) -> dict[str, RecordedRun]:
    """Return runs by their identity, independent of their order; of copies a finished run, and then the first by name.

    A run without an identity in its ``meta.json`` is identified by its name.
    """
    found: dict[str, RecordedRun] = {}
    for run in sorted(runs, key=lambda run: (run.status != "finished", run.name, str(run.path))):
        identity = run.value("meta", "identity")
        found.setdefault(identity if isinstance(identity, str) else run.name, run)
    return found


def seed_results(cell: Cell, quantity: Quantity, runs: Mapping[str, RecordedRun]) -> list[SeedResult]:
    """Return one number for each seed of a cell.

    Args:
        runs: runs by identity, from `by_identity`.
    """
    found = []
    for seed, job in cell.jobs.items():
        run, unnamed = runs.get(identity_digest(job.config)), runs.get(job.directory.name)
        found.append(_measure(seed, run or unnamed, quantity, damaged=run is None))
    return found


def common_code(measured: Iterable[SeedResult]) -> dict[str, str]:
    """Return for each package the version of most runs; of equally common versions the first by its digits."""
    counts = Counter(item for each in {m.run: m for m in measured if m.run}.values() for item in each.versions.items())
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0][1]))
    return {package: digest for (package, digest), _ in reversed(ranked)}


def averaged(measured: Sequence[SeedResult], code: Mapping[str, str]) -> list[float]:
    """Return the numbers for a mean: of finished runs made by these versions of the code in one environment."""
    return [each.number for each in measured if each.number is not None and _obstacle(each, code) is None]


def left_out(measured: Sequence[SeedResult], code: Mapping[str, str]) -> list[str]:
    """Return the obstacles to a verdict: the seeds that are excluded from the mean, by reason."""
    wrong = Counter(why for each in measured if (why := _obstacle(each, code)) is not None)
    return [f"{count} of {len(measured)} {why}" for why, count in wrong.items()]


def _obstacle(each: SeedResult, code: Mapping[str, str]) -> str | None:
    """Return why a seed is excluded from the mean, or None if it is included."""
    if each.number is None:
        return each.reason
    if each.code is None:
        return "by unknown code"
    if any(code.get(package) != digest for package, digest in each.versions.items()):
        return "by other code"
    return "made on more than one software or hardware" if each.resumed else None


def _measure(seed: int, run: RecordedRun | None, quantity: Quantity, *, damaged: bool) -> SeedResult:
    """Return the result of one seed.

    Args:
        run: its run, or None.
        damaged: whether only its name identifies it.
    """
    if run is None:
        return SeedResult(seed, _MISSING, None, None, _MISSING, None, None, None, False)
    status, number, reason = run.status, None, None
    if status == "finished" and (damaged or not _segments(run)):
        status, reason = "damaged", "damaged (meta.json)"
    elif status == "finished":
        try:
            number = quantity.read(run)
        except NoValue as none:
            reason = str(none)
        if number is not None and not abs(number) < LARGEST:
            number, reason = None, f"{quantity.name} is {number:.2g}"
    elif status == "diverged":
        reason = f"diverged at update {run.value('result', 'diverged_at')}"
    else:
        reason = status if run.damage is None else f"damaged ({run.damage[0]})"
    versions = recorded_digests(run.meta)
    code = versions[OWN][:12] if OWN in versions else None
    seconds = run.number("result", "seconds")
    data = run.value("meta", "data", "digest")
    data = data if isinstance(data, str) else None
    kept = quantity.measurement
    unsealed = run.unsealed or (kept is not None and kept.is_unsealed(run))
    return SeedResult(seed, status, run.name, number, reason, code, data, seconds, _resumed(run), unsealed, versions)


def _resumed(run: RecordedRun) -> bool:
    """Return whether a run's environment or code changed between two starts."""
    starts = [
        {name: each.get(name) for name in (*ENVIRONMENT, "code", "plugins") if name in each} for each in _segments(run)
    ]
    return any(changes(before, now) for before, now in pairwise(starts))


def _segments(run: RecordedRun) -> list[Mapping[str, Any]]:
    """Return the starts of a run, with their software and hardware."""
    segments = run.value("meta", "segments")
    return [each for each in segments if isinstance(each, Mapping)] if isinstance(segments, list) else []
