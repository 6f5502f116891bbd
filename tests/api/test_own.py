"""A program's own model, data and tasks: the run is found by what they are, and no command can bring them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import gradinc
from gradinc.cli.main import main

QUIET = {"progress": "quiet", "budget": {"epochs": 2}, "strategy.window.size": 2}


class Net(nn.Module):
    """A small network for rows of 64 numbers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """500 digits as uint8 images and their labels."""
    digits = load_digits()
    return (digits.images[:500] * 15).astype(np.uint8)[:, None], digits.target[:500]


def log(run) -> bytes:
    return (run.path / "metrics.jsonl").read_bytes()


def test_a_run_of_own_objects_is_recorded_by_their_digests_and_leaves_them_as_they_are(net, rows):
    before = copy.deepcopy(net.state_dict())
    run = gradinc.train(QUIET, model=net, data=rows)
    assert run.path.name.startswith("arrays-Net-accumulate-s0-")
    assert run.config.model.name == "module"
    assert run.config.model.options["net"] == "Net"
    assert len(run.config.model.options["digest"]) == len(run.config.data.options["digest"]) == 16
    assert all(torch.equal(net.state_dict()[name], before[name]) for name in before)
    assert not torch.equal(run.model.state_dict()["body.1.weight"], before["body.1.weight"])
    x, y = rows
    assert (run.predict(x) == y).mean() > 0.6
    assert run.evaluate()["test"] == run.result["test"]


def test_the_same_objects_in_any_form_are_the_same_run(net, rows):
    x, y = rows
    run = gradinc.train(QUIET, model=net, data=rows)
    for same in [
        (torch.from_numpy(x), torch.from_numpy(y)),
        [x.copy(), y.copy()],
        TensorDataset(torch.from_numpy(x), torch.from_numpy(y)),
    ]:
        assert gradinc.train(QUIET, model=copy.deepcopy(net), data=same).path == run.path
    assert len(list(Path("outputs").iterdir())) == 1


def test_another_object_is_another_run(net, rows):
    x, y = rows
    paths = [gradinc.train(QUIET, model=net, data=rows).path]
    torch.manual_seed(1)
    paths.append(gradinc.train(QUIET, model=Net(), data=rows).path)  # other weights
    torch.manual_seed(0)
    paths.append(gradinc.train(QUIET, model=Net(8), data=rows).path)  # another shape
    other = x.copy()
    other[0, 0, 0, 0] += 1
    paths.append(gradinc.train(QUIET, model=net, data=(other, y)).path)  # one byte
    paths.append(gradinc.train(QUIET, model=net, data=rows, test=(x[:50], y[:50])).path)
    assert len(set(paths)) == len(paths)


def test_a_class_has_initial_weights_from_the_seed_and_a_module_its_own(net, rows):
    runs = gradinc.sweep(QUIET, model=Net, data=rows, seed=range(2), budget={"steps": 1}, optimizer={"lr": 1e-12})
    first = [run.model.state_dict()["body.1.weight"] for run in runs]
    assert not torch.allclose(*first)
    for seed in range(2):
        run = gradinc.train(QUIET, model=net, data=rows, seed=seed, budget={"steps": 1}, optimizer={"lr": 1e-12})
        assert torch.allclose(run.model.state_dict()["body.1.weight"], net.state_dict()["body.1.weight"])


def test_own_arrays_train_the_bits_of_the_same_arrays_in_a_file(rows):
    x, y = rows
    np.savez("set.npz", x_train=x[:400], y_train=y[:400], x_test=x[400:], y_test=y[400:])
    own = gradinc.train(QUIET, model="linear", data=(x[:400], y[:400]), test=(x[400:], y[400:]))
    file = gradinc.train(QUIET, model="linear", data={"name": "npz", "root": "set.npz"})
    assert log(own) == log(file)


