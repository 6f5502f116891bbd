"""A restart at any micro-batch of a window that a method rereads changes no bit, under every rule."""

from __future__ import annotations

import pytest
import torch
from learners import RAGGED, RULES, learner, members, network, restored, rule, same

from gradinc.methods.sam import SAM

WINDOWS = [
    members(RAGGED, first=first, scale=scale)
    for first, scale in ((0, (1, -0.4, 1, 1, -0.7)), (80, ()), (160, (1, 1, -2, 0.5, 1)))
]


def fresh(name, *methods):
    model = network(norm=name != "dp", dropout=0.3)
    return learner(*(made() for made in methods), rule=rule(name), model=model, optimizer="adam", lr=1e-3)


def run(name, *methods, restart=None):
    """Three windows; at `restart` = (window, micro-batches taken) the learner is saved and made anew."""
    mine = fresh(name, *methods)
    for number, batches in enumerate(WINDOWS):
        mine.open(sum(batch.items for batch in batches), len(batches))
        for taken, batch in enumerate(batches):
            if (number, taken) == restart and taken:
                mine = restored(mine, lambda: fresh(name, *methods))
            mine.take(batch)
        mine.update()
        if (number + 1, 0) == restart:
            mine = restored(mine, lambda: fresh(name, *methods))
    return mine


@pytest.mark.parametrize("name", RULES)
def test_a_restart_at_any_micro_batch_changes_no_bit(name):
    whole = run(name, SAM)
    assert whole.updates == 3
    for taken in range(len(RAGGED)):
        again = run(name, SAM, restart=(1, taken))
        assert same(again.state_dict(), whole.state_dict()), taken


@pytest.mark.parametrize("name", sorted(set(RULES) - {"mean", "sum"}))
def test_a_rule_that_forgot_its_state_would_be_caught(name, monkeypatch):
    whole = run(name)
    monkeypatch.setattr(type(rule(name)), "state", ())
    try:
        again = run(name, restart=(1, 3))
    except (AssertionError, RuntimeError):
        return  # so thoroughly forgotten that it could not go on
    assert not torch.equal(again.weights.value, whole.weights.value)


@pytest.mark.parametrize("name", RULES)
def test_between_two_windows_a_rule_saves_at_most_one_vector(name):
    mine = run(name)
    saved = [value for value in mine.state_dict()["window"]["rule"].values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in saved) <= (len(mine.weights) if name == "centered_clip" else 0)
