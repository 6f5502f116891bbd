"""P1: killed at any instant, the same command goes on and ends with the same bits."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from configs import CONFIGS, RICH, STREAM, WATCHED
from lives import Kill, Nursery, broken_invariants, crash_points, differences, kill_at_progress, only_run, outcome

from gradinc.records.directory import OURS
from gradinc.runs import checkpoint

KILLS_EACH = 3
"""Random kills of each config: 21 in all."""

MANY = 10**6


@pytest.fixture(scope="module")
def uninterrupted(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a config comes to when nothing happens."""
    known: dict[str, dict[str, Any]] = {}

    def give(name: str) -> dict[str, Any]:
        if name not in known:
            folder = tmp_path_factory.mktemp("uninterrupted")
            end = nursery.run(folder, *CONFIGS[name], *WATCHED)
            assert end.code == 0, end.err
            known[name] = outcome(only_run(folder))
        return known[name]

    return give


@pytest.mark.parametrize("name", CONFIGS)
def test_two_runs_agree(nursery: Nursery, folder: Path, uninterrupted: Any, name: str) -> None:
    assert nursery.run(folder, *CONFIGS[name], *WATCHED).code == 0
    assert differences(only_run(folder), uninterrupted(name)) == []
    assert nursery.run(folder / "other", *CONFIGS[name], *WATCHED, "seed=1").code == 0
    assert differences(only_run(folder / "other"), uninterrupted(name)) != []


BETWEEN_TASKS = ("task-measured", "method-ended", "task-end", "task-committed", "mid-evaluation")
"""Where a stream of tasks is killed besides; ordinary training does not come by all of these."""

AT = [(RICH, point) for point in crash_points() if point not in ("cleared", "task-measured", "method-ended")]
AT += [(STREAM, point) for point in BETWEEN_TASKS]


