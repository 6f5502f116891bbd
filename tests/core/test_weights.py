"""The weights as one vector: what shares memory with what."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradinc.core.weights import Weights
from gradinc.models.mlp import mlp


def build() -> nn.Module:
    torch.manual_seed(0)
    return mlp((3, 4), 5, width=7, depth=2)


def loss(model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 3, 4, generator=generator)
    return functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 3, 4, 0]))


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder's matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(4, 4, bias=False)
        self.decode = nn.Linear(4, 4)
        self.decode.weight = self.encode.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.encode(x)))


def test_the_vector_is_the_models_own_weights() -> None:
    model = build()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights = Weights(model)

    assert len(weights) == sum(p.numel() for p in before.values())
    assert weights.names == list(before)
    for name, view in weights.layers(weights.value):
        assert torch.equal(view, before[name])

    weights.value.mul_(2)
    for name, p in model.named_parameters():
        assert torch.equal(p, 2 * before[name])
    with torch.no_grad():
        model.output.bias.fill_(3)
    assert torch.equal(weights.value[-5:], torch.full((5,), 3.0))


def test_autograd_accumulates_straight_into_the_gradient_vector() -> None:
    model, free = build(), build()
    weights = Weights(model)
    pointer = weights.grad.data_ptr()
    for _ in range(2):
        loss(model).backward()
        loss(free).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in free.parameters()])

    assert torch.equal(weights.grad, expected)
    assert weights.grad.data_ptr() == pointer
    assert weights.grad.abs().sum() > 0
    for p, view in zip(model.parameters(), weights.views(weights.grad), strict=True):
        assert p.grad.data_ptr() == view.data_ptr()


def test_views_of_any_vector_have_the_layers_shapes() -> None:
    weights = Weights(build())
    numbers = torch.arange(len(weights))
    views = weights.views(numbers)

    assert [view.shape for view in views] == weights.shapes
    assert torch.equal(torch.cat([view.reshape(-1) for view in views]), numbers)


def test_tied_weights_stay_tied_and_count_once() -> None:
    torch.manual_seed(0)
    model = Tied()
    weights = Weights(model)

    assert len(weights) == 16 + 4
    assert model.decode.weight is model.encode.weight
    weights.value.zero_()
    assert model.encode.weight.abs().sum() == 0
    assert model.decode.weight.abs().sum() == 0


def test_both_uses_of_a_tied_weight_reach_its_gradient() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = Tied()
    torch.manual_seed(0)
    free = Tied()
    weights = Weights(model)
    model(x).square().sum().backward()
    free(x).square().sum().backward()

    assert torch.equal(weights.views(weights.grad)[0], free.encode.weight.grad)


def test_frozen_weights_are_left_out() -> None:
    model = build()
    model.hidden1.weight.requires_grad_(False)
    weights = Weights(model)
    before = model.hidden1.weight.clone()

    assert "hidden1.weight" not in weights.names
    weights.value.zero_()
    assert torch.equal(model.hidden1.weight, before)
    assert model.hidden2.weight.abs().sum() == 0


def test_a_state_dict_loads_into_the_vector() -> None:
    model = build()
    weights = Weights(model)
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    value = weights.value.clone()
    pointer = weights.value.data_ptr()
    weights.value.normal_()
    assert not torch.equal(weights.value, value)
    model.load_state_dict(saved)

    assert torch.equal(weights.value, value)
    assert weights.value.data_ptr() == pointer
    weights.value.zero_()
    assert model.output.weight.abs().sum() == 0


def test_one_group_is_one_slice_which_is_the_whole_vector() -> None:
    weights = Weights(build())
    ((leaf,),) = weights.leaves.slices().values()

    assert leaf.data_ptr() == weights.value.data_ptr()
    assert leaf.grad.data_ptr() == weights.grad.data_ptr()
    assert leaf.shape == weights.value.shape
    assert leaf.is_leaf


def test_groups_are_the_fewest_contiguous_slices_and_cover_the_vector_once() -> None:
    weights = Weights(build())
    groups = weights.leaves.slices(lambda name: name.startswith("hidden"))

    assert [len(leaves) for leaves in (groups[True], groups[False])] == [1, 1]  # both hidden layers are neighbours
    assert groups[True][0].numel() == weights.spans[weights.names.index("hidden2.bias")][1]

    by_kind = weights.leaves.slices(lambda name: name.rpartition(".")[2])
    assert [len(by_kind[kind]) for kind in ("weight", "bias")] == [3, 3]
    for leaves in by_kind.values():
        for leaf in leaves:
            leaf.data.add_(1)
            leaf.grad.add_(1)
    weights.value.sub_(Weights(build()).value)
    torch.testing.assert_close(weights.value, torch.ones(len(weights)))
    assert torch.equal(weights.grad, torch.ones(len(weights)))


def test_matrices_have_a_row_for_each_output_and_share_memory() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 4))
    weights = Weights(model)
    linear, kernel = weights.leaves.matrices(["2.weight", "0.weight"])

    assert linear.shape == (4, 3)
    assert kernel.shape == (3, 2 * 3 * 3)
    kernel.data.zero_()
    kernel.grad.fill_(1)
    assert model[0].weight.abs().sum() == 0
    assert torch.equal(model[0].weight.grad, torch.ones(3, 2, 3, 3))
    assert model[2].weight.abs().sum() > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_layer_that_is_not_finite_is_named(bad: float) -> None:
    weights = Weights(build())
    assert weights.first_not_finite(weights.value) is None
    vector = weights.grad.clone()
    for name in ("output.bias", "hidden2.weight"):
        vector[weights.spans[weights.names.index(name)][0]] = bad

    assert weights.first_not_finite(vector) == "hidden2.weight"
    assert weights.first_not_finite(weights.grad) is None


def test_channels_last_parameters_keep_their_layout_as_views_of_the_vector():
    """Convolutions run twice as fast so; a vector that cut them up in the other order would undo it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    plain = copy.deepcopy(model)
    model = model.to(memory_format=torch.channels_last)
    weights = Weights(model)
    conv = model[0].weight
    assert conv.is_contiguous(memory_format=torch.channels_last)
    assert not conv.is_contiguous()
    x = torch.randn(5, 3, 8, 8)
    loss = model(x).square().sum()
    grads = torch.autograd.grad(loss, weights.parameters, retain_graph=True)
    loss.backward()
    assert torch.equal(weights.flatten(grads), weights.grad)
    for layer, grad in zip(weights.views(weights.grad), grads, strict=True):
        assert torch.equal(layer, grad)
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    conv.data.add_(1)
    assert torch.equal(weights.flatten([p.detach() for p in weights.parameters]), weights.value)
