"""`corrupt`: which micro-batches' gradients arrive broken, what becomes of them, and who withstands it."""

from __future__ import annotations

import pytest
import torch
from learners import learner, members, restored, rows, update

from gradinc.config.catalog import load_part
from gradinc.methods.sam import SAM


def micro_batches(number):
    """The eight micro-batches of a window."""
    return members((10,) * 8, first=80 * number % 220)


def corrupt(prob, scale, kind, start=0, stop=None):
    return {"prob": prob, "scale": scale, "kind": kind, "start": start, "stop": stop}


def made(corruption, rule="mean", methods=(), lr=0.1, seed=0):
    return learner(*methods, rule=load_part("rule", rule)(), corrupt=corruption, lr=lr, seed=seed)


def strikes(corruption, update, window, member, seed=0):
    """Whether a micro-batch is struck, the one of this number in this window, for this update."""
    mine = made(corruption, seed=seed)
    mine.place.updates, mine.place.windows, mine.place.member = update, window, member
    return mine.passes.strikes


def window(mine, batches):
    update(mine, batches)
    return mine.weights.grad


def parts():
    """The mean gradients of the micro-batches of the first window."""
    return torch.stack([window(made(None), [batch]).clone() for batch in micro_batches(0)])


def test_a_struck_micro_batch_has_another_gradient_and_the_others_do_not():
    chosen = corrupt(0.4, 50.0, "flip")
    struck = torch.tensor([strikes(chosen, 0, 0, k) for k in range(8)])
    assert 0 < struck.sum() < 8
    by_hand = torch.where(struck[:, None], -50 * parts(), parts()).mean(0)
    assert torch.allclose(window(made(chosen), micro_batches(0)), by_hand, rtol=1e-10, atol=1e-12)
    scaled = torch.where(struck[:, None], 50 * parts(), parts()).mean(0)
    mine = window(made(corrupt(0.4, 50.0, "scale")), micro_batches(0))
    assert torch.allclose(mine, scaled, rtol=1e-10, atol=1e-12)


def test_noise_is_as_long_as_it_is_told():
    clean = parts()[0]
    noise = window(made(corrupt(1.0, 3.0, "noise")), micro_batches(0)[:1]) - clean
    assert float(noise.norm() / clean.norm()) == pytest.approx(3.0, rel=0.1)


def test_how_many_are_struck_and_when():
    def struck(seed, updates, places=(0,), **options):
        mine = made(
            corrupt(**{"prob": 0.25, "scale": 1.0, "kind": "scale", "start": 10, "stop": 1010, **options}), seed=seed
        )
        found = []
        for number in updates:
            for place in places:
                mine.place.updates = mine.place.windows = number
                mine.place.member = place
                found.append(mine.passes.strikes)
        return found

    assert sum(struck(3, range(10, 1010))) / 1000 == pytest.approx(0.25, abs=0.05)
    assert not any(struck(3, (0, 9, 1010, 2000), range(50)))
    assert struck(3, (20,), range(50)) != struck(4, (20,), range(50))
    assert all(struck(0, range(100), prob=1.0, start=0, stop=None))


def test_a_window_that_came_to_no_update_is_followed_by_one_with_other_luck():
    mine = made(corrupt(0.5, 1.0, "flip"), "agreement")
    updates = []
    for _ in range(30):
        mine.open(20.0, 2)
        for batch in micro_batches(0)[:2]:
            mine.take(batch)
        updates.append(mine.update())
    assert False in updates, "of two that point against each other none agrees with the first"
    assert True in updates[updates.index(False) :], "the window after it is not struck in the same place again"
    assert (mine.place.windows, mine.updates) == (30, sum(updates))


def test_a_method_that_asks_again_gets_the_broken_gradient_again():
    chosen = corrupt(0.4, 5.0, "flip")
    mine = made(chosen, methods=(SAM(rho=0),))
    assert torch.allclose(
        window(mine, micro_batches(0)), window(made(chosen), micro_batches(0)), rtol=1e-10, atol=1e-13
    )


@pytest.mark.parametrize("kind", ["flip", "noise"])
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_a_restart_in_mid_window_changes_no_bit(kind, rule):
    def run(restart):
        mine = made(corrupt(0.3, 5.0, kind), rule)
        for number in range(3):
            batches = micro_batches(number)
            mine.open(80.0, 8)
            for taken, batch in enumerate(batches):
                if restart and (number, taken) == (1, 5):
                    mine = restored(mine, lambda: made(corrupt(0.3, 5.0, kind), rule))
                mine.take(batch)
            mine.update()
        return mine.weights.value

    assert torch.equal(run(True), run(False))


def test_the_median_learns_through_it_and_the_mean_does_not():
    x, y = rows(300)

    def accuracy(rule):
        mine = made(corrupt(0.05, 1e6, "flip"), rule, lr=0.5)
        for number in range(50):
            window(mine, micro_batches(number))
        return float((mine.model(x).argmax(1) == y).double().mean())

    assert accuracy("median") > 0.75
    assert accuracy("mean") < 0.4


def test_the_log_says_how_many_were_struck():
    mine = made(corrupt(0.4, 2.0, "flip"))
    window(mine, micro_batches(0))
    struck = sum(strikes(corrupt(0.4, 2.0, "flip"), 0, 0, k) for k in range(8))
    assert mine.drain()["notes"]["corrupted"] == pytest.approx(struck / 8)
