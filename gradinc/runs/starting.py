"""The start of a run: its parts, its directory, its records, and its first messages."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from torch import nn

from gradinc.base.errors import Diverged, Interrupted, StorageError, UserError
from gradinc.base.signals import Interruption
from gradinc.base.text import counted
from gradinc.config.schema import Config
from gradinc.core.world import join
from gradinc.data.about import about
from gradinc.data.dataset import Dataset
from gradinc.records.directory import RunDirectory
from gradinc.runs import device as devices
from gradinc.runs.display import Display
from gradinc.runs.ended import tell_if_ended
from gradinc.runs.ending import train_to_the_end
from gradinc.runs.fit import recorded
from gradinc.runs.prepare import Prepared, prepare
from gradinc.runs.run import Run, open_beside, open_run
from gradinc.runs.segment import check_segment, write_meta
from gradinc.runs.tracking import tracked
from gradinc.runs.warnings import before_training, expected


def start(
    directory: RunDirectory,
    search: dict[str, Any] | None,
    made_by: dict[str, Any],
    display: Display,
    stop: Interruption,
) -> int:
    """Start a run, or resume it, and train to its end.

    Args:
        search: record of the search that found the run's values; None without a search.
        made_by: digests of the code, computed before it was imported.

    Returns:
        The exit code, as in `execute`.
    """
    parts = _prepare(directory)
    join(parts.device)
    world = parts.learner.place.world
    if not world.leads:
        return _follow(parts, directory, display, stop)
    stop.deferred = True
    with directory.locked():
        if parts.config.fresh:
            directory.clear()
        else:  # another process may have finished the run in the meantime
            directory.check_config()
            if (code := tell_if_ended(directory, display)) is not None:
                return code
        earlier = directory.meta()
        _check_micro_batch(directory, earlier, parts.micro_batch)
        threads = _threads(parts.config, earlier, parts.learner.model, parts.dataset)
        devices.pin(threads, parts.device)
        environment = {**devices.environment(parts.device, threads), **made_by}
        if not world.alone or "processes" in ((earlier or {}).get("segments") or [{}])[-1]:
            environment["processes"] = world.size
        check_segment(directory, earlier, parts.stream.digest, environment, display)
        if (said := directory.restore_config()) is not None:
            display.warn(said)
        run = open_run(parts, directory, display, stop)
        try:
            step = run.restored.step
            world.first(-1 if step is None else step)
            found: dict[str, Any] = {} if search is None else {"search": search}
            found["id"] = (earlier or {}).get("id") or uuid4().hex
            if parts.micro_batch is not None:
                found["micro_batch"] = parts.micro_batch
            write_meta(directory, None if step is None else earlier, parts.stream, environment, step, found)
            _introduce(parts, run, directory, threads, display)
            with tracked(parts.config.trackers, directory.path, display):
                return train_to_the_end(run, directory, parts.device, search, display, stop)
        finally:
            run.close()


def _prepare(directory: RunDirectory) -> Prepared:
    config = directory.config
    try:
        return prepare(config, None if config.fresh else recorded(directory.meta()))
    except Exception as error:
        if devices.is_out_of_memory(error):
            where = f"model={config.model.name} with data={config.data.name}"
            raise StorageError(where, "does not fit into memory", "Use a smaller model or set") from error
        raise


def _follow(parts: Prepared, directory: RunDirectory, display: Display, stop: Interruption) -> int:
    """Train together with the first process, which writes and reports for all processes."""
    stop.deferred = True
    devices.pin(_threads(parts.config, None, parts.learner.model, parts.dataset), parts.device)
    try:
        step = parts.learner.place.world.first(-1)
        open_beside(None if step < 0 else step, parts, directory, display, stop).train()
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except (Diverged, RuntimeError):
        return 1  # the first process reports the error
    return 0


def _check_micro_batch(directory: RunDirectory, earlier: dict[str, Any] | None, rows: int | None) -> None:
    before = recorded(earlier)
    if rows is not None and before not in (None, rows):
        what = f"was started in the meantime with micro-batches of {before} rows"
        raise UserError(str(directory.path), what, "Give the same command again")


def _threads(config: Config, earlier: dict[str, Any] | None, model: nn.Module, dataset: Dataset) -> int:
    """Use the earlier number of threads in a resumed run, unless a number is given: it affects the last bits."""
    if config.threads == "auto" and earlier is not None and earlier.get("segments"):
        return int(earlier["segments"][-1]["threads"])
    return devices.choose_threads(config.threads, model, dataset.shape, config.data.batch_size)


def _introduce(parts: Prepared, run: Run, directory: RunDirectory, threads: int, display: Display) -> None:
    """Show the stream, warnings, the model, the device and the directory, and the accuracy to be expected."""
    config, stream, learner = parts.config, parts.stream, parts.learner
    display.say(about(stream))
    for line in before_training(config, stream, learner):
        display.warn(line)
    facts = [f"{config.model.name} ({len(learner.weights):,} weights)", str(parts.device), counted(threads, "thread")]
    if config.strategy.window.micro_batch == "auto":
        facts.append(f"micro_batch=auto: {config.strategy.window.size} × {counted(config.data.batch_size, 'row')}")
    step = run.restored.step
    going_on = "" if step is None else f", resuming from step {step}"
    display.say(f"{' · '.join(facts)} → {directory.path}{going_on}")
    normal = expected(stream.outputs, stream.tested, config.stream.data, learner.methods)
    if normal is not None:
        display.say(normal, style="dim")
