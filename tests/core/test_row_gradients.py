"""Gradients of single rows from their factors, against a slow loop over rows in float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learners import distance, learner, members, network, rule
from torch import Tensor, nn

from gradinc.core import row_layers
from gradinc.core.criterion import CrossEntropy
from gradinc.core.passes import Passes
from gradinc.core.place import Place
from gradinc.core.row_gradients import Entries, Outer, RowGradients
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch
from gradinc.models.cnn import cnn
from gradinc.models.cnn1d import cnn1d
from gradinc.models.decoder import decoder
from gradinc.models.gru import gru
from gradinc.models.layers import Residual
from gradinc.models.linear import linear
from gradinc.models.mlp import mlp
from gradinc.models.resnet18 import resnet18
from gradinc.models.vit import vit

ROWS, CLASSES = 5, 4


class Twice(nn.Module):
    """A layer that is called twice, and one that is never called."""

    rowwise = True

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.idle, self.output = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


class Words(nn.Module):
    """Tokens, some of them several times in a row, and a token that is padding."""

    rowwise = True

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 6, padding_idx=2)
        self.norm, self.rms = nn.LayerNorm(6), nn.RMSNorm((5, 6))
        self.output = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.tanh(self.rms(self.norm(self.tokens(x.abs().mul(3).long() % 7))))).mean(1)


def convolved(*layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, CLASSES))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, CLASSES))
    model[0].bias.requires_grad_(False)
    model[2].requires_grad_(False)
    return model


FACTORED: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: linear((6,), CLASSES), (6,)),
    "mlp": (lambda: mlp((2, 3), CLASSES, width=5, depth=2, dropout=0.3), (2, 3)),
    "mlp, residual": (lambda: mlp((6,), CLASSES, width=5, depth=2, residual=True), (6,)),
    "cnn": (lambda: cnn((2, 6, 6), CLASSES, width=3, hidden=5, activation="tanh"), (2, 6, 6)),
    "cnn, batch": (lambda: cnn((1, 6, 6), CLASSES, width=3, norm="batch", hidden=0, dropout=0.2), (1, 6, 6)),
    "cnn, group": (lambda: cnn((2, 6, 6), CLASSES, width=8, norm="group", hidden=0), (2, 6, 6)),
    "cnn, channels last": (
        lambda: cnn((3, 6, 6), CLASSES, width=3, hidden=5).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        (3, 6, 6),
    ),
    "cnn1d": (lambda: cnn1d((16,), CLASSES, width=3), (16,)),
    "resnet18": (lambda: resnet18((3, 8, 8), CLASSES, width=2), (3, 8, 8)),
    "resnet18, group": (lambda: resnet18((3, 8, 8), CLASSES, width=4, norm="group"), (3, 8, 8)),
    "positions": (lambda: convolved(nn.Linear(4, 3), nn.Tanh(), features=15), (5, 4)),
    "two positions": (lambda: convolved(nn.Linear(4, 3, bias=False), nn.Tanh(), features=18), (2, 3, 4)),
    "groups": (
        lambda: convolved(nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), features=24),
        (4, 6, 6),
    ),
    "groups, channels last": (
        lambda: convolved(nn.Conv2d(4, 6, (3, 2), groups=2), features=72).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        (4, 5, 5),
    ),
    "depthwise": (lambda: convolved(nn.Conv1d(4, 8, 3, padding="same", groups=4), features=40), (4, 5)),
    "one position": (lambda: convolved(nn.Conv2d(2, 3, 4, bias=False), nn.Tanh(), features=3), (2, 4, 4)),
    "wide patches": (lambda: convolved(nn.Conv2d(12, 16, 3), nn.Tanh(), features=64), (12, 4, 4)),
    "circular": (lambda: convolved(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), features=48), (2, 4, 4)),
    "reflected": (lambda: convolved(nn.Conv1d(2, 3, 3, padding=2, padding_mode="reflect"), features=24), (2, 6)),
    "volumes": (lambda: convolved(nn.Conv3d(2, 3, 2, padding=1, stride=2), features=24), (2, 3, 3, 3)),
    "in place": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES)), (6,)),
    "batchnorm1d": (lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, CLASSES)), (6,)),
    "called twice": (Twice, (6,)),
    "words": (Words, (5,)),
    "frozen": (frozen, (6,)),
}


class Tied(nn.Module):
    rowwise = True

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.other.weight, self.output = self.one.weight, nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(torch.tanh(self.other(torch.tanh(self.one(x)))))


class Undeclared(nn.Sequential):
    """Its rows could depend on each other: nothing says that they do not."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


