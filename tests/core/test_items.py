"""A window is a mean over the tokens that count: micro-batches of any rows are one batch of all rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from learners import distance
from tokens import LENGTHS, TEXT, TOKENS, batches, built, loss_by_hand, network, rows, settings, task, trained

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.catalog import load_part
from gradinc.core.next_token import NextToken
from gradinc.core.world import World
from gradinc.data.batch import Batch
from gradinc.data.padding import PAD
from gradinc.data.task import Setting
from gradinc.rules.mean import Mean
from gradinc.runs.epoch import Epoch

EVERY = len(LENGTHS)
PURPOSES = {choice.name: choice.purpose for choice in groups.choices("strategy")}
REFUSED = {
    **dict.fromkeys(("cls_er", "der", "derpp", "mas", "ogd"), "one for each token"),
    **dict.fromkeys(("er_ace", "fdr", "hal", "lwf"), "needs classes, and the targets of these data are tokens"),
    **dict.fromkeys(("adam_nscl", "gpm", "owm", "sgp", "trgp"), "works on linear and plain convolutional layers"),
    **dict.fromkeys(("continual_backprop", "redo"), "no plain layer"),
    "pgd_at": "moves the pixels of images",
}


def test_the_loss_is_the_mean_over_tokens_that_count_and_nothing_else():
    model, (batch,) = network(), batches(EVERY)
    criterion = NextToken(TEXT)
    by_hand = loss_by_hand(model, batch.x, batch.y)
    assert batch.items == sum(LENGTHS)
    assert torch.allclose(criterion.total(batch, model(batch.x)) / batch.items, by_hand, rtol=1e-13)
    assert torch.allclose(criterion.mean(batch, model(batch.x)), by_hand, rtol=1e-13)
    longer = replace(batch, x=torch.nn.functional.pad(batch.x[:, :5], (0, 4), value=PAD), y=batch.y)
    assert not torch.allclose(criterion.mean(longer, model(longer.x)), by_hand, rtol=1e-6)  # padding is seen to matter


@pytest.mark.parametrize(("size", "count"), [(1, 16), (3, 2), (5, 4), (4, 3)])
@pytest.mark.parametrize("rule", ["mean", "sum"])
def test_windows_of_micro_batches_are_the_large_batch(rule, size, count):
    """Ragged rows, padded to other lengths in each micro-batch; rows without a token; a short last window."""
    words = (f"strategy.window.rule={rule}", *(["optimizer.lr=0.002"] if rule == "sum" else []))
    accumulated = trained(built(*words), size, count)
    assert distance(accumulated, trained(built(*words), size * count, 1)) < 1e-12
    assert distance(accumulated, trained(built(*words), 2, 1)) > 1e-5


def _equal(name: str) -> bool:
    """Return whether a strategy is stated to equal the large batch: by rule `mean` or `sum`, without replayed rows."""
    window = settings(f"strategy={name}").strategy.window
    draws = PURPOSES[name] == "tasks, replay"
    return window.rule in ("mean", "sum", "dp") and window.due == "size" and not draws


def _check(name: str) -> None:
    """Raise what refuses a strategy for a language model."""
    for method, options in settings(f"strategy={name}").strategy.methods.items():
        load_part("method", method)(**options).check(network(), Setting(tasks=2, outputs=TOKENS, shape=(9,), text=TEXT))


@pytest.mark.parametrize("name", [name for name in groups.names("strategy") if _equal(name) and name not in REFUSED])
def test_every_strategy_that_equals_the_large_batch_does_so_for_tokens(name):
    try:
        _check(name)
    except UserError as error:
        pytest.skip(str(error))
    words = (f"strategy={name}", *(("strategy.window.dp.noise=0",) if name == "dp" else ()))
    assert distance(trained(built(*words), 4, 2), trained(built(*words), 8, 1)) < 1e-12


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_with_tokens_is_refused_with_a_reason(name):
    with pytest.raises(UserError, match=REFUSED[name]):
        _check(name)


@pytest.mark.parametrize("rule", ["median", "trimmed", "krum", "upgrad", "centered_clip", "ema", "agreement"])
def test_rules_of_separate_gradients_weigh_by_tokens(rule):
    """Micro-batches without a token change nothing, and the neutral setting of a rule is the mean over tokens."""
    if rule not in groups.names("strategy"):
        pytest.skip(f"no strategy file {rule}")
    with_empty = batches(4)
    empty = batches(1, task(rows((0, 0))))
    learners = [built(f"strategy={rule}"), built(f"strategy={rule}")]
    for learner, window in zip(learners, (with_empty, [empty[0], *with_empty, empty[1]]), strict=True):
        learner.open(sum(batch.items for batch in window), len(window))
        for batch in window:
            learner.take(batch)
        learner.update()
    assert distance(learners[0].weights.value, learners[1].weights.value) < 1e-12


def test_a_neutral_rule_is_the_mean_over_tokens():
    mean = trained(built(), 3, 4)
    for words in (
        ("strategy=ema", "strategy.window.ema.beta=1"),
        ("strategy=agreement", "strategy.window.agreement.tau=2"),
        ("strategy=centered_clip", "strategy.window.centered_clip.tau=inf"),
        ("strategy=msam", "strategy.window.msam.rho=0"),
        ("strategy=dp", "strategy.window.dp.clip=inf", "strategy.window.dp.noise=0"),
    ):
        assert distance(trained(built(*words), 3, 4), mean) < 1e-12, words


def test_a_window_without_a_token_makes_no_update():
    learner = built()
    (batch,) = batches(2, task(rows((0, 0))))
    before = learner.weights.value.clone()
    learner.open(batch.items, 1)
    learner.take(batch)
    assert not learner.update()
    assert torch.equal(before, learner.weights.value)


# ---- the errors that other programs made ----


class MeanOfMeans(Mean):
    """The mean of the micro-batches' own means (transformers before October 2024)."""

    def open(self, like, size):
        self.size = size

    def collect(self, objective, factor, batch, learner, taken, spread):
        super().collect(objective, 1 / (self.size * max(batch.items, 1)), batch, learner, taken, spread)

    def reduce(self, grad, items, planned):
        return True

    def is_sum(self, items, planned):
        return True


