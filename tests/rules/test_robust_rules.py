"""One corrupt micro-batch, and which rules it moves."""

from __future__ import annotations

import pytest
import torch
from learners import RAGGED, distance, gradient, learner, members, rows, rule, update

from gradinc.base.errors import Diverged
from gradinc.data.batch import Batch

CLEAN = {"equal": (10,) * 8, "ragged": RAGGED}


def windows(sizes, position, factor=1e6):
    scale = [1.0] * len(sizes)
    scale[position] = factor
    return members(sizes), members(sizes, scale=scale)


@pytest.mark.parametrize("factor", [1e6, -1e6])
@pytest.mark.parametrize("position", [0, 2, 4])
@pytest.mark.parametrize("sizes", CLEAN)
@pytest.mark.parametrize("name", ["median", "trimmed"])
def test_a_corrupt_micro_batch_does_not_take_median_and_trimmed_out_of_the_clean_ones(name, sizes, position, factor):
    clean, corrupt = windows(CLEAN[sizes], position, factor)
    others = torch.stack([gradient(rule("mean"), [b]).clone() for k, b in enumerate(clean) if k != position])
    result = gradient(rule(name), corrupt)
    rounding = 1e-12
    assert (result >= others.amin(0) - rounding).all()
    assert (result <= others.amax(0) + rounding).all()
    mean = gradient(rule("mean"), corrupt)
    assert ((mean < others.amin(0)) | (mean > others.amax(0))).double().mean() > 0.9


def test_a_corrupt_micro_batch_moves_centered_clip_by_its_share_of_tau_at_most():
    clean, corrupt = windows((10,) * 8, 3)
    made = gradient(rule("centered_clip", tau=0.5), corrupt), gradient(rule("centered_clip", tau=0.5), clean)
    assert (made[0] - made[1]).norm() <= 2 * 0.5 / 8 * (1 + 1e-12)
    means = gradient(rule("mean"), corrupt), gradient(rule("mean"), clean)
    assert (means[0] - means[1]).norm() > 1e4


@pytest.mark.parametrize("name", ["median", "trimmed", "centered_clip", "sign_vote"])
def test_training_with_a_corrupt_micro_batch_in_every_window_still_learns(name):
    x, y = rows()

    def accuracy(made, lr):
        mine = learner(rule=made, lr=lr)
        for number in range(60):
            _, corrupt = windows((20,) * 6, number % 6, -1e6)
            shifted = [
                Batch(x.roll(-120 * number, 0)[k * 20 :][:20], y.roll(-120 * number)[k * 20 :][:20], 0, 20.0, b.weight)
                for k, b in enumerate(corrupt)
            ]
            update(mine, shifted)
        return float((mine.model(x).argmax(1) == y).double().mean())

    assert accuracy(rule(name), 0.01 if name == "sign_vote" else 0.5) > 0.75
    assert accuracy(rule("mean"), 0.5) < 0.3


@pytest.mark.parametrize("sizes", [(10, 10), (10, 7)])
def test_of_two_micro_batches_neither_is_an_outlier(sizes):
    _, corrupt = windows(sizes, 0)
    assert distance(gradient(rule("trimmed"), corrupt), gradient(rule("mean"), corrupt)) < 1e-12


@pytest.mark.parametrize("trim", [0.01, 0.1, 0.125])
def test_any_trim_above_0_leaves_out_whole_micro_batches(trim):
    _, corrupt = windows((10,) * 8, 5)
    assert gradient(rule("trimmed", trim=trim), corrupt).norm() < 10


class Poison(torch.nn.Module):
    """A model whose loss is finite and whose gradient is not: that of √x at 0."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(64, 10, dtype=torch.float64)
        self.zero = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))

    def forward(self, x):
        return self.layer(x) + self.zero.square().sqrt()


@pytest.mark.parametrize("name", ["mean", "ema", "median", "trimmed", "sign_vote", "agreement", "msam"])
def test_a_gradient_that_is_not_finite_stops_the_run_and_is_not_voted_away(name):
    mine = learner(rule=rule(name), model=Poison())

    def trained():
        update(mine, members((10,) * 4))
        mine.drain()

    with pytest.raises(Diverged, match=r"zero|gradient"):
        trained()


def test_votes_are_counted_right_in_one_byte_and_beyond_127_voters():
    batches = [*members((1,)) * 290, *members((1,) * 10)]
    made = rule("sign_vote")
    mine = learner(rule=made)
    mine.open(300.0, 300)
    votes = torch.zeros_like(mine.weights.value)
    for number, batch in enumerate(batches, 1):
        mine.take(batch)
        votes += gradient(rule("mean"), [batch]).sign()
        assert torch.equal(made.votes.double(), votes)
        if number == 127:
            assert made.votes.element_size() == 1
            assert votes.abs().max() == 127
    mine.window.reduce(mine)
    assert torch.equal(mine.weights.grad, votes.sign())
    assert votes.abs().max() > 290, "more than one byte holds"
