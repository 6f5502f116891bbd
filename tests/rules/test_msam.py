"""mSAM: each micro-batch's own step uphill."""

from __future__ import annotations

import pytest
import torch
from learners import RAGGED, distance, gradient, learner, members, network, rule, take, update
from torch import nn

from gradinc.core.method import Method
from gradinc.methods.sam import SAM


def test_it_is_not_the_sam_of_the_window_but_is_that_of_a_window_of_one():
    for sizes, equal in (((40,), True), ((20, 20), False)):
        own = gradient(rule("msam", rho=0.5), members(sizes))
        mine = learner(SAM(rho=0.5), rule=rule("mean"), lr=1e-30)
        update(mine, members(sizes))
        assert (distance(own, mine.weights.grad) < 1e-12) == equal


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_the_weights_come_back_bit_for_bit(rho):
    mine = learner(rule=rule("msam", rho=rho))
    before = mine.weights.value.clone()
    take(mine, members(RAGGED))
    assert torch.equal(mine.weights.value, before)
    assert mine.work.rows == 2 * sum(RAGGED)


def test_the_weights_come_back_where_the_second_pass_fails():
    class Fails(Method):
        calls = 0

        def loss(self, batch, out, learner):
            self.calls += 1
            if self.calls == 2:
                raise ArithmeticError
            return out.square().mean()

    mine = learner(Fails(), rule=rule("msam"))
    before = mine.weights.value.clone()
    with pytest.raises(ArithmeticError):
        take(mine, members((20,)))
    assert torch.equal(mine.weights.value, before)


def test_the_second_pass_has_the_dropout_masks_of_the_first_and_leaves_batchnorm_alone():
    def after(name, **options):
        mine = learner(rule=rule(name, **options), model=network(norm=True, dropout=0.5))
        take(mine, members(RAGGED))
        mine.window.reduce(mine)
        return mine

    mean, still, moved = after("mean"), after("msam", rho=0), after("msam", rho=0.5)
    assert distance(still.weights.grad, mean.weights.grad) < 1e-12, "other masks would give another gradient"
    assert distance(moved.weights.grad, mean.weights.grad) > 1e-3
    for mine in (still, moved):
        buffers = zip(mine.model.buffers(), mean.model.buffers(), strict=True)
        assert all(torch.equal(a, b) for a, b in buffers)


def test_a_methods_own_term_is_part_of_what_each_micro_batch_climbs():
    class Shrinks(Method):
        def loss(self, batch, out, learner):
            return sum(p.square().sum() for p in learner.model.parameters()) / 2

    mine = learner(Shrinks(), rule=rule("msam", rho=0.3))
    batch = members((20,))[0]
    take(mine, [batch])
    mine.window.reduce(mine)

    def by_hand(at):
        model = network()
        nn.utils.vector_to_parameters(at, model.parameters())
        loss = nn.functional.cross_entropy(model(batch.x), batch.y)
        loss = loss + sum(p.square().sum() for p in model.parameters()) / 2
        return nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(model.parameters())))

    w = mine.weights.value
    g = by_hand(w)
    assert distance(mine.weights.grad, by_hand(w + 0.3 * g / g.norm())) < 1e-12


def test_a_gradient_of_zero_climbs_nowhere():
    mine = learner(rule=rule("msam", rho=10.0))
    take(mine, members((20,), scale=(0,)))
    mine.window.reduce(mine)
    assert (mine.weights.grad == 0).all()