class TimesTheWindow(Mean):
    """The mean times the number of micro-batches: the count is passed on and divided by twice or never."""

    def open(self, like, size):
        self.size = size

    def is_sum(self, items, planned):
        return False

    def reduce(self, grad, items, planned):
        super().reduce(grad, items, planned)
        grad.mul_(self.size)
        return True


class BeforeTheShift(NextToken):
    """Counts the labels of a row before they are shifted: one more for each row with a token."""

    def terms(self, y):
        terms = super().terms(y)
        return terms + (terms > 0)


class Rows(NextToken):
    """Counts rows, not tokens."""

    def terms(self, y):
        return y.new_ones(len(y)).double()


class WithPadding(NextToken):
    """Counts every position of the padded batch."""

    def terms(self, y):
        return y.new_full((len(y),), y.shape[1]).double()


def _with_rule(rule):
    learner = built()
    learner.window.rule = rule
    return learner


@pytest.mark.parametrize("rule", [MeanOfMeans, TimesTheWindow])
def test_a_rule_that_divides_otherwise_is_caught(rule):
    assert distance(trained(_with_rule(rule()), 4, 4), trained(built(), EVERY, 1)) > 1e-4


@pytest.mark.parametrize("criterion", [BeforeTheShift, Rows, WithPadding])
def test_a_criterion_that_counts_otherwise_is_caught(criterion):
    """All rows in one batch: the mean by hand is another number."""
    model, (batch,) = network(), batches(EVERY, task(criterion=criterion(TEXT)))
    wrong = criterion(TEXT).total(batch, model(batch.x)) / batch.items
    assert abs(wrong - loss_by_hand(model, batch.x, batch.y)) > 1e-3
    with_it = trained(built(criterion=criterion(TEXT)), 4, 4, task(criterion=criterion(TEXT)))
    assert distance(with_it, trained(built(), 4, 4)) > 1e-4


def test_row_weights_multiply_tokens():
    """A row of weight 2 is the row twice."""

    def weighted(batch: Batch) -> Batch:
        weight = torch.ones(len(batch.y), dtype=torch.float64)
        weight[0] = 2
        return replace(batch, weight=weight, items=float((weight * batch.terms).sum()))

    first = [0, *range(EVERY)]
    doubled = task(rows().subset(torch.tensor(first)))
    assert distance(trained(built(), EVERY, 1, spoil=weighted), trained(built(), EVERY + 1, 1, doubled)) < 1e-12
    assert distance(trained(built(), EVERY, 1, spoil=weighted), trained(built(), EVERY, 1)) > 1e-5


# ---- the loop: what a window is planned to have ----


@pytest.mark.parametrize("processes", [1, 2])
def test_the_planned_items_are_the_items_of_all_processes(processes):
    """With shuffled rows, over the end of the epoch too."""
    config = settings("data.batch_size=3")
    own = task()

    def epoch(number: int, rank: int = 0, size: int = 1) -> Epoch:
        return Epoch(own, number, 0, config.data, 0.0, World(rank, size), torch.device("cpu"))

    items = {
        number: [
            batch.items
            for first in range(epoch(0).length)
            for rank in [first % processes]
            for batch in [list(epoch(number, rank, processes).batches(0))[first // processes]]
        ]
        for number in (0, 1)
    }
    assert sum(items[0]) == sum(items[1]) == sum(LENGTHS)
    assert epoch(0).planned(0, 4) == sum(items[0][:4])
    assert epoch(0).planned(4, 4) == sum(items[0][4:]) + sum(items[1][:2])
    assert sum(batch.tokens for batch in epoch(0).batches(0)) == sum(LENGTHS)


@pytest.mark.parametrize("name", ["er", "mir", "agem", "gem", "ewc", "si", "gss"])
def test_methods_with_a_memory_train_on_tokens(name):
    """The rows of a memory count their own tokens: the reference gradient is a mean over tokens."""
    learner = built(f"strategy={name}", "strategy.window.size=1")
    before = trained(learner, 4, 1)
    learner.end(task())
    learner.begin(replace(task(rows(seed=1)), index=1))
    assert distance(trained(learner, 4, 1, task(rows(seed=1))), before) > 1e-3
    assert learner.weights.value.isfinite().all()


def test_the_reference_gradient_of_a_memory_is_a_mean_over_its_tokens():
    learner, (batch,) = built(), batches(EVERY)
    loss = loss_by_hand(learner.model, batch.x, batch.y)
    expected = learner.weights.flatten(list(torch.autograd.grad(loss, list(learner.model.parameters()))))
    assert distance(learner.gradient(batch), expected) < 1e-12
    without = replace(batch, terms=None, items=float(EVERY))
    assert distance(learner.gradient(without), expected) < 1e-12
