"""When a run is saved, and where it resumes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gradinc.base.errors import Interrupted
from gradinc.base.signals import Interruption
from gradinc.config.compose import load_config
from gradinc.records.directory import RunDirectory
from gradinc.runs import checkpoint
from gradinc.runs.display import Silent
from gradinc.runs.prepare import prepare
from gradinc.runs.run import Run, open_run

SMALL = ("model=mlp", "model.width=8", "data.batch_size=200", "budget.epochs=2", "device=cpu", "threads=1", "name=mine")


class StopAfter(Interruption):
    """A signal that comes after so many looks for one: between two micro-batches or two passes of measuring."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.signum = signal.SIGTERM
        super().check()


def opened(output: Path, *words: str, stop: Interruption | None = None) -> Run:
    config = load_config([*SMALL, *words, f"output={output}"])
    directory = RunDirectory(config)
    directory.path.mkdir(parents=True, exist_ok=True)
    return open_run(prepare(config), directory, Silent(), stop or Interruption())


def trained(output: Path, *words: str) -> Run:
    run = opened(output, *words)
    run.train()
    run.close()
    return run


def test_a_run_is_saved_at_its_end_and_before_that_only_when_it_is_time(tmp_path: Path) -> None:
    for seconds, saved in ((1000, False), (0, True)):
        run = trained(tmp_path / f"{seconds}", f"checkpoint.seconds={seconds}", "checkpoint.keep=100")
        last = run.learner.updates
        marks = checkpoint.marks(tmp_path / f"{seconds}" / "mine" / "ckpt")
        assert [mark.updates for mark in marks] == (list(range(last, 0, -1)) if saved else [last])


# A row of the matrix takes one look for each task: with no more looks than that, no start would get past the row.
@pytest.mark.parametrize("further", [0, 2])
@pytest.mark.parametrize(
    ("words", "looks"),
    [
        (("strategy.window.size=3", "strategy.window.last=carry"), 3),
        (("stream=split", "stream.tasks=2", "strategy=ewc"), 3),
        (("stream=split", "stream.tasks=3", "strategy=er", "evaluate.tasks=needed"), 4),
    ],
    ids=["window", "tasks", "needed tasks"],
)
def test_a_run_that_is_stopped_again_and_again_has_the_same_result(
    tmp_path: Path, words: tuple[str, ...], looks: int, further: int
) -> None:
    looks += further
    whole = trained(tmp_path / "whole", *words)
    lives = [opened(tmp_path / "stopped", *words, stop=StopAfter(looks))]
    while True:
        try:
            lives[-1].train()
        except Interrupted:
            lives[-1].close()
            lives.append(opened(tmp_path / "stopped", *words, stop=StopAfter(looks)))
            assert lives[-1].position == lives[-2].position
        else:
            break
    lives[-1].close()
    assert len(lives) > 3
    assert {**lives[-1].result(), "seconds": 0} == {**whole.result(), "seconds": 0}
    logs = [(tmp_path / name / "mine" / "metrics.jsonl").read_bytes() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_a_run_that_is_stopped_while_it_measures_repeats_the_measuring(tmp_path: Path) -> None:
    words = ("stream=split", "stream.tasks=2")
    run = opened(tmp_path, *words, stop=StopAfter(2))  # the second task's rows, before any training
    with pytest.raises(Interrupted):
        run.train()
    run.close()
    assert (run.position.matrix, run.learner.updates) == ([], 0)
    again = opened(tmp_path, *words)
    assert (again.restored.step, again.position.matrix) == (0, [])
    again.train()
    again.close()
    assert len(again.position.matrix) == 3
