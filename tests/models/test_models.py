"""Every model: shapes, finite gradients, and options that do something."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradinc.base.errors import UserError
from gradinc.config.values import Activation, Norm
from gradinc.core.weights import Weights
from gradinc.models.cnn import cnn
from gradinc.models.linear import linear
from gradinc.models.mlp import mlp
from gradinc.models.resnet18 import resnet18
from gradinc.models.vit import vit

torch.set_num_threads(1)

Model = Callable[..., nn.Module]

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 33, 47), (2, 5, 7)]
ROWS = [(10,), (4, 6)]
TINY = [(3, 1, 1), (1, 1, 9)]
FLAT_MODELS: list[tuple[Model, dict[str, Any]]] = [(linear, {}), (mlp, {"width": 8})]
IMAGE_MODELS: list[tuple[Model, dict[str, Any]]] = [
    (cnn, {"width": 4}),
    (cnn, {"width": 4, "hidden": 0, "norm": "batch"}),
    (cnn, {"width": 4, "norm": "group", "depth": 3}),
    (resnet18, {"width": 4}),
    (resnet18, {"width": 4, "norm": "group"}),
    (resnet18, {"width": 4, "norm": "none"}),
    (vit, {"width": 8, "depth": 1, "heads": 2}),
]
SUPPORTED = [
    *((model, options, shape) for model, options in FLAT_MODELS for shape in (*ROWS, *IMAGES)),
    *((model, options, shape) for model, options in IMAGE_MODELS for shape in IMAGES),
    *((cnn, {"width": 4, "depth": 3}, shape) for shape in TINY),
    *((resnet18, {"width": 4, "norm": "group"}, shape) for shape in TINY),
]


def build(model: Model, shape: tuple[int, ...], outputs: int = 10, seed: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(seed)
    return model(shape, outputs, **options)


def rows(shape: tuple[int, ...], number: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(number, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def fill_output(model: nn.Module) -> None:
    """Give the output layer the same weights in every model; torchvision's transformer starts it from 0."""
    nn.init.normal_(list(model.parameters())[-2], generator=torch.Generator().manual_seed(0))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("model", "options", "shape"), SUPPORTED)