def test_own_tasks_train_the_bits_of_the_stream_that_splits_the_classes(rows):
    x, y = rows
    np.savez("set.npz", x_train=x[:400], y_train=y[:400], x_test=x[400:], y_test=y[400:])
    tasks = {"strategy": ["accumulate", "agem"], "scenario": "class", "data.validation": 0}
    file = gradinc.train(
        QUIET,
        tasks,
        {"data": {"name": "npz", "root": "set.npz"}},
        model="linear",
        stream={"name": "split", "tasks": 2},
    )
    low, train, test = y < 5, np.arange(500) < 400, np.arange(500) >= 400

    def parts(rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(x[rows & low], y[rows & low]), (x[rows & ~low], y[rows & ~low])]

    own = gradinc.train(QUIET, tasks, model="linear", stream=parts(train), test=parts(test), data=(x[:400], y[:400]))
    alone = gradinc.train(QUIET, tasks, model="linear", stream=parts(train), test=parts(test))
    assert own.matrix.shape == (3, 2)
    assert own.meta["data"]["mean"] == file.meta["data"]["mean"] == alone.meta["data"]["mean"]
    np.testing.assert_array_equal(own.matrix, alone.matrix)
    digests = [run.result["weights_digest"] for run in (own, alone, file)]
    assert digests[0] == digests[1] == digests[2]
    assert [task["classes"] for task in own.meta["data"]["tasks"]] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_each_task_is_split_separately_and_data_decide_the_normalisation(net, rows):
    x, y = rows
    stream = [(x[:300], y[:300]), (x[300:], y[300:])]
    run = gradinc.train(QUIET, model=net, stream=stream, data=(x * 0 + 255, y))
    assert run.meta["data"]["rows"] == {"train": 360, "validation": 40, "test": 100}
    assert run.meta["data"]["mean"] == [1.0]
    assert run.matrix.shape == (3, 2)


class Items(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], int(self.y[index])


class Endless(IterableDataset):
    def __iter__(self):
        yield torch.zeros(2), 0


def test_a_torch_dataset_is_read_item_by_item(net, rows):
    x, y = rows
    assert gradinc.train(QUIET, model=net, data=Items(x, y)).meta["data"]["rows"]["train"] == 360


def test_regression_on_own_values_predicts_in_their_units():
    x = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    y = 100 + 20 * x[:, 0]
    run = gradinc.train(QUIET, model="linear", data=(x, y), budget={"epochs": 30})
    assert run.predict(x).shape == (300,)
    assert np.abs(run.predict(x) - y).mean() < 5


class TwoOutputs(nn.Linear):
    def forward(self, x):
        out = super().forward(x.flatten(1))
        return out, out


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda x, y: {"data": (x, y[:-1])}, "data: x has 500 rows, y has 499"),
        (lambda x, y: {"data": (x[:, 0, 0, 0], y)}, r"data: x has shape \(500,\)"),
        (lambda x, y: {"data": (x.astype(str), y)}, "x holds <U.*, not numbers"),
        (lambda x, y: {"data": (x * np.float32(np.nan), y)}, "holds NaN, Inf"),
        (lambda x, y: {"data": (x, y - 5)}, "y has the label -5"),
        (lambda x, y: {"data": Endless()}, "Dataset without a length"),
        (lambda x, y: {"data": (x, y), "test": (x[:, :, :4], y)}, "test: has rows of shape"),
        (lambda x, y: {"data": (x, y), "test": 3}, "test: is no rows"),
        (lambda x, y: {"test": (x, y)}, "test: goes with arrays of your own"),
        (lambda x, y: {"stream": [(x, y)] * 2, "test": (x, y)}, "test: does not match the stream"),
        (
            lambda x, y: {"data": (x, y), "model": nn.Linear(64, 10)},
            r"model=Linear: fails on rows of shape \(1, 8, 8\)",
        ),
        (
            lambda x, y: {"data": (x.reshape(500, 64), y), "model": nn.Linear(64, 9)},
            r"must give a tensor of shape \(2, 10\)",
        ),
        (lambda x, y: {"data": (x, y), "model": TwoOutputs(64, 10)}, "model=TwoOutputs: gives a tuple"),
        (lambda x, y: {"data": (x, y), "model": nn.Flatten()}, "model=Flatten: has no weight to train"),
        (lambda x, y: {"data": (x, y), "model": lambda a: Net()}, "model=lambda: takes 1 arguments"),
        (lambda x, y: {"data": (x, y), "model": lambda: 3}, "model=lambda: returns a int"),
        (lambda x, y: {"data": (x, y), "model": nn.LazyLinear(10)}, "model=LazyLinear"),
        (lambda x, y: {"data": (x, y), "cluster": "slurm"}, "no worker processes for it"),
    ],
)
def test_an_object_that_cannot_be_used_is_refused_in_one_line(rows, folder, make, line):
    with pytest.raises(gradinc.UserError, match=line) as error:
        gradinc.train(QUIET, **{"model": "linear", **make(*rows)})
    assert "\n" not in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_network_may_have_more_outputs_than_there_are_labels(net, rows):
    x, y = rows
    few = y < 7
    run = gradinc.train(QUIET, model=net, data=(x[few], y[few]))
    assert run.config.data.options["classes"] == 10


