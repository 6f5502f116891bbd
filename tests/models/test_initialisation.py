"""The laws of fresh weights, measured on layers with enough weights to tell."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.models.cnn import cnn
from gradinc.models.layers import chain, initialise
from gradinc.models.linear import linear
from gradinc.models.mlp import mlp
from gradinc.models.resnet18 import resnet18

torch.set_num_threads(1)

LAWS = ["default", "xavier", "kaiming", "orthogonal", "truncated_normal"]
GAINS = {"relu": math.sqrt(2), "gelu": math.sqrt(2), "tanh": 5 / 3, "sigmoid": 1.0, "identity": 1.0, "selu": 0.75}


def layers(law: str, activation: str = "relu") -> nn.Module:
    torch.manual_seed(0)
    network = chain(first=nn.Conv2d(16, 128, 3), second=nn.Linear(300, 200), output=nn.Linear(400, 300))
    initialise(network, law, activation)
    return network


@pytest.mark.parametrize("activation", GAINS)
def test_the_variance_of_each_law_is_what_it_says(activation: str) -> None:
    for name, fan_in, fan_out, gain in [
        ("first", 144, 128 * 9, GAINS[activation]),
        ("second", 300, 200, GAINS[activation]),
        ("output", 400, 300, 1.0),
    ]:
        for law, variance in [
            ("xavier", 2 / (fan_in + fan_out)),
            ("kaiming", 1 / fan_in),
            ("truncated_normal", 1 / fan_in),
        ]:
            weight = layers(law, activation).get_submodule(name).weight.detach()
            assert float(weight.std()) == pytest.approx(gain * math.sqrt(variance), rel=0.02), (law, name)
            assert float(weight.mean()) == pytest.approx(0, abs=0.02 * float(weight.std()))


def test_truncated_means_that_nothing_lies_beyond_two_standard_deviations() -> None:
    bound = 2 / math.sqrt(400) / 0.87962566
    assert float(layers("truncated_normal").output.weight.detach().abs().max()) <= bound * 1.0001
    assert float(layers("kaiming").output.weight.detach().abs().max()) > bound * 1.3


def test_orthogonal_rows_are_perpendicular_and_as_long_as_the_gain() -> None:
    network = layers("orthogonal", "tanh")
    for weight, gain in [(network.first.weight.flatten(1), 5 / 3), (network.output.weight, 1.0)]:
        torch.testing.assert_close(weight @ weight.T, gain**2 * torch.eye(len(weight)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("law", LAWS)
def test_biases_start_from_nothing_except_in_pytorchs_own_law(law: str) -> None:
    still = all(not layer.bias.any() for layer in layers(law).children())
    assert still is (law != "default")


@pytest.mark.parametrize("law", ["default", 0.1])
def test_fresh_offsets_are_what_bias_init_says_and_weights_are_as_without_it(law: str | float) -> None:
    networks = []
    for bias_init in (None, 0.1):
        torch.manual_seed(0)
        networks.append(mlp((12,), 3, width=8, init=law, bias_init=bias_init))
    plain, given = (dict(network.named_parameters()) for network in networks)
    biases = [name for name in given if name.endswith("bias")]
    assert len(biases) == 3
    assert all((given[name] == 0.1).all() for name in biases)
    assert not any((plain[name] == 0.1).any() for name in biases)
    assert all(torch.equal(given[name], plain[name]) for name in given if name not in biases)


def test_a_value_for_offsets_that_there_are_none_of_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.bias_init=0\.1: sets the offsets"):
        mlp((12,), 3, bias=False, bias_init=0.1)
    assert not [name for name, _ in mlp((12,), 3, bias=False).named_parameters() if "bias" in name]


def test_the_default_law_is_pytorchs_own() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(12, 5)
    torch.manual_seed(0)
    assert torch.equal(linear((12,), 5).output.weight, plain.weight)


@pytest.mark.parametrize("model", [linear, mlp, cnn, resnet18])
def test_each_law_gives_a_model_other_weights(model: type) -> None:
    drawn = []
    for law in LAWS:
        torch.manual_seed(0)
        options = {} if model is linear else {"width": 8}
        network = model((1, 8, 8), 10, init=law, **options)
        drawn.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
        assert torch.isfinite(network(torch.randn(4, 1, 8, 8))).all()

    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_kaiming_keeps_the_signal_through_twenty_layers_where_pytorchs_own_law_loses_it() -> None:
    sizes = {}
    for law in ("default", "kaiming", "orthogonal", "truncated_normal"):
        torch.manual_seed(0)
        network = mlp((256,), 256, depth=20, bias=False, init=law)
        sizes[law] = float(network(torch.randn(64, 256)).detach().square().mean())

    assert sizes["default"] < 1e-8
    assert all(0.05 < size < 20 for law, size in sizes.items() if law != "default")
