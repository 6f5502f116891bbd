"""Penalties: what holds a weight is what their papers say, and nothing holds it in the first task."""

from __future__ import annotations

import pytest
import torch
from learners import built, config, digits, finished, micro_batches, steps, stream
from torch import Tensor
from torch.func import functional_call

from gradinc.base.errors import UserError
from gradinc.core.learner import Learner
from gradinc.methods.ewc import EWC
from gradinc.methods.mas import MAS
from gradinc.methods.si import SI

PERMUTED = ("stream=permuted", "stream.tasks=3")


def after_one_task(*words: str) -> tuple[Learner, Tensor]:
    """A learner that has begun its second task, and the weights with which it ended the first."""
    tasks = stream(*PERMUTED, *words)
    made = built(tasks, *PERMUTED, *words)
    for place in steps(made, tasks):
        if place == (1, 0):
            break
    anchor = made.weights.value.clone()
    made.begin(tasks[1])
    return made, anchor


def loss_of_row(made: Learner, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    parts = dict(made.weights.layers(weights))
    return torch.nn.functional.cross_entropy(functional_call(made.model, parts, (x[None],)), y[None])


@pytest.mark.parametrize("strategy", ["ewc", "ewcpp", "si", "mas", "rwalk"])
def test_it_is_plain_training_in_the_first_task_and_not_in_the_second(strategy: str) -> None:
    tasks = stream(*PERMUTED)
    plain, held = built(tasks, *PERMUTED), built(tasks, *PERMUTED, f"strategy={strategy}")
    for place, _ in zip(steps(plain, tasks), steps(held, tasks), strict=True):
        if place <= (1, 0):
            assert torch.equal(plain.weights.value, held.weights.value)
    assert not torch.equal(plain.weights.value, held.weights.value)


@pytest.mark.parametrize("strategy", ["ewc", "ewcpp", "si", "mas", "rwalk"])
def test_strength_0_is_plain_training(strategy: str) -> None:
    tasks = stream(*PERMUTED)
    plain = finished(built(tasks, *PERMUTED), tasks)
    held = built(tasks, *PERMUTED, f"strategy={strategy}", f"strategy.methods.{strategy}.strength=0.0")
    assert torch.equal(finished(held, tasks).weights.value, plain.weights.value)


@pytest.mark.parametrize("strategy", ["ewc", "ewcpp", "si", "mas", "rwalk"])
def test_a_window_is_the_large_batch(strategy: str) -> None:
    tasks = stream(*PERMUTED)
    words = (*PERMUTED, f"strategy={strategy}")
    windows = finished(built(tasks, *words), tasks, count=8, size=4, window=4)
    large = finished(built(tasks, *words), tasks, count=2, size=16, window=1)
    assert float((windows.weights.value - large.weights.value).norm() / large.weights.value.norm()) < 1e-12


@pytest.mark.parametrize("strategy", ["ewc", "ewcpp", "si", "mas", "rwalk"])
def test_a_stronger_hold_moves_the_weights_less_where_they_matter(strategy: str) -> None:
    moved = []
    for strength in ("0.0", "1.0"):
        tasks = stream(*PERMUTED)
        made = built(tasks, *PERMUTED, f"strategy={strategy}", f"strategy.methods.{strategy}.strength={strength}")
        (method,) = made.methods
        for place in steps(made, tasks):
            if place == (1, 0):
                anchor = made.weights.value.clone()
                importance = next(
                    v.clone() for n in ("held", "fisher", "importance") if (v := getattr(method, n, None)) is not None
                )
            if place == (1, 7):
                break
        moved.append(float((importance * (made.weights.value - anchor).square()).sum()))
    assert moved[1] < moved[0]


# ---- EWC ----


def test_with_ones_and_gamma_0_it_is_the_l2_penalty_around_the_weights_of_the_last_task():
    held = (*PERMUTED, "strategy=ewc", "strategy.methods.ewc.fisher=ones", "strategy.methods.ewc.strength=0.5")
    for mode, past in (("online", 1), ("separate", 2)):
        words = (*held, f"strategy.methods.ewc.mode={mode}", *["strategy.methods.ewc.gamma=0"] * (mode == "online"))
        tasks = stream(*words)
        made, ends = built(tasks, *words), []
        for task, number in steps(made, tasks):
            if number == 0 and task:
                ends.append(made.weights.value.clone())
            if (task, number) == (2, 7):
                break
        (method,) = made.methods
        g = torch.zeros_like(made.weights.value)
        method.transform(g, made)
        expected = 0.5 * sum(made.weights.value - end for end in ends[-past:])
        assert float((g - expected).norm() / expected.norm()) < 1e-12
        other = 0.5 * sum(made.weights.value - end for end in ends[past - 3 :])
        assert float((g - other).norm() / expected.norm()) > 0.01, "the other mode is another penalty"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("rows=null fisher=ones", r"ewc\.rows=null: has no effect with fisher=ones"),
        ("batch=8", r"ewc\.batch=8: has no effect without fisher=batch"),
        ("gamma=0.5", r"ewc\.gamma=0\.5: has no effect without mode=online"),
    ],
)
def test_an_option_without_effect_is_refused(word: str, line: str) -> None:
    words = [f"strategy.methods.ewc.{option}" for option in word.split()]
    with pytest.raises(UserError, match=line):
        built(stream(*PERMUTED), *PERMUTED, "strategy=ewc", *words)


