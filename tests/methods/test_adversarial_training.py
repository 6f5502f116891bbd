"""pgd_at: images are moved within ε in input units, exactly for any window, and the model is harder to fool."""

from __future__ import annotations

import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.config.compose import load_config
from gradinc.data import dataset as data
from gradinc.data.batch import Batch
from gradinc.data.input_space import InputSpace
from gradinc.data.stream import open_stream
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.studies.attacks.measure import AttackSettings, Target, measure_attack

SMALL = ["data=digits", "model=mlp", "model.width=32", "model.depth=1", "dtype=float64", "optimizer.momentum=0"]


@pytest.fixture(scope="module")
def digits():
    return data.load_dataset(load_config(SMALL).data, "cpu", torch.float64)


def begun(digits, *overrides, method="pgd_at"):
    config = load_config([*SMALL, f"strategy={method}", *overrides])
    stream = open_stream(config, digits)
    model = build_model(config, Shape(digits.shape, 10), torch.device("cpu"))
    learner = build_learner(config, model, build_criterion(digits), len(digits.train), stream)
    for method in learner.methods:
        method.begin(stream[0], learner)
    return learner


def trained(learner, digits, sizes, updates):
    rows = digits.train
    total = sum(sizes)
    for update in range(updates):
        first = update * total % (len(rows) - total)
        learner.open(float(total), len(sizes))
        for size in sizes:
            part = slice(first, first + size)
            learner.take(Batch(rows.x[part], rows.y[part], 0, float(size)))
            first += size
        learner.update()
    return learner


def test_a_window_equals_the_large_batch(digits):
    option = "strategy.methods.pgd_at.start=image"
    whole = trained(begun(digits, option), digits, [24], 4).weights.value
    split = trained(begun(digits, option), digits, [8, 11, 5], 4).weights.value
    assert float((split - whole).norm() / whole.norm()) < 1e-12
    plain = trained(begun(digits, method="sgd"), digits, [24], 4).weights.value
    assert float((plain - whole).norm() / whole.norm()) > 1e-4
    neutral = trained(begun(digits, "strategy.methods.pgd_at.eps=0"), digits, [24], 4).weights.value
    assert torch.equal(neutral, plain)


def test_images_move_uphill_within_epsilon_and_leave_no_trace(digits):
    learner = begun(digits)
    batch = Batch(digits.train.x[:16], digits.train.y[:16], 0, 16.0)
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    moved = learner.methods[0].batch(batch, learner)
    space = InputSpace.of(digits).to(torch.float64)
    assert float(((moved.x - batch.x) * space.std).abs().max()) == pytest.approx(0.1, abs=1e-6)
    assert (moved.x >= space.low - 1e-6).all()
    assert (moved.x <= space.high + 1e-6).all()
    assert (learner.work.forward_rows, learner.work.backward_rows) == (7 * 16, 7 * 16)
    losses = [learner.criterion(b, learner.outputs(b)) for b in (batch, moved)]
    assert (losses[1] > losses[0]).all()
    assert learner.model.training
    assert not moved.x.requires_grad
    assert not learner.weights.grad.any()
    assert all(torch.equal(value, before[name]) for name, value in learner.model.state_dict().items())


def test_the_model_is_harder_to_fool(digits):
    accuracy = {}
    for method in ("sgd", "pgd_at"):
        learner = trained(begun(digits, "optimizer.lr=0.2", method=method), digits, [64], 150)
        model = learner.model.eval()
        chunk = (digits.test.x[:200], digits.test.y[:200], 0)
        target = Target(InputSpace.of(digits).to(torch.float64), [chunk], [model])
        found = measure_attack(target, AttackSettings((0.1,), steps=10, restarts=1))
        accuracy[method] = {each.attack: each.accuracy for each in found}
    assert accuracy["pgd_at"]["worst"] > accuracy["sgd"]["worst"] + 0.1
    assert accuracy["pgd_at"]["clean"] > 0.8


def test_rows_that_are_no_images_are_refused():
    config = load_config(["data=diabetes", "model=mlp", "strategy=pgd_at"])
    table = data.load_dataset(config.data, "cpu", torch.float32)
    model = build_model(config, Shape(table.shape, table.outputs), torch.device("cpu"))
    with pytest.raises(UserError, match="moves the pixels of images"):
        build_learner(config, model, build_criterion(table), 8, open_stream(config, table))
