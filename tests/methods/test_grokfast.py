"""Grokfast: what a plain loop over all gradients so far gives."""

from collections import deque

import pytest
import torch
from learners import distance, learner, take, windows

from gradinc.base.errors import UserError
from gradinc.methods.grokfast import Grokfast


def gradients(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(1210, generator=random, dtype=torch.float64) for _ in range(count)]


def amplified(method, given):
    mine = learner(method)
    made = []
    for g in given:
        g = g.clone()
        method.transform(g, mine)
        made.append(g)
    return made


def exponential(given, alpha, lamb):
    mean = given[0]
    for t, g in enumerate(given):
        mean = g if t == 0 else alpha * mean + (1 - alpha) * g
        yield g + lamb * mean


def moving(given, window, lamb):
    for t, g in enumerate(given):
        last = given[max(0, t - window + 1) : t + 1]
        yield g + lamb * sum(last) / len(last)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.98])
def test_ema_is_the_paper_s_recursion(alpha):
    given = gradients(40)
    made = amplified(Grokfast(alpha=alpha, lamb=3), given)
    assert all(distance(a, b) < 1e-13 for a, b in zip(made, exponential(given, alpha, 3), strict=True))
    assert distance(made[9], given[9]) > 0.1


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
def test_ma_is_the_mean_of_the_last_gradients(window):
    given = gradients(40)
    made = amplified(Grokfast(kind="ma", window=window, lamb=3), given)
    assert all(distance(a, b) < 1e-13 for a, b in zip(made, moving(given, window, 3), strict=True))
    other = list(moving(given, window + 1, 3))
    assert window >= 40 or distance(made[-1], other[-1]) > 1e-3


def test_ma_forgets_a_large_gradient_altogether():
    """A running sum that adds the new and subtracts the old keeps the rounding errors of large gradients for ever."""
    given = [g * (1e20 if t < 5 else 1.0) for t, g in enumerate(gradients(20))]
    made = amplified(Grokfast(kind="ma", window=4, lamb=1), given)
    exact = list(moving(given, 4, 1))
    assert distance(made[-1], exact[-1]) < 1e-13
    total = torch.zeros(1210, dtype=torch.float64)
    for t, g in enumerate(given):
        total += g
        if t >= 4:
            total -= given[t - 4]
    assert distance(given[-1] + total / 4, exact[-1]) > 1


def test_the_queue_holds_copies_and_no_more_than_it_needs():
    """The learner writes every gradient into the same vector."""
    method = Grokfast(kind="ma", window=3)
    mine = learner(method)
    for window in windows(16, 4):
        take(mine, window)
        mine.update()
        kept = [*method.newer, *method.older, method.total]
        assert len(kept) <= 4
        assert len({t.data_ptr() for t in kept} | {mine.weights.grad.data_ptr()}) == len(kept) + 1


@pytest.mark.parametrize("kind", ["ema", "ma"])
def test_a_steady_gradient_grows_by_1_plus_lambda_and_the_log_says_so(kind):
    (g,) = gradients(1)
    method = Grokfast(kind=kind, lamb=4, window=3)
    mine = learner(method, lr=0.2)
    for _ in range(8):
        made = g.clone()
        method.transform(made, mine)
        assert distance(made, 5 * g) < 1e-13
    assert mine.drain()["notes"]["effective_lr"] == pytest.approx(0.2 * 5)


def in_the_authors_program(given, window, lamb):
    """A queue of the last gradients, whose mean is added once it is full."""
    last = deque(maxlen=window)
    for g in given:
        last.append(g)
        yield g + lamb * sum(last) / window if len(last) == window else g


@pytest.mark.parametrize("window", [1, 2, 7, 100])
def test_with_warmup_nothing_is_added_before_the_queue_is_full(window):
    given = gradients(20)
    method = Grokfast(kind="ma", window=window, lamb=3, warmup=True)
    made = amplified(method, given)
    for t, (mine, theirs) in enumerate(zip(made, in_the_authors_program(given, window, 3), strict=True)):
        assert distance(mine, theirs) < 1e-13
        assert torch.equal(mine, given[t]) == (t < window - 1)
    without = amplified(Grokfast(kind="ma", window=window, lamb=3), given)
    assert window == 1 or distance(without[0], made[0]) > 1
    assert all(distance(a, b) < 1e-13 for a, b in zip(made[window - 1 :], without[window - 1 :], strict=True))


def test_the_log_has_the_plain_rate_while_it_warms_up():
    (g,) = gradients(1)
    method = Grokfast(kind="ma", lamb=4, window=3, warmup=True)
    mine = learner(method, lr=0.2)
    rates = []
    for _ in range(4):
        method.transform(g.clone(), mine)
        rates.append(mine.drain()["notes"]["effective_lr"])
    assert rates == pytest.approx([0.2, 0.2, 1.0, 1.0])


def test_an_exponential_average_has_no_queue_to_fill():
    with pytest.raises(UserError, match=r"grokfast\.warmup=true: .* Use kind=ma, or leave it out\.$"):
        Grokfast(warmup=True)
