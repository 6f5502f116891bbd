"""Layers with windows of their own, against a slow loop that keeps every layer's gradients by hand."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from learners import ROWS, distance, epochs, learner, network, restored, rows
from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.core.layer_windows import LayerWindows, sizes_of
from gradinc.core.plan import extent
from gradinc.core.schedules import Schedule
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.execute import execute

SIZE, MICRO = 2, 16
OPTIMIZERS = {
    "sgd": ("sgd", torch.optim.SGD, {"lr": 0.1}),
    "momentum": ("sgd", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2}),
    "adamw": ("adamw", torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 1e-1}),
    "nadam": ("nadam", torch.optim.NAdam, {"lr": 1e-3}),
    "radam": ("radam", torch.optim.RAdam, {"lr": 1e-3}),
    "rmsprop": ("rmsprop", torch.optim.RMSprop, {"lr": 1e-3, "alpha": 0.9}),
    "adagrad": ("adagrad", torch.optim.Adagrad, {"lr": 1e-2}),
}
LAYERS = {
    "first": {"0.*": 8},
    "biases": {"*.bias": 4},
    "several": {"2.weight": 6, "0.*": 4},
    "all": {"*": 8},
}


def layered(optimizer="momentum", layers="first", last="flush", model=None):
    model = model or network()
    name, _, options = OPTIMIZERS[optimizer]
    waits = {} if layers is None else sizes_of([name for name, _ in model.named_parameters()], LAYERS[layers])
    return learner(
        model=model,
        optimizer=name,
        schedule=Schedule("step", {"every": 5, "gamma": 0.7}),
        waits=waits,
        first=lambda window: {"layers": LayerWindows(window.weights, window, SIZE, last)} if waits else {},
        **options,
    )


def micro_batches(last, count=2):
    """Each micro-batch with the window that it opens, if it does: Σ of its rows, their number, and whether it ends."""
    x, y = rows(ROWS)
    left = 0
    served = [(number, part) for number, order in enumerate(epochs(count)) for part in order.split(MICRO)]
    length = len(served) // count
    for place, (_, part) in enumerate(served):
        index = place % length
        opens = None
        if left == 0:
            left = extent(index, length, SIZE, last)
            if left == 0:
                continue
            window = served[place : place + left]
            ends = extent(index + left, length, SIZE, last) == 0
            opens = (float(sum(len(r) for _, r in window)), left, ends)
        left -= 1
        yield opens, Batch(x[part], y[part], 0, float(len(part)))


def train(mine, batches):
    for opens, batch in batches:
        if opens is not None:
            planned, size, ends = opens
            mine.open(planned, size, ends=ends)
        mine.take(batch)
        if mine.window.taken == mine.window.size:
            mine.update()
        yield


def by_hand(optimizer, layers, last, count=2):
    """One optimizer for each parameter, stepped when that parameter's own micro-batches are complete."""
    x, y = rows(ROWS)
    model = network()
    _, kind, options = OPTIMIZERS[optimizer]
    sizes = {n: next((s for p, s in LAYERS[layers].items() if _fits(n, p)), SIZE) for n, _ in model.named_parameters()}
    steps = {name: kind([p], **options) for name, p in model.named_parameters()}
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    rows_of, taken = dict.fromkeys(sums, 0), dict.fromkeys(sums, 0)
    updates = of_window = 0
    for order in epochs(count):
        batches = order.split(MICRO)
        whole = len(batches) // SIZE * SIZE
        for index, part in enumerate(batches[:whole] if last == "drop" else batches):
            grads = torch.autograd.grad(F.cross_entropy(model(x[part]), y[part], reduction="sum"), model.parameters())
            of_window += 1
            for name, g in zip(sums, grads, strict=True):
                sums[name] += g
                rows_of[name] += len(part)
                taken[name] += 1
            flush = last == "flush" and index == len(batches) - 1
            if of_window < SIZE and not flush:
                continue
            of_window = 0
            for name, p in model.named_parameters():
                if taken[name] >= sizes[name] or flush:
                    p.grad = sums[name] / rows_of[name]
                    steps[name].param_groups[0]["lr"] = options["lr"] * 0.7 ** (updates // 5)
                    steps[name].step()
                    sums[name] = torch.zeros_like(p)
                    rows_of[name] = taken[name] = 0
            updates += 1
        if last == "drop":
            for name, p in model.named_parameters():
                sums[name] = torch.zeros_like(p)
                rows_of[name] = taken[name] = 0
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def _fits(name, pattern):
    return pattern == "*" or name.startswith(pattern.rstrip("*")) or name.endswith(pattern.lstrip("*"))


@pytest.mark.parametrize("last", ["flush", "carry", "drop"])
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_layer_with_its_own_window_is_the_loop_written_by_hand(optimizer, layers, last):
    """300 rows make 19 micro-batches, the last one ragged: an epoch ends in a short window of everything."""
    mine = layered(optimizer, layers, last)
    list(train(mine, micro_batches(last)))
    assert distance(mine.weights.value, by_hand(optimizer, layers, last)) < 1e-12
    others = [name for name in LAYERS if name != layers]
    assert all(distance(mine.weights.value, by_hand(optimizer, name, last)) > 1e-5 for name in others)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_sizes_that_are_the_window_s_own_change_nothing(optimizer):
    plain = layered(optimizer, None)
    LAYERS["own"] = {"0.*": SIZE}
    try:
        mine = layered(optimizer, "own")
        list(train(mine, micro_batches("flush")))
        list(train(plain, micro_batches("flush")))
        assert distance(mine.weights.value, plain.weights.value) < 1e-12
    finally:
        del LAYERS["own"]


def test_what_a_layer_that_is_not_due_has_in_the_optimizer_does_not_tick():
    mine = layered("adamw")
    steps = train(mine, micro_batches("flush"))
    counts = []
    for taken in range(1, 17):
        before = mine.model[0].weight.clone()
        next(steps)
        moved = not torch.equal(mine.model[0].weight, before)
        assert moved == (taken % 8 == 0), "weight decay would move it too"
        counts.append(sorted(int(state["step"]) for state in mine.optimizer.state.values()))
    assert counts[7] == [1, 4]
    assert counts[15] == [2, 8]


@pytest.mark.parametrize("last", ["flush", "carry", "drop"])
@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_it_resumes_bit_for_bit_at_every_micro_batch(optimizer, last):
    def fresh():
        return layered(optimizer, "several", last, network(norm=True, dropout=0.2))

    batches = list(micro_batches(last))
    whole = fresh()
    list(train(whole, batches))
    first = fresh()
    for place, _ in enumerate(train(first, batches), start=1):
        second = restored(first, fresh)
        list(train(second, batches[place:]))
        assert torch.equal(second.weights.value, whole.weights.value), place


def test_layers_that_forgot_their_gradients_in_a_restart_would_be_caught(monkeypatch):
    batches = list(micro_batches("flush"))
    whole = layered()
    list(train(whole, batches))
    monkeypatch.setattr(LayerWindows, "state", ("task",))
    first = layered()
    for _ in zip(range(4), train(first, batches), strict=False):
        pass
    second = restored(first, layered)
    list(train(second, batches[4:]))
    assert not torch.equal(second.weights.value, whole.weights.value)


def test_a_gradient_does_not_wait_over_the_end_of_a_task():
    """Where a limit has ended the task in between, what a layer still has is left out of the next task."""
    mine = layered("sgd", last="carry")
    steps = train(mine, micro_batches("carry"))
    for _ in range(4):
        next(steps)
    mine.place.task = 1
    for _ in range(4):
        next(steps)
    assert mine.around["layers"].taken == {8: 4}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)


