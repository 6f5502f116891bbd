"""Importance as programs of published tables take it, where that is not as their papers say."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learners import built, config, finished, micro_batches, stream
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.core.learner import Learner
from gradinc.data.task import Setting
from gradinc.methods.adam_nscl import AdamNSCL
from gradinc.methods.ewc import EWC
from gradinc.methods.ewcpp import EWCpp
from gradinc.methods.mas import MAS
from gradinc.methods.rwalk import RWalk
from gradinc.methods.si import SI

PERMUTED = ("stream=permuted", "stream.tasks=3")


def begun(*words: str) -> tuple[Learner, Any]:
    tasks = stream(*PERMUTED, *words)
    made = built(tasks, *PERMUTED, *words)
    made.begin(tasks[0])
    return made, tasks


def update(made: Learner, task: Any, count: int, start: int = 0) -> list[Tensor]:
    """Updates of 8 rows each; the gradient of the loss in each of them, shape (P,)."""
    gradients = []
    for batch in micro_batches(task, start + count, 8)[start:]:
        gradients.append(made.gradient(batch))
        made.open(batch.items, 1)
        made.take(batch)
        made.update()
    return gradients


def gradient(made: Learner, objective: Any) -> Tensor:
    weights = list(made.model.parameters())
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(objective, weights)])


# ---- EWC ----


def test_a_batch_of_all_rows_gives_the_squared_gradient_of_the_task():
    made, tasks = begun()
    (batch,) = tasks[0].batches(90, rows=90, random=made.rng("ewc"))
    method = EWC(fisher="batch", rows=90, batch=90)
    method.end(tasks[0], made)
    wanted = gradient(made, F.cross_entropy(made.model(batch.x), batch.y)).square()
    torch.testing.assert_close(method.fisher, wanted, rtol=1e-9, atol=1e-14)
    smaller = EWC(fisher="batch", rows=90, batch=10)
    smaller.end(tasks[0], made)
    assert smaller.fisher is not None
    assert float(smaller.fisher.sum()) > 1.1 * float(wanted.sum()), "smaller batches leave more of the noise"


def test_weighted_squares_are_multiplied_by_the_probability_of_the_label():
    made, tasks = begun()
    (batch,) = tasks[0].batches(30, rows=30, random=made.rng("ewc"))
    method = EWC(fisher="weighted", rows=30)
    method.end(tasks[0], made)
    total = torch.zeros_like(made.weights.value)
    for x, y in zip(batch.x, batch.y, strict=True):
        out = made.model(x[None])
        total += out.softmax(1)[0, y].detach() * gradient(made, F.cross_entropy(out, y[None])).square()
    torch.testing.assert_close(method.fisher, total / 30, rtol=1e-9, atol=1e-14)


def test_the_gamma_that_the_paper_puts_into_the_penalty_is_a_factor_of_the_strength():
    """½ λ γ F*ₜ, with F*ₜ = γ F*ₜ₋₁ + Fₜ, after every task; and γ in the sum alone would be another penalty."""
    made, tasks = begun()
    method, fisher, w = EWC(strength=3.0 * 0.7, mode="online", gamma=0.7, rows=30), None, made.weights.value
    for index in range(3):
        w.add_(torch.randn(len(w), dtype=torch.float64, generator=torch.Generator().manual_seed(index)), alpha=0.1)
        method.end(tasks[index], made)
        alone = EWC(rows=30)
        alone.end(tasks[index], made)
        assert alone.fisher is not None
        fisher = alone.fisher if fisher is None else 0.7 * fisher + alone.fisher
        anchor = w.clone()
        w.add_(0.2)
        g = torch.zeros_like(w)
        method.transform(g, made)
        torch.testing.assert_close(g, 3.0 * 0.7 * fisher * (w - anchor), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fisher", ["empirical", "true", "argmax", "weighted", "batch"])
def test_a_fisher_of_classes_is_refused_for_values_and_taken_for_classes(fisher: str) -> None:
    method = EWC(fisher=fisher)  # type: ignore[arg-type]
    method.check(torch.nn.Linear(2, 3), Setting(outputs=3, classes=3))
    if fisher in ("empirical", "batch"):
        method.check(torch.nn.Linear(2, 3), Setting(outputs=3))
    else:
        with pytest.raises(UserError, match=f"ewc.fisher={fisher}: needs classes"):
            method.check(torch.nn.Linear(2, 3), Setting(outputs=3))


@pytest.mark.parametrize(
    ("option", "value", "needed"),
    [("batch", 10, {"fisher": "batch"}), ("gamma", 0.5, {"mode": "online"})],
)
def test_an_option_of_ewc_that_would_have_no_effect_is_refused(option: str, value: Any, needed: dict[str, Any]) -> None:
    (key, other), *_ = needed.items()
    with pytest.raises(UserError, match=rf"^strategy\.methods\.ewc\.{option}={value}: .*Set {key}={other} too, or"):
        EWC(**{option: value})
    EWC(**{option: value}, **needed)


# ---- EWC++ and RWalk ----


def running(gradients: list[Tensor], alpha: float, every: int, fisher: Tensor | None = None) -> Tensor:
    """The slow reference: F after these updates of a task."""
    for last in range(every, len(gradients) + 1, every):
        mean = sum(g.square() for g in gradients[last - every : last]) / every
        fisher = mean if fisher is None else (1 - alpha) * fisher + alpha * mean
    assert fisher is not None
    return fisher


def unit(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())


def test_ewcpp_s_fisher_runs_on_from_task_to_task_and_is_held_from_0_to_1():
    words = ("strategy=ewcpp", "strategy.methods.ewcpp.alpha=0.9", "strategy.methods.ewcpp.every=3")
    made, tasks = begun(*words, "strategy.methods.ewcpp.strength=2.0")
    (method,) = made.methods
    assert isinstance(method, EWCpp)
    fisher = running(update(made, tasks[0], 7), 0.9, 3)
    made.end(tasks[0])
    torch.testing.assert_close(method.fisher, fisher, rtol=1e-10, atol=1e-16)
    torch.testing.assert_close(method.held, unit(fisher), rtol=1e-10, atol=1e-16)
    assert (float(method.held.min()), float(method.held.max())) == (0.0, 1.0)
    anchor, held = made.weights.value.clone(), method.held.clone()
    made.begin(tasks[1])
    fisher = running(update(made, tasks[1], 6), 0.9, 3, fisher)
    g, w = torch.zeros_like(anchor), made.weights.value
    method.transform(g, made)
    torch.testing.assert_close(g, 2 * 2.0 * held * (w - anchor), rtol=1e-10, atol=1e-16)
    torch.testing.assert_close(method.fisher, fisher, rtol=1e-10, atol=1e-16)


def test_a_task_with_fewer_updates_than_are_averaged_counts_with_those_that_it_has():
    for name, key in (("ewcpp", "every"), ("rwalk", "fisher_every")):
        made, tasks = begun(f"strategy={name}", f"strategy.methods.{name}.{key}=50")
        (method,) = made.methods
        gradients = update(made, tasks[0], 4)
        made.end(tasks[0])
        wanted = sum(g.square() for g in gradients) / 4
        torch.testing.assert_close(method.fisher, wanted, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("squares", ["updates", "task"])
def test_rwalk_adds_up_scores_as_the_authors_program_does(squares: str) -> None:
    options = ("past=1.5", "every=2", "fisher_every=2", "alpha=0.9", "eps=0.0005", f"squares={squares}")
    words = [f"strategy.methods.rwalk.{option}" for option in options]
    made, tasks = begun("strategy=rwalk", "strategy.methods.rwalk.strength=0.0", *words)
    (method,) = made.methods
    assert isinstance(method, RWalk)
    total, fisher = None, None
    for index in range(3):
        if index:
            made.begin(tasks[index])
        score, gradients = torch.zeros_like(made.weights.value), []
        for pair in range(3):
            point, gained = made.weights.value.clone(), torch.zeros_like(score)
            for step in range(2):
                before = made.weights.value.clone()
                gradients += update(made, tasks[index], 1, 2 * pair + step)
                gained -= gradients[-1] * (made.weights.value - before)
            # The program does not clear its sum before the task ends, and divides it by 2 all the same.
            counted = gradients if squares == "task" else gradients[-2:]
            mean = torch.stack(counted).square().sum(0) / 2
            fisher = mean if fisher is None else 0.1 * fisher + 0.9 * mean
            # ω / (F Δw² + ξ) with ξ = 0.001 is half of what is counted here, which the scale takes away
            score += gained.clamp(min=0) / (fisher * (made.weights.value - point).square() + 1e-3)
        # The program adds the average of the old and the new score to the old one, and twice the score at first.
        total = (0 + 2 * score) / 2 if total is None else total + (total + score) / 2
        made.end(tasks[index])
        torch.testing.assert_close(method.held, unit(fisher) + unit(total), rtol=1e-9, atol=1e-12)


# ---- SI ----


def after_two_tasks(bound: str) -> tuple[Tensor, list[Tensor]]:
    """Ω after two tasks whose paths are given, and what each of them is worth."""
    made, tasks = begun()
    method, worth = SI(bound=bound, damping=0.5), []  # type: ignore[arg-type]
    for index, path in enumerate(
        (torch.linspace(-1, 1, len(made.weights)), torch.linspace(2, -1.5, len(made.weights)).roll(300))
    ):
        method.begin(tasks[index], made)
        method.path = path.double()
        made.weights.value.add_(0.2)
        worth.append(path.double() / (0.2**2 + 0.5))
        method.end(tasks[index], made)
    assert method.importance is not None
    return method.importance, worth


def test_importance_is_bounded_at_each_task_in_the_sum_or_nowhere():
    found = {bound: after_two_tasks(bound) for bound in ("task", "sum", "none")}
    _, (a, b) = found["none"]
    torch.testing.assert_close(found["task"][0], a.clamp(min=0) + b.clamp(min=0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["sum"][0], (a.clamp(min=0) + b).clamp(min=0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["none"][0], a + b, rtol=1e-9, atol=1e-12)
    assert float(found["none"][0].min()) < 0
    assert not torch.allclose(found["task"][0], found["sum"][0])


def test_the_applied_path_is_the_rate_times_the_square_of_what_the_optimizer_gets():
    """As in DER's program: clipping by value and the penalty included."""
    words = ("strategy=[si,clip]", "strategy.methods.clip.norm=inf", "strategy.methods.clip.value=0.01")
    made, tasks = begun(
        *words, "strategy.methods.si.path=applied", "strategy.methods.si.strength=5.0", "optimizer.lr=0.2"
    )
    si = next(method for method in made.methods if isinstance(method, SI))
    update(made, tasks[0], 4)
    made.end(tasks[0])
    made.begin(tasks[1])
    assert si.importance is not None
    wanted, unclipped = torch.zeros_like(si.path), 0.0
    for number in range(4):
        penalty = 2 * 5.0 * si.importance * (made.weights.value - si.anchor)
        (g,) = update(made, tasks[1], 1, number)
        wanted += 0.2 * (g + penalty).clamp(-0.01, 0.01).square()
        unclipped += float((g + penalty).abs().max() > 0.01)
    assert unclipped == 4
    torch.testing.assert_close(si.path, wanted, rtol=1e-9, atol=1e-14)


