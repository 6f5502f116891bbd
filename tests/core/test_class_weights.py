"""Losses with weights of classes and smoothed labels are PyTorch's, and their windows equal the large batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from command import Command, in_process
from learners import digits
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

import gradinc
from gradinc.config.compose import load_config
from gradinc.core.criterion import CrossEntropy
from gradinc.core.criterion_setting import CriterionSetting
from gradinc.criteria.binary_cross_entropy import binary_cross_entropy
from gradinc.criteria.cross_entropy import Smoothed
from gradinc.criteria.focal import focal
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset
from gradinc.data.stream import open_stream
from gradinc.runs.class_weights import with_class_weights

WEIGHTS = [0.2, 3.0, 1.0, 0.5, 7.0, 1.0, 2.0, 0.1, 4.0, 1.5]

Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def logits(rows: int = 40) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 3 * torch.randn(rows, 10, dtype=torch.float64), torch.randint(10, (rows,))


def mean(criterion: CrossEntropy, out: Tensor, y: Tensor) -> float:
    return float(criterion.mean(Batch(out, y, 0, float(len(y))), out))


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_the_loss_is_pytorchs(smoothing: float, weights: list[float] | None) -> None:
    out, y = logits()
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    criterion = Smoothed(smoothing, None, tensor) if smoothing else CrossEntropy(None, tensor)
    wanted = F.cross_entropy(out, y, tensor, label_smoothing=smoothing)
    assert mean(criterion, out, y) == pytest.approx(wanted.item(), rel=1e-13)
    measured = criterion.measures(criterion.sums(y, out).tolist(), len(y))
    assert measured["loss"] == pytest.approx(wanted.item(), rel=1e-13)
    assert measured["accuracy"] == (out.argmax(1) == y).double().mean().item()


def test_smoothed_labels_leave_masked_outputs_alone() -> None:
    out, y = logits()
    seen = torch.cat((out, torch.full((40, 3), -torch.inf, dtype=torch.float64)), 1).requires_grad_()
    loss = Smoothed(0.1).losses(seen, y).mean()
    assert loss.item() == pytest.approx(F.cross_entropy(out, y, label_smoothing=0.1).item(), rel=1e-13)
    loss.backward()
    assert seen.grad is not None
    assert seen.grad.isfinite().all()
    assert not seen.grad[:, 10:].any()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_is_its_formula(gamma: float) -> None:
    out, y = logits()
    criterion = focal(CriterionSetting("digits", True), gamma=gamma)
    p = out.softmax(1)[torch.arange(40), y]
    wanted = -((1 - p) ** gamma * p.log()).mean()
    assert criterion.mean(Batch(out, y, 0, 40.0), out).item() == pytest.approx(wanted.item(), rel=1e-12)
    certain = (50 * F.one_hot(y, 10)).double().requires_grad_()
    criterion.total(Batch(certain, y, 0, 40.0), certain).backward()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


def test_binary_cross_entropy_is_pytorch_s_over_the_outputs_that_count() -> None:
    out, y = logits()
    criterion = binary_cross_entropy(CriterionSetting("digits", True))
    labels = F.one_hot(y, 10).double()
    wanted = F.binary_cross_entropy_with_logits(out, labels)
    assert criterion.mean(Batch(out, y, 0, 40.0), out).item() == pytest.approx(wanted.item(), rel=1e-13)
    seen = torch.cat((out, torch.full((40, 3), -torch.inf, dtype=torch.float64)), 1).requires_grad_()
    loss = criterion.mean(Batch(seen, y, 0, 40.0), seen)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-13)
    loss.backward()
    assert seen.grad is not None
    torch.testing.assert_close(seen.grad[:, :10], (out.sigmoid() - labels) / 400)
    assert not seen.grad[:, 10:].any()


def trained_by_hand(loss: Loss, size: int, updates: int) -> nn.Module:
    """Plain SGD on large batches in the order of the data, from the run's initial weights."""
    data = digits().train
    first = gradinc.train(*WORDS, "budget.steps=1", "optimizer.lr=1e-300", name="first")
    model = first.model
    for update in range(updates):
        rows = slice(update * size, (update + 1) * size)
        value = loss(model(data.x[rows]), data.y[rows])
        for p, g in zip(model.parameters(), torch.autograd.grad(value, list(model.parameters())), strict=True):
            p.data -= 0.1 * g
    return model


WORDS = ("data=digits", "model=linear", "dtype=float64", "device=cpu", "threads=1", "data.shuffle=false")
WORDS += ("progress=quiet", "evaluate.epochs=100", "data.batch_size=7", "optimizer.lr=0.1", "optimizer.momentum=0.0")


