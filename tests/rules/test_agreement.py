"""Gradient agreement filtering: who counts, and what a window without an update leaves alone."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from learners import distance, gradient, learner, members, rule, update

from gradinc.base.errors import Stalled
from gradinc.config.compose import load_config
from gradinc.core.method import Method
from gradinc.core.schedules import Schedule
from gradinc.runs.execute import execute

SIZES = (30, 20, 25, 30)


def test_an_opposing_micro_batch_is_left_out_and_agreeing_ones_stay():
    batches = members(SIZES, scale=(1, 1, -1, 1))
    without = [batch for k, batch in enumerate(batches) if k != 2]
    assert distance(gradient(rule("agreement"), batches), gradient(rule("mean"), without)) < 1e-12
    agreeing = members(SIZES)
    assert distance(gradient(rule("agreement"), agreeing), gradient(rule("mean"), agreeing)) < 1e-12


def test_exactly_opposite_gradients_are_within_tau_2():
    batches = [*members((20,)), *members((20,), scale=(-3,)), *members((20,), scale=(7,))]
    assert distance(gradient(rule("agreement", tau=2), batches), mean_of(batches)) < 1e-12
    assert distance(gradient(rule("agreement", tau=1.999), batches), mean_of(batches)) > 1e-3


def mean_of(batches):
    return gradient(rule("mean"), batches)


def test_halving_gives_each_that_counts_half_as_the_authors_code_does():
    batches = members((20,) * 4)
    g = [gradient(rule("mean"), [batch]).clone() for batch in batches]
    halved = (((g[0] + g[1]) / 2 + g[2]) / 2 + g[3]) / 2
    mine = gradient(rule("agreement", average="halving"), batches)
    assert distance(mine, halved) < 1e-12
    assert distance(mine, gradient(rule("agreement"), batches)) > 1e-2


class Count(Method):
    """How often each hook of an update is called."""

    def __init__(self):
        self.calls = []

    def transform(self, g, learner):
        self.calls.append("transform")

    def stepped(self, window, learner):
        self.calls.append("stepped")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_where_all_disagree_there_is_no_update_and_nothing_ticks(optimizer):
    options = {"momentum": 0.9, "weight_decay": 0.1} if optimizer == "sgd" else {"lr": 1e-2, "weight_decay": 0.1}
    agreeing = [members(SIZES, first=first) for first in (0, 150, 300)]
    opposed = members((30, 30), first=60, scale=(1, -1))

    def run(windows):
        count = Count()
        schedule = Schedule("step", {"every": 1, "gamma": 0.5})
        mine = learner(count, rule=rule("agreement"), optimizer=optimizer, schedule=schedule, **options)
        for window in windows:
            before = copy.deepcopy((mine.weights.value, mine.optimizer.state_dict(), mine.lr, mine.updates))
            update(mine, window)
            after = (mine.weights.value, mine.optimizer.state_dict(), mine.lr, mine.updates)
            assert (repr(before) == repr(after)) == (window is opposed)
        return mine, count

    plain, counted = run(agreeing)
    skipping, counted_too = run([agreeing[0], opposed, agreeing[1], opposed, opposed, agreeing[2]])
    assert torch.equal(skipping.weights.value, plain.weights.value)
    assert counted_too.calls == counted.calls == ["transform", "stepped"] * 3
    assert skipping.updates == plain.updates == 3
    assert skipping.work.samples == plain.work.samples + 3 * 60


def test_a_short_last_window_of_one_has_nothing_to_disagree_with():
    mine = learner(rule=rule("agreement", tau=0))
    update(mine, members((20,)))
    assert mine.updates == 1
    update(mine, members((20, 20)))
    assert mine.updates == 1


def test_a_gradient_of_zero_is_orthogonal_to_all():
    batches = [*members((20, 20)), *members((20,), scale=(0,))]
    assert distance(gradient(rule("agreement", tau=1), batches), mean_of(batches)) < 1e-12
    assert distance(gradient(rule("agreement", tau=0.99), batches), mean_of(batches[:2])) < 1e-12


NEVER = ["strategy=agreement", "strategy.window.agreement.tau=0", "strategy.window.last=drop", "model=linear"]


def test_a_run_whose_windows_are_all_rejected_ends_and_says_why(tmp_path):
    def run(name, *more):
        config = load_config([*NEVER, f"output={tmp_path}", f"name={name}", "progress=quiet", *more])
        return execute(config)

    def result(name):
        return json.loads((tmp_path / name / "result.json").read_text())

    line = r"^strategy\.window\.rule=agreement: rejected every window of epoch 1, so that training would not end\. "
    for _ in range(2):
        with pytest.raises(Stalled, match=line):
            run("steps", "budget.steps=5")
        assert (result("steps")["status"], result("steps")["steps"]) == ("failed", 0)
    with pytest.raises(Stalled, match=line):
        run("accuracy", "budget.accuracy=0.9", "budget.epochs=null")
    assert run("epochs", "budget.epochs=2") == 0
    assert (result("epochs")["ended_by"], result("epochs")["steps"]) == ("epochs", 0)
    assert run("samples", "budget.samples=3000", "budget.steps=5") == 0
    assert result("samples")["ended_by"] == "samples"


def test_windows_longer_than_an_epoch_are_no_standstill(tmp_path):
    """41 micro-batches make an epoch: with carry the first update comes in the third one."""
    window = ["strategy.window.size=100", "strategy.window.last=carry", "model=linear", "budget.steps=2"]
    config = load_config([*window, f"output={tmp_path}", "progress=quiet"])
    assert execute(config) == 0
