"""The results of runs as a table of pandas."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from gradinc.base.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame


def results(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = "outputs",
    *conditions: str,
    metrics: Sequence[str] | None = None,
    by: Literal["setting", "run"] = "setting",
    against: str | None = None,
) -> DataFrame:
    """Return the results of runs as a table, like ``gradinc compare`` and ``gradinc runs``.

    Args:
        runs: a directory of runs, a run, a pattern, the beginning of names, or several of these.
        conditions: conditions on the runs, such as ``"strategy=er"`` or ``"optimizer.lr<0.1"``.
        metrics: names of numbers, such as ``"acc"``, ``"test.loss"`` or ``"train.loss"``; by default those of
            ``gradinc runs``.
        by: ``"setting"`` has a row for the runs that differ in the seed only: for each metric the mean of the finished
            runs, and with the endings ``_sd``, ``_low``, ``_high`` and ``_n`` the standard deviation, Student's 95 %
            interval of the mean (shares: cut at 0 and 1), and the number of runs. ``"run"`` has a row for each run.
        against: a setting, such as ``"er"``. The rows of the other settings then have their differences from it,
            paired by seed: for each metric ``_difference``, its 95 % interval ``_difference_low`` and
            ``_difference_high``, and the number of ``_pairs``.

    Raises:
        UserError: pandas is not installed, there is no such run or setting, or no run has one of the keys or numbers.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("gradinc.results", "needs the package pandas", "pip install 'gradinc[pandas]'") from None
    from gradinc.records.find import found_and_chosen
    from gradinc.records.results import named_setting, result_table

    if by not in ("setting", "run"):
        raise UserError(f"by={by}", "unknown", "Choose from: setting, run")
    if against is not None and by == "run":
        raise UserError(f"against={against}", "needs by='setting'", "Leave out by")
    named = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    table = result_table(found_and_chosen([*(os.fspath(run) for run in named), *conditions]), metrics)
    base = None if against is None else named_setting(table, against, f"against={against}")
    records: list[dict[str, Any]] = table.by_setting(base) if by == "setting" else table.by_run()
    return pandas.DataFrame.from_records(records)
