"""What measures an update sees the one that was made in the end, and what measures a task the weights it leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learners import built, micro_batches, stream

from gradinc.core.learner import Learner
from gradinc.methods.ewc import EWC
from gradinc.methods.rwalk import RWalk
from gradinc.methods.si import SI

PERMUTED = ("stream=permuted", "stream.tasks=3", "optimizer.momentum=0.9")
MOVERS = ("adam_nscl", "cautious", "lookahead")


def in_the_second_task(*words: str) -> tuple[Learner, Any]:
    """A learner that has begun its second task."""
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED, *words)
    made.begin(tasks[0])
    update(made, tasks[0], 6)
    made.end(tasks[0])
    made.begin(tasks[1])
    return made, tasks


def update(made: Learner, task: Any, count: int) -> torch.Tensor:
    """Train on some batches of 8; −Σ g Δw of each, from gradients and weights that are looked at from outside."""
    path = torch.zeros_like(made.weights.value)
    for batch in micro_batches(task, count, 8):
        before, g = made.weights.value.clone(), made.gradient(batch)
        made.open(batch.items, 1)
        made.take(batch)
        made.update()
        path -= g * (made.weights.value - before)
    return path


@pytest.mark.parametrize("mover", MOVERS)
def test_the_path_of_si_is_that_of_the_step_that_moved_the_weights(mover: str) -> None:
    made, tasks = in_the_second_task(f"strategy=[si,{mover}]", "strategy.methods.si.strength=0.3")
    si = next(method for method in made.methods if isinstance(method, SI))
    wanted = update(made, tasks[1], 7)
    torch.testing.assert_close(si.path, wanted, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("mover", MOVERS)
def test_the_walk_is_that_of_the_step_that_moved_the_weights(mover: str) -> None:
    words = ("strategy.methods.rwalk.strength=0.3", "strategy.methods.rwalk.every=100")
    made, tasks = in_the_second_task(f"strategy=[rwalk,{mover}]", *words)
    rwalk = next(method for method in made.methods if isinstance(method, RWalk))
    wanted = update(made, tasks[1], 7)
    torch.testing.assert_close(rwalk.gained, wanted, rtol=1e-10, atol=1e-16)


def test_a_projected_step_lies_in_the_null_space_whoever_looks_at_it():
    """The other half: looking on changes nothing of what adam_nscl does."""
    moved = []
    for strategy in ("adam_nscl", "[si,adam_nscl]"):
        words = () if strategy == "adam_nscl" else ("strategy.methods.si.strength=0.0",)
        made, tasks = in_the_second_task(f"strategy={strategy}", *words)
        update(made, tasks[1], 5)
        moved.append(made.weights.value.clone())
    assert torch.equal(*moved)


@pytest.mark.parametrize("strategy", ["[ewc,lookahead]", "[lookahead]"])
def test_a_task_is_measured_at_the_weights_that_it_leaves(strategy: str) -> None:
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED, f"strategy={strategy}")
    made.begin(tasks[0])
    update(made, tasks[0], 7)  # two more than a step of the slow weights
    before = made.weights.value.clone()
    made.end(tasks[0])
    assert not torch.equal(made.weights.value, before)
    for method in made.methods:
        if isinstance(method, EWC):
            fresh = EWC()
            fresh.end(tasks[0], made)
            assert torch.equal(method.fisher, fresh.fisher)
            assert torch.equal(method.pull, fresh.fisher * made.weights.value)


@pytest.mark.parametrize("mover", MOVERS)
def test_the_update_s_norm_is_that_of_the_step_that_moved_the_weights(mover: str) -> None:
    made, tasks = in_the_second_task(f"strategy={mover}", "diagnostics=true")
    made.drain()
    (batch,) = micro_batches(tasks[1], 1, 8)
    before = made.weights.value.clone()
    made.open(batch.items, 1)
    made.take(batch)
    made.update()
    assert made.drain()["notes"]["update_norm"] == pytest.approx(float((made.weights.value - before).norm()), rel=1e-12)
