"""The noise among micro-batches is that of their mean gradient, whatever the window's rule makes of them."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from learners import RAGGED, RULES, learner, members, micro_gradients, rule, take, update
from torch import Tensor

from gradinc.config.catalog import load_part
from gradinc.core.learner import Learner
from gradinc.core.rule import Rule
from gradinc.data.batch import Batch

STILL = 1e-300
"""A learning rate that moves no weight in float64: every rule then sees the same gradients."""


def made(
    name: str | Rule,
    due: str = "noise_scale",
    *,
    diagnostics: bool = False,
    corrupt: dict[str, Any] | None = None,
    **options: Any,
) -> Learner:
    chosen = rule(name) if isinstance(name, str) else name
    return learner(
        rule=chosen, lr=STILL, due=load_part("due", due)(**options), diagnostics=diagnostics, corrupt=corrupt
    )


def mccandlish(gradients: Tensor, size: int) -> tuple[float, float]:
    """tr(Σ) and ‖G‖² as in appendix A.1 of 1812.06162: B_small the micro-batch, B_big the window."""
    count = len(gradients)
    small, big = float(gradients.square().sum(1).mean()), float(gradients.mean(0).square().sum())
    trace = (small - big) / (1 / size - 1 / (count * size))
    signal = (count * size * big - size * small) / (count * size - size)
    return trace, signal


@pytest.mark.parametrize("name", RULES)
def test_the_noise_scale_is_worked_out_from_the_micro_batches_gradients(name: str) -> None:
    batches = members([20] * 4)
    trace, signal = mccandlish(micro_gradients(batches), 20)
    mine = made(name)
    update(mine, batches)
    due: Any = mine.window.due
    assert due.trace / 0.1 == pytest.approx(trace, rel=1e-9)
    assert due.signal / 0.1 == pytest.approx(signal, rel=1e-9)
    assert due.present == pytest.approx(trace / signal, rel=1e-9)


@pytest.mark.parametrize("name", RULES)
def test_what_is_observed_is_the_mean_over_rows_of_ragged_and_weighted_micro_batches(name: str) -> None:
    if name == "dp":
        pytest.skip("clips rows, and scaled losses are no rows of its own")
    for planned in (79.0, 100.0):  # a window may turn out shorter than foreseen
        batches = members(RAGGED, scale=(1, 0.5, 3, 1, 1))
        mine = made(name)
        seen: list[Any] = []
        mine.window.due.observe = lambda squares, square, seen=seen: seen.append(([*squares], square))  # type: ignore[method-assign]
        mine.open(planned, len(batches))
        for batch in batches:
            mine.take(batch)
        mine.update()
        ((squares, square),) = seen
        gradients, items = micro_gradients(batches), torch.tensor(RAGGED, dtype=torch.float64)
        expected = (gradients * items[:, None]).sum(0) / items.sum()
        assert float(square) == pytest.approx(float(expected.square().sum()), rel=1e-9)
        assert [float(s) for s, _ in squares] == pytest.approx(gradients.square().sum(1).tolist(), rel=1e-9)
        assert [n for _, n in squares] == pytest.approx(list(RAGGED))


@pytest.mark.parametrize("due", ["noise_scale", "norm_test"])
@pytest.mark.parametrize("name", RULES)
def test_windows_adapt_alike_under_every_rule(name: str, due: str) -> None:
    def sizes(name: str) -> list[int]:
        mine = made(name, due, largest=8, **{"norm_test": {"eta": 0.2}, "noise_scale": {"factor": 5.0}}[due])
        found, first = [], 0
        for step in range(6):
            size = mine.window.due.size(step, 2, 20)
            found.append(size)
            update(mine, members([20] * size, first=first))
            first += size * 20
        return found

    assert sizes(name) == sizes("mean")
    assert max(sizes("mean")) > 2, "and they do adapt"


@pytest.mark.parametrize("name", RULES)
def test_the_logged_noise_scale_is_the_same_under_every_rule(name: str) -> None:
    batches = members([20] * 4)
    gradients = micro_gradients(batches)
    mine = made(name, "size", diagnostics=True)
    update(mine, batches)
    notes = mine.drain()["notes"]
    first, big = float(gradients[0].square().sum()), float(gradients.mean(0).square().sum())
    trace = (first - big) / (1 / 20 - 1 / 80)
    assert notes["noise_scale"] == pytest.approx(trace / (big - trace / 80), rel=1e-9)
    if name not in ("agreement", "dp"):  # what it notes of the window's own gradient is another thing
        assert notes["gradient_norm"] == pytest.approx(float(mine.weights.grad.norm()), rel=1e-9)


def test_a_rule_with_its_own_factors_is_measured_by_them() -> None:
    """Means of means: ÷K in place of ÷N, which a file of one's own may do."""

    class Means(Rule):
        def factor(self, items: float, planned: float) -> float:
            return 1 / (4 * items)

        def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
            return True

    batches = members([20] * 4)
    mine = made(Means())
    update(mine, batches)
    due: Any = mine.window.due
    assert due.trace / 0.1 == pytest.approx(mccandlish(micro_gradients(batches), 20)[0], rel=1e-9)


def test_a_window_without_an_update_is_observed_too() -> None:
    mine = made(rule("agreement", tau=0.0))
    take(mine, members([20] * 4))
    assert not mine.update(), "nothing agrees"
    due: Any = mine.window.due
    assert due.trace > 0, "else only windows whose gradients happen to agree would count"


@pytest.mark.parametrize("name", ["mean", "median"])
def test_broken_gradients_are_measured_as_they_arrive(name: str) -> None:
    mine = made(name, corrupt={"prob": 1.0, "scale": 10.0, "kind": "flip", "start": 0, "stop": None})
    update(mine, members([20] * 4))
    due: Any = mine.window.due
    trace, _ = mccandlish(-10 * micro_gradients(members([20] * 4)), 20)
    assert due.trace / 0.1 == pytest.approx(trace, rel=1e-9)


def test_rows_that_are_replayed_count_by_their_share() -> None:
    """Micro-batches of 10 rows of the stream and 10 of a memory: a noise scale of 40 rows is two of them, not four."""

    def doubled(batch: Batch) -> Batch:
        half = batch.rows(0, 10)
        return half.replaying(batch.x[10:], batch.y[10:], batch.task_of_rows[10:])

    whole, halved = made("mean"), made("mean")
    update(whole, members([20] * 4))
    update(halved, [doubled(batch) for batch in members([20] * 4)])
    assert whole.window.due.size(1, 1, 20) == halved.window.due.size(1, 1, 10)
    one: Any = whole.window.due
    other: Any = halved.window.due
    assert other.present == pytest.approx(one.present / 2, rel=1e-9)


@pytest.mark.parametrize("name", ["mean", "sum", "median", "msam"])
def test_a_restart_inside_a_window_changes_no_bit_of_what_is_observed(name: str) -> None:
    batches = members([20] * 4)
    straight = made(name, diagnostics=True)
    update(straight, batches)
    going, again = made(name, diagnostics=True), made(name, diagnostics=True)
    going.open(80.0, 4)
    for batch in batches[:2]:
        going.take(batch)
    file = io.BytesIO()
    torch.save(going.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    for batch in batches[2:]:
        again.take(batch)
    again.update()
    one: Any = straight.window.due
    other: Any = again.window.due
    assert (other.trace, other.signal) == (one.trace, one.signal)
    assert again.drain() == straight.drain()
