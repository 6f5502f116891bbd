"""The optimizers step one vector as PyTorch's step separate parameters, and go on exactly after a restart."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from learners import distance
from torch import Tensor, nn
from torch.nn import functional

from gradinc.base.errors import UserError
from gradinc.core import optimizers
from gradinc.core.optimizers import stepper
from gradinc.core.weights import Weights
from gradinc.models.cnn import cnn
from gradinc.models.linear import linear
from gradinc.models.mlp import mlp
from gradinc.models.vit import vit

torch.set_num_threads(1)

# Name, our options, PyTorch's class, its options. Learning rates are what a few steps can move.
VARIANTS: list[tuple[str, dict[str, Any], Callable[..., torch.optim.Optimizer], dict[str, Any]]] = [
    ("sgd", {"lr": 0.1}, torch.optim.SGD, {}),
    ("sgd", {"lr": 0.1, "weight_decay": 0.01}, torch.optim.SGD, {"weight_decay": 0.01}),
    ("sgd", {"lr": 0.1, "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    (
        "sgd",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    ("adam", {"lr": 0.01}, torch.optim.Adam, {}),
    (
        "adam",
        {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.01, "amsgrad": True},
        torch.optim.Adam,
        {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01, "amsgrad": True},
    ),
    ("adamw", {"lr": 0.01}, torch.optim.AdamW, {}),
    ("adamw", {"lr": 0.01, "weight_decay": 0.3}, torch.optim.AdamW, {"weight_decay": 0.3}),
    ("nadam", {"lr": 0.01}, torch.optim.NAdam, {}),
    (
        "nadam",
        {"lr": 0.01, "weight_decay": 0.01, "decoupled": True, "momentum_decay": 0.1},
        torch.optim.NAdam,
        {"weight_decay": 0.01, "decoupled_weight_decay": True, "momentum_decay": 0.1},
    ),
    ("radam", {"lr": 0.05}, torch.optim.RAdam, {}),
    (
        "radam",
        {"lr": 0.05, "beta2": 0.9, "weight_decay": 0.01, "decoupled": True},
        torch.optim.RAdam,
        {"betas": (0.9, 0.9), "weight_decay": 0.01, "decoupled_weight_decay": True},
    ),
    ("rmsprop", {"lr": 0.005}, torch.optim.RMSprop, {}),
    (
        "rmsprop",
        {"lr": 0.005, "alpha": 0.9, "weight_decay": 0.01, "momentum": 0.5, "centered": True},
        torch.optim.RMSprop,
        {"alpha": 0.9, "weight_decay": 0.01, "momentum": 0.5, "centered": True},
    ),
    ("adagrad", {"lr": 0.05}, torch.optim.Adagrad, {}),
    (
        "adagrad",
        {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.01, "initial": 0.1},
        torch.optim.Adagrad,
        {"lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.1},
    ),
]
NAMES = ["sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "muon"]
EACH: list[tuple[str, dict[str, Any]]] = [(name, ours) for name, ours, _, _ in VARIANTS] + [("muon", {"lr": 0.01})]


def network(kind: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mlp":
        return mlp((1, 8, 8), 10, width=16, activation="tanh").to(dtype)
    return cnn((1, 8, 8), 10, width=4, hidden=16, activation="tanh").to(dtype)


def loss(model: nn.Module, number: int) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    dtype = next(model.parameters()).dtype
    x = torch.randn(16, 1, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(10, (16,), generator=generator)
    return functional.cross_entropy(model(x), y)


def vector(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def train(model: nn.Module, weights: Weights, step: Callable[[], object], updates: range = range(30)) -> None:
    for number in updates:
        weights.grad.zero_()
        loss(model, number).backward()
        with torch.no_grad():
            step()


def train_free(model: nn.Module, optimizer: torch.optim.Optimizer, updates: range = range(30)) -> None:
    for number in updates:
        optimizer.zero_grad()
        loss(model, number).backward()
        optimizer.step()


def make(kind: str, name: str, options: dict[str, Any], dtype: torch.dtype = torch.float64) -> Any:
    model = network(kind, dtype)
    weights = Weights(model)
    return model, weights, getattr(optimizers, name)(weights, **options)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize(("name", "ours", "theirs", "options"), VARIANTS)
def test_the_vector_steps_as_separate_parameters_do(
    kind: str, name: str, ours: dict[str, Any], theirs: Callable[..., torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    model, weights, optimizer = make(kind, name, ours)
    start = weights.value.clone()
    train(model, weights, optimizer.step)
    free = network(kind)
    train_free(free, theirs(free.parameters(), lr=ours["lr"], foreach=False, **options))

    assert distance(weights.value, vector(free)) < 1e-12
    assert distance(weights.value, start) > 1e-2


@pytest.mark.parametrize(("name", "ours"), EACH)
def test_every_option_changes_the_steps(name: str, ours: dict[str, Any]) -> None:
    ends = []
    for left_out in (None, *(option for option in ours if option not in ("lr", "momentum"))):
        model, weights, optimizer = make("mlp", name, {k: v for k, v in ours.items() if k != left_out})
        train(model, weights, optimizer.step)
        ends.append(weights.value)

    assert all(not torch.equal(ends[0], end) for end in ends[1:])


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_muon_steps_hidden_matrices_and_adamw_the_rest(kind: str) -> None:
    """Against PyTorch's Muon, whose kernels are laid out as matrices by hand."""
    model, weights, optimizer = make(kind, "muon", {"lr": 0.01})
    train(model, weights, optimizer.step)

    free = network(kind)
    hidden = ["hidden2.weight"] if kind == "mlp" else ["conv2.weight", "hidden.weight"]
    matrices = {
        name: nn.Parameter(p.detach().reshape(p.shape[0], -1).clone())
        for name, p in free.named_parameters()
        if name in hidden
    }
    rest = [p for name, p in free.named_parameters() if name not in hidden]
    muon = torch.optim.Muon(matrices.values(), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.01, weight_decay=0.1, foreach=False)
    for number in range(30):
        free.zero_grad()
        loss(free, number).backward()
        named = dict(free.named_parameters())
        for name, matrix in matrices.items():
            matrix.grad = named[name].grad.reshape(matrix.shape)
        muon.step()
        adamw.step()
        with torch.no_grad():
            for name, matrix in matrices.items():
                named[name].copy_(matrix.view(named[name].shape))

    # Muon rounds to bfloat16 on its way, which makes a last-bit difference of a gradient visible.
    assert distance(weights.value, vector(free)) < 1e-3
    model, weights, optimizer = make(kind, "adamw", {"lr": 0.01, "weight_decay": 0.1})
    train(model, weights, optimizer.step)
    assert distance(weights.value, vector(free)) > 1e-2


