"""A check that jobs fit their data, before the first job starts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gradinc.base.errors import UserError
from gradinc.config.compose import Job
from gradinc.config.schema import DataSection

if TYPE_CHECKING:
    from gradinc.data.dataset import Dataset


class _Elsewhere(Exception):
    """Data that are missing on this machine, for jobs that run on other machines."""


def check_fit(jobs: Sequence[Job]) -> None:
    """Refuse jobs if one does not fit its data: its model, stream, methods or limits, or the weights it starts from.

    Every data set is opened once, and no image is decoded. Data that are missing here are not checked for jobs that
    run elsewhere.

    Raises:
        UserError: a job does not fit; the line begins with the arguments in which it differs from the others.
    """
    from gradinc.runs.prepare import check  # imports torch, so only if there is something to check

    outlines: dict[str, Dataset] = {}
    checked = set()
    for job in jobs:
        config = replace(job.config, seed=0, name=None, output="outputs")  # these keys do not affect whether a job fits
        if repr(config) in checked:
            continue
        checked.add(repr(config))
        try:
            with warnings.catch_warnings(action="ignore"):
                check(config, partial(_outlined, outlines=outlines, here=job.cluster.is_here))
        except UserError as error:
            where = " ".join(dict.fromkeys([*job.swept, error.where]))
            raise UserError(where, error.what, error.fix) from error
        except Exception:  # an error in another package's part is no proof of a misfit; the job reports it
            continue


def _outlined(data: DataSection, *, outlines: dict[str, Dataset], here: bool) -> Dataset:
    from gradinc.data.dataset import outline

    key = repr(replace(data, batch_size=1, normalize="none", shuffle=True, workers=0))
    if key not in outlines:
        try:
            outlines[key] = outline(data)
        except UserError:
            if here:
                raise
            raise _Elsewhere from None
    return outlines[key]
