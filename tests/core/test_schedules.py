"""Schedules: hand-worked values, and PyTorch's schedulers as a second opinion."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.config.groups import conf_folder
from gradinc.core.schedules import Schedule, constant, cosine, cosine_restarts, linear, step

UPDATES = 40


def torch_factors(make: type, updates: int = UPDATES, **options: object) -> list[float]:
    """The learning rates that PyTorch's scheduler gives an optimizer with a learning rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer, **options)
    rates = []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_constant_is_one_whether_or_not_the_end_is_known() -> None:
    assert [constant(update, updates) for update in (0, 7) for updates in (None, 8)] == [1.0] * 4


@pytest.mark.parametrize(("first", "factor", "final"), [(7, 1, 0.0), (3, 2, 0.0), (4, 3, 0.1), (1, 2, 0.01)])
def test_waves_that_start_again_are_those_of_pytorch(first: int, factor: int, final: float) -> None:
    ours = [cosine_restarts(u, None, first=first, factor=factor, final=final) for u in range(UPDATES)]
    theirs = torch_factors(lr_scheduler.CosineAnnealingWarmRestarts, T_0=first, T_mult=factor, eta_min=final)
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert ours[0] == ours[first] == 1


def test_gdumb_s_rates_a_tenth_in_the_first_epoch_and_then_waves_of_one_two_and_four_epochs() -> None:
    """Each epoch has its own rate: PyTorch's scheduler is stepped at the beginning of every epoch from the third on."""
    options = {"first": 5, "factor": 2, "final": 0.01, "every": 5}
    schedule = Schedule("cosine_restarts", options, warmup=5, warmup_factor=0.1)
    epochs = torch_factors(lr_scheduler.CosineAnnealingWarmRestarts, 20, T_0=1, T_mult=2, eta_min=0.01)
    for epoch, rate in enumerate([0.1, *epochs]):
        assert [schedule(5 * epoch + update) for update in range(5)] == pytest.approx([rate] * 5, rel=1e-12)
    rising = Schedule("cosine_restarts", options, warmup=5)
    assert [rising(update) for update in range(5)] == pytest.approx([update / 6 for update in range(1, 6)])


def test_step_falls_by_gamma_every_so_many_updates() -> None:
    values = [step(update, None, every=3, gamma=0.5) for update in range(8)]
    assert values == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert [step(u, None, every=7, gamma=0.3) for u in range(UPDATES)] == pytest.approx(
        torch_factors(lr_scheduler.StepLR, step_size=7, gamma=0.3), rel=1e-12
    )


def test_every_beside_milestones_is_refused() -> None:
    with pytest.raises(UserError, match=r"^schedule\.every=3: has no effect with schedule\.milestones\. Leave one of"):
        Schedule("step", {"every": 3, "milestones": [4]})
    assert Schedule("step", {"every": 3})(3) == Schedule("step", {"milestones": [4]})(4) == 0.1


def test_milestones_take_the_place_of_every() -> None:
    values = [step(update, None, milestones=[4, 2], gamma=0.5) for update in range(6)]
    assert values == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert step(10**6, None, milestones=[]) == 1
    assert [step(u, None, milestones=[5, 30], gamma=0.3) for u in range(UPDATES)] == pytest.approx(
        torch_factors(lr_scheduler.MultiStepLR, milestones=[5, 30], gamma=0.3), rel=1e-12
    )


def test_cosine_by_hand() -> None:
    assert [cosine(update, 4) for update in range(5)] == pytest.approx(
        [1, (2 + math.sqrt(2)) / 4, 0.5, (2 - math.sqrt(2)) / 4, 0], abs=1e-15
    )
    assert cosine(2, 4, final=0.2) == pytest.approx(0.6)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_is_pytorchs(final: float) -> None:
    expected = torch_factors(lr_scheduler.CosineAnnealingLR, T_max=UPDATES, eta_min=final)
    assert [cosine(update, UPDATES, final=final) for update in range(UPDATES)] == pytest.approx(expected, rel=1e-12)


