"""Gradient centralisation: every unit's mean goes, and nothing else."""

import torch
from learners import learner
from torch import nn

from gradinc.methods.centralize import Centralize


def test_units_of_linear_layers_and_filters_lose_their_mean_and_vectors_stay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.GroupNorm(5, 5), nn.Flatten(), nn.Linear(20, 4)).double()
    mine = learner(Centralize(), model=model)
    before = torch.randn(len(mine.weights), dtype=torch.float64)
    g = before.clone()
    mine.methods[0].transform(g, mine)
    changed = []
    for (name, old), new in zip(mine.weights.layers(before), mine.weights.views(g), strict=True):
        if old.dim() == 1:
            assert torch.equal(new, old), name
            continue
        changed.append(name)
        for unit, was in zip(new, old, strict=True):
            assert abs(float(unit.mean())) < 1e-15
            assert torch.allclose(unit, was - was.mean(), rtol=1e-12, atol=1e-15)
            assert abs(float(was.mean())) > 1e-6
    assert changed == ["0.weight", "3.weight"]


def test_it_is_a_projection():
    """Doing it twice is doing it once, and the result is orthogonal to what was taken away."""
    mine = learner(Centralize())
    g = torch.randn(len(mine.weights), dtype=torch.float64)
    once = g.clone()
    mine.methods[0].transform(once, mine)
    twice = once.clone()
    mine.methods[0].transform(twice, mine)
    assert torch.allclose(twice, once, rtol=1e-12, atol=1e-15)
    assert abs(float((g - once) @ once)) < 1e-10
    assert float((g - once).norm()) > 1e-2
