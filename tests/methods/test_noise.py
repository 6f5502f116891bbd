"""Gradient noise: its variance, its schedule, and where it is drawn from."""

import pytest
import torch
from learners import learner, take, windows

from gradinc.methods.noise import Noise


def drawn(method, updates=1, seed=0):
    """The noise of each of some updates, without the optimizer between them; shape (updates, P)."""
    mine = learner(method)
    mine.place.seed = seed
    method.begin(None, mine)
    made = torch.zeros(updates, len(mine.weights), dtype=torch.float64)
    for g in made:
        method.transform(g, mine)
    return made


@pytest.mark.parametrize("t", [0, 9, 99])
def test_the_variance_falls_as_the_paper_says(t):
    """20 × 1210 draws give the variance to 1 %."""
    method = Noise(eta=0.3, gamma=0.55)
    noise = []
    for seed in range(20):
        mine = learner(method)
        mine.place.seed = seed
        method.begin(None, mine)
        method.t = t
        noise.append(torch.zeros(len(mine.weights), dtype=torch.float64))
        method.transform(noise[-1], mine)
    variance = float(torch.stack(noise).square().mean())
    assert variance == pytest.approx(0.3 / (1 + t) ** 0.55, rel=0.05)
    assert t == 0 or variance < 0.3 / 2


def test_every_update_and_seed_has_its_own_noise_and_the_same_seed_the_same():
    noise = drawn(Noise(gamma=0), updates=30)
    assert abs(torch.corrcoef(noise) - torch.eye(30)).max() < 0.2
    assert torch.equal(noise, drawn(Noise(gamma=0), updates=30))
    assert not torch.equal(noise, drawn(Noise(gamma=0), updates=30, seed=1))


def test_it_is_added_to_the_gradient():
    (noise,) = drawn(Noise())
    method = Noise()
    mine = learner(method)
    g = torch.ones(len(mine.weights), dtype=torch.float64)
    method.transform(g, mine)
    assert torch.allclose(g, 1 + noise)


def test_the_default_generator_is_left_alone():
    mine = learner(Noise())
    state = torch.get_rng_state()
    take(mine, next(windows(16, 4)))
    mine.update()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert not torch.equal(torch.get_rng_state(), state)
