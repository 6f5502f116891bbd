"""``gradinc.attach`` is the update of a run inside one's own loop: the same bits, for the same batches."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset

import gradinc
from gradinc.core.world import World
from gradinc.runs.build import build_model
from gradinc.runs.epoch import Epoch
from gradinc.runs.prepare import prepare

PLAIN = {"optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.0}}
STREAM = [
    "data=digits",
    "model=mlp",
    "model.width=16",
    "model.dropout=0.1",
    "stream=permuted",
    "stream.tasks=3",
    "stream.samples_per_task=200",
    "data.batch_size=16",
    "budget.epochs=2",
    "progress=quiet",
    "threads=1",
]
STRATEGIES: dict[str, dict[str, Any]] = {
    "accumulate, agem": {"strategy": ["accumulate", "agem"], "strategy.methods.agem.memory": 30},
    "er": {"strategy": "er", "strategy.methods.er.memory": 40, "strategy.methods.er.replay": 8},
    "accumulate, gpm": {"strategy": ["accumulate", "gpm"]},
    "sam, ewc": {"strategy": ["sam", "ewc"], "strategy.window.size": 2},
    "derpp": {"strategy": "derpp", "strategy.methods.derpp.memory": 40, "strategy.methods.derpp.replay": 8},
    "median, lookahead": {"strategy": ["median", "lookahead"]},
    "windows of rows": {"strategy": "accumulate", "strategy.window.due": "items", "strategy.window.items.rows": 40},
}


def blobs(rows: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (rows,), generator=random)
    return torch.randn(rows, 5, generator=random, dtype=torch.float64) + y[:, None], y


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def vector(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("own", [False, True], ids=["gradinc's optimizer", "PyTorch's optimizer"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_batches_of_a_run_give_the_bits_of_the_run(name: str, own: bool) -> None:
    words = [*STREAM]
    run = gradinc.train(*words, PLAIN, STRATEGIES[name])
    config = run.config
    parts = prepare(config)
    net = build_model(config, parts.shape, parts.device)
    optimizer: Any = torch.optim.SGD(net.parameters(), lr=0.05, foreach=False) if own else "sgd"
    keys = STRATEGIES[name] if own else {**STRATEGIES[name], "optimizer.lr": 0.05, "optimizer.momentum": 0.0}
    learner = gradinc.attach(net, optimizer, tasks=3, **keys)
    for index in range(3):
        task = parts.stream[index]
        x, y = next(task.train.batches(torch.arange(len(task.train)), len(task.train)))
        loader = DataLoader(TensorDataset(x, y), batch_size=16)
        net.train()
        with learner.task(loader):
            for number in range(2):
                for batch in Epoch(task, number, 0, config.data, 0.0, World(), parts.device).batches(0):
                    learner.step(batch.x, batch.y)
    assert learner.updates == run.result["steps"]
    theirs = run.model.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in net.state_dict().items())


def test_a_window_of_four_is_the_large_batch_and_so_is_a_short_last_window() -> None:
    x, y = blobs(50)
    ours, plain = network(), network()
    learner = gradinc.attach(ours, torch.optim.SGD(ours.parameters(), lr=0.1), window=4, criterion=cross_entropy)
    loader = DataLoader(TensorDataset(x, y), batch_size=5)
    with learner.task(loader):
        made = [learner.step(a, b) for a, b in loader]
    assert made == [False, False, False, True] * 2 + [False, True]
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for rows in torch.arange(50).split(20):
        optimizer.zero_grad()
        cross_entropy(plain(x[rows]), y[rows]).backward()
        optimizer.step()
    torch.testing.assert_close(vector(ours), vector(plain), rtol=1e-13, atol=1e-13)
    wrong = network()  # each short window divided by four micro-batches
    optimizer = torch.optim.SGD(wrong.parameters(), lr=0.1)
    for rows in torch.arange(50).split(20):
        optimizer.zero_grad()
        (cross_entropy(wrong(x[rows]), y[rows], reduction="sum") / 20).backward()
        optimizer.step()
    assert (vector(ours) - vector(wrong)).abs().max() > 1e-4


def test_without_a_loader_the_end_of_the_task_makes_the_last_update() -> None:
    x, y = blobs(30)
    nets = [network(), network()]
    for net, given in zip(nets, [None, DataLoader(TensorDataset(x, y), batch_size=5)], strict=True):
        learner = gradinc.attach(net, torch.optim.SGD(net.parameters(), lr=0.1), window=4)
        with learner.task(given):
            for rows in torch.arange(30).split(5):
                learner.step(x[rows], y[rows])
            assert learner.updates == (1 if given is None else 2)
        assert learner.updates == 2
        assert not learner.flush()
    torch.testing.assert_close(vector(nets[0]), vector(nets[1]), rtol=1e-13, atol=1e-13)


def test_parameters_keep_their_identity_and_a_scheduler_of_pytorch_its_effect() -> None:
    x, y = blobs()
    net = network()
    before = list(net.parameters())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    learner = gradinc.attach(net, optimizer)
    plain = network()
    other = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    decay = torch.optim.lr_scheduler.ExponentialLR(other, 0.5)
    for _ in range(3):
        optimizer.zero_grad()  # harmless with an optimizer of one's own
        learner.step(x, y)
        scheduler.step()
        other.zero_grad()
        cross_entropy(plain(x), y).backward()
        other.step()
        decay.step()
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    torch.testing.assert_close(vector(net), vector(plain), rtol=1e-13, atol=1e-13)
    assert optimizer.param_groups[0]["lr"] == 0.0125


@pytest.mark.parametrize("stop", [3, 5, 14])
def test_a_saved_state_resumes_to_the_same_bits_inside_a_window_too(stop: int) -> None:
    tasks = [blobs(50, seed) for seed in range(2)]
    keys: dict[str, Any] = {"strategy": ["derpp", "gpm"], "window": 3, "tasks": 2}

    def fresh() -> tuple[nn.Module, Any]:
        net = network()
        return net, gradinc.attach(net, torch.optim.Adam(net.parameters(), lr=0.01), **keys)

    def train(learner: Any, first: int, last: int) -> Any:
        """The micro-batches from `first` on; the state after `last` of them."""
        for index in range(first // 10, 2):
            x, y = tasks[index]
            with learner.task((x, y)):
                for number, rows in enumerate(torch.arange(50).split(5)):
                    if index * 10 + number < first:
                        continue
                    if index * 10 + number == last:
                        return copy.deepcopy(learner.state_dict())
                    learner.step(x[rows], y[rows])
        return None

    whole, learner = fresh()
    train(learner, 0, 100)
    net, learner = fresh()
    state = train(learner, 0, stop)
    net, learner = fresh()
    learner.load_state_dict(state)
    assert learner.taken == stop % 10
    train(learner, stop, 100)
    assert torch.equal(vector(net), vector(whole))
    other, learner = fresh()
    learner.load_state_dict(state)
    train(learner, stop + 1, 100)  # leaves out one micro-batch
    assert not torch.equal(vector(other), vector(whole))


def test_what_attach_cannot_do_is_refused_in_one_line() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"strategy": "gdumb"}, "stream.data=memory: trains each task on a memory of rows"),
        ({"strategy": "joint"}, "stream.data=joint: trains each task on the rows of all tasks"),
        ({"strategy": "agem"}, "tasks: is not given, and the memory is shared by all tasks"),
        ({"strategy": "agme"}, "strategy=agme: unknown"),
        ({"strategy": ["agem", "sam"]}, "strategy=\\[agem,sam\\]"),
        ({"data.batch_size": 3}, r"attach\(batch_size=…\): is neither a key of an own loop"),
        ({"optimizer.lr": 3}, "optimizer: changes the optimizer, and yours is made already"),
        ({"window": 0}, "strategy.window.size=0"),
        ({"criterion": 3}, "criterion=3: is no loss"),
    ]
    for keys, message in cases:
        with pytest.raises(gradinc.UserError, match=f"^{message}"):
            gradinc.attach(net, optimizer, **keys)
    with pytest.raises(gradinc.UserError, match=r"^optimizer=SGD: has a parameter that is not one of the net's"):
        gradinc.attach(net[2], optimizer)
    with pytest.raises(gradinc.UserError, match=r"^optimizer=SGD: lacks the net's 2.weight"):
        gradinc.attach(net, torch.optim.SGD(net[0].parameters(), lr=0.1))


def test_a_loop_that_breaks_the_vector_is_told() -> None:
    x, y = blobs()
    learner = gradinc.attach(network(), "sgd", {"optimizer.lr": 0.1})
    learner.optimizer.zero_grad()
    with pytest.raises(gradinc.UserError, match=r"^optimizer.zero_grad: removed the gradients"):
        learner.step(x, y)
    net = network()
    learner = gradinc.attach(net, torch.optim.SGD(net.parameters(), lr=0.1), tasks=1)
    with learner.task():
        learner.step(x, y)
        with pytest.raises(gradinc.UserError, match="another task is open"), learner.task():
            pass
    with pytest.raises(gradinc.UserError, match="attach was told of 1 tasks"), learner.task():
        pass
    net.float()
    with pytest.raises(gradinc.UserError, match=r"^net.0.weight: is no longer what was attached"):
        learner.step(x, y)


class Rows(Dataset[Any]):
    """A data set of one's own."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, y = blobs(20)
        return x[index], int(y[index])


