"""iCaRL: herding by brute force, a shrinking memory, the old model as teacher, and the nearest mean of exemplars."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learners import built, micro_batches, stream
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from gradinc.base.errors import UserError
from gradinc.core.criterion import CrossEntropy
from gradinc.core.herding import herded
from gradinc.core.learner import Learner
from gradinc.data.stream import Stream
from gradinc.runs.evaluate import evaluate

WORDS = ("stream=split", "stream.tasks=5", "strategy=icarl", "strategy.methods.icarl.memory=40", "optimizer.lr=0.1")


def after(tasks: int, *words: str) -> tuple[Learner, Stream, Any]:
    """Return a learner after a number of tasks, of some updates each, with its method."""
    of = stream(*WORDS, *words)
    learner = built(of, *WORDS, *words)
    for index in range(tasks):
        learner.begin(of[index])
        for batch in micro_batches(of[index], 10, 16):
            learner.open(batch.items, 1)
            learner.take(batch)
            learner.update()
        learner.end(of[index])
    return learner, of, learner.named["icarl"]


def test_herding_is_the_greedy_choice_of_the_paper() -> None:
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)).double()
    chosen: list[int] = []
    for number in range(1, 13):
        best = min(
            (row for row in range(30) if row not in chosen),
            key=lambda row: float((features.mean(0) - features[[*chosen, row]].sum(0) / number).norm()),
        )
        chosen.append(best)
    assert herded(features, 12).tolist() == chosen
    near, far = (float((features[rows].mean(0) - features.mean(0)).norm()) for rows in (chosen, list(range(12))))
    assert near < far / 3
    assert sorted(herded(features, 99).tolist()) == list(range(30))


def test_old_classes_keep_their_first_exemplars_and_all_classes_have_as_many() -> None:
    _, _, first = after(1)
    before = {label: first.rows["x"][first.rows["y"] == label] for label in (0, 1)}
    assert [len(rows) for rows in before.values()] == [20, 20]
    _, _, method = after(3)
    assert method.rows["y"].bincount().tolist() == [6] * 6
    for label, rows in before.items():
        assert torch.equal(method.rows["x"][method.rows["y"] == label], rows[:6])
    assert (method.rows["tasks"] == method.rows["y"] // 2).all()


def test_evaluation_takes_the_nearest_mean_of_exemplars() -> None:
    learner, tasks, method = after(2)
    x, _ = next(tasks[0].test.chunks(50))

    def features(rows: Tensor) -> Tensor:
        hidden = rows.flatten(1) @ learner.model.get_parameter("hidden1.weight").T
        return normalize((hidden + learner.model.get_parameter("hidden1.bias")).relu())

    with torch.no_grad():
        found, own = features(x), features(method.rows["x"])
        means = [normalize(own[method.rows["y"] == label].mean(0), dim=0) for label in range(4)]
        nearest = torch.stack([(found - mean).norm(dim=1) for mean in means]).argmin(0)
        plain = learner.model(x).argmax(1)
        classify = learner.classifier()
        assert classify is not None
        assert torch.equal(classify(x).argmax(1), nearest)
    assert not torch.equal(nearest, plain)
    measured = evaluate(learner.model, tasks[0].test, learner.criterion, classifier=learner.classifier(), now=1)
    with torch.no_grad():
        right = [(classify(x).argmax(1) == y).sum() for x, y in tasks[0].test.chunks(500)]
    assert measured["accuracy"] == pytest.approx(float(sum(right)) / len(tasks[0].test))
    learner.begin(tasks[2])
    assert learner.classifier() is None, "the classes of the task in training have no exemplars"


def test_the_distillation_pulls_old_outputs_to_the_old_model_s_and_leaves_the_others() -> None:
    learner, tasks, method = after(2)
    learner.begin(tasks[2])
    batch = method.batch(micro_batches(tasks[2], 1, 16)[0], learner)
    assert (batch.fresh, batch.replayed) == (16, 32)
    out = learner.model(batch.x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(method.loss(batch, out, learner), out)
    torch.testing.assert_close(slope[:, :4], torch.zeros_like(slope[:, :4]))  # the old model is still the model
    moved = (out.detach() + 1).requires_grad_()
    (slope,) = torch.autograd.grad(method.loss(batch, moved, learner), moved)
    assert (slope[:, :4] > 0).all()
    assert (slope[:, 4:] == 0).all()


@pytest.mark.parametrize("temperature", [1, 2])
@pytest.mark.parametrize("weights", ["", "criterion.class_weights=[1,2,3,4,5,6,7,8,9,10]"])
def test_with_binary_cross_entropy_the_loss_is_the_paper_s(weights: str, temperature: int) -> None:
    words = ("criterion=binary_cross_entropy", "stream.train_logits=seen", *([weights] if weights else ()))
    words += (f"strategy.methods.icarl.temperature={temperature}",)
    learner, tasks, method = after(2, *words)
    learner.begin(tasks[2])
    batch = method.batch(micro_batches(tasks[2], 1, 16)[0], learner)
    out = torch.randn(48, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert isinstance(learner.criterion, CrossEntropy)
    factors = torch.ones(48, dtype=torch.float64) if learner.criterion.weights is None else weighted(learner, batch.y)
    (slope,) = torch.autograd.grad(learner.criterion.mean(batch, out) + method.loss(batch, out, learner), out)

    targets = one_hot(batch.y, 10).double()  # the labels of new classes, the old model's outputs of old ones
    with torch.no_grad():
        targets[:, :4] = (learner.model(batch.x)[:, :4] / temperature).sigmoid()
    wanted = (out.detach().sigmoid() - targets) * (factors / factors.sum())[:, None] / 6
    torch.testing.assert_close(slope[:, :6], wanted[:, :6])
    assert not slope[:, 6:].any()
    assert (batch.y < 4).any()
    assert not torch.allclose(slope[:, :4], (out.detach().sigmoid() - one_hot(batch.y, 10))[:, :4] / (6 * 48))


def weighted(learner: Learner, y: Tensor) -> Tensor:
    """Return the weight of each row's class."""
    assert isinstance(learner.criterion, CrossEntropy)
    assert learner.criterion.weights is not None
    return learner.criterion.weights[y].double()


def test_without_replay_exemplars_only_classify() -> None:
    learner, tasks, method = after(2, "strategy.methods.icarl.replay=0")
    learner.begin(tasks[2])
    batch = method.batch(micro_batches(tasks[2], 1, 16)[0], learner)
    assert (batch.fresh, batch.replayed) == (16, 0)
    out = (learner.model(batch.x).detach() + 1).requires_grad_()
    (slope,) = torch.autograd.grad(method.loss(batch, out, learner), out)
    assert (slope[:, :4] > 0).all(), "the new rows still have the old model's outputs to follow"
    assert method.rows["y"].bincount().tolist() == [10] * 4
    assert after(2, "strategy.methods.icarl.replay=0")[0].classifier() is not None


def test_streams_whose_tasks_share_classes_and_small_memories_are_refused() -> None:
    words = ("stream=permuted", "strategy=icarl")
    with pytest.raises(UserError, match="the tasks of this stream share their classes"):
        built(stream(*words), *words)
    with pytest.raises(UserError, match=r"icarl\.memory=9: leaves less than one exemplar"):
        built(stream(*WORDS), *WORDS, "strategy.methods.icarl.memory=9")