# ---- MAS ----


def test_batches_and_the_mean_of_the_outputs_are_those_of_hsu_s_program():
    made, tasks = begun()
    batches = list(tasks[0].batches(20, rows=60, random=made.rng("mas")))
    method = MAS(rows=60, batch=20, outputs="mean")
    method.end(tasks[0], made)
    wanted = sum(gradient(made, made.model(b.x).square().mean()).abs() for b in batches) / len(batches)
    torch.testing.assert_close(method.importance, wanted, rtol=1e-9, atol=1e-14)
    paper = MAS(rows=60)
    paper.end(tasks[0], made)
    assert paper.importance is not None
    assert float(paper.importance.sum() / method.importance.sum()) > 10, "ten outputs, and signs that cancel"


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_each_task_keeps_its_share_of_the_old_importance(gamma: float) -> None:
    made, tasks = begun()
    method, total = MAS(rows=20, gamma=gamma), torch.zeros_like(made.weights.value)
    for index in range(2):
        method.end(tasks[index], made)
        alone = MAS(rows=20)
        alone.end(tasks[index], made)
        assert alone.importance is not None
        total = gamma * total + alone.importance
    torch.testing.assert_close(method.importance, total, rtol=1e-12, atol=0)


@pytest.mark.parametrize("heads", ["masked", "multi"])
def test_outputs_of_other_tasks_do_not_count_where_the_task_is_known(heads: str) -> None:
    held = {}
    for scenario in (("scenario=task", f"stream.heads={heads}"), ("scenario=class",)):
        words = ("stream=split", "stream.tasks=5", "strategy=mas", *scenario)
        tasks = stream(*words)
        made = finished(built(tasks, *words), tasks, count=4)
        method = MAS(rows=30)
        method.end(tasks[1], made)
        assert method.importance is not None
        (bias,) = (v for name, v in made.weights.layers(method.importance) if v.shape == (10,))
        held[scenario] = bias.nonzero().flatten().tolist()
    known, unknown = held.values()
    assert known == sorted(tasks[1].classes)
    assert unknown == list(range(10))


