"""P2: who reads the weights of a run gets its own, or is told."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from lives import End, Nursery, differences, only_run, outcome, snapshot
from test_damaged_checkpoints import DAMAGES, Damage, cut

from gradinc.runs import checkpoint

RUN = (
    *("model=mlp", "model.width=8", "data.batch_size=200", "budget.epochs=2", "progress=plain", "name=mine"),
    "checkpoint.seconds=0",
)
READERS: dict[str, tuple[str, ...]] = {
    "test": ("outputs/mine",),
    "sharpness": ("outputs/mine", "--rows=200", "--iterations=5"),
    "attack": ("outputs/mine", "--rows=20", "--steps=1", "--restarts=1", "--eps=0.1"),
    "invert": ("outputs/mine", "--windows=1", "--steps=1"),
    "train": ("init=outputs/mine", *RUN[:-2], "name=other"),
}
"""Commands that begin with the weights of a run."""


@pytest.fixture(scope="module")
def made(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run that is finished, or one that was killed in the middle of it."""
    folders: dict[str, Path] = {}

    def give(end: str) -> Path:
        if end not in folders:
            folders[end] = tmp_path_factory.mktemp(end)
            crash, code = ("pruned:8", -signal.SIGKILL) if end == "killed" else ("", 0)
            assert nursery.run(folders[end], *RUN, crash=crash).code == code
        return folders[end]

    return give


def copied(original: Path, folder: Path) -> tuple[Path, list[Path]]:
    """A copy of a run, and its checkpoints, the newest first."""
    run = only_run(shutil.copytree(original, folder, dirs_exist_ok=True))
    return run, [run / "ckpt" / str(mark) for mark in checkpoint.marks(run / "ckpt")]


def delete(path: Path) -> None:
    path.unlink()


def older(path: Path) -> None:
    """The one before under the name of the newest."""
    shutil.copyfile(path.with_name(str(checkpoint.marks(path.parent)[1])), path)


def best(path: Path) -> None:
    """The best weights, which are in a file of another kind."""
    shutil.copyfile(path.with_name("best"), path)


LOSSES = {
    "deleted": delete,
    "the one before": older,
    "the best": best,
    "half": DAMAGES["half"],
    "a bit": DAMAGES["a bit"],
}


def refused(end: End, line: str) -> None:
    assert (end.code, end.out, end.err) == (2, "", line + "\n")


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_other_weights_are_not_taken_for_those_of_a_finished_run(
    nursery: Nursery, made: Callable[[str], Path], folder: Path, loss: Damage
) -> None:
    run, (newest, before) = copied(made("whole"), folder)
    wanted = outcome(run)
    loss(newest)
    left = snapshot(folder)
    for command, words in READERS.items():
        end = nursery.run(folder, *words, command=command)
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), command
        assert end.err.startswith("outputs/mine: has lost its last weights")
        step = newest.name if loss is older else before.name
        assert end.err.endswith(
            f"Remove outputs/mine/result.json and run the run's command again: it resumes from step {step}.\n"
        )
    assert snapshot(folder) == left
    (run / "result.json").unlink()  # as the line says
    assert nursery.run(folder, *RUN).code == 0
    assert differences(run, wanted) == []


def test_without_any_checkpoint_the_line_says_what_helps(
    nursery: Nursery, made: Callable[[str], Path], folder: Path
) -> None:
    run, found = copied(made("whole"), folder)
    for path in found:
        cut(lambda size: 0)(path)
    newest = "outputs/mine/ckpt/" + found[0].name
    line = f"outputs/mine: has no checkpoint that is whole: {newest} is damaged (cut short). "
    refused(nursery.run(folder, "outputs/mine", command="test"), line + "Give its command again, with fresh=true.")
    shutil.rmtree(run / "ckpt")
    line = "outputs/mine: has no checkpoint. "
    refused(nursery.run(folder, "outputs/mine", command="test"), line + "Give its command again, with fresh=true.")
    (run / "result.json").unlink()
    refused(
        nursery.run(folder, "outputs/mine", command="test"),
        line + "Train it first, with the command in its meta.json.",
    )


def test_weights_of_an_earlier_step_are_told(nursery: Nursery, made: Callable[[str], Path], folder: Path) -> None:
    _, (newest, before, *_) = copied(made("killed"), folder)
    whole = nursery.run(folder, "outputs/mine", command="test")
    assert (whole.code, whole.err) == (0, "")
    cut(lambda size: size // 2)(newest)
    end = nursery.run(folder, "outputs/mine", command="test")
    assert end.code == 0
    line = (
        f"warning: outputs/mine/ckpt/{newest.name} is damaged (checksum). These are the weights of step {before.name}."
    )
    assert end.err == line + "\n"


def test_best_weights_are_those_of_such_a_file(nursery: Nursery, made: Callable[[str], Path], folder: Path) -> None:
    run, (newest, _) = copied(made("whole"), folder)
    shutil.copyfile(newest, run / "ckpt" / "best")
    line = "outputs/mine/ckpt/best: is damaged (a checkpoint under another name). "
    end = nursery.run(folder, "outputs/mine", "--best", command="test")
    refused(end, line + "Use its last weights, or run it again with fresh=true.")


@pytest.mark.parametrize("change", [("width: 8", "width: 9"), ("seed: 0", "seed: 1")], ids=["the model", "the seed"])
def test_another_config_is_not_taken_for_that_of_the_run(
    nursery: Nursery, made: Callable[[str], Path], folder: Path, change: tuple[str, str]
) -> None:
    run, _ = copied(made("whole"), folder)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(*change, 1))
    line = "outputs/mine/config.yaml: is not the config that the run was started with. "
    for command, words in READERS.items():
        if command != "train":
            end = nursery.run(folder, *words, command=command)
            refused(end, line + "Restore it, or run the run's own command again, which writes it.")
    listed = nursery.run(folder, "--json", command="runs")
    assert json.loads(listed.out)[0]["status"] == "damaged"
    assert nursery.run(folder, *RUN).code == 0
    listed = nursery.run(folder, "--json", command="runs")
    assert json.loads(listed.out)[0]["status"] == "finished"