def test_code_without_source_needs_a_name(rows):
    scope: dict[str, type] = {}
    exec(
        "from torch import nn\nclass Typed(nn.Linear):\n def forward(self, x): return super().forward(x.flatten(1))",
        scope,
    )
    with pytest.raises(gradinc.UserError, match=r"model=Typed: has no digest .*Give the run a name: name=…") as error:
        gradinc.train(QUIET, model=scope["Typed"](64, 10), data=rows)
    assert "\n" not in str(error.value)
    run = gradinc.train(QUIET, model=scope["Typed"](64, 10), data=rows, name="mine")
    assert run.path.name == "mine"
    assert run.config.model.options["digest"] == "none-mine"


def test_arrays_that_change_after_the_training_are_not_measured_as_if_they_had_not(net, rows):
    x, y = rows
    run = gradinc.train(QUIET, model=net, data=(x, y))
    x[0] += 1
    with pytest.raises(gradinc.UserError, match="was changed after it was given"):
        run.evaluate()


def test_a_run_is_opened_with_its_objects_and_with_no_others(net, rows):
    path = gradinc.train(QUIET, model=net, data=rows).path
    x, y = rows
    opened = gradinc.load(path)
    with pytest.raises(gradinc.UserError, match=r"model=Net: is an object .*gradinc\.load\(RUN, model=…\)"):
        opened.predict(x)
    opened = gradinc.load(path, model=Net(), data=rows)
    assert (opened.predict(x) == y).mean() > 0.6
    assert opened.evaluate()["test"] == opened.result["test"]
    for wrong, line in [
        ({"model": Net(8)}, "model=Net: has the digest"),
        ({"model": nn.Linear(64, 10)}, "model=Linear: has the digest"),
        ({"data": (x[1:], y[1:])}, "data: has the digest"),
    ]:
        with pytest.raises(gradinc.UserError, match=line):
            gradinc.load(path, **wrong)
    with pytest.raises(gradinc.UserError, match="has model=linear of gradinc"):
        gradinc.load(gradinc.train(QUIET, model="linear").path, model=net)


def test_commands_read_the_record_and_say_that_they_lack_the_objects(net, rows, capsys):
    path = str(gradinc.train(QUIET, model=net, data=rows).path)
    other = str(gradinc.train(QUIET, model=net, data=rows, seed=1).path)
    for command in (["runs"], ["compare", path, other], ["report", path, "--output", "page.html"]):
        assert main(command) == 0
    assert "arrays-Net" in capsys.readouterr().out
    for command in (["test", path], ["verify", path], ["attack", path], ["sharpness", path]):
        assert main(command) == 2
        line = capsys.readouterr().err
        assert "is an object of a Python program" in line
        assert line.count("\n") == 1
    assert main(["train", "model=module"]) == 2
    assert "Give it to gradinc.train(model=…)" in capsys.readouterr().err


