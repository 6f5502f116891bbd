"""Draws of different purposes are independent, as far as PyTorch's generators let them be."""

from __future__ import annotations

import pytest
import torch
from core_learners import learner, network

from gradinc.base.randomness import derive
from gradinc.core.method import Method
from gradinc.core.world import World
from gradinc.data.batch import Batch


def drawn(seed, device="cpu"):
    return torch.rand(8, generator=torch.Generator(device).manual_seed(seed), device=device).tolist()


def test_a_cpu_generator_uses_the_low_32_bits_of_a_seed():
    """The docstring of `derive` says so: if PyTorch ever uses all bits, every run's numbers change and so must it."""
    assert drawn(5) == drawn(5 + 2**32)
    assert drawn(5) != drawn(5 + 2**31)
    seeds = [derive(0, "order", 0, epoch) for epoch in range(20_000)]
    assert len(set(seeds)) == 20_000
    assert max(seeds) < 2**63
    # n²/2³³ = 5 % for 20,000 purposes of any run; of these none two meet
    assert len({seed % 2**32 for seed in seeds}) == 20_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_generator_uses_all_bits():
    assert drawn(5, "cuda") != drawn(5 + 2**32, "cuda")
    assert drawn(5, "cuda") != drawn(5 + 2**62, "cuda")


class Draws(Method):
    """Keeps what it draws for each micro-batch, and before a task."""

    def __init__(self):
        self.drawn = []

    def begin(self, task, learner):
        self.drawn.append(self._draw(learner))

    def batch(self, batch, learner):
        self.drawn.append(self._draw(learner))
        return batch

    def _draw(self, learner):
        return int(torch.randint(2**62, (), generator=learner.rng("draws")))


def test_two_processes_draw_for_their_micro_batches_what_one_process_draws_for_all(digits):
    def run(world, places):
        mine = learner(network(), methods=(Draws(),))
        mine.place.world = world
        mine.methods[0].begin(None, mine)
        mine.open(40.0, 4)
        for place in places:
            rows = slice(place * 10, place * 10 + 10)
            mine.take(Batch(digits[0][rows], digits[1][rows], 0, 10.0))
        return mine.methods[0].drawn

    begun, *alone = run(World(), range(4))
    first, *zero = run(World(0, 2), (0, 2))
    second, *one = run(World(1, 2), (1, 3))
    assert begun == first == second, "what is drawn for a whole task is the same everywhere"
    assert [zero[0], one[0], zero[1], one[1]] == alone
    assert len(set(alone)) == 4
