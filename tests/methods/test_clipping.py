"""Clipping by norm, by value, and by the ratio of gradient to weight."""

import math

import pytest
import torch
from learners import distance, learner, network
from torch import nn

from gradinc.methods.agc import AGC
from gradinc.methods.clip import Clip


def random_gradient(mine, scale=1.0):
    random = torch.Generator().manual_seed(0)
    return scale * torch.randn(len(mine.weights), generator=random, dtype=torch.float64)


def applied(mine, g):
    g = g.clone()
    mine.methods[0].transform(g, mine)
    return g


def test_the_norm_is_pytorch_s_own_clipping():
    mine = learner(Clip(norm=2.5))
    g = random_gradient(mine)
    theirs = nn.Parameter(torch.zeros_like(g))
    theirs.grad = g.clone()
    nn.utils.clip_grad_norm_([theirs], 2.5)
    clipped = applied(mine, g)
    assert distance(clipped, theirs.grad) < 1e-6  # theirs adds 1e-6 to the norm
    assert float(clipped.norm()) == pytest.approx(2.5, rel=1e-12)
    assert torch.allclose(clipped / clipped.norm(), g / g.norm(), rtol=1e-12, atol=1e-15)


def test_a_gradient_within_the_norm_keeps_every_bit():
    mine = learner(Clip(norm=2.5))
    g = random_gradient(mine)
    small = g * (2.4 / g.norm())
    assert torch.equal(applied(mine, small), small)
    assert torch.equal(applied(mine, torch.zeros_like(g)), torch.zeros_like(g))


def test_the_value_bounds_every_entry_and_leaves_those_within():
    mine = learner(Clip(norm=math.inf, value=0.5))
    g = random_gradient(mine)
    clipped, within = applied(mine, g), g.abs() <= 0.5
    assert torch.equal(clipped[within], g[within])
    assert torch.equal(clipped[~within], 0.5 * g[~within].sign())
    assert 0 < int(within.sum()) < len(g)


def test_both_bounds_hold_together():
    mine = learner(Clip(norm=1.0, value=0.5))
    clipped = applied(mine, random_gradient(mine))
    assert float(clipped.norm()) <= 1 + 1e-12
    assert float(clipped.abs().max()) <= 0.5


def units(layer):
    """A layer's units as the rows of a matrix; a vector is one."""
    return layer.reshape(1, -1) if layer.dim() < 2 else layer.flatten(1)


def convolutional():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GroupNorm(5, 5), nn.Flatten(), nn.Linear(20, 8), nn.Linear(8, 4))
    nn.init.zeros_(model[0].weight[2])
    return model.double()


@pytest.mark.parametrize(("build", "head"), [(network, "2"), (convolutional, "4")])
@pytest.mark.parametrize("scale", [1e-3, 1.0])
def test_agc_bounds_the_ratio_of_every_unit_outside_the_head(build, head, scale):
    mine = learner(AGC(ratio=0.1, eps=1e-3), model=build())
    before = random_gradient(mine, scale)
    after = applied(mine, before)
    views = zip(mine.weights.layers(mine.weights.value), mine.weights.views(before), strict=True)
    bounded = kept = 0
    for ((name, value), old), new in zip(views, mine.weights.views(after), strict=True):
        if name.startswith(f"{head}."):
            assert torch.equal(new, old)
            continue
        for w, was, now in zip(units(value), units(old), units(new), strict=True):
            greatest = 0.1 * max(float(w.norm()), 1e-3)
            if float(was.norm()) > greatest:
                bounded += 1
                assert torch.allclose(now, was * greatest / was.norm(), rtol=1e-12)
            else:
                kept += 1
                assert torch.equal(now, was)
    assert bounded if scale == 1.0 else kept


def test_agc_lets_fresh_zeros_move():
    mine = learner(AGC(ratio=0.1, eps=1e-3), model=convolutional())
    unit = mine.weights.views(applied(mine, random_gradient(mine)))[0][2]
    assert float(unit.norm()) == pytest.approx(1e-4, rel=1e-12)


def test_agc_leaves_a_model_that_is_nothing_but_its_head():
    mine = learner(AGC(), model=nn.Linear(64, 10).double())
    g = random_gradient(mine)
    assert torch.equal(applied(mine, g), g)
