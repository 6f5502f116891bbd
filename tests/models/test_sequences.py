"""The models that read sequences, and laws of fresh weights that publications prescribe."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.core.weights import Weights
from gradinc.models.cnn1d import cnn1d
from gradinc.models.decoder import decoder
from gradinc.models.gru import gru
from gradinc.models.mlp import mlp

torch.set_num_threads(1)

MODELS = [cnn1d, gru, decoder]


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, 99, (rows, length), generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_of_sequences_learns_with_all_its_weights(model) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network = model((40,), 10).double()
    weights = Weights(network)
    nn.functional.cross_entropy(network(tokens(64, 40)), torch.arange(64) % 10).backward()
    assert torch.isfinite(weights.grad).all()
    untouched = [name for name, p in network.named_parameters() if not p.grad.any()]
    assert untouched == []
    with pytest.raises(UserError, match="needs sequences of numbers"):
        model((1, 8, 8), 10)


def test_the_published_networks_of_mnist1d_have_their_sizes() -> None:
    # 25·5+25 and twice 25·25·3+25, then 125·10+10; three gates of 6 units in two directions, then 480·10+10.
    assert count(cnn1d((40,), 10)) == 150 + 2 * 1900 + 1260
    assert count(gru((40,), 10)) == 2 * (3 * 6 * (1 + 6) + 2 * 18) + 4810
    assert count(mlp((40,), 10, width=256, residual=True)) == 40 * 256 + 256 + 256 * 256 + 256 + 2570


def test_a_decoder_does_not_look_ahead() -> None:
    network = decoder((4,), 97).double()
    states = network.tokens(tokens(3, 4).long()) + network.positions
    before = network.blocks(states)
    states[:, 3] = 0.0
    after = network.blocks(states)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_a_decoder_reads_its_order() -> None:
    network, row = decoder((4,), 97).double(), torch.tensor([[3.0, 98.0, 5.0, 97.0]], dtype=torch.float64)
    assert not torch.allclose(network(row), network(row[:, [2, 1, 0, 3]]))


def test_a_residual_layer_is_added_to_what_it_reads() -> None:
    torch.manual_seed(0)
    network = mlp((5,), 3, width=4, residual=True).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    first, second = network.hidden1, network.hidden2.linear
    hidden = first(x).relu()
    torch.testing.assert_close(network(x), network.output(hidden + second(hidden).relu()))


def test_a_scale_multiplies_all_fresh_weights() -> None:
    networks = []
    for scale in (1.0, 8.0):
        torch.manual_seed(0)
        networks.append(mlp((5,), 3, width=4, init_scale=scale))
    for plain, scaled in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(scaled, 8 * plain)


def test_plain_xavier_and_a_given_deviation_are_the_same_in_every_layer() -> None:
    torch.manual_seed(0)
    plain = mlp((784,), 10, width=200, init="xavier_plain")
    for layer, (fan_in, fan_out) in {"hidden1": (784, 200), "hidden2": (200, 200), "output": (200, 10)}.items():
        weight = getattr(plain, layer).weight
        assert weight.abs().max() <= (6 / (fan_in + fan_out)) ** 0.5
        assert weight.var().item() == pytest.approx(2 / (fan_in + fan_out), rel=0.1)
        assert not getattr(plain, layer).bias.any()
    given = mlp((784,), 10, width=200, init=0.1)
    for layer in ("hidden1", "hidden2", "output"):
        weight = getattr(given, layer).weight
        assert weight.abs().max() <= 0.2
        assert weight.std().item() == pytest.approx(0.1 * 0.8796, rel=0.1)
