"""Lookahead: slow weights that follow, and that are what a task ends with."""

import pytest
import torch
from small_learners import accumulate, distance, learner, loss_and_gradient, network, task, train, windows

from gradinc.methods.lookahead import Lookahead


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
        accumulate(mine, window)
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