def test_a_model_has_its_outputs_and_finite_gradients(
    model: Model, options: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    network = build(model, shape, 7, **options).to(dtype)
    weights = Weights(network)
    out = network(rows(shape, dtype=dtype))
    assert out.shape == (3, 7)
    assert out.dtype == dtype
    functional.cross_entropy(out, torch.tensor([0, 3, 6])).backward()

    assert weights.first_not_finite(weights.grad) is None
    assert torch.isfinite(out).all()
    assert weights.grad.norm() > 0
    assert {type(m).__name__ for m in network.modules() if getattr(m, "inplace", False)} == set()


@pytest.mark.parametrize(("model", "options", "shape"), SUPPORTED)
def test_after_one_step_every_weight_has_a_gradient(
    model: Model, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """No weight is cut off from the loss; the first step moves an output layer that starts from 0."""
    network = build(model, shape, 3, **options).double()
    weights = Weights(network)
    for _ in range(2):
        weights.grad.zero_()
        functional.cross_entropy(network(rows(shape)), torch.tensor([0, 1, 2])).backward()
        weights.value.sub_(weights.grad, alpha=0.1)

    assert [name for name, layer in weights.layers(weights.grad) if not layer.any()] == []


@pytest.mark.parametrize(("model", "shape"), [(linear, (10,)), (mlp, (10,)), (cnn, (1, 8, 8))])
def test_one_output_is_a_column(model: Model, shape: tuple[int, ...]) -> None:
    assert build(model, shape, 1)(rows(shape, dtype=torch.float32)).shape == (3, 1)


@pytest.mark.parametrize("model", [cnn, resnet18, vit])
def test_rows_that_are_no_images_are_refused(model: Model) -> None:
    for shape in ROWS:
        with pytest.raises(UserError, match=rf"^model={model.__name__}: needs images .* Use model=mlp"):
            model(shape, 10)


@pytest.mark.parametrize(("model", "options"), [*FLAT_MODELS, *IMAGE_MODELS])
def test_fresh_weights_come_from_the_default_generator_alone(model: Model, options: dict[str, Any]) -> None:
    first, same, other = (build(model, (1, 8, 8), seed=seed, **options).state_dict() for seed in (0, 0, 1))

    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


CHANGES = [
    (mlp, "width", 8, 16),
    (mlp, "depth", 2, 3),
    (mlp, "bias", True, False),
    (mlp, "norm", "none", "batch"),
    (mlp, "norm", "none", "layer"),
    (linear, "bias", True, False),
    (cnn, "width", 4, 8),
    (cnn, "depth", 2, 3),
    (cnn, "hidden", 0, 8),
    (cnn, "hidden", 8, 16),
    (cnn, "norm", "none", "batch"),
    (resnet18, "width", 4, 8),
    (resnet18, "norm", "batch", "none"),
    (vit, "width", 8, 16),
    (vit, "depth", 1, 2),
    (vit, "patch", 1, 4),
    (vit, "mlp_ratio", 1.0, 2.0),
]


@pytest.mark.parametrize(("model", "option", "one", "two"), CHANGES)
def test_an_option_of_the_shape_changes_the_number_of_weights(model: Model, option: str, one: Any, two: Any) -> None:
    assert count(build(model, (1, 8, 8), **{option: one})) != count(build(model, (1, 8, 8), **{option: two}))


@pytest.mark.parametrize("model", [mlp, cnn, resnet18])
def test_each_activation_makes_another_function_of_the_same_weights(model: Model) -> None:
    outputs = []
    for name in get_args(Activation):
        network = build(model, (1, 8, 8), activation=name, width=4).double()
        outputs.append(network(rows((1, 8, 8))))
        assert torch.isfinite(outputs[-1]).all()

    assert all(not torch.allclose(a, b) for i, a in enumerate(outputs) for b in outputs[:i])


@pytest.mark.parametrize(("model", "layer"), [(mlp, "hidden2"), (cnn, "conv2")])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_crelu_gives_the_next_layer_both_signs_of_every_unit(model: Model, layer: str, norm: str) -> None:
    """With opposite weights for the two halves the layer is linear in what is before the activation: x⁺ − x⁻ = x."""
    network = build(model, (1, 8, 8), activation="crelu", width=4, norm=norm).double()
    plain = build(model, (1, 8, 8), activation="relu", width=4, norm=norm).double()
    following = network.get_submodule(layer).weight
    assert following.shape[1] == 2 * plain.get_submodule(layer).weight.shape[1]
    seen: dict[str, Tensor] = {}
    for name in ("activation1", layer):
        network.get_submodule(name).register_forward_pre_hook(lambda m, x, name=name: seen.__setitem__(name, x[0]))
    network(rows((1, 8, 8)))
    before, after = seen["activation1"], seen[layer]
    positive, negative = network.get_submodule("activation1")(before).chunk(2, 1)
    assert torch.equal(positive - negative, before)
    assert torch.equal(positive, before.relu())
    if model is mlp:
        assert torch.equal(after, torch.cat((positive, negative), 1))
    assert after.shape[1] == 2 * before.shape[1]
    assert weights_learn(network)


def weights_learn(network: nn.Module) -> bool:
    functional.cross_entropy(network(rows((1, 8, 8))), torch.tensor([0, 1, 2])).backward()
    return all(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


def test_crelu_is_refused_where_a_layer_is_added_to_its_input() -> None:
    with pytest.raises(UserError, match=r"^model\.residual=true: .*crelu.* Use another activation"):
        mlp((4,), 2, residual=True, activation="crelu")
    mlp((4,), 2, residual=True, activation="relu")


@pytest.mark.parametrize("model", [linear, mlp, cnn, resnet18])
def test_identity_makes_an_affine_model(model: Model) -> None:
    """Without an activation, normalisation and pooling nothing is left that is not linear."""
    if model in (linear, mlp):
        options = {} if model is linear else {"activation": "identity"}
        network = build(model, (4,), **options).double()
        x = rows((4,), 2)
    else:
        network = build(model, (1, 1, 1), activation="identity", norm="none", width=4).double()
        x = rows((1, 1, 1), 2)
    middle = network(x.mean(0, keepdim=True))
    torch.testing.assert_close(middle, network(x).mean(0, keepdim=True))
    assert not torch.allclose(network(x)[0], network(x)[1])


@pytest.mark.parametrize("model", [mlp, cnn, vit])
def test_dropout_is_random_in_training_and_absent_in_evaluation(model: Model) -> None:
    x = rows((1, 8, 8), dtype=torch.float32)
    network, without = build(model, (1, 8, 8), dropout=0.5), build(model, (1, 8, 8))
    for each in (network, without):
        fill_output(each)
    assert any(isinstance(m, nn.Dropout) and m.p == 0.5 for m in network.modules())
    assert not any(isinstance(m, nn.Dropout) and m.p > 0 for m in without.modules())

    assert not torch.equal(network(x), network(x))
    assert torch.equal(without(x), without(x))
    network.eval()
    without.eval()
    torch.testing.assert_close(network(x), without(x))


def test_group_normalisation_treats_rows_alone_and_batch_normalisation_does_not() -> None:
    """Which is why a window of small batches equals the large batch with the one and not with the other."""
    x = rows((1, 8, 8), 6)
    for model, norm in product((cnn, mlp), get_args(Norm)):
        network = build(model, (1, 8, 8), norm=norm).double()
        halves = torch.cat([network(x[:3]), network(x[3:])])
        assert torch.allclose(network(x), halves, rtol=1e-12) is (norm != "batch")


def collect(outputs: list[Tensor], module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
    outputs.append(out)


@pytest.mark.parametrize("residual", [False, True])
def test_the_normalisation_of_a_perceptron_is_between_its_layer_and_its_activation(residual: bool) -> None:
    """Every hidden unit has mean 0 and variance 1 over a batch, or over the units of a row, before the activation."""
    x = 5 + 3 * rows((6,), 50)
    for norm, over in (("batch", 0), ("layer", 1)):
        network = build(mlp, (6,), width=40, activation="identity", norm=norm, residual=residual).double()
        outputs: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)):
                module.register_forward_hook(partial(collect, outputs))
        network(x)
        assert len(outputs) == 2
        for out in outputs:
            torch.testing.assert_close(out.mean(over), torch.zeros_like(out.mean(over)), atol=1e-6, rtol=0)
            torch.testing.assert_close(out.var(over, correction=0), torch.ones_like(out.mean(over)), atol=1e-3, rtol=0)


def test_the_outputs_of_a_perceptron_are_normalised_if_asked() -> None:
    network = build(mlp, (6,), width=8, norm="batch", norm_output=True).double()
    torch.testing.assert_close(network(rows((6,), 20)).mean(0), torch.zeros(10).double(), atol=1e-9, rtol=0)
    with pytest.raises(UserError, match=r"model\.norm_output=true: model\.norm=none"):
        build(mlp, (6,), norm_output=True)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 12, 32, 33, 64, 96, 512])
