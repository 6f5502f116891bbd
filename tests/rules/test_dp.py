"""DP-SGD: rows are clipped one by one, and noise comes once per window."""

from __future__ import annotations

import pytest
import torch
from learners import distance, gradient, learner, members, micro_gradient, network, rows, rule, update

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.core.criterion import CrossEntropy
from gradinc.data.batch import Batch
from gradinc.runs.build import Shape, build_learner, build_model

SPLITS = [(48,), (16,) * 3, (20, 20, 8), (1,) * 48]


def one_by_one(count):
    x, y = rows()
    return [Batch(x[k : k + 1], y[k : k + 1], 0, 1.0) for k in range(count)]


@pytest.mark.parametrize("sizes", SPLITS[1:])
@pytest.mark.parametrize("options", [{}, {"clip": 0.3, "noise": 0.0}, {"chunk": 7}])
def test_any_split_of_the_same_rows_gives_the_same_gradient(sizes, options):
    whole = gradient(rule("dp", **options), members((48,)))
    assert distance(gradient(rule("dp", **options), members(sizes)), whole) < 1e-12
    assert distance(gradient(rule("mean"), members(sizes)), whole) > 1e-2


def test_without_noise_it_is_the_mean_of_clipped_rows_and_without_clipping_the_mean():
    each = torch.stack([micro_gradient(row) for row in one_by_one(48)])
    clipped = each * (0.3 / each.norm(dim=1, keepdim=True)).clamp(max=1)
    assert (each.norm(dim=1) > 0.3).any()
    mine = gradient(rule("dp", clip=0.3, noise=0.0), members((20, 20, 8)))
    assert distance(mine, clipped.mean(0)) < 1e-12
    free = gradient(rule("dp", clip=torch.inf, noise=0.0), members((20, 20, 8)))
    assert distance(free, gradient(rule("mean"), members((20, 20, 8)))) < 1e-12


def test_no_row_moves_the_gradient_by_more_than_clip_over_rows():
    x, y = rows()
    other = x.clone()
    other[3] *= -1e3
    made = [gradient(rule("dp", clip=0.05, noise=0.0), [Batch(inputs[:32], y[:32], 0, 32.0)]) for inputs in (x, other)]
    allowed = 2 * 0.05 / 32
    assert 0 < (made[0] - made[1]).norm() <= allowed * (1 + 1e-12)
    plain = [gradient(rule("mean"), [Batch(inputs[:32], y[:32], 0, 32.0)]).clone() for inputs in (x, other)]
    assert (plain[0] - plain[1]).norm() > 10 * allowed


def test_noise_has_its_deviation_and_is_another_one_in_every_update():
    drawn = []
    mine = learner(rule=rule("dp", clip=0.5, noise=2.0), lr=1e-30)
    for _ in range(2):
        update(mine, members((16, 16)))
        drawn.append(mine.weights.grad - gradient(rule("dp", clip=0.5, noise=0.0), members((32,))))
    for noise in drawn:
        assert float(noise.std()) == pytest.approx(2.0 * 0.5 / 32, rel=0.1)
    assert abs(float(torch.cosine_similarity(*drawn, dim=0))) < 0.2


def test_noise_without_a_norm_that_it_goes_by_is_refused():
    with pytest.raises(UserError, match=r"dp\.clip=inf: would need infinite noise"):
        rule("dp", clip=float("inf"))


def build(*overrides):
    config = load_config(["data=digits", "model=cnn", "strategy=dp", *overrides])
    return build_learner(config, build_model(config, Shape((1, 8, 8), 10), torch.device("cpu")), CrossEntropy(), 64)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("model.norm=batch", "BatchNorm mixes the rows"),
        ("corrupt.prob=0.1", "corrupts gradients of micro-batches"),
        ("strategy=[dp,lwf]", "lwf adds another term"),
    ],
)
def test_what_has_no_gradient_of_a_row_is_refused(override, what):
    build("model.norm=group")
    with pytest.raises(UserError, match=what):
        build(override)


def test_rows_of_weight_0_count_for_nothing():
    x, y = rows()
    weight = torch.tensor([1.0] * 8 + [0.0] * 4, dtype=torch.float64)
    some = gradient(rule("dp", noise=0.0), [Batch(x[:12], y[:12], 0, 8.0, weight)])
    assert distance(some, gradient(rule("dp", noise=0.0), [Batch(x[:8], y[:8], 0, 8.0)])) < 1e-12


def test_weights_and_statistics_of_the_model_stay_while_rows_are_clipped():
    model = network(dropout=0.3)
    mine = learner(rule=rule("dp"), model=model)
    before = mine.weights.value.clone()
    mine.open(16.0, 1)
    mine.take(members((16,))[0])
    assert torch.equal(mine.weights.value, before)
