"""P4, P5, P6, P7: what the same command does the next time, and a command that is not quite the same."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lives import Nursery, differences, only_run, outcome, reseal, snapshot

from gradinc.records.schemas import read_json

RUN = ("model=mlp", "model.width=8", "data.batch_size=100", "budget.epochs=2", "name=mine", "progress=plain")
HALF = {"crash": "pruned:12"}
"""Killed in the second epoch, if there is a checkpoint after every micro-batch."""


def kill_half_way(nursery: Nursery, folder: Path, *words: str) -> Path:
    end = nursery.run(folder, *RUN, *words, "checkpoint.seconds=0", **HALF)
    assert end.code == -signal.SIGKILL
    return only_run(folder)


# ---- P4: a finished run ----


def test_a_finished_run_is_not_touched(nursery: Nursery, folder: Path) -> None:
    assert nursery.run(folder, *RUN).code == 0
    before = snapshot(folder)
    directory_before = only_run(folder).stat().st_mtime_ns
    for _ in range(2):
        again = nursery.run(folder, *RUN)
        assert (again.code, again.err) == (0, "")
        assert "outputs/mine is finished already." in again.out
        assert "next: gradinc test outputs/mine" in again.out
        assert f"{(read_json(only_run(folder) / 'result.json') or {})['samples']:,}" in again.out
    assert snapshot(folder) == before
    assert only_run(folder).stat().st_mtime_ns == directory_before


def test_fresh_runs_it_again(nursery: Nursery, folder: Path) -> None:
    assert nursery.run(folder, *RUN).code == 0
    before, finished = snapshot(folder), outcome(only_run(folder))
    (only_run(folder) / "notes.txt").write_text("the user's own")
    end = nursery.run(folder, *RUN, "fresh=true")
    assert end.code == 0
    assert "finished already" not in end.out
    assert "going on" not in end.out
    after = snapshot(folder)
    assert all(after[name][0] > time for name, (time, _) in before.items() if time)
    assert (only_run(folder) / "notes.txt").read_text() == "the user's own"
    (only_run(folder) / "notes.txt").unlink()
    assert differences(only_run(folder), finished) == []


def test_a_finished_run_of_other_code_says_so(nursery: Nursery, folder: Path) -> None:
    assert nursery.run(folder, *RUN).code == 0
    meta = only_run(folder) / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "code": "0" * 64}))
    reseal(only_run(folder))
    end = nursery.run(folder, *RUN)
    assert end.code == 0
    assert "is finished already by another version of gradinc's code; fresh=true runs it again." in end.out


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "finished"}'])
def test_a_result_that_is_no_result_is_made_again(nursery: Nursery, folder: Path, content: str) -> None:
    assert nursery.run(folder, *RUN).code == 0
    finished = outcome(only_run(folder))
    (only_run(folder) / "result.json").write_text(content)
    end = nursery.run(folder, *RUN)
    assert (end.code, end.err) == (0, "")
    assert differences(only_run(folder), finished) == []


@pytest.mark.parametrize("content", [None, "", "{}", '{"data": {}, "segments": []}'])
def test_a_run_whose_record_is_gone_is_refused(nursery: Nursery, folder: Path, content: str | None) -> None:
    run = kill_half_way(nursery, folder)
    (run / "meta.json").unlink()
    if content is not None:
        (run / "meta.json").write_text(content)
    before = snapshot(folder)
    end = nursery.run(folder, *RUN)
    assert (end.code, end.out) == (2, "")
    assert end.err == "outputs/mine/meta.json: is missing or damaged. Restore it, or use fresh=true to start again.\n"
    assert snapshot(folder) == before
    assert nursery.run(folder, *RUN, "fresh=true").code == 0


# ---- P5: another config under the same name ----

CHANGES = {
    "a decimal": ("optimizer.lr=0.2", "optimizer.lr=0.05, now 0.2"),
    "a whole number": ("data.batch_size=50", "data.batch_size=100, now 50"),
    "true or false": ("optimizer.nesterov=true", "optimizer.nesterov=false, now true"),
    "a word": ("strategy.window.last=carry", "strategy.window.last=flush, now carry"),
    "a part": ("model=linear", "model.name=mlp, now linear"),
    "null": ("schedule.updates=9", "schedule.updates=null, now 9"),
    "a list": ("data.augment=[crop]", "data.augment=[], now"),
    "a method": ("strategy=clip", "strategy.methods"),
    "a number or auto": ("budget.epochs=3", "budget.epochs=2, now 3"),
    "the seed": ("seed=1", "seed=0, now 1"),
}


@pytest.mark.parametrize("half", [True, False], ids=["unfinished", "finished"])
def test_a_changed_config_is_refused(nursery: Nursery, folder: Path, half: bool) -> None:
    if half:
        kill_half_way(nursery, folder)
    else:
        assert nursery.run(folder, *RUN).code == 0
    before = snapshot(folder)
    for word, told in CHANGES.values():
        words = [each for each in RUN if each.split("=")[0] != word.split("=")[0] and not word.startswith("model=")]
        words = words or [each for each in RUN if not each.startswith("model")]
        end = nursery.run(folder, *words, word)
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), word
        assert end.err.startswith(f"outputs/mine: was started with {told}"), end.err
        assert "Use a new name=…, or resume with the old value." in end.err
        assert snapshot(folder) == before


def test_a_config_that_was_changed_or_lost_is_written_again_by_the_same_command(nursery: Nursery, folder: Path) -> None:
    assert nursery.run(folder, *RUN).code == 0
    run, before = only_run(folder), snapshot(folder)
    config, content = run / "config.yaml", before.pop("outputs/mine/config.yaml")[1]
    for damaged in (content.decode().replace("seed: 0", "seed: 1", 1), None):
        config.unlink() if damaged is None else config.write_text(damaged)
        listed = nursery.run(folder, command="runs")
        assert run.name in listed.out
        end = nursery.run(folder, *RUN, "seed=1")
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
        what = "is missing, and" if damaged is None else "was changed:"
        line = f"outputs/mine/config.yaml: {what} by its meta.json the run was started with another config. "
        assert end.err.startswith(line)
        end = nursery.run(folder, *RUN)
        assert (end.code, end.err) == (0, "")
        assert ("config.yaml was damaged. It is written again.\n" in end.out) == (damaged is not None)
        assert "is finished already" in end.out
        after = snapshot(folder)
        assert after.pop("outputs/mine/config.yaml")[1] == content
        assert after == before


def test_what_does_not_change_the_numbers_may_change(nursery: Nursery, folder: Path) -> None:
    kill_half_way(nursery, folder)
    free = ("device=cpu", "checkpoint.keep=3", "checkpoint.seconds=7", "data.workers=1", "evaluate.epochs=1")
    end = nursery.run(folder, *RUN[:-1], *free, "progress=quiet")
    assert (end.code, end.out, end.err) == (0, "", "")
    assert nursery.run(folder / "whole", *RUN).code == 0
    assert differences(only_run(folder), outcome(only_run(folder / "whole"))) == []


def test_without_a_name_another_config_is_another_run(nursery: Nursery, folder: Path) -> None:
    words = [word for word in RUN if not word.startswith("name=")]
    for more in ((), ("seed=1",), ("optimizer.lr=0.1",)):
        assert nursery.run(folder, *words, *more).code == 0
    assert len(list((folder / "outputs").iterdir())) == 3


def test_a_folder_that_is_no_run_is_left_alone(nursery: Nursery, folder: Path) -> None:
    (folder / "outputs" / "mine").mkdir(parents=True)
    (folder / "outputs" / "mine" / "thesis.tex").write_text("all of it")
    for words in ((), ("fresh=true",)):
        end = nursery.run(folder, *RUN, *words)
        assert (end.code, end.err.count("\n")) == (2, 1)
        assert end.err.startswith("outputs/mine: is not the directory of a run.")
    assert [path.name for path in (folder / "outputs" / "mine").iterdir()] == ["thesis.tex"]


# ---- P6: other data ----


def arrays(folder: Path, rows: int = 200) -> Path:
    values = np.random.default_rng(0)
    x, y = values.normal(size=(rows, 6)).astype(np.float32), values.integers(0, 3, rows)
    np.savez(folder / "mine.npz", x=x, y=y)
    return folder / "mine.npz"


ON_ARRAYS = ("data=npz", "data.root=mine.npz", "model=linear", "data.batch_size=16", "budget.epochs=2", "name=mine")


@pytest.mark.parametrize("what", ["an input", "a label"])
def test_changed_data_are_refused(nursery: Nursery, folder: Path, what: str) -> None:
    file = arrays(folder)
    content = file.read_bytes()
    command = (*ON_ARRAYS, "checkpoint.seconds=0", "progress=plain")
    assert nursery.run(folder, *command, crash="pruned:9").code == -signal.SIGKILL
    stored = dict(np.load(file))
    if what == "an input":
        stored["x"].view(np.uint8)[17, 0] ^= 1  # one bit of one value
    else:
        stored["y"][17] = (stored["y"][17] + 1) % 3
    np.savez(file, **stored)
    before = snapshot(folder)
    end = nursery.run(folder, *command)
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1)
    assert "outputs/mine: was started with other data (digest " in end.err
    assert snapshot(folder) == before
    file.write_bytes(content)
    assert nursery.run(folder, *command).code == 0


def test_another_split_is_other_data(nursery: Nursery, folder: Path) -> None:
    kill_half_way(nursery, folder)
    end = nursery.run(folder, *RUN, "data.split_seed=1")
    assert end.code == 2
    assert "data.split_seed=0, now 1" in end.err


# ---- P7: another environment ----


def run_elsewhere(run: Path, **values: Any) -> None:
    """Have the record say that the run was started somewhere else."""
    meta = read_json(run / "meta.json") or {}
    meta["segments"][-1].update(values)
    (run / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(("key", "value"), [("torch", "2.9.0"), ("processor", "an abacus"), ("threads", 3)])
def test_another_environment_is_told_and_recorded(nursery: Nursery, folder: Path, key: str, value: Any) -> None:
    run = kill_half_way(nursery, folder, "threads=1")
    run_elsewhere(run, **{key: value})
    before = snapshot(folder)
    strict = nursery.run(folder, *RUN, "threads=1", "strict=true")
    assert (strict.code, strict.out, strict.err.count("\n")) == (2, "", 1)
    assert f"outputs/mine: ran with {key} {value}, now " in strict.err
    assert snapshot(folder) == before

    end = nursery.run(folder, *RUN, "threads=1")
    assert end.code == 0
    (warning,) = [line for line in end.out.splitlines() if line.startswith("warning: ")]
    assert warning.startswith(f"warning: outputs/mine ran with {key} {value}, now ")
    segments = (read_json(run / "meta.json") or {})["segments"]
    assert [segment[key] == value for segment in segments] == [True, False]
    assert segments[0]["from_step"] == 0
    assert segments[1]["from_step"] > 0


def test_the_same_environment_is_no_news(nursery: Nursery, folder: Path) -> None:
    run = kill_half_way(nursery, folder)
    end = nursery.run(folder, *RUN, "strict=true")
    assert end.code == 0
    assert "warning" not in end.out
    assert len((read_json(run / "meta.json") or {})["segments"]) == 2


def test_a_run_keeps_the_threads_that_it_began_with(nursery: Nursery, folder: Path) -> None:
    run = kill_half_way(nursery, folder, "threads=2")
    assert nursery.run(folder, *RUN).code == 0
    assert [segment["threads"] for segment in (read_json(run / "meta.json") or {})["segments"]] == [2, 2]