def test_linear_by_hand() -> None:
    assert [linear(update, 4) for update in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert linear(2, 4, final=0.5) == 0.75


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_linear_is_pytorchs(final: float) -> None:
    expected = torch_factors(lr_scheduler.LinearLR, start_factor=1.0, end_factor=final, total_iters=UPDATES)
    assert [linear(update, UPDATES, final=final) for update in range(UPDATES)] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("schedule", [cosine, linear])
def test_after_the_end_the_last_value_stays(schedule: type) -> None:
    assert schedule(10, 10, final=0.25) == pytest.approx(0.25)
    assert schedule(11, 10, final=0.25) == schedule(1000, 10, final=0.25) == schedule(10, 10, final=0.25)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_schedule_that_ends_must_know_when(name: str) -> None:
    with pytest.raises(UserError, match=r"^schedule\.updates: .*Set schedule\.updates="):
        Schedule(name, {"final": 0.0}, warmup=5)
    assert Schedule(name, {"final": 0.0}, warmup=5, updates=9)(5) == 1


def test_warm_up_rises_by_equal_steps_and_then_the_schedule_begins() -> None:
    schedule = Schedule("linear", {"final": 0.0}, warmup=3, updates=7)
    assert [schedule(update) for update in range(8)] == [0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0]


def test_warm_up_and_cosine_are_pytorchs_one_after_the_other() -> None:
    warmup = 8

    def both(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=UPDATES - warmup)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])

    schedule = Schedule("cosine", {}, warmup=warmup, updates=UPDATES)
    assert [schedule(update) for update in range(UPDATES)] == pytest.approx(torch_factors(both), rel=1e-11)


def test_without_warm_up_the_first_update_has_the_whole_learning_rate() -> None:
    for name in ("constant", "step", "cosine", "linear"):
        assert Schedule(name, {}, updates=10)(0) == 1


def test_a_run_that_ends_within_its_warm_up_never_reaches_the_schedule() -> None:
    schedule = Schedule("cosine", {}, warmup=100, updates=10)
    assert [schedule(update) for update in (0, 9)] == [1 / 101, 10 / 101]


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_where_rows_end_a_task_the_share_of_them_is_how_far_it_is(name: str) -> None:
    """20 rows for each of 40 updates: as if the 40 were known. Twice as many for each: as if 20 were."""
    of_rows = Schedule(name, {}, warmup=8, rows=800)
    for each in (20, 40):
        updates = 800 // each
        known = Schedule(name, {}, warmup=8, updates=updates)
        factors = [of_rows(update, 0, each * update) for update in range(updates + 1)]
        assert factors == pytest.approx([known(update) for update in range(updates + 1)], abs=1e-12)
        # The same behind 160 rows that were taken before the first update: 640 are left.
        of_more = Schedule(name, {}, warmup=8, rows=960)
        factors = [of_more(update, 0, 160 + each * update, 160) for update in range(updates + 1)]
        assert factors == pytest.approx([known(update) for update in range(updates + 1)], abs=1e-12)


def test_where_updates_take_more_and_more_rows_the_rate_still_falls_to_its_end() -> None:
    schedule = Schedule("linear", {}, warmup=3, rows=1000)
    rows = [0.0, 10, 20, 30, 40, 60, 100, 200, 400, 700, 1000]
    factors = [schedule(update, 0, taken) for update, taken in enumerate(rows)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1]
    assert all(later < before for before, later in pairwise(factors[3:]))
    assert factors[-1] == 0


@given(
    name=st.sampled_from(["constant", "step", "cosine", "linear"]),
    warmup=st.integers(0, 50),
    updates=st.integers(1, 200),
    update=st.integers(0, 400),
)
def test_a_factor_lies_between_nothing_and_the_whole(name: str, warmup: int, updates: int, update: int) -> None:
    schedule = Schedule(name, {}, warmup=warmup, updates=updates)
    assert 0 <= schedule(update) <= 1
    if update < min(warmup, updates):
        assert schedule(update) > 0
    if update > warmup:
        assert schedule(update) <= schedule(update - 1)


def test_stable_sgd_has_its_authors_rates_with_the_words_that_its_file_names() -> None:
    words = "strategy=stable_sgd optimizer.lr=0.08 schedule.task_floor=0.000625"
    assert words.partition(" ")[2] in (conf_folder() / "strategy" / "stable_sgd.yaml").read_text()
    config = load_config(words.split())
    schedule = config.schedule
    made = Schedule("constant", {}, task_factor=schedule.task_factor, task_floor=schedule.task_floor)
    rates = [config.optimizer.options["lr"] * made(0, task) for task in range(60)]
    assert rates == pytest.approx([max(0.1 * 0.8**task, 0.00005) for task in range(1, 61)], rel=1e-12)
    assert rates[-1] == pytest.approx(0.00005)
    assert load_config(["strategy=stable_sgd"]).optimizer.options["lr"] == 0.1, (
        "and by itself the first task has the whole rate"
    )
