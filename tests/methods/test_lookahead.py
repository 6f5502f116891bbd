"""Lookahead: slow weights that follow, and that are what a task ends with."""

import json

import pytest
import torch
from learners import distance, learner, loss_and_gradient, network, take, task, train, windows

import gradinc
from gradinc.config.compose import load_config
from gradinc.methods.lookahead import Lookahead
from gradinc.runs.execute import execute


def reference(k, alpha, momentum):
    """The paper's two loops; a task ends with a step of the slow weights."""
    model = network()
    slow = learner(model=network()).weights.value.clone()
    fast, velocity, made = slow.clone(), torch.zeros_like(slow), []
    members = list(windows(16, 4))
    for t, window in enumerate(members, start=1):
        velocity = momentum * velocity + loss_and_gradient(model, fast, window)[1]
        fast = fast - 0.1 * velocity
        if t % k == 0 or t == len(members):
            slow = slow + alpha * (fast - slow)
            fast = slow.clone()
        made.append(slow)
    return made


@pytest.mark.parametrize("k", [1, 3, 4, 5, 100])
@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_it_is_the_paper_s_two_loops(k, alpha):
    """300 rows in windows of 64 make 5 updates an epoch, 10 in all; momentum goes on over a slow step."""
    ended = train(learner(Lookahead(k=k, alpha=alpha), momentum=0.9), 16, 4)
    assert distance(ended, reference(k, alpha, 0.9)[-1]) < 1e-12
    assert distance(ended, train(learner(momentum=0.9), 16, 4)) > 1e-3


def test_slow_weights_move_every_k_updates_only():
    method = Lookahead(k=3)
    mine = learner(method)
    for t, window in enumerate(windows(16, 4), start=1):
        before = method.slow.clone()
        take(mine, window)
        mine.update()
        assert torch.equal(method.slow, before) == (t % 3 != 0)
        assert torch.equal(method.slow, mine.weights.value) == (t % 3 == 0)


def test_what_is_left_of_a_task_are_the_slow_weights():
    method = Lookahead(k=4)
    mine = learner(method)
    ended = train(mine, 16, 4)
    assert torch.equal(ended, method.slow)
    assert method.t % 4 != 0  # the last step of the slow weights came early


def test_the_next_task_begins_where_this_one_ended():
    method = Lookahead(k=4)
    mine = learner(method)
    ended = train(mine, 16, 4).clone()
    method.begin(task(), mine)
    assert torch.equal(method.slow, ended)
    assert method.t == 0


def test_what_is_measured_before_the_end_are_the_slow_weights_and_the_trained_ones_come_back():
    method = Lookahead(k=4)
    mine = learner(method)
    for window in list(windows(16, 4))[:3]:
        take(mine, window)
        mine.update()
    fast = mine.weights.value.clone()
    with mine.evaluating():
        assert torch.equal(mine.weights.value, method.slow)
    assert torch.equal(mine.weights.value, fast)
    assert not torch.equal(fast, method.slow)
    plain = learner()
    fast = plain.weights.value.clone()
    with plain.evaluating():
        assert torch.equal(plain.weights.value, fast)


def test_a_run_validates_the_slow_weights_and_keeps_them_as_the_best(tmp_path):
    """With slow weights that never come to move, every validation is that of the first weights."""

    def run(name, *more):
        small = ["data=digits", "model=linear", "budget.epochs=2", "progress=quiet", "threads=1", "log.steps=1000"]
        config = load_config([*small, f"output={tmp_path}", f"name={name}", *more])
        assert execute(config) == 0
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        result = json.loads((tmp_path / name / "result.json").read_text())
        return [line["validation"]["loss"] for line in lines if "validation" in line], result["weights_digest"]

    slow = ["strategy=lookahead", "strategy.methods.lookahead.k=10000"]
    validations, ended = run("slow", *slow)
    assert validations[0] == validations[1]
    plain, _ = run("plain")
    assert plain[1] < plain[0] < validations[0]
    untrained = gradinc.load(tmp_path / "slow").best.state_dict()
    one_step = run("start", "optimizer.lr=1e-30", "budget.epochs=1")
    assert one_step[0][0] == validations[0]
    start = gradinc.load(tmp_path / "start").model.state_dict()
    assert all(torch.equal(untrained[name], start[name]) for name in start)
    rarely, ended_too = run("rarely", *slow, "evaluate.epochs=2")
    assert (rarely, ended_too) == (validations[1:], ended), "looking on changes nothing"
