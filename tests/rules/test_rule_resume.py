"""A restart at any micro-batch of a window changes no bit, under every rule."""

from __future__ import annotations

import io

import pytest
import torch
from learners import RAGGED, RULES, learner, members, network, rule

from gradinc.methods.sam import SAM

WINDOWS = [
    members(RAGGED, first=first, scale=scale)
    for first, scale in ((0, (1, -0.4, 1, 1, -0.7)), (80, ()), (160, (1, 1, -2, 0.5, 1)))
]


def fresh(name, methods):
    return learner(
        *(made() for made in methods),
        rule=rule(name),
        model=network(norm=name != "dp", dropout=0.3),
        optimizer="adam",
        lr=1e-3,
    )


def restarted(mine, name, methods):
    file = io.BytesIO()
    torch.save(mine.state_dict(), file)
    file.seek(0)
    other = fresh(name, methods)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def run(name, methods, restart=None):
    """Three windows; at `restart` = (window, micro-batches taken) the learner is saved and made anew."""
    mine = fresh(name, methods)
    for number, batches in enumerate(WINDOWS):
        mine.open(sum(batch.items for batch in batches), len(batches))
        for taken, batch in enumerate(batches):
            if (number, taken) == restart and taken:
                mine = restarted(mine, name, methods)
            mine.take(batch)
        mine.update()
        if (number + 1, 0) == restart:
            mine = restarted(mine, name, methods)
    return mine


@pytest.mark.parametrize("methods", [(), (SAM,)], ids=["plain", "sam"])
@pytest.mark.parametrize("name", RULES)
def test_a_restart_at_any_micro_batch_changes_no_bit(name, methods):
    whole = run(name, methods)
    assert whole.updates == 3
    for taken in range(len(RAGGED)):
        again = run(name, methods, restart=(1, taken))
        assert torch.equal(again.weights.value, whole.weights.value), taken
        assert (again.updates, again.work.state_dict()) == (whole.updates, whole.work.state_dict())


@pytest.mark.parametrize("name", sorted(set(RULES) - {"mean", "sum"}))
def test_a_rule_that_forgot_its_state_would_be_caught(name, monkeypatch):
    whole = run(name, ())
    monkeypatch.setattr(type(rule(name)), "state", ())
    try:
        again = run(name, (), restart=(1, 3))
    except (AssertionError, RuntimeError):
        return  # so thoroughly forgotten that it could not go on
    assert not torch.equal(again.weights.value, whole.weights.value)


@pytest.mark.parametrize("name", RULES)
def test_between_two_windows_a_rule_saves_at_most_one_vector(name):
    mine = run(name, ())
    saved = [value for value in mine.state_dict()["window"]["rule"].values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in saved) <= (len(mine.weights) if name == "centered_clip" else 0)