def test_the_fisher_information_is_the_mean_of_each_row_s_square():
    made, _ = after_one_task("strategy=ewc", "strategy.methods.ewc.rows=40")
    tasks = stream(*PERMUTED)
    (method,) = made.methods
    assert isinstance(method, EWC)
    fresh = EWC(rows=40)
    fresh.end(tasks[0], made)
    total = torch.zeros_like(made.weights.value)
    for batch in tasks[0].batches(32, rows=40, random=made.rng("ewc")):
        for x, y in zip(batch.x, batch.y, strict=True):
            total += torch.func.grad(lambda w, x=x, y=y: loss_of_row(made, w, x, y))(made.weights.value).square()
    torch.testing.assert_close(fresh.fisher, total / 40, rtol=1e-10, atol=1e-14)
    batched = EWC(rows=40, fisher="batch")
    batched.end(tasks[0], made)
    assert batched.fisher is not None
    assert float(batched.fisher.sum()) < 0.9 * float(total.sum()) / 40, "the square of a mean is no mean of squares"


def test_what_is_added_is_the_gradient_of_the_penalty():
    made, anchor = after_one_task("strategy=ewc", "strategy.methods.ewc.strength=7.0")
    (method,) = made.methods
    assert isinstance(method, EWC)
    made.weights.value.add_(torch.randn(anchor.shape, dtype=anchor.dtype), alpha=0.1)
    w = made.weights.value.clone().requires_grad_()
    (7.0 / 2 * (method.fisher * (w - anchor).square()).sum()).backward()
    g = torch.zeros_like(anchor)
    method.transform(g, made)
    torch.testing.assert_close(g, w.grad, rtol=1e-9, atol=1e-12)


def test_separate_penalties_are_one_for_each_task_and_online_is_about_the_latest_weights():
    made, _ = after_one_task("strategy=ewc")
    tasks = stream(*PERMUTED)
    separate, online = EWC(strength=2.0, rows=50), EWC(strength=2.0, rows=50, mode="online", gamma=0.5)
    fishers, anchors = [], []
    for index in range(3):
        made.weights.value.add_(torch.randn(len(made.weights), dtype=torch.float64), alpha=0.1)
        alone = EWC(rows=50)
        for method in (alone, separate, online):
            method.end(tasks[index], made)
        fishers.append(alone.fisher)
        anchors.append(made.weights.value.clone())
    made.weights.value.add_(0.3)
    w = made.weights.value
    for method, wanted in [
        (separate, sum(2.0 * f * (w - a) for f, a in zip(fishers, anchors, strict=True))),
        (online, 2.0 * (0.25 * fishers[0] + 0.5 * fishers[1] + fishers[2]) * (w - anchors[2])),
    ]:
        g = torch.zeros_like(w)
        method.transform(g, made)
        torch.testing.assert_close(g, wanted, rtol=1e-9, atol=1e-12)


