"""Dormant units, effective rank and mean weight, against networks that are built to have them."""

from __future__ import annotations

import pytest
import torch
from learners import built, digits, stream
from torch import Tensor, nn

from gradinc.core.passes import Passes
from gradinc.core.plasticity import plasticity

WORDS = ("model=mlp", "model.width=20", "model.depth=2")


def network(*words: str) -> tuple[Passes, Tensor]:
    learner = built(stream("stream=iid"), *WORDS, *words)
    return learner.passes, digits().train.x[:64]  # type: ignore[attr-defined]


@pytest.mark.parametrize("dead", [0, 3, 20])
def test_planted_dead_units_are_dormant_and_the_others_are_not(dead: int) -> None:
    passes, x = network()
    alive = plasticity(passes, x)["dormant_units"]
    with torch.no_grad():
        layer = passes.model.get_submodule("hidden2")
        layer.bias[:dead] = -1e3  # type: ignore[index,operator]
    found = plasticity(passes, x)["dormant_units"]
    if dead == 0:
        assert found == alive
    elif dead == 20:
        assert found >= 0.5, "a layer without any activity is dormant as a whole"
    else:
        assert found == pytest.approx(alive + dead / 40, abs=1.5 / 40)


def test_the_effective_rank_is_that_of_the_last_hidden_layer() -> None:
    passes, x = network("model.activation=identity")
    whole = plasticity(passes, x)["effective_rank"]
    with torch.no_grad():
        weight, bias = passes.model.get_parameter("hidden2.weight"), passes.model.get_parameter("hidden2.bias")
        bias.zero_()
        weight.copy_(weight[:1].expand_as(weight))
    assert plasticity(passes, x)["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert 2 < whole < 20


def test_the_effective_rank_of_equal_singular_values_is_their_number() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(6))  # type: ignore[union-attr,operator,arg-type]
        model[0].bias.zero_()  # type: ignore[union-attr,operator]
    passes, _ = network()
    passes.model = model
    assert plasticity(passes, torch.eye(6).double())["effective_rank"] == pytest.approx(6)
    two = torch.eye(6).double()[[0, 0, 0, 1, 1, 1]]
    assert plasticity(passes, two)["effective_rank"] == pytest.approx(2)


def test_the_mean_weight_and_no_other_state() -> None:
    passes, x = network("model.norm=batch", "model.dropout=0.5")
    passes.model.train()
    before = {name: value.clone() for name, value in passes.model.state_dict().items()}
    random = torch.get_rng_state()
    found = plasticity(passes, x)
    assert found["mean_weight"] == pytest.approx(float(passes.weights.value.abs().mean()))
    assert all(torch.equal(value, before[name]) for name, value in passes.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert passes.model.training
    assert passes.work.forward_rows == 0
