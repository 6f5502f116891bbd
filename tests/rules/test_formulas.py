"""Every rule gives what its formula says, for equal, ragged and single micro-batches."""

from __future__ import annotations

import pytest
import torch
from by_hand import expected
from learners import RAGGED, RULES, distance, gradient, learner, members, micro_gradients, rule, update

from gradinc.methods.sam import SAM

OPPOSED = (1, -0.4, 1, 1, -0.7)
"""Scales that turn two of five gradients round, so that there are conflicts to resolve."""

WINDOWS = {
    "equal": {"sizes": (10,) * 8},
    "odd": {"sizes": (10,) * 5},
    "ragged": {"sizes": RAGGED},
    "two": {"sizes": (16, 9)},
    "opposed": {"sizes": (20,) * 5, "scale": OPPOSED},
    "opposed and ragged": {"sizes": RAGGED, "scale": OPPOSED},
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", RULES)
def test_a_rule_gives_what_its_formula_says(name, window):
    batches = members(**WINDOWS[window])
    assert distance(gradient(rule(name), batches), expected(name, batches)) < 1e-10


@pytest.mark.parametrize("name", RULES)
def test_the_windows_above_tell_the_rules_apart(name):
    """Else the test above would not show which formula a rule follows."""
    batches = members(**WINDOWS["opposed and ragged"])
    mine = gradient(rule(name), batches)
    for other in set(RULES) - {name}:
        assert distance(mine, expected(other, batches)) > 1e-4, other


@pytest.mark.parametrize("name", sorted(set(RULES) - {"sum", "sign_vote", "centered_clip", "msam", "dp"}))
def test_a_window_of_one_is_the_micro_batch_bit_for_bit(name):
    batches = members((17,))
    assert torch.equal(gradient(rule(name), batches), gradient(rule("mean"), batches))


NEUTRAL = {
    "ema": ({"beta": 1}, {"beta": 0.5}),
    "trimmed": ({"trim": 0}, {"trim": 0.1}),
    "centered_clip": ({"tau": torch.inf}, {"tau": 0.1}),
    "agreement": ({"tau": 2}, {"tau": 0.5}),
    "msam": ({"rho": 0}, {"rho": 0.1}),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_at_its_neutral_setting_a_rule_is_the_mean_and_at_others_not(name):
    neutral, other = NEUTRAL[name]
    batches = members(RAGGED, scale=OPPOSED)
    mean = gradient(rule("mean"), batches)
    assert distance(gradient(rule(name, **neutral), batches), mean) < 1e-12
    assert distance(gradient(rule(name, **other), batches), mean) > 1e-3


@pytest.mark.parametrize("name", NEUTRAL)
def test_trained_at_its_neutral_setting_a_rule_stays_the_mean(name):
    trained = []
    for made in (rule(name, **NEUTRAL[name][0]), rule("mean")):
        mine = learner(rule=made, momentum=0.9)
        for first in range(0, 400, 79):
            update(mine, members(RAGGED, first=first))
        trained.append(mine.weights.value)
    assert distance(*trained) < 1e-12


def test_ema_with_beta_0_is_the_last_micro_batch_bit_for_bit():
    batches = members(RAGGED)
    assert torch.equal(gradient(rule("ema", beta=0), batches), gradient(rule("mean"), batches[-1:]))


def test_sum_is_the_mean_times_the_rows():
    batches = members(RAGGED)
    total = gradient(rule("sum"), batches)
    assert distance(total, sum(RAGGED) * gradient(rule("mean"), batches)) < 1e-12


@pytest.mark.parametrize("name", ["mean", "sum", "median", "trimmed", "centered_clip", "sign_vote", "upgrad", "msam"])
@pytest.mark.parametrize("window", ["equal", "opposed and ragged"])
def test_the_order_of_the_micro_batches_does_not_matter(name, window):
    batches = members(**WINDOWS[window])
    assert distance(gradient(rule(name), batches[::-1]), gradient(rule(name), batches)) < 1e-12


@pytest.mark.parametrize("name", ["ema", "agreement"])
def test_the_order_matters_where_the_rule_says_so(name):
    batches = members(**WINDOWS["opposed and ragged"])
    assert distance(gradient(rule(name), batches[::-1]), gradient(rule(name), batches)) > 1e-3


def test_centered_clip_goes_on_from_the_last_updates_gradient():
    mine = learner(rule=rule("centered_clip"), lr=1e-30)
    first, second = members(RAGGED, scale=OPPOSED), members(RAGGED, first=100)
    update(mine, first)
    center = mine.weights.grad.clone()
    update(mine, second)
    assert distance(mine.weights.grad, expected("centered_clip", second, center=center)) < 1e-12
    assert distance(mine.weights.grad, expected("centered_clip", second)) > 1e-2


@pytest.mark.parametrize("name", RULES)
def test_a_method_that_asks_again_gets_the_rule_at_the_other_weights(name):
    """SAM over a window is the rule applied to the micro-batches' gradients at the perturbed weights."""
    batches = members(RAGGED, scale=OPPOSED)
    mine = learner(SAM(rho=0.3), rule=rule(name), lr=1e-30)
    center = None
    if name == "centered_clip":
        update(mine, batches)
        center = expected(name, batches)
    update(mine, batches)
    here = learner(rule=rule("mean")).weights.value
    step = expected(name, batches, center=center)
    there = expected(name, batches, at=here + 0.3 * step / step.norm(), center=center, draw=2)
    assert distance(mine.weights.grad, there) < 1e-9
    assert distance(step, there) > 1e-2 or name == "sign_vote"
    assert torch.equal(mine.weights.value, here)


def test_asking_again_before_the_window_has_a_gradient_is_refused():
    mine = learner(SAM(), rule=rule("mean"))
    mine.open(5.0, 1)
    with pytest.raises(RuntimeError, match="before it was computed"):
        mine.regradient()


def test_a_window_longer_than_foreseen_is_taken_in_all_the_same():
    batches = members((10,) * 7)
    for name in ("median", "upgrad"):
        mine = learner(rule=rule(name))
        mine.open(20.0, 2)
        for batch in batches:
            mine.take(batch)
        mine.window.reduce(mine)
        assert distance(mine.weights.grad, expected(name, batches)) < 1e-10


def test_gradients_are_written_into_one_matrix_that_is_allocated_once():
    made = rule("median")
    mine = learner(rule=made)
    places = set()
    for first in (0, 100, 200):
        take_in = members((10,) * 4, first=first)
        mine.open(40.0, 4)
        places.add(made.slot(mine.weights.grad).data_ptr())
        for batch in take_in:
            mine.take(batch)
        assert torch.allclose(made.gradients, micro_gradients(take_in, mine.weights.value), rtol=1e-10, atol=1e-14)
        mine.update()
        assert made.gradients.numel() == 0, "nothing of a window is saved once it is over"
    assert len(places) == 1