def test_a_method_that_looks_back_reads_the_rows_of_any_data_set_or_asks_for_them() -> None:
    made = []
    for given in (Rows(), blobs(20), None):
        net = network()
        learner = gradinc.attach(net, torch.optim.SGD(net.parameters(), lr=0.1), strategy="gpm")
        x, y = blobs(20)
        if given is None:
            with (
                pytest.raises(
                    gradinc.UserError, match=r"^learner.task: the loader is not given, and gpm reads a task's rows"
                ),
                learner.task(),
            ):
                learner.step(x, y)
            continue
        for _ in range(2):
            with learner.task(given):
                learner.step(x, y)
        made.append(vector(net))
    assert torch.equal(made[0], made[1])


def test_metrics_of_a_matrix() -> None:
    worked = [[0.9, 0.1, 0.2], [0.6, 0.8, 0.3], [0.5, 0.7, 0.9]]
    found = gradinc.metrics(torch.tensor(worked, dtype=torch.float64))
    assert found["acc"] == pytest.approx(0.7)
    assert found["bwt"] == pytest.approx((0.5 - 0.9 + 0.7 - 0.8) / 2)
    assert found["forgetting"] == pytest.approx((0.9 - 0.5 + 0.8 - 0.7) / 2)
    assert found["fwt"] is None
    assert gradinc.metrics(worked, baseline=[0.1, 0.2, 0.1])["fwt"] == pytest.approx((0.1 - 0.2 + 0.3 - 0.1) / 2)
    assert gradinc.metrics([[0.1, 0.2, 0.1], *worked]) == gradinc.metrics(worked, [0.1, 0.2, 0.1])
    assert gradinc.metrics([[0.9]])["bwt"] is None
    with pytest.raises(gradinc.UserError, match=r"^matrix: has 1 rows and 2 columns"):
        gradinc.metrics([[0.1, 0.2]])
