"""The digest of the settings of a run, by which a table finds its numbers on any machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gradinc.config.compose import Job
from gradinc.config.documents import mapping
from gradinc.config.identity import document_digest
from gradinc.data.locations import DOWNLOADABLE
from gradinc.records.recorded import RecordedRun


def settings_digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the keys that a run's numbers depend on, in hexadecimal.

    It differs from the run's identity in one point: where the files of a set with known contents are, does not count.
    For another set, such as a folder of images, ``data.root`` says which data they are.

    Args:
        document: the run's config.
    """
    data = document.get("data")
    if isinstance(data, Mapping) and data.get("name") in DOWNLOADABLE:
        document = {**document, "data": {**data, "root": None}}
    return document_digest(document)


def as_they_were_run(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs; a job without ``data.root`` and without a run gets the ``data.root`` of a finished run like it.

    So a table finds its runs by its name alone, wherever its data were.
    """
    finished = cache(_finished)
    return [_as_it_was_run(job, finished) for job in jobs]


def _as_it_was_run(job: Job, finished: Callable[[Path], tuple[str | None, str | None]]) -> Job:
    config = job.config
    if config.data.root is not None or config.data.name not in DOWNLOADABLE or job.directory.exists():
        return job
    wanted = settings_digest(config.document)
    for place in sorted(job.directory.parent.glob(f"{job.directory.name.rpartition('-')[0]}-*")):
        settings, root = finished(place)
        if settings == wanted:
            return replace(job, config=replace(config, data=replace(config.data, root=root)))
    return job


def _finished(place: Path) -> tuple[str | None, str | None]:
    """Return the digest of a finished run's settings, and its ``data.root``."""
    run = RecordedRun.open(place)
    if run.status != "finished":
        return None, None
    return settings_digest(run.config), mapping(run.config, "data").get("root")
