"""A window of micro-batches is the large batch, exactly; and what methods may ask of a learner."""

import copy

import pytest
import torch
import torch.nn.functional as F
from learners import ROWS, distance, epochs, learner, members, network, rows, take, train, update, windows
from torch import nn

from gradinc.base.errors import Diverged
from gradinc.config.catalog import load_part
from gradinc.core.method import Method
from gradinc.core.rule import Rule
from gradinc.core.schedules import Schedule
from gradinc.data.batch import Batch

OPTIMIZERS = {
    "sgd": {"lr": 0.1},
    "momentum": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3},
    "nesterov": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    "adam": {"lr": 1e-3},
    "adamw": {"lr": 1e-3, "weight_decay": 1e-2},
    "nadam": {"lr": 1e-3},
    "radam": {"lr": 1e-3},
    "rmsprop": {"lr": 1e-3},
    "adagrad": {"lr": 1e-2},
}


def build(name, *methods, **more):
    function = "sgd" if name in ("momentum", "nesterov") else name
    return learner(*methods, optimizer=function, **OPTIMIZERS[name], **more)


def handwritten(optimizer, batch_size):
    """The loop that everybody writes; the oracle for a window of one."""
    x, y = rows(ROWS)
    model = network()
    stepped = optimizer(model.parameters())
    for order in epochs(2):
        for part in order.split(batch_size):
            stepped.zero_grad()
            F.cross_entropy(model(x[part]), y[part]).backward()
            stepped.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("micro", "window"), [(16, 4), (10, 7), (7, 3), (1, 32), (64, 100)])
def test_a_window_equals_the_large_batch_for_every_optimizer(name, micro, window):
    accumulated = train(build(name), micro, window)
    large = train(build(name), micro * window, 1)
    assert distance(accumulated, large) < 1e-12