def margin(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """By how much the output of the class is above the largest of the others."""
    own = out.gather(1, y[:, None]).squeeze(1)
    return own - out.scatter(1, y[:, None], -torch.inf).amax(1)


def test_a_metric_is_measured_beside_the_others_and_changes_no_weight(net, rows):
    run = gradinc.train(QUIET, model=net, data=rows, metric=margin)
    plain = gradinc.train(QUIET, model=net, data=rows)
    assert run.path != plain.path
    assert run.result["weights_digest"] == plain.result["weights_digest"]
    test = run.dataset().test
    wanted = margin(run.model(test.x), test.y).double().mean().item()
    assert run.result["test"]["margin"] == pytest.approx(wanted, rel=1e-6)
    assert run.curves("validation.margin").y[-1] == run.result["validation"]["margin"]
    assert run.evaluate()["test"] == run.result["test"]
    again = gradinc.load(run.path, model=net, data=rows, metric=margin)
    assert again.evaluate()["test"] == run.result["test"]
    with pytest.raises(gradinc.UserError, match="metric=lambda: has the digest"):
        gradinc.load(run.path, metric=lambda out, y: out[:, 0])
    tasks = gradinc.train(QUIET, model=net, stream=[rows, rows], metric=margin)
    assert "margin" in tasks.result["test"]


def accuracy(out, y):
    return out[:, 0]


@pytest.mark.parametrize(
    ("metric", "line"),
    [
        (lambda out, y: out.mean(), r"metric=lambda: returns \(\) for \d+ rows, not one value for each"),
        (lambda out, y: 3.0, "returns float for"),
        (accuracy, "is the name of a measure that every run has"),
    ],
)
def test_a_metric_that_is_no_value_of_each_row_is_refused(net, rows, metric, line):
    with pytest.raises(gradinc.UserError, match=line):
        gradinc.train(QUIET, model=net, data=rows, metric=metric)


def smooth_error(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(out, y, reduction="none") * 2


def test_an_own_criterion_trains_and_its_windows_equal_the_large_batch(rows):
    keys = {
        "progress": "quiet",
        "dtype": "float64",
        "budget": {"steps": 4},
        "optimizer": {"name": "sgd", "momentum": 0},
    }
    data = {"model": "linear", "data": rows}
    one = gradinc.train(keys, {"data.batch_size": 30}, **data, criterion=smooth_error)
    four = gradinc.train(keys, {"data.batch_size": 10, "strategy.window.size": 3}, **data, criterion=smooth_error)
    half = {"optimizer.lr": one.config.optimizer.options["lr"] * 2, "data.batch_size": 30}
    plain = gradinc.train(keys, half, **data)  # twice the loss is twice the rate
    for name, weight in one.model.state_dict().items():
        assert torch.allclose(weight, four.model.state_dict()[name], atol=1e-12)
        assert torch.allclose(weight, plain.model.state_dict()[name], atol=1e-12)
    assert one.result["test"]["loss"] == pytest.approx(2 * plain.result["test"]["loss"])
    assert one.result["test"]["accuracy"] == plain.result["test"]["accuracy"]
    assert one.config.criterion.options["of"] == "smooth_error"
    opened = gradinc.load(one.path, data=rows, criterion=smooth_error)
    assert opened.evaluate()["test"] == one.result["test"]


def test_a_module_of_pytorch_is_a_criterion_for_values():
    x = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    y = x[:, 0] ** 2
    keys = {"progress": "quiet", "budget": {"epochs": 2}}

    def huber(out, y):
        return nn.functional.huber_loss(out, y, reduction="none").mean(1)

    run = gradinc.train(keys, model="mlp", data=(x, y), criterion=huber)
    assert set(run.result["test"]) == {"loss", "mse", "r2"}
    module = gradinc.train(keys, model="mlp", data=(x, y), criterion=nn.HuberLoss(reduction="none"))
    assert module.path != run.path
    assert module.result["weights_digest"] == run.result["weights_digest"]


@pytest.mark.parametrize(
    ("criterion", "line"),
    [
        (
            nn.CrossEntropyLoss(),
            r"criterion=CrossEntropyLoss: returns the shape \(\) for 2 rows, not the loss of each row",
        ),
        (lambda out, y: 3.0, "returns a float"),
        (lambda out, y: (out - y).square().mean(1), "criterion=lambda: fails on outputs of shape"),
    ],
)
def test_a_criterion_that_is_no_loss_of_each_row_is_refused(rows, folder, criterion, line):
    with pytest.raises(gradinc.UserError, match=line):
        gradinc.train(QUIET, model="linear", data=rows, criterion=criterion)
    assert list(folder.iterdir()) == []
