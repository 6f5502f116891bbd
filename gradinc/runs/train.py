"""From a checked config to a run that is finished, or that says why not and how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gradinc import __version__
from gradinc.base.errors import Diverged, Interrupted, Lost, StorageError, UserError
from gradinc.base.files import write_json, write_whole
from gradinc.config.catalog import PACKAGE, part
from gradinc.config.code import OWN, code_digests, edited, segment_digests
from gradinc.config.schema import Config
from gradinc.config.values import Strength
from gradinc.records.directory import RunDirectory
from gradinc.records.environment import changes
from gradinc.records.schemas import ENDED, read_meta
from gradinc.records.seal import SEAL, check_seal
from gradinc.records.search import found_by
from gradinc.runs.display import Display, summary
from gradinc.runs.heatmap import heat_map

if TYPE_CHECKING:
    import torch

    from gradinc.base.signals import Interruption
    from gradinc.core.world import World
    from gradinc.data.dataset import Dataset
    from gradinc.data.stream import Stream
    from gradinc.runs.prepare import Prepared
    from gradinc.runs.run import Run


WATCHING = ("evaluate", "log", "diagnostics")
"""Sections that may change from one start to the next and decide what the log says from there on."""


def execute(config: Config, *, console: Console, display: Display | None = None) -> int:
    """Run a config: start it, go on with it, or say that it is finished.

    Args:
        config: what it is to do.
        console: where it is shown.
        display: how it is shown; as ``progress=`` says, if not given.

    Returns:
        The exit code: 0 done, 1 diverged, 128 + signal when interrupted.

    Raises:
        UserError: the config does not fit its data or its device, or the run directory is another's;
            nothing was created.
        StorageError: a file could not be written.
    """
    directory = RunDirectory(config)
    directory.check_place()
    with display or Display(console, config.progress) as display:
        if not config.fresh:
            directory.check_config()
            if (code := _tell_if_done(directory, display)) is not None:
                return code
        search = found_by(config)
        from gradinc.base.signals import interruption
        from gradinc.runs.device import is_out_of_memory  # what follows needs torch

        with interruption() as stop:
            try:
                return _train(config, search, directory, display, stop)
            except Interrupted as interrupted:
                display.warn(f"stopped by {_name(interrupted)} before training. Go on with: {_command()}")
                return 128 + interrupted.signum
            except Exception as error:
                if is_out_of_memory(error):
                    raise _out_of_memory(config) from error
                raise


def _tell_if_done(directory: RunDirectory, display: Display) -> int | None:
    """For a run that has come to its end: say so, and give the exit code.

    Raises:
        UserError: it has not the files that it ended with.
    """
    result = directory.result()
    if result is None or result["status"] not in ENDED:
        return None
    if (said := directory.check_seal(result)) is not None:
        display.warn(said)
    if result["status"] == "diverged":
        display.warn(_divergence(directory, result))
        return 1
    whose = edited(read_meta(directory.path / "meta.json"), directory.config.document)
    other = "" if whose is None else f" by another version of {whose} code; fresh=true runs it again"
    unsealed = "" if SEAL in result else " (unsealed)"
    display.say(f"{directory.path} is finished already{other}{unsealed}.")
    _tell_end(directory, result, display)
    return 0


def _train(
    config: Config, search: dict[str, Any] | None, directory: RunDirectory, display: Display, stop: Interruption
) -> int:
    from gradinc.core.world import join
    from gradinc.data.about import about
    from gradinc.runs import device as devices
    from gradinc.runs.device import is_out_of_memory
    from gradinc.runs.fit import recorded
    from gradinc.runs.prepare import prepare
    from gradinc.runs.run import Run
    from gradinc.runs.warnings import (
        expected,
        given_answers,
        missing_classes,
        resting_norms,
        short_epochs,
        undone_projections,
        without_past,
    )

    made_by = segment_digests(config.document)  # before any of it is imported
    try:
        parts = prepare(config, None if config.fresh else recorded(directory.meta()))
    except Exception as error:
        if is_out_of_memory(error):
            where = f"model={config.model.name} with data={config.data.name}"
            raise StorageError(where, "does not fit into memory", "Use a smaller model or set") from error
        raise
    join(parts.device)
    world = parts.learner.place.world
    if not world.leads:
        return _follow(parts, directory, display, stop, world)
    config, device, dataset, learner = parts.config, parts.device, parts.dataset, parts.learner
    stream, micro_batch = parts.stream, parts.micro_batch

    stop.deferred = True
    with directory.locked():
        if config.fresh:
            directory.clear()
        else:  # another process may have been here in the meantime
            directory.check_config()
            if (code := _tell_if_done(directory, display)) is not None:
                return code
        earlier = directory.meta()
        _check_micro_batch(directory, earlier, micro_batch)
        threads = _threads(config, earlier, learner.model, dataset)
        devices.pin(threads, device)
        environment = {**devices.environment(device, threads), **made_by}
        if not world.alone or "processes" in ((earlier or {}).get("segments") or [{}])[-1]:
            environment["processes"] = world.size
        _check_segment(config, directory, earlier, stream.digest, environment, display)
        if (said := directory.restore_config()) is not None:
            display.warn(said)
        run = Run(config, directory, dataset, stream, learner, display, stop)
        step = run.resume()
        world.first(-1 if step is None else step)
        found = {
            **({} if search is None else {"search": search}),
            **({} if micro_batch is None else {"micro_batch": micro_batch}),
        }
        _write_meta(directory, earlier if step is not None else None, stream, environment, step, found)
        display.say(about(stream))
        named = learner.named
        acting = named if len(stream) > 1 else {}
        for line in (
            *without_past(config, named, stream),
            *undone_projections(acting, config.optimizer.name, config.optimizer.options),
            *resting_norms(named, learner.model, len(stream)),
            *missing_classes(stream),
            *given_answers(stream),
            *short_epochs(config, learner.window.due, stream.lengths, world.size),
        ):
            display.warn(line)
        display.say(_headline(config, len(learner.weights), device, threads, directory, step))
        normal = expected(stream.outputs, stream.tested, config.stream.data, learner.methods)
        if normal is not None:
            display.say(normal, style="dim")
        try:
            return _finish(run, search, directory, display, stop, device)
        finally:
            run.close()


def _follow(parts: Prepared, directory: RunDirectory, display: Display, stop: Interruption, world: World) -> int:
    """Train beside the first process, which writes and speaks for all."""
    from gradinc.runs import device as devices
    from gradinc.runs.run import Run

    stop.deferred = True
    devices.pin(_threads(parts.config, None, parts.learner.model, parts.dataset), parts.device)
    run = Run(parts.config, directory, parts.dataset, parts.stream, parts.learner, display, stop)
    try:
        step = world.first(-1)
        run.follow(None if step < 0 else step)
        run.train()
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    except (Diverged, RuntimeError):
        return 1  # the first process tells what it was
    return 0


def _check_micro_batch(directory: RunDirectory, earlier: dict[str, Any] | None, rows: int | None) -> None:
    from gradinc.runs.fit import recorded

    before = recorded(earlier)
    if rows is not None and before not in (None, rows):
        what = f"was started in the meantime with micro-batches of {before} rows"
        raise UserError(str(directory.path), what, "Give the same command again")


def _headline(
    config: Config, weights: int, device: torch.device, threads: int, directory: RunDirectory, step: int | None
) -> str:
    parts = [f"{config.model.name} ({weights:,} weights)", str(device), _count(threads, "thread")]
    if config.strategy.window.micro_batch == "auto":
        parts.append(f"windows of {config.strategy.window.size} × {_count(config.data.batch_size, 'row')}")
    going_on = "" if step is None else f", going on from step {step}"
    return f"{' · '.join(parts)} → {directory.path}{going_on}"


def _finish(
    run: Run,
    search: dict[str, Any] | None,
    directory: RunDirectory,
    display: Display,
    stop: Interruption,
    device: torch.device,
) -> int:
    """Train to the end, whichever it is, and record which it was."""
    from gradinc.runs.checkpoint import fitting
    from gradinc.runs.device import is_out_of_memory, peak_memory

    learner = run.learner
    try:
        result = run.train()
    except Interrupted as interrupted:
        name = _name(interrupted)
        _record_stop(run, directory, "interrupted", {"signal": name})
        display.warn(f"stopped by {name} at step {learner.updates}, all is saved. Go on with: {_command()}")
        return 128 + interrupted.signum
    except Diverged as diverged:
        stop_record = {"diverged_at": diverged.step, "tensor": diverged.tensor}
        _record_stop(run, directory, "diverged", stop_record)
        display.warn(_divergence(directory, stop_record))
        return 1
    except StorageError as error:  # also where the place can be written no more: there is a run, which goes on
        raise StorageError(error.where, error.what, error.mend) from error
    except UserError as error:  # a data file that broke while it was being read
        _record_stop(run, directory, "failed", {"error": str(error)})
        raise
    except Exception as error:
        if not run.world.alone and run.world.has_lost(error):
            _record_stop(run, directory, "failed", {"error": "a process was lost"})
            what = f"lost one of its {run.world.size} processes at step {learner.updates}"
            raise Lost(str(directory.path), what, "The same command goes on, with as many of them or others") from error
        _record_stop(run, directory, "failed", {"error": f"{type(error).__name__}: {error}"})
        if not is_out_of_memory(error):
            write_whole(directory.path / "error.log", traceback.format_exc().encode())
            if run.resumed is not None:
                with fitting(run.resumed):  # what it holds has only now shown to be of no use here
                    raise
        raise
    result["peak_memory"] = peak_memory(device)
    if search is not None:
        result["search"] = search
    directory.write_result(result, run.last_checkpoints())
    (directory.path / "error.log").unlink(missing_ok=True)
    display.__exit__(None, None, None)
    _tell_end(directory, result, display)
    return 128 + stop.signum if stop.signum else 0


def _record_stop(run: Run, directory: RunDirectory, status: str, more: dict[str, Any]) -> None:
    record = {"status": status, **more, "test": None, "validation": run.position.validation or None, **run.counts()}
    record |= {"seconds": round(run.seconds, 3), "weights_digest": None}
    directory.write_result(record, run.last_checkpoints())


def _threads(config: Config, earlier: dict[str, Any] | None, model: torch.nn.Module, dataset: Dataset) -> int:
    """A run that goes on keeps the threads it had, unless they are given: other threads, other last bits."""
    from gradinc.runs.device import choose_threads

    if config.threads == "auto" and earlier is not None and earlier.get("segments"):
        return int(earlier["segments"][-1]["threads"])
    return choose_threads(config.threads, model, dataset.shape, config.data.batch_size)


def _check_segment(
    config: Config,
    directory: RunDirectory,
    earlier: dict[str, Any] | None,
    data_digest: str,
    environment: dict[str, Any],
    display: Display,
) -> None:
    """Compare data and environment with those that the run has had so far.

    Raises:
        UserError: the data are others, or the environment is and ``strict=true``.
    """
    if earlier is None:
        return
    digest = str(earlier.get("data", {}).get("digest"))
    if digest != data_digest:
        what = f"was started with other data (digest {digest[:12]}, now {data_digest[:12]})"
        raise UserError(str(directory.path), what, "Bring the old data back, or use a new name=… or fresh=true")
    differing = changes(earlier["segments"][-1], environment)
    changed = "; ".join(f"{name} {before}, now {now}" for name, before, now in differing)
    if changed and config.strict:
        mend = "Resume where it ran, or without strict"
        raise UserError(str(directory.path), f"ran with {changed}, and strict=true", mend)
    if changed:
        end = "the last bits may differ from an uninterrupted run. It is recorded."
        display.warn(f"{directory.path} ran with {changed}: {end}")


def _write_meta(
    directory: RunDirectory,
    earlier: dict[str, Any] | None,
    stream: Stream,
    environment: dict[str, Any],
    step: int | None,
    found: dict[str, Any],
) -> None:
    watching = {key: directory.config.document[key] for key in WATCHING}
    segment = {"from_step": step or 0, **environment, **watching, "pid": os.getpid(), "command": _command()}
    codes = code_digests(directory.config.document)
    segments = [*(earlier or {}).get("segments", []), segment]
    write_json(
        directory.path / "meta.json",
        {
            "gradinc": __version__,
            "code": codes.pop(OWN),
            **({"plugins": codes} if codes else {}),
            "commit": _commit(),
            "identity": directory.identity,
            "data": stream.record(),
            **found,
            "segments": segments,
        },
    )


def _commit() -> str | None:
    """The commit of the checkout that the program runs from, if it does."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _out_of_memory(config: Config) -> StorageError:
    """The line that says what to do about it: smaller micro-batches, and as many more of them in a window."""
    size, window = config.data.batch_size, config.strategy.window.size
    if config.strategy.window.micro_batch == "auto":
        what = "found micro-batches that do not fit into memory any more"
        mend = f"fresh=true looks again; data.batch_size={size} strategy.window.size={window} is the same update"
        return StorageError("strategy.window.micro_batch=auto", what, mend)
    where, what = f"data.batch_size={size}", "does not fit into memory"
    if size == 1:
        return StorageError(where, what, "Use a smaller model")
    factor = next(number for number in range(2, size + 1) if size % number == 0)
    mend = f"Use data.batch_size={size // factor} strategy.window.size={window * factor}: the same update"
    return StorageError(where, what, mend)