def test_groups_divide_the_channels_and_none_is_a_single_channel(channels: int) -> None:
    from gradinc.models.layers import norm

    layer = norm("group", channels)
    assert isinstance(layer, nn.GroupNorm)
    assert channels % layer.num_groups == 0
    assert layer.num_groups <= 32
    assert channels // layer.num_groups >= min(4, channels)


def test_vit_pads_images_that_patches_do_not_cover() -> None:
    """Below and to the right, so that the pixels that are there keep their places."""
    small = build(vit, (1, 6, 8), patch=4, width=8, depth=1, heads=2).double()
    large = build(vit, (1, 8, 8), patch=4, width=8, depth=1, heads=2).double()
    for network in (small, large):
        fill_output(network)
    x = rows((1, 6, 8))
    assert torch.equal(small(x), large(functional.pad(x, (0, 0, 0, 2))))


def test_vits_heads_attend_apart() -> None:
    """As many weights, but another function of them."""
    one, two = (build(vit, (1, 8, 8), width=8, heads=heads).double() for heads in (1, 2))
    for network in (one, two):
        fill_output(network)
    assert count(one) == count(two)
    assert not torch.allclose(one(rows((1, 8, 8))), two(rows((1, 8, 8))))


def test_vit_names_the_option_that_does_not_fit() -> None:
    with pytest.raises(UserError, match=r"^model\.heads=3: does not divide model\.width=64\. Use model\.width=66"):
        vit((1, 8, 8), 10, heads=3)
    with pytest.raises(UserError, match=r"^model\.patch=9: .* 8x8\. Use model\.patch=2"):
        vit((1, 8, 8), 10, patch=9)
