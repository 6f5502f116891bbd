"""Checks that a machine has everything that runs need."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from gradinc.base.cores import usable_cores
from gradinc.base.errors import UserError
from gradinc.base.files import write_whole
from gradinc.base.text import bytes_text
from gradinc.config import catalog
from gradinc.data.availability import availability

LEAST_FREE = 100_000_000
"""Free bytes that a disk needs for a run's checkpoints."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: name of the check.
        state: ``ok``, ``–`` (missing, and only needed for some features) or ``wrong``.
        found: what was found.
        fix: what to do about it; empty if nothing is wrong.
    """

    what: str
    state: str
    found: str
    fix: str = ""


def examine(output: Path) -> list[Finding]:
    """Make all checks. Nothing is changed, except for a temporary file in `output` or its parent.

    Args:
        output: the directory of runs.
    """
    return [
        Finding("python", "ok", platform.python_version()),
        *_packages(),
        _torchvision(),
        *_devices(),
        _place(output),
        *_data_sets(),
        _slurm(),
        _package("ray", "runs on a Ray cluster"),
    ]


def _packages() -> Iterator[Finding]:
    """Yield the required packages, and whether their versions are supported."""
    for line in metadata.requires("gradinc") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, "wrong", "not installed", f"pip install '{line}'")
            continue
        fits = requirement.specifier.contains(version, prereleases=True)
        needed = f"{version}, needs {requirement.specifier}"
        yield Finding(requirement.name, *(("ok", version) if fits else ("wrong", needed, f"pip install '{line}'")))


def _torchvision() -> Finding:
    """Return whether torchvision was built for this torch."""
    from gradinc.data.torchvision_import import import_torchvision

    fix = "Install torch and torchvision from one source, with -c constraints.txt"
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            import_torchvision()
        except Exception as error:  # an incompatible pair raises errors of many types
            return Finding("torch and torchvision", "wrong", f"{type(error).__name__}: {str(error)[:80]}", fix)
    if any("built for another torch" in str(warning.message) for warning in heard):
        return Finding(
            "torch and torchvision", "ok", "not built for each other; gradinc does not need the missing operators"
        )
    return Finding("torch and torchvision", "ok", "built for each other")


def _devices() -> Iterator[Finding]:
    import torch

    from gradinc.runs.device import flush_denormals

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding("CUDA devices", "ok" if names else "–", ", ".join(names) or "none; device=auto uses the CPU")
    cores = usable_cores()
    given = os.environ.get("OMP_NUM_THREADS")
    limit = f", OMP_NUM_THREADS={given}" if given else ""
    if flush_denormals():
        yield Finding("denormal numbers", "ok", "treated as 0")
    else:
        yield Finding("denormal numbers", "–", "not treated as 0: training is slower if losses are near 0")
    yield Finding("CPU cores", "ok", f"{cores} for this process{limit}")


def _place(output: Path) -> Finding:
    """Return whether runs can be written to: a file is made there, synced, replaced and removed."""
    what, place = f"output {output}", output
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".gradinc-doctor-", dir=place) as folder:
            for content in (b"once", b"again"):
                write_whole(Path(folder) / "file", content)
            free = shutil.disk_usage(folder).free
    except (OSError, UserError) as error:
        return Finding(what, "wrong", str(error), "Choose another directory: output=DIR")
    if free < LEAST_FREE:
        return Finding(
            what, "wrong", f"{bytes_text(free)} are free", "Free some space, or choose another directory: output=DIR"
        )
    return Finding(what, "ok", f"can be written, {bytes_text(free)} are free")


def _data_sets() -> Iterator[Finding]:
    for part in catalog.parts("data"):
        found = availability(part.name)
        yield Finding(f"data={part.name}", "ok" if found.here else "–", found.where or found.how)


def _slurm() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding("Slurm", "–", "no sbatch here; only needed to run on a Slurm cluster")
    python_side = _package("submitit", "runs on a Slurm cluster")
    return Finding("Slurm", python_side.state, f"{shutil.which('sbatch')}; submitit {python_side.found}")


def _package(name: str, need: str) -> Finding:
    """Check an optional package, without importing it."""
    if importlib.util.find_spec(name) is None:
        return Finding(name, "–", f"not installed; only needed for {need}")
    return Finding(name, "ok", metadata.version(name))
