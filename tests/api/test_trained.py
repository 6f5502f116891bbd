"""A run in Python: its curves, its matrix, and predictions for raw rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits

import gradinc

QUIET = {"progress": "quiet", "model": "linear"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits, whose raw values are from 0 to 16."""
    return gradinc.train(QUIET, output=str(tmp_path_factory.mktemp("runs")), budget={"epochs": 3})


def test_predictions_for_raw_images_have_the_accuracy_of_the_result(run):
    x, y = load_digits().images, load_digits().target
    test = run.dataset().test
    raw = (test.x * torch.tensor(run.meta["data"]["std"]) + torch.tensor(run.meta["data"]["mean"])) * 16
    right = (run.predict(raw.clamp(0, 16)) == test.y).double().mean()
    assert float(right) == pytest.approx(run.result["test"]["accuracy"], abs=1e-12)
    assert torch.equal(run.outputs(raw.clamp(0, 16).round()), run.model(test.x))
    assert (run.predict(x) == y).mean() > (run.model(torch.tensor(x[:, None]).float()).argmax(1).numpy() == y).mean()


def test_every_kind_of_the_same_raw_images_has_the_same_predictions(run):
    x = load_digits().images[:50]
    wanted = run.predict(x)
    assert isinstance(wanted, np.ndarray)
    assert wanted.dtype == np.int64
    for same in [x.astype(np.uint8), x.astype(np.float32)[:, None], x.tolist()]:
        assert np.array_equal(run.predict(same), wanted)
    tensor = run.predict(torch.from_numpy(x))
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), wanted)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda x: x / 16, "look divided already. The set's raw values are from 0 to 16"),
        (lambda x: (x - x.mean()) / x.std(), "are not this set's raw images"),
        (lambda x: x * 17, "values from 0 to 272"),
        (lambda x: x.reshape(-1, 64), r"rows of shape \(5, 64\): need \(rows, 1, 8, 8\)"),
        (lambda x: x[0, None], r"need \(rows, 1, 8, 8\)"),
        (lambda x: x[:, :, :, None], "Move the channels first"),
        (lambda x: x * np.nan, "hold NaN or Inf"),
        (lambda x: x > 3, "are not numbers"),
        (lambda x: x.astype(str), "are not numbers"),
    ],
)
def test_other_rows_are_refused_in_one_line(run, change, line):
    x = load_digits().images[:5]
    given = change(x)
    if given.shape == (1, 8, 8):
        given = given[0]
    with pytest.raises(gradinc.UserError, match=line) as error:
        run.predict(given)
    assert "\n" not in str(error.value)


def test_padding_is_added_to_raw_images(tmp_path):
    padded = gradinc.train(QUIET, output=str(tmp_path), budget={"steps": 3}, data={"pad": 2})
    raw = load_digits().images[:9]
    dataset = padded.dataset()
    mean, std = (torch.tensor(padded.meta["data"][name]) for name in ("mean", "std"))
    by_hand = (torch.nn.functional.pad(torch.tensor(raw).float()[:, None], (2,) * 4) / 16 - mean) / std
    assert by_hand.shape[1:] == dataset.shape
    assert torch.allclose(torch.from_numpy(padded.outputs(raw)), padded.model(by_hand), atol=1e-5)


def test_values_of_a_regression_are_in_the_units_of_its_targets(tmp_path):
    run = gradinc.train(QUIET, data="diabetes", output=str(tmp_path), budget={"epochs": 20})
    given = load_diabetes(scaled=False)
    found = run.predict(given.data)
    assert found.shape == given.target.shape
    assert abs(found.mean() - given.target.mean()) < 10
    assert np.corrcoef(found, given.target)[0, 1] > 0.6


def test_curves_are_the_numbers_of_the_log(run):
    curve = run.curves("train.loss")
    logged = [line for line in run.metrics if "loss" in line.get("train", {})]
    assert list(curve.x) == [line["step"] for line in logged]
    assert list(curve.y) == [line["train"]["loss"] for line in logged]
    assert list(run.curves("train.loss", over="samples").x) == [line["samples"] for line in logged]
    with pytest.raises(gradinc.UserError, match=r"train\.los: is not in the log.*Choose from: train\.loss"):
        run.curves("train.los")
    with pytest.raises(gradinc.UserError, match="over=epochs: no such axis"):
        run.curves("train.loss", over="epochs")
    assert run.matrix is None


def test_a_stream_has_a_matrix_and_asks_for_the_task_where_it_matters(tmp_path):
    x, y = load_digits().images, load_digits().target
    keys = {**QUIET, "output": str(tmp_path), "budget": {"epochs": 3}}
    tasks = gradinc.train(keys, stream="split", scenario="task")
    assert tasks.matrix.shape == (6, 5)
    assert np.isnan(tasks.matrix[1, 4])
    assert tasks.matrix[5, 4] == tasks.result["matrix"][5][4]
    with pytest.raises(gradinc.UserError, match=r"each task has its own outputs\. Give task=0"):
        tasks.predict(x)
    last = (y == 8) | (y == 9)
    assert set(tasks.predict(x[last], task=4)) == {8, 9}
    changed = gradinc.train(keys, stream={"name": "permuted", "tasks": 2})
    with pytest.raises(gradinc.UserError, match="each task changes the inputs"):
        changed.predict(x)
    right = [(changed.predict(x, task=task) == y).mean() for task in (0, 1)]
    assert right == pytest.approx(changed.matrix[2], abs=0.05)
    one = gradinc.train(keys, stream="split", scenario="class")
    assert (one.predict(x[last]) == y[last]).mean() > 0.5
