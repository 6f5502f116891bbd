"""What holds for every strategy on a stream of tasks. A new file is covered at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from streams import finished, learner, restored, stream, train
from torch import Tensor

from gradinc.config import groups
from gradinc.config.catalog import parts

STRATEGIES = groups.names("strategy")
KINDS = ("stream=permuted stream.tasks=2", "stream=split stream.tasks=2 scenario=task")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_resumes_bit_for_bit_inside_a_task_and_at_its_boundaries(strategy: str, kind: str) -> None:
    words = (f"strategy={strategy}", *kind.split())
    tasks = stream(*words)

    def make() -> Any:
        return learner(tasks, *words)

    straight = finished(make(), tasks)
    # Saved and restored at the middle of a window, between two, at both sides of the boundary, and at the end.
    for stop in [(0, 3), (0, 4), (1, 0), (1, 1), (1, 7)]:
        if stop[0] >= len(tasks) and stop != (len(tasks), 0):
            continue
        going = make()
        for place in train(going, tasks):
            if place == stop:
                break
        again = restored(going, make)
        for _ in train(again, tasks, start=stop):
            pass
        assert same(again.state_dict(), straight.state_dict()), stop


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_learns_task_after_task(strategy: str) -> None:
    words = (f"strategy={strategy}", "stream=permuted", "stream.tasks=2")
    tasks = stream(*words)
    made = learner(tasks, *words)
    before = made.weights.value.clone()
    finished(made, tasks)
    assert bool(torch.isfinite(made.weights.value).all())
    assert not torch.equal(made.weights.value, before)


def test_heads_that_a_method_looks_at_between_two_tasks_do_not_wake() -> None:
    """EWC takes gradients of the old head at a task's end; the next task's first step must leave it at rest."""
    words = ("strategy=ewc", "optimizer.momentum=0.9", *KINDS[1].split())
    tasks = stream(*words)
    straight = finished(learner(tasks, *words), tasks)
    going = learner(tasks, *words)
    for place in train(going, tasks):
        if place == (1, 0):
            break
    again = restored(going, lambda: learner(tasks, *words))
    for _ in train(again, tasks, start=(1, 0)):
        pass
    assert torch.equal(again.weights.value, straight.weights.value)


def test_what_a_method_draws_for_begins_with_its_name() -> None:
    """Else two of them in one strategy could keep, replay or measure the same rows."""
    asked: set[str] = set()
    for method in (part.name for part in parts("method")):
        words = ("stream=split", "stream.tasks=2", f"strategy={method}")
        tasks = stream(*words)
        made = learner(tasks, *words)
        real, purposes = made.rng, set()

        def recorded(purpose: str, real: Any = real, purposes: set[str] = purposes) -> torch.Generator:
            purposes.add(purpose)
            return real(purpose)

        made.rng = recorded  # type: ignore[method-assign]
        finished(made, tasks)
        assert [each for each in purposes if each != method and not each.startswith(f"{method}_")] == []
        assert not purposes & asked
        asked |= purposes
    assert len(asked) > 20