def test_the_mean_is_over_the_outputs_that_count():
    words = ("stream=split", "stream.tasks=5", "scenario=task")
    tasks = stream(*words)
    made = built(tasks, *words)
    whole, mean = MAS(rows=30), MAS(rows=30, outputs="mean")
    for method in (whole, mean):
        method.end(tasks[1], made)
    torch.testing.assert_close(whole.importance, 2 * mean.importance, rtol=1e-12, atol=0)


# ---- Adam-NSCL ----


def test_batches_mean_inputs_take_the_place_of_rows():
    made, tasks = begun()
    means, total = AdamNSCL(means=16, rows=70), 0.0
    for index in range(2):
        means.end(tasks[index], made)
        for batch in tasks[index].batches(16, rows=70, random=made.rng("adam_nscl")):
            x = torch.cat((batch.x.flatten(1), batch.x.new_ones(len(batch.y), 1)), 1).mean(0)
            total = total + torch.outer(x, x)
    first = next(iter(means.moments))
    torch.testing.assert_close(means.moments[first] * 140, total, rtol=1e-9, atol=1e-12)
    rows = AdamNSCL(rows=70)
    rows.end(tasks[0], made)
    assert means.bases[first].shape[1] > rows.bases[first].shape[1], "nine means a task leave more of the space free"


# ---- on the command line ----


@pytest.mark.parametrize(
    "words",
    [
        "strategy=mas strategy.methods.mas.batch=128 strategy.methods.mas.outputs=mean strategy.methods.mas.rows=null",
        "strategy=mas strategy.methods.mas.batch=10 strategy.methods.mas.gamma=0.0",
        "strategy=si strategy.methods.si.bound=none",
        "strategy=[si,clip] strategy.methods.si.path=applied strategy.methods.clip.norm=inf",
        "strategy=ewc strategy.methods.ewc.fisher=batch strategy.methods.ewc.batch=1000",
        "strategy=ewcpp strategy.methods.ewcpp.alpha=0.9 strategy.methods.ewcpp.every=10",
        "strategy=rwalk strategy.methods.rwalk.fisher_every=10 strategy.methods.rwalk.past=1.5",
        "strategy=adam_nscl strategy.methods.adam_nscl.means=32",
    ],
)
def test_the_settings_that_tables_use_are_valid_and_are_other_runs(words: str) -> None:
    chosen = config(*words.split())
    plain = copy.deepcopy(config(words.split()[0]).strategy.methods)
    assert chosen.strategy.methods != plain
