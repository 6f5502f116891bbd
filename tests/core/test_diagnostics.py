"""What `diagnostics=true` notes of each update."""

from __future__ import annotations

import pytest
import torch
from learners import learner, members, update


def test_diagnostics_are_the_numbers_worked_out_by_hand_and_change_no_bit():
    watched, plain = learner(diagnostics=True), learner()
    before = plain.weights.value.clone()
    update(watched, members((25,) * 4))
    update(plain, members((25,) * 4))
    assert torch.equal(watched.weights.value, plain.weights.value)
    notes = watched.drain()["notes"]
    g = plain.weights.grad
    assert notes["gradient_norm"] == pytest.approx(float(g.norm()))
    assert notes["kept_norm"] == pytest.approx(1)
    assert notes["update_norm"] == pytest.approx(float((plain.weights.value - before).norm()))
    fresh = learner()
    first = fresh.gradient(members((25,))[0])
    trace = (float(first.dot(first)) - float(g.dot(g))) / (1 / 25 - 1 / 100)
    signal = float(g.dot(g)) - trace / 100
    assert notes["noise_scale"] == pytest.approx(trace / signal)
    assert "noise_scale" not in plain.drain().get("notes", {})


def test_the_cosine_of_successive_updates_is_noted_from_the_second_on():
    mine = learner(diagnostics=True)
    update(mine, members((25,) * 4))
    assert "update_cosine" not in mine.drain()["notes"]
    first = mine.around["after"].previous.clone()
    update(mine, members((25,) * 4))
    second = mine.around["after"].previous
    expected = float(first.dot(second) / (first.norm() * second.norm()))
    assert mine.drain()["notes"]["update_cosine"] == pytest.approx(expected)
