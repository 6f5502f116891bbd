"""Checked configs from a command line. Hydra composes; it never instantiates or starts anything."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from omegaconf import OmegaConf

from gradinc.base.errors import UserError
from gradinc.config.cluster import Cluster
from gradinc.config.composer import Composer, resolved, set_value
from gradinc.config.identity import identity_digest, run_directory
from gradinc.config.overrides import check_choice, latest, parse, refuse_sweeps
from gradinc.config.schema import Config, DataSection, common_keys
from gradinc.config.validation import validate


@dataclass(frozen=True)
class Job:
    """One run of a command.

    Attributes:
        swept: the arguments in which it differs from the other jobs of its sweep.
        config: the run's config.
        cluster: where it runs: the same for all jobs of a command, and not a part of the run.
        folder: the folder of a sweep with a name.
    """

    swept: tuple[str, ...]
    config: Config
    cluster: Cluster = Cluster()  # noqa: RUF009  (it is frozen)
    folder: Path | None = None

    @cached_property
    def directory(self) -> Path:
        """The directory of its run, existing or not."""
        return run_directory(self.config)


def load_config(overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> Config:
    """Return the config of a single run.

    Raises:
        UserError: the command line is wrong, or has several runs.
    """
    jobs = compose_jobs(overrides, config_dirs=config_dirs)
    if len(jobs) != 1:
        raise UserError(" ".join(overrides), f"has {len(jobs)} runs", "Give one value for each key")
    return jobs[0].config


def compose_jobs(overrides: Sequence[str], *, multirun: bool = False, config_dirs: Sequence[Path] = ()) -> list[Job]:
    """Compose and check every run of a command line.

    In a sweep an option applies to the runs that have its part; runs without the part are not repeated for its values.

    Args:
        overrides: its ``key=value`` arguments.
        multirun: whether values with commas are swept over; an experiment can also request this.
        config_dirs: folders of YAML files besides gradinc's own.

    Raises:
        UserError: one of them is wrong.
    """
    composer = Composer(config_dirs)
    assignments = [parse(text, config_dirs) for text in overrides]
    jobs = []
    expanded = list(composer.expanded(assignments, multirun=multirun))
    fitting = composer.placed([each for each, _ in expanded]) if len(expanded) > 1 else [expanded[0][0]]
    for each, (_, swept) in zip(fitting, expanded, strict=True):
        if each is None:
            continue
        config, where = composer.run(each)
        words = tuple(a.text for a in each if a.key in swept)
        named = multirun and config.name is not None and "name" not in swept
        jobs.append(_in_folder(words, config, where) if named else Job(words, config, where))
    jobs = named_alike(jobs)
    if not multirun and len(jobs) > 1:
        jobs = [job if job.config.name is None else _in_folder(job.swept, job.config, job.cluster) for job in jobs]
    _refuse_several_clusters(jobs)
    _refuse_shared_directories(jobs)
    return jobs


def reconfigured(config: Config, overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Config:
    """Return a run's config with other data or another device, to measure the run there.

    With another data set, the run's values of common keys such as ``data.normalize`` stay, except the
    location of the files.

    Args:
        config: the run's config.
        overrides: ``data=…``, ``data.<key>=…`` and ``device=…``.
        config_dirs: folders of YAML files besides gradinc's own.

    Raises:
        UserError: an argument is wrong, or sets anything else.
    """
    assignments = latest(parse(text, config_dirs) for text in overrides)
    refuse_sweeps(assignments.values())
    for key in assignments:
        if key != "device" and key.split(".")[0] != "data":
            raise UserError(key, "is fixed by the training of the run", "Give data=…, data.<key>=… or device=… only")
    document = copy.deepcopy(config.document)
    choice = assignments.pop("data", None)
    if choice is None or check_choice(choice, config_dirs) == [config.data.name]:
        for key in ("data.validation", "data.test", "data.split_seed"):
            if key in assignments:
                raise UserError(key, "would test on rows that the run was trained on", "Leave it out")
    else:
        chosen = resolved(Composer(config_dirs).tree([choice]))["data"]
        kept = {key: document["data"][key] for key in common_keys(DataSection) if key not in ("name", "root")}
        document["data"] = {**chosen, **kept}
    new = OmegaConf.create({})
    for assignment in assignments.values():
        set_value(assignment, new)
    data = resolved(new)
    document["data"].update(data.pop("data", {}))
    return validate({**document, **data})


def _in_folder(swept: tuple[str, ...], config: Config, where: Cluster) -> Job:
    """Return a job of a sweep with a name: its run is named by content, in a folder of the sweep's name."""
    folder = Path(config.output) / str(config.name)
    return Job(swept, replace(config, output=str(folder), name=None), where, folder)


def named_alike(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs with one name for each run: a strategy of several names would be trained in several places."""
    names: dict[tuple[str, str], str | None] = {}
    found = []
    for job in jobs if len(jobs) > 1 else ():
        key = (job.config.output, identity_digest(job.config))
        name = names.setdefault(key, job.config.strategy.name)
        if name != job.config.strategy.name:
            job = replace(job, config=replace(job.config, strategy=replace(job.config.strategy, name=name)))
        found.append(job)
    return found or list(jobs)


def _refuse_several_clusters(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.cluster != jobs[0].cluster:
            names = f"cluster={jobs[0].cluster.name}", f"cluster={job.cluster.name}"
            where = " ".join(dict.fromkeys(names))
            raise UserError(where, "all jobs of a sweep run in one place", "Give one cluster, with one set of options")


def _refuse_shared_directories(jobs: Sequence[Job]) -> None:
    """Refuse a sweep with ``name=`` that would put different runs into one directory."""
    identities: dict[Path, str] = {}
    for job in jobs:
        identity = identity_digest(job.config)
        if identities.setdefault(job.directory, identity) != identity:
            name = job.config.name or job.directory.name
            raise UserError(f"name={name}", "two runs of the sweep would share a directory", "Leave name out")