def test_the_float32_gradient_of_a_window_is_the_large_batchs_to_1e_5():
    grads = []
    for micro, window in ((10, 30), (300, 1)):
        model = network().float()
        small = learner(model=model, lr=1e-30)
        train(small, micro, window, 1, dtype=torch.float32)
        grads.append(small.weights.grad.clone())
    assert distance(*grads) < 1e-5


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_window_of_one_equals_the_loop_written_by_hand(name):
    classes = {
        "momentum": torch.optim.SGD,
        "nesterov": torch.optim.SGD,
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
    }
    classes |= {"adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam, "radam": torch.optim.RAdam}
    classes |= {"rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad}
    ours = train(build(name), 32, 1)
    theirs = handwritten(lambda p: classes[name](p, **OPTIMIZERS[name]), 32)
    assert distance(ours, theirs) < 1e-12


def test_weighted_rows_count_by_their_weight_and_not_by_their_number():
    weight = torch.linspace(0.1, 3, 300, dtype=torch.float64)
    accumulated = train(build("sgd"), 9, 5, weight=weight)
    large = train(build("sgd"), 45, 1, weight=weight)
    unweighted = train(build("sgd"), 45, 1)
    assert distance(accumulated, large) < 1e-12
    assert distance(accumulated, unweighted) > 1e-3


def test_a_window_that_turns_out_otherwise_than_planned_is_still_the_mean():
    wrong = build("sgd")
    for window in windows(16, 4):
        take(wrong, window, planned=3 * sum(batch.items for batch in window) + 1)
        wrong.update()
    right = train(build("sgd"), 64, 1)
    assert distance(wrong.weights.value, right) < 1e-12


def test_sum_is_the_mean_times_the_rows():
    total = learner(rule=load_part("rule", "sum")(), lr=0.1 / 60)
    summed = train(total, 12, 5)  # 300 = 5 × 60, so every window has 60 rows
    assert distance(summed, train(build("sgd"), 60, 1)) < 1e-12


class DividesByMicroBatches(Rule):
    """Broken on purpose: Σ of the micro-batches' means ÷ K, as most frameworks do."""

    def __init__(self, count):
        self.count = count

    def factor(self, items, planned):
        return 1 / items / self.count

    def reduce(self, grad, items, planned):
        return True


class DividesTwice(Rule):
    """Broken on purpose."""

    def factor(self, items, planned):
        return 1 / planned

    def reduce(self, grad, items, planned):
        grad.div_(items)
        return True


class ForgetsToCorrect(Rule):
    """Broken on purpose: trusts the plan."""

    def factor(self, items, planned):
        return 1 / planned

    def reduce(self, grad, items, planned):
        return True


class DividesByTheUsualRows(Rule):
    """Broken on purpose: ÷ K times the rows of a full micro-batch, also where there are fewer."""

    def factor(self, items, planned):
        return 1 / 64

    def reduce(self, grad, items, planned):
        return True


class MeanOfMeans(DividesByMicroBatches):
    """Broken on purpose: right for short windows, and wrong for ragged micro-batches."""

    def __init__(self):
        self.taken = 0

    def factor(self, items, planned):
        self.taken += 1
        return 1 / items

    def reduce(self, grad, items, planned):
        grad.div_(self.taken)
        self.taken = 0
        return True


@pytest.mark.parametrize(
    "rule",
    [DividesByMicroBatches(4), DividesTwice(), ForgetsToCorrect(), DividesByTheUsualRows(), MeanOfMeans()],
    ids=lambda rule: type(rule).__name__,
)
def test_broken_rules_are_caught(rule):
    """The equality tests would be worth nothing if these passed them. 300 rows leave ragged, short windows."""
    broken = learner(rule=rule)
    for window in windows(16, 4):
        take(broken, window, planned=sum(batch.items for batch in window) + 1)
        broken.update()
    assert distance(broken.weights.value, train(build("sgd"), 64, 1)) > 1e-6


def test_the_schedule_and_the_counters_tick_once_per_window():
    rates = []

    class Watch(Method):
        def transform(self, g, learner):
            rates.append(learner.lr)

    counted = build("sgd", Watch(), schedule=Schedule("step", {"every": 2, "gamma": 0.5}))
    train(counted, 10, 6, 1)
    assert rates == [0.1, 0.1, 0.05, 0.05, 0.025]
    assert (counted.updates, counted.work.rows, counted.work.samples) == (5, 300, 300)


def test_a_schedule_that_ticks_per_micro_batch_is_caught():
    """The equality of windows and large batches, with a schedule that moves."""

    def trained(micro, window, broken=False):
        mine = build("sgd", schedule=Schedule("step", {"every": 2, "gamma": 0.5}))
        if broken:
            mine.rate.schedule = lambda *_: 0.5 ** (mine.work.forward_rows // 32)
        return train(mine, micro, window)

    large = trained(64, 1)
    assert distance(trained(16, 4), large) < 1e-12
    assert distance(trained(16, 4, broken=True), large) > 1e-3


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_an_optimizer_that_steps_per_micro_batch_is_caught(name):
    """Its momentum, decay and counters tick too often, however small its steps."""
    large = train(build(name), 64, 1)
    assert distance(train(build(name), 16, 4), large) < 1e-12
    assert distance(train(build(name), 16, 1), large) > 1e-3


def test_peak_memory_is_flat_in_the_length_of_a_window():
    """By the allocator's own account, for a model whose weights outweigh a micro-batch."""
    from torch.profiler import ProfilerActivity, profile

    def peak(window, name):
        model = nn.Linear(64, 4000).double()
        mine = learner(model=model, rule=load_part("rule", name)())
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            train(mine, 4, window, 1)
        now = top = 0
        for event in watched.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                top = max(top, now)
        return top / (8 * len(mine.weights))

    assert peak(25, "mean") == pytest.approx(peak(2, "mean"), abs=0.1)
    assert peak(25, "sum") == pytest.approx(peak(2, "sum"), abs=0.1)
    assert peak(25, "median") > peak(2, "median") + 20


class Shrinks(Method):
    """weights² / 2 as a loss term: its gradient is the weights."""

    def loss(self, batch, out, learner):
        return sum(p.square().sum() for p in learner.model.parameters()) / 2


def test_a_methods_penalty_is_added_once_however_long_the_window():
    accumulated = train(build("sgd", Shrinks()), 11, 4)
    decayed = train(learner(lr=0.1, weight_decay=1.0), 44, 1)
    assert distance(accumulated, decayed) < 1e-12


# ---- the gradient of anything, and the window's own gradient again ----


def first_batch(count=50):
    return members((count,))[0]


def test_gradient_is_that_of_the_mean_loss_and_disturbs_nothing():
    mine = learner(model=network(norm=True, dropout=0.3))
    batch = first_batch()
    mine.open(50.0, 1)
    mine.take(batch)
    before = copy.deepcopy((mine.model.state_dict(), mine.weights.grad, mine.window.items))
    torch.manual_seed(5)
    expected_draw = torch.rand(3)
    torch.manual_seed(5)
    mine.gradient(first_batch(20))
    assert torch.equal(torch.rand(3), expected_draw)
    after = (mine.model.state_dict(), mine.weights.grad, mine.window.items)
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]

    plain = learner()
    F.cross_entropy(plain.model(batch.x), batch.y).backward()
    assert torch.allclose(plain.gradient(batch), plain.weights.grad, rtol=1e-12, atol=0)


def test_gradient_of_each_row_is_a_loop_over_rows():
    mine = learner()
    batch = first_batch(9)
    (rows,) = mine.row_gradients(batch)
    each = rows.rows()
    for row in range(9):
        one = Batch(batch.x[row : row + 1], batch.y[row : row + 1], 0, 1.0)
        assert torch.allclose(each[row], mine.gradient(one), rtol=1e-10, atol=1e-14)
    assert torch.allclose(each.mean(0), mine.gradient(batch), rtol=1e-10, atol=1e-14)


def test_regradient_is_the_windows_own_gradient_with_its_dropout_masks():
    seen = []

    class Again(Method):
        rereads = True

        def transform(self, g, learner):
            seen.append((g.clone(), learner.regradient()))

    mine = learner(Again(), Shrinks(), model=network(norm=True, dropout=0.5))
    train(mine, 16, 4, 1)
    assert len(seen) == 5
    for first, again in seen:
        assert distance(again, first) < 1e-12


def test_dropout_masks_depend_on_the_position_and_on_nothing_drawn_elsewhere():
    runs = []
    for noise in (0, 3):
        torch.manual_seed(noise)
        mine = learner(model=network(dropout=0.5))
        runs.append(train(mine, 32, 2, 1).clone())
    assert torch.equal(*runs)


# ---- numbers that are not finite ----


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched():
    mine = learner()
    before = mine.weights.value.clone()
    batch = first_batch(8)
    x = batch.x.clone()
    x[3, 5] = float("nan")
    mine.open(8.0, 1)
    with pytest.raises(Diverged, match="loss is not finite at step 1"):
        mine.take(Batch(x, batch.y, 0, 8.0))
    assert torch.equal(mine.weights.value, before)


def test_a_nan_in_one_weights_gradient_is_found_by_the_next_loss_and_before_anything_is_logged_or_saved():
    class Poison(Method):
        def transform(self, g, learner):
            g[-1] = float("nan")

    with pytest.raises(Diverged, match="loss is not finite at step 2"):
        train(learner(Poison()), 32, 1, 2)
    mine = learner(Poison())
    update(mine, members((32,)))
    with pytest.raises(Diverged, match=r"2\.bias is not finite at step 1"):
        mine.drain()


def test_a_sum_that_overflows_where_no_entry_does_is_no_divergence():
    class Huge(Method):
        def transform(self, g, learner):
            g.zero_()[:4] = torch.finfo(g.dtype).max / 2

    mine = learner(Huge(), lr=1e-310)
    train(mine, 300, 1, 1)
    assert mine.updates == 1


# ---- state ----


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_learner_goes_on_bit_for_bit_from_its_state_inside_a_window(taken):
    def fresh():
        return learner(model=network(norm=True, dropout=0.2), optimizer="adam", lr=1e-3)

    def window(mine, start):
        if start == 0:
            mine.open(80.0, 4)
        for batch in members((20,) * 4)[start:]:
            mine.take(batch)
        mine.update()

    whole = fresh()
    window(whole, 0)
    window(whole, 0)

    first = fresh()
    window(first, 0)
    if taken:
        first.open(80.0, 4)
        for batch in members((20,) * 4)[:taken]:
            first.take(batch)
    state = copy.deepcopy(first.state_dict())
    second = fresh()
    second.load_state_dict(state)
    window(second, taken)
    assert torch.equal(second.weights.value, whole.weights.value)
    buffers = zip(second.model.buffers(), whole.model.buffers(), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in buffers)
    assert second.drain() == whole.drain()


def test_frozen_weights_stay_out_of_the_vector():
    model = network()
    model[0].weight.requires_grad_(False)
    mine = learner(model=model)
    before = model[0].weight.clone()
    train(mine, 32, 2, 1)
    assert torch.equal(model[0].weight, before)
    assert len(mine.weights) == sum(p.numel() for p in nn.ModuleList([model[2]]).parameters()) + 16