def test_the_first_pattern_that_fits_counts_and_all_have_to_fit_something():
    names = [name for name, _ in Tied().named_parameters()]
    assert sizes_of(names, {"a.bias": 2, "a.*": 4, "*.bias": 6}) == {"a.weight": 4, "a.bias": 2, "b.bias": 6}
    assert sizes_of(names, {}) == {}
    with pytest.raises(
        UserError, match=r"strategy\.window\.layers=\{c\.\*:4\}: no weight of this model has a matching"
    ):
        sizes_of(names, {"a.*": 4, "c.*": 4})


# ---- as keys of a run ----

SMALL = ["data=digits", "model=mlp", "model.width=12", "model.depth=1", "progress=quiet", "threads=1"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["strategy.window.layers={*:6}"], "layers={*:6}: is not a multiple of window.size=4. Use 8."),
        (["strategy.window.layers={*:8}", "strategy=median"], "layers: goes with strategy.window.rule=mean only."),
        (["strategy.window.layers={*:8}", "strategy.window.due=items"], "layers: goes with strategy.window.due=size"),
        (["strategy.window.layers={*:8}", "strategy.scale_lr=sqrt"], "layers: goes with strategy.scale_lr=none only"),
        (["strategy.window.layers={*:0}"], "layers={*:0}: need a mapping of texts to whole numbers ≥ 1."),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(arguments, line):
    with pytest.raises(UserError) as refused:
        load_config([*SMALL, "strategy.window.size=4", *arguments])
    assert str(refused.value).startswith(f"strategy.window.{line}")


@pytest.mark.parametrize("method", ["sam", "clip", "grokfast", "cautious"])
def test_methods_that_read_the_whole_gradient_are_refused_before_anything_is_created(method, tmp_path):
    keys = [f"strategy={method}", "strategy.window.layers={*.bias:8}", f"output={tmp_path}"]
    with pytest.raises(UserError, match=rf"^strategy\.window\.layers: {method} reads the whole gradient, and "):
        execute(load_config([*SMALL, *keys]))
    assert not list(tmp_path.iterdir())


def test_methods_that_treat_every_layer_by_itself_go_with_it():
    dataset = load_dataset(load_config(SMALL).data, "cpu", torch.float32)
    keys = ["strategy=[agc,centralize,noise,lookahead]", "strategy.window.layers={*.bias:8}"]
    config = load_config([*SMALL, *keys])
    model = build_model(config, Shape(dataset.shape, dataset.outputs), torch.device("cpu"))
    assert build_learner(config, model, build_criterion(dataset), 100).around["layers"]


def test_a_run_learns_with_it_and_the_window_counts_its_updates(tmp_path):
    keys = ["strategy.window.size=2", "strategy.window.layers={hidden1.*:8}", "budget.epochs=4", "name=run"]
    config = load_config([*SMALL, *keys, f"output={tmp_path}"])
    assert execute(config) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == 4 * 21, "41 micro-batches make 21 windows"
    assert result["test"]["accuracy"] > 0.7