class Inherited(Residual):
    """A subclass of a declared class, with another `forward`."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * input.square().mean(1, keepdim=True)


class OwnWeight(nn.Module):
    rowwise = True

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.output = nn.Parameter(torch.ones(6)), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(x * self.scale)


UNKNOWN: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "gru": (lambda: gru((6,), CLASSES, width=2), (6,), "the model ("),
    "decoder": (lambda: decoder((5,), CLASSES, tokens=7, width=8, depth=1, heads=2), (5,), "the model ("),
    "vit": (lambda: vit((1, 8, 8), CLASSES, width=8, depth=1, heads=2), (1, 8, 8), "VisionTransformer"),
    "tied": (Tied, (6,), "two layers share"),
    "undeclared": (lambda: Undeclared(nn.Linear(6, CLASSES)), (6,), "Undeclared"),
    "own weight": (OwnWeight, (6,), "OwnWeight"),
    "inherited": (lambda: nn.Sequential(Inherited(layer=nn.Linear(6, 6)), nn.Linear(6, CLASSES)), (6,), "Inherited"),
    "rows in one": (lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(6, CLASSES)), (1, 6), "Flatten"),
}


def made(make: Any, shape: tuple[int, ...]) -> tuple[Passes, Batch]:
    """Passes of a model whose statistics and weights are not those that it begins with, and a batch."""
    torch.manual_seed(0)
    model = make().double()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point():
            noise = torch.rand_like(tensor) if "running_var" in name else torch.randn_like(tensor) / 5
            tensor.data.add_(noise)
    passes = Passes(model, Weights(model), CrossEntropy(), Place(0, torch.device("cpu")))
    x = torch.randn(ROWS, *shape).double()
    x = x.abs() if isinstance(model, type(decoder((5,), CLASSES, width=4))) else x
    return passes, Batch(x, torch.randint(0, CLASSES, (ROWS,)), 0, float(ROWS))


def by_hand(passes: Passes, batch: Batch) -> Tensor:
    """The slow reference: a pass in evaluation mode of each row alone, shape (rows, P)."""
    rows = []
    with passes.evaluation():
        for x, y in zip(batch.x, batch.y, strict=True):
            loss = F.cross_entropy(passes.model(x[None]), y[None])
            rows.append(passes.weights.gradient(loss))
    return torch.stack(rows)


def same(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-13 * max(1, float(wanted.abs().max())))


def added(add: Callable[[Tensor], None], wanted: Tensor) -> Tensor:
    """What is added to a vector that is not 0."""
    total = torch.ones(wanted.shape[1]).double()
    add(total)
    return total - 1


def compare(passes: Passes, batch: Batch) -> None:
    """Compare everything that is computed from factors with the loop over rows."""
    wanted = by_hand(passes, batch)
    (found,) = passes.row_gradients(batch, evaluated=True)
    weights, vector = torch.randn(ROWS).double(), torch.randn(wanted.shape[1]).double()
    same(found.rows(), wanted)
    same(added(found.add_squares, wanted), wanted.square().sum(0))
    same(added(found.add_magnitudes, wanted), wanted.abs().sum(0))
    same(found.norms(), wanted.norm(dim=1))
    same(added(partial(found.add_combined, weights), wanted), weights @ wanted)
    same(found.times(vector), wanted @ vector)
    (others,) = passes.row_gradients(batch.rows(1, 4), evaluated=True)
    same(found.products(others), wanted @ wanted[1:4].T)


@pytest.mark.parametrize("name", FACTORED)
def test_everything_that_is_computed_from_factors_is_that_of_a_loop_over_rows(name: str) -> None:
    passes, batch = made(*FACTORED[name])
    assert passes.layers.unknown is None
    compare(passes, batch)
    assert passes.work.forward_rows == passes.work.backward_rows == ROWS + 3


def test_blocks_of_rows_give_what_all_rows_give(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, batch = made(*FACTORED["cnn"])
    monkeypatch.setattr("gradinc.core.row_gradients.NUMBERS", 2000)
    compare(passes, batch)


def square_of_the_sum(self: Outer, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
    total += of(self.rows().sum(0))


def squares_of_positions(self: Outer, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
    left, right = self.factors
    total += torch.einsum("rgtm,rgtn->gmn", of(left), of(right)).flatten()


def no_function(self: Outer, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
    total += self.rows().sum(0)


def of_the_mean(self: row_layers.RowLayers, scalar: Tensor, calls: Any, rows: int) -> RowGradients:
    return GRADIENTS(self, scalar / rows, calls, rows)


def of_the_last_calls(self: row_layers.RowLayers, scalar: Tensor, calls: Any, rows: int) -> RowGradients:
    return GRADIENTS(self, scalar, list({call.layer: call for call in calls}.values()), rows)


def channels_first(module: Any, x: Tensor, slope: Tensor, last: bool) -> Any:
    return FACTORS[nn.Conv2d](module, x, slope, False)


def first_position(module: Any, x: Tensor, slope: Tensor, last: bool) -> Any:
    weight, _ = FACTORS[nn.Linear](module, x, slope, last)
    return weight, Entries(slope.reshape(len(x), -1, module.out_features)[:, 0])


GRADIENTS, FACTORS = row_layers.RowLayers.gradients, row_layers.FACTORS

MISTAKES: dict[str, tuple[str, Any, str]] = {
    "the square of the sum": ("row_gradients.Outer.add", square_of_the_sum, "mlp"),
    "the square before the sum over positions": ("row_gradients.Outer.add", squares_of_positions, "positions"),
    "patches squared one by one": ("row_gradients.Outer.add", squares_of_positions, "cnn"),
    "no square": ("row_gradients.Outer.add", no_function, "mlp"),
    "the mean's factor": ("row_layers.RowLayers.gradients", of_the_mean, "mlp"),
    "the order of the patches' numbers": (
        "row_layers.FACTORS",
        {**FACTORS, nn.Conv2d: channels_first},
        "cnn, channels last",
    ),
    "a bias at one position": ("row_layers.FACTORS", {**FACTORS, nn.Linear: first_position}, "positions"),
    "a call that replaces another": ("row_layers.RowLayers.gradients", of_the_last_calls, "called twice"),
    "norms of positions": (
        "row_gradients.Outer.squared_norms",
        lambda self: (self.factors[0].square().sum(3) * self.factors[1].square().sum(3)).sum((1, 2)),
        "two positions",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_finds_a_planted_mistake(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, planted, name = MISTAKES[mistake]
    passes, batch = made(*FACTORED[name])
    monkeypatch.setattr(f"gradinc.core.{where}", planted)
    with pytest.raises((AssertionError, IndexError)):
        compare(passes, batch)


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_model_with_a_layer_that_has_no_factors_takes_each_row_alone(name: str) -> None:
    make, shape, reason = UNKNOWN[name]
    passes, batch = made(make, shape)
    assert reason in str(passes.layers.unknown)
    parts = list(passes.row_gradients(batch, evaluated=True, together=2))
    assert [len(part) for part in parts] == [2, 2, 1]
    wanted = by_hand(passes, batch)
    same(torch.cat([part.rows() for part in parts]), wanted)
    total = torch.zeros_like(wanted[0])
    for part in parts:
        part.add_squares(total)
    same(total, wanted.square().sum(0))


def test_batch_normalisation_by_the_batchs_own_statistics_takes_each_row_alone() -> None:
    passes, batch = made(*FACTORED["cnn, batch"])
    passes.model.train()
    assert len(list(passes.row_gradients(batch, together=1))) == ROWS
    assert len(list(passes.row_gradients(batch, together=1, evaluated=True))) == 1
    for module in passes.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert len(list(passes.row_gradients(batch, together=1))) == 1


def test_dropout_masks_of_a_window_are_those_of_its_own_pass() -> None:
    """The rows that `dp` clips are of one pass, which its regradient repeats with the same masks."""
    mine = learner(rule=rule("dp", clip=1e9, noise=0.0), model=network(dropout=0.5))
    mine.open(32.0, 2)
    for batch in members((20, 12)):
        mine.take(batch)
    assert mine.work.forward_rows == mine.work.backward_rows == 32
    mine.window.reduce(mine)
    plain = learner(model=network(dropout=0.5))
    plain.open(32.0, 2)
    for batch in members((20, 12)):
        plain.take(batch)
    assert distance(mine.weights.grad, plain.weights.grad) < 1e-12
    assert float(plain.weights.grad.norm()) > 0.1