def apart(one: nn.Module, other: nn.Module) -> float:
    return max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_window_of_weighted_micro_batches_is_the_large_batch(smoothing: float) -> None:
    """Micro-batches have different sums of weights, so a mean of their means is another gradient."""
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    words = (*WORDS, "criterion=cross_entropy", f"criterion.label_smoothing={smoothing}", "budget.steps=6")
    run = gradinc.train(*words, {"criterion.class_weights": WEIGHTS}, "strategy=accumulate", "strategy.window.size=5")

    def large(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y, weights, label_smoothing=smoothing)

    def by_rows(out: Tensor, y: Tensor) -> Tensor:
        """The broken variant: a sum of weighted losses, divided by the number of rows."""
        return F.cross_entropy(out, y, weights, label_smoothing=smoothing, reduction="sum") / len(y)

    def mean_of_means(out: Tensor, y: Tensor) -> Tensor:
        """The other one: the loop that divides the loss of each micro-batch by their number."""
        return torch.stack([large(o, t) for o, t in zip(out.split(7), y.split(7), strict=True)]).mean()

    assert apart(run.model, trained_by_hand(large, 35, 6)) < 1e-12
    assert apart(run.model, trained_by_hand(by_rows, 35, 6)) > 1e-3
    assert apart(run.model, trained_by_hand(mean_of_means, 35, 6)) > 1e-3


@pytest.mark.usefixtures("here")
def test_replayed_rows_count_the_weight_of_their_class() -> None:
    """A window of one micro-batch with replayed rows divides by the weights of all of its rows."""
    words = ("stream=split", "stream.tasks=5", "strategy=er", "criterion.class_weights=balanced", "budget.steps=3")
    run = gradinc.train(*WORDS, *words)
    assert run.result["status"] == "finished"
    for strategy in ("derpp", "mir", "agem", "gss", "ewc", "[accumulate,median]", "pcgrad", "dp"):
        assert gradinc.train(*WORDS, *words, f"strategy={strategy}").result["status"] == "finished"


def test_balanced_weights_are_scikit_learns_over_the_training_rows_of_all_tasks() -> None:
    domains = ["stream=split", "scenario=domain", "stream.tasks=5"]
    for words, natural in (([], True), (["stream=split", "stream.tasks=5"], True), (domains, False)):
        config = load_config(["criterion.class_weights=balanced", *words])
        dataset = load_dataset(config.data, "cpu", torch.float32)
        found = with_class_weights(config.criterion, open_stream(config, dataset)).class_weights
        y = dataset.train.y if natural else dataset.train.y % 2  # the two classes of each task share two outputs
        wanted = compute_class_weight("balanced", classes=y.unique().numpy(), y=y.numpy())
        assert found == pytest.approx(wanted.tolist(), rel=1e-12)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["criterion.class_weights=[1,2]"],
            "criterion.class_weights=[1.0,2.0]: has 2 numbers for 10 outputs of",
        ),
        (["criterion.class_weights=[0,1]"], "criterion.class_weights=[0,1]: need balanced or a list of numbers > 0"),
        (
            ["data=diabetes", "criterion.class_weights=balanced"],
            "criterion.class_weights=balanced: data=diabetes has",
        ),
        (["data=diabetes", "criterion=focal"], "criterion=focal: data=diabetes has values, not classes. Leave it out"),
        (["criterion=focl"], "criterion=focl: unknown. Did you mean focal? Choose from: focal, "),
        (["criterion.gamma=2"], "criterion.gamma: criterion=auto has no such option. It is one of criterion=focal."),
        (["criterion=cross_entropy", "criterion.label_smoothing=2"], "criterion.label_smoothing=2: need a number ≥ 0"),
    ],
)
def test_weights_and_options_that_do_not_fit_are_refused(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command: Command = in_process(capsys)
    end = command("train", "model=linear", *words)
    assert end.code == 2
    assert end.err.startswith(line), end.err
    assert not Path("outputs").exists()


def test_a_run_of_the_first_form_of_the_config_is_the_same_run(tmp_path: Path) -> None:
    from gradinc.config.identity import document_digest
    from gradinc.config.validation import validate

    for name in ("auto", "squared_error", "cross_entropy"):
        new = load_config([f"criterion={name}"]).document
        old = {**new, "criterion": name}
        assert validate(old).document == new
        assert document_digest(old) == document_digest(new)
    weighted = load_config(["criterion.class_weights=balanced"]).document
    assert document_digest(weighted) != document_digest(load_config([]).document)