def test_muon_leaves_tokens_and_position_embeddings_to_adamw() -> None:
    model = vit((1, 8, 8), 10, width=8, depth=1, heads=2)
    optimizer = optimizers.muon(Weights(model), lr=0.01)
    by_muon = [tuple(leaf.shape) for leaf in optimizer.param_groups[0]["params"]]

    assert by_muon == [(24, 8), (8, 8), (16, 8), (8, 16)]  # attention in and out, perceptron in and out


def test_muon_needs_a_hidden_matrix() -> None:
    with pytest.raises(UserError, match=r"^optimizer=muon: .* no hidden matrix.*Use optimizer=adamw"):
        optimizers.muon(Weights(linear((4,), 2)), lr=0.01)
    with pytest.raises(UserError, match="no hidden matrix"):
        optimizers.muon(Weights(mlp((4,), 2, depth=1)), lr=0.01)
    optimizers.muon(Weights(mlp((4,), 2, depth=2)), lr=0.01)


def test_muon_says_when_pytorch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match=r"^optimizer=muon: PyTorch .* has no Muon\. Use optimizer=adamw"):
        optimizers.muon(Weights(mlp((4,), 2)), lr=0.01)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(UserError, match=r"^optimizer\.nesterov: needs momentum"):
        optimizers.sgd(Weights(linear((4,), 2)), lr=0.1, nesterov=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "options"), EACH)