@pytest.mark.parametrize(("name", "point"), AT, ids=[f"{point} of {name}" for name, point in AT])
def test_killed_at_a_crash_point(nursery: Nursery, tmp_path: Path, uninterrupted: Any, name: str, point: str) -> None:
    command = (*CONFIGS[name], *WATCHED)
    wanted = uninterrupted(name)
    counted = nursery.run(tmp_path / "counting", *command, crash=f"{point}:{MANY}")
    assert counted.left is not None
    visits = MANY - counted.left
    assert visits > 0, "a crash point that no run comes by"
    for visit in sorted({1, (1 + visits) // 2, visits}):
        folder = tmp_path / str(visit)
        assert nursery.run(folder, *command, crash=f"{point}:{visit}").code == -signal.SIGKILL
        assert broken_invariants(folder, wanted["metrics"]) == []
        if visit == 1:  # once more, in the restart
            nursery.run(folder, *command, crash=f"{point}:1")
            assert broken_invariants(folder, wanted["metrics"]) == []
        end = nursery.run(folder, *command)
        assert (end.code, end.err) == (0, "")
        assert differences(only_run(folder), wanted) == [], f"killed at {point}:{visit}"


@pytest.mark.parametrize("visit", range(1, len(OURS) + 1))
def test_killed_while_an_earlier_run_is_cleared_away(
    nursery: Nursery, folder: Path, uninterrupted: Any, visit: int
) -> None:
    earlier = (*CONFIGS[RICH], *WATCHED, "name=shared", "optimizer.lr=0.2")
    command = (*CONFIGS[RICH], *WATCHED, "name=shared")
    assert nursery.run(folder, *earlier, crash="task-committed").code == -signal.SIGKILL
    assert nursery.run(folder, *command, "fresh=true", crash=f"cleared:{visit}").code == -signal.SIGKILL
    for words in ((), ("fresh=true",)):
        end = nursery.run(folder, *command, *words)
        if words == () and "was started with optimizer.lr=0.2" in end.err:
            continue
        assert end.code == 0
        assert differences(only_run(folder), uninterrupted(RICH)) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_killed_at_random(nursery: Nursery, folder: Path, uninterrupted: Any, name: str) -> None:
    command = (*CONFIGS[name], *WATCHED)
    wanted = uninterrupted(name)
    choices = random.Random(name)
    for _ in range(KILLS_EACH):
        kill = Kill.draw(choices, most_lines=wanted["metrics"].count(b"\n") // KILLS_EACH)
        life = nursery.start(folder, *command)
        if kill_at_progress(life, folder, kill):
            # 0: on a busy machine the run can come to its end between the last line and the kill
            assert life.end().code in (-signal.SIGKILL, 0)
        assert broken_invariants(folder, wanted["metrics"]) == []
    end = nursery.run(folder, *command)
    assert (end.code, end.err) == (0, "")
    assert differences(only_run(folder), wanted) == []


BUGS = {
    "forget_the_gradient": RICH,
    "forget_the_window": RICH,
    "forget_the_optimizer": RICH,
    "forget_the_buffers": RICH,
    "forget_the_updates": RICH,
    "forget_the_running_loss": RICH,
    "forget_the_epoch": RICH,
    "forget_the_batch": RICH,
    "forget_the_methods": "sam, grokfast, noise, lookahead over a window",
    "forget_the_rule": "gradients kept apart, regression",
}
"""Every bug that can be planted, with a config in which it matters."""


INSIDE = {RICH: 17, "sam, grokfast, noise, lookahead over a window": 20, "gradients kept apart, regression": 25}
"""From which write of a file on a config is in its second epoch."""


@pytest.fixture(scope="module")
def halfway(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], None]:
    """Copies a run that was killed inside a window, of a config, into a folder."""
    known: dict[str, Path] = {}

    def give(name: str, folder: Path) -> None:
        if name not in known:
            known[name] = tmp_path_factory.mktemp("halfway")
            kill_inside_a_window(nursery, known[name], name)
        shutil.copytree(known[name] / "outputs", folder / "outputs")

    return give


def kill_inside_a_window(nursery: Nursery, folder: Path, name: str, **options: Any) -> None:
    """Kill a run in its second epoch, right after a checkpoint that has a window half full."""
    for visit in range(INSIDE[name], INSIDE[name] + 3):
        attempt = folder / str(visit)
        nursery.run(attempt, *CONFIGS[name], *WATCHED, crash=f"after-replace:{visit}", **options)
        ckpt = only_run(attempt) / "ckpt"
        newest = checkpoint.marks(ckpt)[0]
        if newest.taken:
            assert checkpoint.read(ckpt / str(newest), None)["position"]["epoch"] == 1
            (attempt / "outputs").rename(folder / "outputs")
            return
    raise AssertionError("no attempt ended inside a window")


@pytest.mark.parametrize("name", INSIDE)
def test_killed_inside_a_window(nursery: Nursery, folder: Path, halfway: Any, uninterrupted: Any, name: str) -> None:
    halfway(name, folder)
    assert nursery.run(folder, *CONFIGS[name], *WATCHED).code == 0
    assert differences(only_run(folder), uninterrupted(name)) == []


@pytest.mark.parametrize("bug", BUGS)
def test_a_restart_that_forgets_something_is_noticed(
    nursery: Nursery, folder: Path, halfway: Any, uninterrupted: Any, bug: str
) -> None:
    name = BUGS[bug]
    halfway(name, folder)
    assert nursery.run(folder, *CONFIGS[name], *WATCHED, plant=bug).code == 0
    assert differences(only_run(folder), uninterrupted(name)) != []


@pytest.mark.parametrize("bug", [None, "forget_the_matrix", "forget_the_methods", "forget_the_heads"])
def test_a_restart_between_tasks_that_forgets_something_is_noticed(
    nursery: Nursery, folder: Path, uninterrupted: Any, bug: str | None
) -> None:
    command = (*CONFIGS[STREAM], *WATCHED)
    assert nursery.run(folder, *command, crash="task-committed:2").code == -signal.SIGKILL
    end = nursery.run(folder, *command, plant=bug or "")
    assert end.code in ((0,) if bug is None else (0, 1)), end.err
    assert (differences(only_run(folder), uninterrupted(STREAM)) == []) is (bug is None)


def test_a_generator_that_is_carried_along_is_noticed(nursery: Nursery, folder: Path) -> None:
    options = {"plant": "carry_a_generator"}
    kill_inside_a_window(nursery, folder, RICH, **options)
    assert nursery.run(folder, *CONFIGS[RICH], *WATCHED, **options).code == 0
    assert nursery.run(folder / "whole", *CONFIGS[RICH], *WATCHED, **options).code == 0
    assert differences(only_run(folder), outcome(only_run(folder / "whole"))) != []


def test_a_log_that_is_not_cut_back_is_noticed(nursery: Nursery, folder: Path, uninterrupted: Any) -> None:
    command = (*CONFIGS[RICH], *WATCHED)
    assert nursery.run(folder, *command, crash="mid-line:8").code == -signal.SIGKILL
    assert nursery.run(folder, *command, plant="forget_the_end_of_the_log").code == 0
    assert any(found.startswith("metrics: ") for found in differences(only_run(folder), uninterrupted(RICH)))


@pytest.mark.parametrize("bug", [None, "forget_the_reservoir"])
def test_a_memory_that_forgets_what_it_was_offered_is_noticed(nursery: Nursery, folder: Path, bug: str | None) -> None:
    tasks = ("stream=split", "stream.tasks=2", "stream.samples_per_task=120", "data.batch_size=30", "budget.epochs=1")
    command = ("model=linear", *tasks, "strategy=er", "strategy.methods.er.memory=20", *WATCHED)
    assert nursery.run(folder / "whole", *command).code == 0
    assert nursery.run(folder, *command, crash="task-committed:1").code == -signal.SIGKILL
    assert nursery.run(folder, *command, plant=bug or "").code == 0
    assert (differences(only_run(folder), outcome(only_run(folder / "whole"))) == []) is (bug is None)
