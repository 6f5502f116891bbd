"""Squared error to one-hot targets, beside cross-entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from gradinc.assemble import build_criterion
from gradinc.batch import Batch
from gradinc.config.compose import load_config
from gradinc.criterion import CrossEntropy, OneHotError, Outputs
from gradinc.data.dataset import load
from gradinc.errors import UserError


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
    dataset = load(config.data, "cpu", torch.float32)
    with pytest.raises(UserError, match="criterion=cross_entropy: data=diabetes has no classes"):
        build_criterion(dataset, name="cross_entropy")
