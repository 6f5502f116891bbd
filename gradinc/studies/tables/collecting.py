"""The numbers of a table's runs, read from their records, and which of them count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt
from pydantic import StringConstraints

from gradinc.config.code import OWN, recorded_digests
from gradinc.records.environment import ENVIRONMENT, changes
from gradinc.records.recorded import RecordedRun, finite
from gradinc.records.schemas import ENDED
from gradinc.studies.tables.cells import Cell
from gradinc.studies.tables.quantities import NoValue, Quantity
from gradinc.studies.tables.settings import settings_digest
from gradinc.studies.tables.specification import Table

_MISSING = "missing"

BY_OTHER_CODE, BY_UNKNOWN_CODE = "by other code", "by unknown code"
"""Reasons why a seed is excluded from a mean: its code differs from that of most of the cell's runs."""

LARGEST = 1e100
"""Largest number in a mean or a spread: larger numbers would overflow."""

_Digest = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]
_Date = Annotated[str, StringConstraints(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z")]


@dataclass(frozen=True)
class MeasuredRun:
    """The numbers of one run, and what made them.

    Attributes:
        run: the name of its directory.
        status: its status.
        numbers: by the names of quantities.
        missing: the reasons for missing numbers, by the names of quantities.
        code: digests of the code that made the run, by package: gradinc and plug-ins. Empty if not known.
        data: digest of its data, None if not known.
        seconds: its duration, None if it has not ended.
        date: the day of its last log line (UTC), such as ``2026-11-29``; None if not known.
        environment: software and hardware of its last start.
        resumed: whether the run used more than one kind of software or hardware.
        unsealed: whether the run, or a measurement of its weights, ended without a seal.
    """

    run: str
    status: str
    numbers: dict[str, Annotated[float, Gt(-LARGEST), Lt(LARGEST)]]
    missing: dict[str, str]
    code: dict[str, _Digest]
    data: str | None
    seconds: Annotated[float, Ge(0), Lt(LARGEST)] | None
    date: _Date | None
    environment: dict[str, str | int]
    resumed: bool
    unsealed: bool

    @property
    def version(self) -> str | None:
        """The version of gradinc's code, short."""
        return self.code[OWN][:12] if OWN in self.code else None

    def has(self, quantities: Iterable[Quantity]) -> bool:
        """Return whether it has ended, and has each of the quantities or the reason for its absence."""
        return self.status in ENDED and all(each.name in (*self.numbers, *self.missing) for each in quantities)


@dataclass(frozen=True)
class SeedResult:
    """One seed of a cell.

    Attributes:
        settings: digest of its settings: the run's key in a table's JSON file.
        run: its run, or None.
        number: its number, or None; then `reason` gives the reason.
    """

    seed: int
    settings: str
    run: MeasuredRun | None
    number: float | None
    reason: str | None


def recorded_runs(cells: Iterable[Cell]) -> list[RecordedRun]:
    """Return the existing runs of some cells, without repetition."""
    places = dict.fromkeys(job.directory for cell in cells for job in cell.jobs.values())
    return [RecordedRun.open(place) for place in places if (place / "config.yaml").is_file()]


def quantities_of(table: Table, cells: Iterable[Cell]) -> dict[str, list[Quantity]]:
    """Return the quantities that are read from each run of some cells, by the digest of its settings."""
    found: dict[str, dict[str, Quantity]] = {}
    for cell in cells:
        quantity = table.columns[cell.column].quantity
        for settings in cell.settings.values():
            found.setdefault(settings, {})[quantity.name] = quantity
    return {settings: list(quantities.values()) for settings, quantities in found.items()}


def measured_runs(table: Table, cells: Sequence[Cell], runs: Iterable[RecordedRun]) -> dict[str, MeasuredRun]:
    """Return the runs of some cells by the digests of their settings, in the order of the cells.

    Args:
        runs: runs of any kind and in any order; runs without a cell are ignored. Of copies a finished run is used, and
            then the first by name.
    """
    known: dict[str, RecordedRun] = {}
    for run in sorted(runs, key=lambda run: (run.status != "finished", run.name, str(run.path))):
        identified = isinstance(run.value("meta", "identity"), str) and run.config
        known.setdefault(settings_digest(run.config) if identified else run.name, run)
    names = {cell.settings[seed]: job.directory.name for cell in cells for seed, job in cell.jobs.items()}
    found = {}
    for settings, quantities in quantities_of(table, cells).items():
        recorded = known.get(settings) or known.get(names[settings])
        if recorded is not None:
            found[settings] = _measured(recorded, quantities, damaged=settings not in known)
    return found


def with_earlier(here: Mapping[str, MeasuredRun], earlier: Mapping[str, MeasuredRun]) -> dict[str, MeasuredRun]:
    """Return runs of this machine and runs of a table's file; a run of this machine comes first once it has ended."""
    return {**earlier, **{key: run for key, run in here.items() if key not in earlier or run.status in ENDED}}


def seed_results(cell: Cell, quantity: Quantity, runs: Mapping[str, MeasuredRun]) -> list[SeedResult]:
    """Return one number for each seed of a cell.

    Args:
        runs: runs by the digests of their settings.
    """
    found = []
    for seed, settings in cell.settings.items():
        run = runs.get(settings)
        number = None if run is None else run.numbers.get(quantity.name)
        reason = _MISSING if run is None else run.missing.get(quantity.name, _MISSING)
        found.append(SeedResult(seed, settings, run, number, None if number is not None else reason))
    return found


def common_code(measured: Iterable[SeedResult]) -> dict[str, str]:
    """Return for each package the version of most runs; of equally common versions the first by its digits."""
    runs = {each.settings: each.run for each in measured if each.run is not None}
    counts = Counter(item for run in runs.values() for item in run.code.items())
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0][1]))
    return {package: digest for (package, digest), _ in reversed(ranked)}