def _divergence(directory: RunDirectory, result: dict[str, Any]) -> str:
    smaller = " or ".join([*_strengths(directory.config), "optimizer.lr"])
    return (
        f"{directory.path} diverged at step {result['diverged_at']}: {result['tensor']} is not finite. "
        f"The last good checkpoint is kept. Use a smaller {smaller}; fresh=true runs it again."
    )


def _strengths(config: Config) -> list[str]:
    """The weights of methods' own terms, any of which can be too large for the learning rate."""
    return [
        f"strategy.methods.{name}.{option}"
        for name, options in config.strategy.methods.items()
        for option, parameter in part("method", name).parameters.items()
        if parameter.annotation == Strength and options[option] > 0
    ]


def _tell_end(directory: RunDirectory, result: dict[str, Any], display: Display) -> None:
    if "matrix" in result:
        display.show(heat_map(result["matrix"], display.console.width))
    display.show(summary(result))
    if "matrix" in result:
        _compare(directory, result, display)
    display.say(f"next: gradinc test {shlex.quote(str(directory.path))}", style="bold")


def _compare(directory: RunDirectory, result: dict[str, Any], display: Display) -> None:
    """Set a run beside plain fine-tuning and joint training of the same config, where they have been run."""
    config = directory.config
    plain = replace(config.strategy, methods={})
    bounds = {
        "finetune": replace(config, name=None, strategy=plain, stream=replace(config.stream, data="current")),
        "joint": replace(config, name=None, strategy=plain, stream=replace(config.stream, data="joint")),
    }
    parts = []
    for name, bound in bounds.items():
        other = RunDirectory(bound)
        found = other.result() if other.path != directory.path else None
        if found is None or found["status"] != "finished" or check_seal(found, other.path):
            continue
        if "metrics" in found:
            parts.append(f"{name} {100 * found['metrics']['acc']:.2f} %")
            if name == "finetune" and config.strategy.methods and _same_losses(directory.path, other.path):
                methods = ", ".join(config.strategy.methods)
                display.warn(f"every training loss is exactly that of finetune: {methods} had no effect")
    if parts:
        display.say(f"ACC of the same config with {', with '.join(parts)}")


def _same_losses(own: Path, other: Path) -> bool:
    from gradinc.records.log import read_log
    from gradinc.runs.warnings import no_effect

    return no_effect(read_log(own / "metrics.jsonl"), read_log(other / "metrics.jsonl"))


def _name(interrupted: Interrupted) -> str:
    return signal.Signals(interrupted.signum).name


def _command() -> str:
    arguments = sys.argv[1:] if sys.argv else []
    return shlex.join(["gradinc", *arguments])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
