"""Draws of a method belong to its micro-batch, whichever process trains on it."""

from __future__ import annotations

import torch
from learners import learner, members

from gradinc.core.method import Method
from gradinc.core.world import World


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


def test_two_processes_draw_for_their_micro_batches_what_one_process_draws_for_all():
    def run(world, places):
        mine = learner(Draws())
        mine.place.world = world
        mine.open(40.0, 4)
        for place in places:
            mine.take(members((10,), first=place * 10)[0])
        return mine.methods[0].drawn

    begun, *alone = run(World(), range(4))
    first, *zero = run(World(0, 2), (0, 2))
    second, *one = run(World(1, 2), (1, 3))
    assert begun == first == second, "what is drawn for a whole task is the same everywhere"
    assert [zero[0], one[0], zero[1], one[1]] == alone
    assert len(set(alone)) == 4