def averaged(measured: Sequence[SeedResult]) -> list[float]:
    """Return the numbers for a mean: of finished runs made by one version of the code in one environment."""
    code = common_code(measured)
    return [each.number for each in measured if each.number is not None and _obstacle(each, code) is None]


def left_out(measured: Sequence[SeedResult]) -> list[str]:
    """Return the obstacles to a verdict: the seeds that are excluded from the mean, by reason."""
    code = common_code(measured)
    wrong = Counter(why for each in measured if (why := _obstacle(each, code)) is not None)
    return [f"{count} of {len(measured)} {why}" for why, count in wrong.items()]


def _obstacle(each: SeedResult, code: Mapping[str, str]) -> str | None:
    """Return why a seed is excluded from the mean, or None if it is included."""
    if each.number is None or each.run is None:
        return each.reason
    if each.run.version is None:
        return BY_UNKNOWN_CODE
    if any(code.get(package) != digest for package, digest in each.run.code.items()):
        return BY_OTHER_CODE
    return "made on more than one software or hardware" if each.run.resumed else None


def _measured(run: RecordedRun, quantities: Sequence[Quantity], *, damaged: bool) -> MeasuredRun:
    """Return the numbers of a run.

    Args:
        damaged: whether only its name identifies it.
    """
    segments = _segments(run)
    status, reason = run.status, None
    if status == "finished" and (damaged or not segments):
        status, reason = "damaged", "damaged (meta.json)"
    elif status == "diverged":
        reason = f"diverged at update {run.value('result', 'diverged_at')}"
    elif status != "finished":
        reason = status if run.damage is None else f"damaged ({run.damage[0]})"
    numbers, missing, unsealed = {}, {}, run.unsealed
    for quantity in quantities:
        if reason is not None:
            missing[quantity.name] = reason
            continue
        try:
            number = quantity.read(run)
        except NoValue as none:
            missing[quantity.name] = str(none)
            continue
        if abs(number) < LARGEST:
            numbers[quantity.name] = number
        else:
            missing[quantity.name] = f"{quantity.name} is {number:.2g}"
        kept = quantity.measurement
        unsealed = unsealed or (kept is not None and kept.is_unsealed(run))
    data = run.value("meta", "data", "digest")
    return MeasuredRun(
        run.name, status, numbers, missing, recorded_digests(run.meta), data if isinstance(data, str) else None,
        run.number("result", "seconds"), _date(run), _environment(segments), _resumed(segments), unsealed,
    )  # fmt: skip


def _date(run: RecordedRun) -> str | None:
    """Return the day of a run's last log line."""
    clock = finite(run.timing[-1].get("clock")) if run.timing else None
    try:
        return None if clock is None else datetime.fromtimestamp(clock, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):
        return None


def _environment(segments: Sequence[Mapping[str, Any]]) -> dict[str, str | int]:
    """Return software and hardware of the last start."""
    last = segments[-1] if segments else {}
    return {name: last[name] for name in ENVIRONMENT if isinstance(last.get(name), str | int)}


def _resumed(segments: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a run's environment or code changed between two starts."""
    starts = [{name: each.get(name) for name in (*ENVIRONMENT, "code", "plugins") if name in each} for each in segments]
    return any(changes(before, now) for before, now in pairwise(starts))


def _segments(run: RecordedRun) -> list[Mapping[str, Any]]:
    """Return the starts of a run, with their software and hardware."""
    segments = run.value("meta", "segments")
    return [each for each in segments if isinstance(each, Mapping)] if isinstance(segments, list) else []
