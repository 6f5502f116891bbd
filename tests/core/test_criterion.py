"""Squared error to one-hot targets, beside cross-entropy."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import r2_score
from torch import Tensor, nn
from torch.nn import functional

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.config.schema import CriterionSection
from gradinc.core.criterion import CrossEntropy, OneHotError, SquaredError
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset
from gradinc.data.outputs import Outputs
from gradinc.data.rows import TensorRows
from gradinc.runs.build import build_criterion
from gradinc.runs.evaluate import evaluate


def test_it_is_the_mean_squared_error_to_one_hot_targets() -> None:
    out, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    wanted = functional.mse_loss(out, functional.one_hot(y, 4).double())
    batch = Batch(out, y, 0, 5.0)
    assert OneHotError().total(batch, out).item() / 5 == pytest.approx(wanted.item())
    measures = OneHotError().measures(OneHotError().sums(y, out).tolist(), 5)
    assert measures["loss"] == pytest.approx(wanted.item())
    assert measures["accuracy"] == CrossEntropy().measures(CrossEntropy().sums(y, out).tolist(), 5)["accuracy"]


def test_outputs_of_other_tasks_pull_at_nothing() -> None:
    masks = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf], [-torch.inf, -torch.inf, 0.0, 0.0]])
    criterion = OneHotError(Outputs(masks, "task", "task"))
    out = torch.randn(3, 4, requires_grad=True)
    criterion.total(Batch(out, torch.tensor([0, 1, 0]), 0, 3.0), out).backward()
    assert out.grad is not None
    assert not out.grad[:, 2:].any()
    assert out.grad[:, :2].all()


def test_cross_entropy_needs_classes() -> None:
    config = load_config(["data=diabetes", "model=linear"])
    dataset = load_dataset(config.data, "cpu", torch.float32)
    with pytest.raises(UserError, match="criterion=cross_entropy: data=diabetes has values, not classes"):
        build_criterion(dataset, None, CriterionSection("cross_entropy", None, {"label_smoothing": 0.0}))


def measured(y: Tensor, out: Tensor) -> dict[str, float]:
    """As at a run's end: the rows come in several chunks, the last of them short."""
    assert CrossEntropy.chunk < len(y) < 3 * CrossEntropy.chunk
    return evaluate(nn.Identity(), TensorRows(out, y), SquaredError())


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_r2_is_the_mean_over_targets_whatever_their_units_and_offsets(offset: float) -> None:
    """Targets in float32, as data are: at 1e6 they are multiples of 1/16."""
    torch.manual_seed(0)
    spread = torch.tensor([1.0, 2.0, 500.0])
    y = offset + spread * torch.randn(1300, 3)
    out = y + spread * torch.tensor([0.1, 0.9, 0.5]) * torch.randn(1300, 3)
    wanted = r2_score(y.double(), out.double(), multioutput="uniform_average")
    assert measured(y, out)["r2"] == pytest.approx(wanted, rel=1e-9)
    pooled = 1 - float((out - y).square().mean() / y.double().var(0, correction=0).mean())
    assert abs(pooled - wanted) > 0.1, "the target with the largest numbers would decide alone"


def test_a_constant_target_counts_as_in_scikit_learn() -> None:
    """0.1 has no exact binary number: sums of it over rows are off its multiples."""
    torch.manual_seed(0)
    y = torch.full((1300, 3), 0.1, dtype=torch.float64)
    y[:, 0].normal_()
    out = y.clone()
    out[:, :2] += 0.3 * torch.randn(1300, 2, dtype=torch.float64)
    first = r2_score(y[:, 0], out[:, 0])
    assert measured(y, out)["r2"] == pytest.approx((first + 0.0 + 1.0) / 3, rel=1e-12)