def test_the_true_fisher_takes_labels_of_the_model_and_the_empirical_one_the_data_s():
    made, _ = after_one_task("strategy=ewc")
    task = stream(*PERMUTED)[0]
    kinds = {kind: EWC(fisher=kind, rows=60) for kind in ("empirical", "true", "argmax")}
    for method in kinds.values():
        method.end(task, made)
    x = torch.cat([b.x for b in task.batches(32, rows=60, random=made.rng("ewc"))])
    y = made.model(x).argmax(1)
    total = sum(
        torch.func.grad(lambda w, i=i: loss_of_row(made, w, x[i], y[i]))(made.weights.value).square() for i in range(60)
    )
    torch.testing.assert_close(kinds["argmax"].fisher, total / 60, rtol=1e-9, atol=1e-14)
    assert not torch.equal(kinds["true"].fisher, kinds["empirical"].fisher)
    assert config("strategy=ewc", "strategy.methods.ewc.fisher=true").strategy.methods["ewc"]["fisher"] == "true"


# ---- SI ----


def test_the_path_sums_up_to_the_loss_that_was_gained():
    """For small steps of gradient descent on all rows, Σ ω is the decrease of the loss."""
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED, "strategy=si", "optimizer.lr=0.001")
    (method,) = made.methods
    assert isinstance(method, SI)
    (batch,) = micro_batches(tasks[0], 1, 200)
    made.begin(tasks[0])

    def loss() -> float:
        with torch.no_grad():
            return float(made.criterion.total(batch, made.model(batch.x))) / batch.items

    before = loss()
    for _ in range(100):
        made.open(batch.items, 1)
        made.take(batch)
        made.update()
    assert float(method.path.sum()) == pytest.approx(before - loss(), rel=1e-2)


def test_importance_is_the_path_over_the_squared_distance_and_adds_up():
    made, anchor = after_one_task("strategy=si", "strategy.methods.si.damping=0.5")
    (method,) = made.methods
    assert isinstance(method, SI)
    first = method.importance.clone()
    method.path = torch.linspace(-1, 1, len(anchor), dtype=torch.float64)
    made.weights.value.add_(0.2)
    method.end(stream(*PERMUTED)[1], made)
    torch.testing.assert_close(method.importance, first + method.path.clamp(min=0) / (0.2**2 + 0.5))
    assert bool((method.importance >= first).all()), "a path that cost something holds nothing"


# ---- MAS ----


def test_importance_is_the_sensitivity_of_the_squared_norm_of_the_outputs_row_by_row():
    made, _ = after_one_task("strategy=mas", "strategy.methods.mas.rows=30")
    task = stream(*PERMUTED)[0]
    method = MAS(rows=30)
    method.end(task, made)
    total = torch.zeros_like(made.weights.value)
    for batch in task.batches(32, rows=30, random=made.rng("mas")):
        for x in batch.x:

            def norm(w: Tensor, x: Tensor = x) -> Tensor:
                return functional_call(made.model, dict(made.weights.layers(w)), (x[None],)).square().sum()

            total += torch.func.grad(norm)(made.weights.value).abs()
    torch.testing.assert_close(method.importance, total / 30, rtol=1e-9, atol=1e-14)
    assert digits().train.y[:1].dtype == torch.int64  # labels there are, and none is used


# ---- RWalk ----


def test_the_walk_is_the_paper_s_step_by_step():
    tasks = stream(*PERMUTED)
    made = built(
        tasks, *PERMUTED, "strategy=rwalk", "strategy.methods.rwalk.every=2", "strategy.methods.rwalk.strength=0.0"
    )
    (method,) = made.methods
    task = tasks[0]
    made.begin(task)
    fisher, score, gained, point = None, 0.0, 0.0, made.weights.value.clone()
    for number, batch in enumerate(micro_batches(task, 6, 8), start=1):
        before = made.weights.value.clone()
        made.open(batch.items, 1)
        made.take(batch)
        g = made.weights.grad.clone()
        made.update()
        fisher = g**2 if fisher is None else 0.9 * fisher + 0.1 * g**2
        gained = gained - g * (made.weights.value - before)
        if number % 2 == 0:
            divergence = 0.5 * fisher * (made.weights.value - point) ** 2
            score = score + torch.relu(gained) / (divergence + 1e-3)
            gained, point = 0.0, made.weights.value.clone()
    made.end(task)
    wanted = sum((v - v.min()) / (v.max() - v.min()) for v in (fisher, score))
    torch.testing.assert_close(method.held, wanted)