def test_the_stepper_is_the_optimizers_step_bit_for_bit(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    model, weights, optimizer = make("mlp", name, options, dtype)
    train(model, weights, optimizer.step)
    quick_model, quick_weights, quick = make("mlp", name, options, dtype)
    train(quick_model, quick_weights, stepper(quick))

    assert torch.equal(weights.value, quick_weights.value)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_the_stepper_follows_the_learning_rate(name: str) -> None:
    """A schedule writes ``lr`` into the parameter groups between two steps, all scaled alike."""
    model, weights, optimizer = make("mlp", name, {"lr": 0.01})
    step = stepper(optimizer)
    train(model, weights, step, range(3))
    before = weights.value.clone()
    for group in optimizer.param_groups:
        group["lr"] *= 0.0
    train(model, weights, step, range(3, 4))
    assert torch.equal(weights.value, before)
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    train(model, weights, step, range(4, 5))
    assert not torch.equal(weights.value, before)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_gradient_does_not_move(name: str) -> None:
    """An idle head keeps its weights, whatever momentum and weight decay it has."""
    model, weights, optimizer = make("mlp", name, {"lr": 0.01})
    step = stepper(optimizer)
    train(model, weights, step, range(3))
    before = weights.value.clone()
    for group in optimizer.param_groups:
        for leaf in group["params"]:
            leaf.grad = None
    with torch.no_grad():
        step()
    assert torch.equal(weights.value, before)


def snapshot(optimizer: torch.optim.Optimizer) -> bytes:
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "options"), EACH)
def test_a_restart_goes_on_bit_for_bit(name: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    model, weights, optimizer = make("cnn", name, options, dtype)
    step = stepper(optimizer)
    train(model, weights, step, range(7))
    saved, value = snapshot(optimizer), weights.value.clone()
    train(model, weights, step, range(7, 14))

    again, other, restarted = make("cnn", name, options, dtype)
    step = stepper(restarted)  # the learner takes it before it loads a checkpoint
    restarted.load_state_dict(torch.load(io.BytesIO(saved), weights_only=True))
    other.value.copy_(value)
    state = restarted.state_dict()["state"]
    expected = torch.load(io.BytesIO(saved), weights_only=True)["state"]
    assert state.keys() == expected.keys()
    for number in expected:
        assert state[number].keys() == expected[number].keys()
        for key, before in expected[number].items():
            after = state[number][key]
            assert (after.dtype, after.device) == (before.dtype, before.device), key
            assert torch.equal(after, before), key
    train(again, other, step, range(7, 14))

    assert torch.equal(other.value, weights.value)
    forgetful, third, fresh = make("cnn", name, options, dtype)
    third.value.copy_(value)
    train(forgetful, third, fresh.step, range(7, 14))
    if expected:  # plain SGD has nothing to forget
        assert not torch.equal(third.value, weights.value)


def test_the_joint_optimizer_is_one_optimizer_to_others() -> None:
    """Its state is its parts' state, so that what clears it there clears it for the next step."""
    model, weights, optimizer = make("mlp", "muon", {"lr": 0.01})
    train(model, weights, stepper(optimizer), range(3))
    leaves = [leaf for group in optimizer.param_groups for leaf in group["params"]]

    assert sum(leaf.numel() for leaf in leaves) == len(weights)
    assert {id(leaf) for leaf in optimizer.state} == {id(leaf) for leaf in leaves}
    optimizer.state.clear()
    train(model, weights, stepper(optimizer), range(3, 4))
    assert all(float(state.get("step", 1)) == 1 for state in optimizer.state.values())
