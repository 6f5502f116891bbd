"""Meta-experience replay, against algorithm 1 of its paper as a plain loop."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
from learners import distance, learner, loss_and_gradient, network, update, windows
from torch import Tensor

from gradinc.core.rehearsal import drawn_slots
from gradinc.data.batch import Batch
from gradinc.methods.mer import MER


def trained(**options: float) -> Tensor:
    """Five windows of four rows, and then all rows stored before them, in their order: there is nothing to draw."""
    mine = learner(MER(memory=100, replay=100, **options))
    for window in islice(windows(4, 1), 5):
        update(mine, window)
    return mine.weights.value


def by_the_paper(batches: int, beta: float, gamma: float, *, one_point: bool = False) -> Tensor:
    """Algorithm 1 with a learning rate of 0.1.

    Args:
        one_point: the broken variant that takes all gradients of a batch at the weights where it began.
    """
    model, stored = network(), list[Batch]()
    w = learner(model=network()).weights.value.clone()
    for window in islice(windows(4, 1), 5):
        before = w
        for _ in range(batches):
            here = w
            for step in [window, *([row] for row in stored)]:
                w = w - 0.1 * loss_and_gradient(model, here if one_point else w, step)[1]
            w = here + beta * (w - here)
        w = before + gamma * (w - before)
        stored += [batch.rows(row, row + 1) for batch in window for row in range(len(batch.x))]
    return w


@pytest.mark.parametrize(("batches", "beta", "gamma"), [(1, 1.0, 1.0), (3, 0.3, 1.0), (3, 1.0, 0.2), (2, 0.5, 0.5)])
def test_an_update_is_algorithm_1(batches: int, beta: float, gamma: float) -> None:
    found = trained(batches=batches, beta=beta, gamma=gamma)
    assert distance(found, by_the_paper(batches, beta, gamma)) < 1e-12
    assert distance(found, by_the_paper(batches, beta, gamma, one_point=True)) > 1e-4
    assert distance(found, by_the_paper(batches, gamma, beta)) > 1e-4 or beta == gamma


def test_every_sequence_has_a_draw_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[tuple[int, ...]] = []

    def noted(*given: Any) -> Tensor:
        draws.append(tuple(drawn_slots(*given).tolist()))
        return torch.tensor(draws[-1])

    monkeypatch.setattr("gradinc.methods.mer.drawn_slots", noted)
    mine = learner(MER(memory=40, replay=5, batches=3))
    for window in islice(windows(20, 1), 4):
        update(mine, window)
    assert len(draws) == 9, "the memory is empty in the first update"
    assert all(len(set(draw)) == 5 for draw in draws)
    assert len(set(draws)) == 9


def test_the_weights_are_back_before_the_optimizer_s_step() -> None:
    mine = learner(MER(), lr=0.1, momentum=0.9)
    first, second = islice(windows(4, 1), 2)
    update(mine, first)
    start, velocity = mine.weights.value.clone(), mine.optimizer.state_dict()["state"]
    update(mine, second)
    momentum = torch.cat([entry["momentum_buffer"].flatten() for entry in velocity.values()])
    assert distance(start - mine.weights.value, 0.1 * momentum) < 1e-12, "the optimizer's own step, and no other"
