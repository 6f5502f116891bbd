"""``gradinc.attach`` with optimizers, losses and loaders of one's own, and what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, TensorDataset, WeightedRandomSampler

import gradinc

EPOCHS = 2


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two states are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def small(dtype=torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3)).to(dtype)


def rows(count: int = 50, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 6, generator=generator, dtype=dtype), torch.randint(3, (count,), generator=generator)


@pytest.mark.parametrize("strategy", ["agem", "er", "gpm", "grokfast", "sgd"])
def test_a_state_in_the_middle_of_a_window_resumes_to_the_same_bits(strategy):
    tasks = [list(zip(*(part.split(8) for part in rows(count)), strict=True)) for count in (50, 35)]

    def attached(net: nn.Module):
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        learner = gradinc.attach(net, optimizer, strategy=strategy, window=3, tasks=2, seed=5)
        return learner, torch.optim.lr_scheduler.StepLR(optimizer, 2)

    whole, scheduler = attached(small())
    saved = None
    for number, task in enumerate(tasks):
        with whole.task(task):
            for x, y in task:
                if whole.step(x, y):
                    scheduler.step()
                if number == 1 and whole.taken == 2:
                    saved = copy.deepcopy((whole.state_dict(), scheduler.state_dict()))
    resumed, scheduler = attached(small().apply(lambda m: getattr(m, "reset_parameters", lambda: None)()))
    resumed.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    with pytest.raises(gradinc.UserError, match="saved inside a task"):
        resumed.step(*tasks[1][0])
    with resumed.task(tasks[1]):
        for x, y in tasks[1][resumed.taken :]:
            if resumed.step(x, y):
                scheduler.step()
    assert same(whole.net.state_dict(), resumed.net.state_dict())
    assert whole.updates == resumed.updates
    with pytest.raises(gradinc.UserError, match="of another learner"):
        gradinc.attach(small(), "sgd", strategy="clip").load_state_dict(saved[0])


def test_a_window_is_one_large_batch_also_when_ragged():
    """Against PyTorch alone: the mean over all rows of the window, whatever the sizes of its batches."""
    x, y = rows()
    net, by_hand = (nn.Sequential(*(layer for layer in small() if not isinstance(layer, nn.Dropout))) for _ in "ab")
    weight = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64)
    for criterion in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=weight, label_smoothing=0.0)):
        learner = gradinc.attach(net, torch.optim.SGD(net.parameters(), lr=0.3), window=3, criterion=criterion)
        for part in (slice(0, 5), slice(5, 30), slice(30, 50)):
            made = learner.step(x[part], y[part])
        assert made
        loss = criterion(by_hand(x), y)
        grads = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for p, g in zip(by_hand.parameters(), grads, strict=True):
                p -= 0.3 * g
        for one, other in zip(net.parameters(), by_hand.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_tokens_count_once_each_whatever_their_rows():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(11, 4), nn.Linear(4, 11)).double()
    by_hand = copy.deepcopy(net)
    x = torch.randint(11, (6, 5))
    y = x.masked_fill(torch.arange(5) >= torch.tensor([5, 1, 2, 5, 3, 4])[:, None], -100)

    def loss(out, y):
        return F.cross_entropy(out.transpose(1, 2), y, reduction="none")

    def terms(y):
        return (y != -100).sum(1).double()

    learner = gradinc.attach(net, {"name": "sgd", "lr": 0.5}, window=2, criterion=loss, terms=terms)
    learner.step(x[:4], y[:4])
    learner.step(x[4:], y[4:])
    mean = F.cross_entropy(by_hand(x).flatten(0, 1), y.flatten())
    for p, q, g in zip(
        net.parameters(), by_hand.parameters(), torch.autograd.grad(mean, list(by_hand.parameters())), strict=True
    ):
        torch.testing.assert_close(p, q - 0.5 * g, rtol=1e-12, atol=1e-12)


def test_the_net_keeps_its_parameters_and_the_optimizer_its_schedulers_and_groups():
    net = small()
    before = list(net.parameters())
    optimizer = torch.optim.SGD(
        [{"params": net[0].parameters(), "lr": 0.0}, {"params": net[3].parameters(), "lr": 0.1}]
    )
    first = net[0].weight.clone()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    learner = gradinc.attach(net, optimizer)
    assert [id(p) for p in net.parameters()] == [id(p) for p in before]
    twin = copy.deepcopy(net)
    x, y = rows()
    optimizer.zero_grad()  # the habit of a loop by hand does no harm between two windows
    assert learner.step(x, y)
    scheduler.step()
    assert optimizer.param_groups[1]["lr"] == 0.05
    assert torch.equal(net[0].weight, first)
    assert not torch.equal(net[3].weight, twin[3].weight)


def test_dropout_of_a_step_leaves_the_generator_of_the_loop_alone():
    learner = gradinc.attach(small(), "sgd")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    learner.step(*rows())
    assert torch.equal(torch.rand(3), expected)


class Pairs(Dataset):
    """A data set of one's own, of another kind than PyTorch's."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


@pytest.mark.parametrize("kind", ["loader", "data set", "rows", "batches"])
def test_every_kind_of_loader_gives_the_same_memory(kind):
    x, y = rows(40, torch.float32)
    forms = {
        "loader": DataLoader(Pairs(x, y), 8),
        "data set": Pairs(x, y),
        "rows": (x.numpy(), y.numpy()),
        "batches": list(zip(x.split(8), y.split(8), strict=True)),
    }
    nets = []
    for form in (forms[kind], DataLoader(TensorDataset(x, y), 8)):
        nets.append(small(torch.float32))
        learner = gradinc.attach(nets[-1], "sgd", strategy="agem", tasks=2, agem={"memory": 10})
        for targets in (y, 2 - y):
            with learner.task(form):
                for inputs, labels in zip(x.split(8), targets.split(8), strict=True):
                    learner.step(inputs, labels)
    assert same(nets[0].state_dict(), nets[1].state_dict())


class Halves(BatchSampler):
    """Batches whose number of rows only the sampler knows."""

    def __iter__(self):
        return (part for rows in super().__iter__() for part in (rows[:4], rows[4:]))

    def __len__(self):
        return 2 * super().__len__()


@pytest.mark.parametrize("kind", ["loader", "sampler", "batches"])
def test_an_epoch_s_short_window_is_dropped_as_a_short_batch_is(kind):
    """50 rows are six batches of 8, and one of 2."""
    x, y = rows()
    data = TensorDataset(x, y)
    drawn = WeightedRandomSampler(torch.ones(50), 50, generator=torch.Generator())
    forms = {
        "loader": DataLoader(data, 8, shuffle=True),
        "sampler": DataLoader(data, 8, sampler=drawn),
        "batches": list(zip(x.split(8), y.split(8), strict=True)),
    }
    updates = {}
    for last in ("drop", "flush"):
        for size in (1, 2, 3, 4):
            learner = gradinc.attach(small(), "sgd", window={"size": size, "last": last})
            with learner.task(forms[kind]):
                for _ in range(EPOCHS):
                    for batch in forms[kind]:
                        learner.step(*batch)
            updates[last, size] = learner.updates / EPOCHS
    assert updates == {
        **{("drop", size): number for size, number in ((1, 6), (2, 3), (3, 2), (4, 1))},
        **{("flush", size): number for size, number in ((1, 7), (2, 4), (3, 3), (4, 2))},
    }


def test_a_loader_whose_short_batches_are_not_known_cannot_drop_them_and_none_may_drop_all():
    data = TensorDataset(*rows())

    def entered(loader, size=1, last="drop"):
        with gradinc.attach(small(), "sgd", window={"size": size, "last": last}).task(loader):
            return True

    own = DataLoader(data, batch_sampler=Halves(range(50), 8, drop_last=False))
    assert "last=drop: needs the rows of each batch" in refusal(lambda: entered(own))
    assert entered(own, last="flush")
    assert entered(DataLoader(data, batch_sampler=Halves(range(50), 8, drop_last=True)))
    assert entered(DataLoader(data, batch_sampler=BatchSampler(range(50), 8, drop_last=False)), 6)
    assert "an epoch of the loader has 6 full batches for windows of 7" in refusal(
        lambda: entered(DataLoader(data, 8), 7)
    )
    assert entered(DataLoader(data, 8), 6)
    assert entered(DataLoader(data, 8), 7, "flush")


def refusal(function) -> str:
    with pytest.raises(gradinc.UserError) as raised:
        function()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strategy": "gdumb"}, "trains each task on a memory of rows"),
        ({"strategy": "joint"}, "the rows of all tasks together"),
        ({"strategy": "cumulative"}, "the rows of all tasks so far"),
        ({"strategy": "stable_sgd"}, r"sets model.dropout=0.25, and the net is yours"),
        ({"strategy": "agem"}, "Give the number of tasks"),
        ({"model": "cnn"}, "neither a key of an own loop"),
        ({"strategy": "clip", "clip": {"nrom": 1}}, r"strategy.methods.clip.nrom: no such key"),
        ({"strategy.scale_lr": "linear"}, "changes the optimizer, and yours is made already"),
        ({"strategy.window.layers": {"0.*": 2}}, "Give the optimizer by its name"),
        ({"strategy": ["gpm", "noise"]}, "projects the gradient"),
        ({"criterion": 3}, "is no loss"),
    ],
)
def test_a_strategy_that_a_loop_cannot_have_is_refused(options, reason):
    net = small()
    assert reason in refusal(lambda: gradinc.attach(net, torch.optim.SGD(net.parameters(), lr=0.1), **options))


def test_an_optimizer_of_other_weights_is_refused():
    net, other = small(), small()
    wrong = torch.optim.SGD(other.parameters(), lr=0.1)
    assert "not one of the net's" in refusal(lambda: gradinc.attach(net, wrong))
    partly = torch.optim.SGD(net[0].parameters(), lr=0.1)
    assert "lacks the net's 3.weight" in refusal(lambda: gradinc.attach(net, partly))
    closure = torch.optim.LBFGS(net.parameters())
    assert "inside its step" in refusal(lambda: gradinc.attach(net, closure))
    for p in net[3].parameters():
        p.requires_grad_(False)
    assert gradinc.attach(net, partly).step(*rows())


def test_a_net_that_was_moved_or_frozen_is_refused():
    for change in (lambda net: net.float(), lambda net: net[0].requires_grad_(False)):
        net = small()
        learner = gradinc.attach(net, "sgd")
        learner.step(*rows())
        change(net)
        assert "then attach" in refusal(lambda learner=learner: learner.step(*rows()))


def test_steps_outside_tasks_are_refused_where_tasks_matter():
    x, y = rows()
    learner = gradinc.attach(small(), "sgd", strategy="gpm")
    assert "gpm needs to know where tasks begin and end" in refusal(lambda: learner.step(x, y))
    generator = ((x, y) for _ in range(3))
    assert "no loader whose rows" in refusal(lambda: learner.task(generator).__enter__())
    assert "gpm reads a task's rows" in refusal(lambda: learner.task().__enter__())
    with learner.task((x, y)):
        assert "open" in refusal(lambda: learner.task((x, y)).__enter__())


def test_a_loss_of_the_whole_batch_is_refused_and_a_loss_of_each_row_is_not():
    x, y = rows()
    one = gradinc.attach(small(), "sgd", criterion=lambda out, y: F.cross_entropy(out, y))
    assert "Return the loss of each row" in refusal(lambda: one.step(x, y))
    each = gradinc.attach(small(), "sgd", criterion=lambda out, y: F.cross_entropy(out, y, reduction="none"))
    assert each.step(x, y)


def test_methods_that_read_rows_of_a_task_say_so():
    """Every method whose source reads them, and no other."""
    import inspect

    from gradinc.config.catalog import load_part, parts
    from gradinc.core.method import Method

    kinds = [load_part("method", part.name) for part in parts("method")]
    sources = {
        kind: "".join(inspect.getsource(each) for each in kind.mro() if issubclass(each, Method) and each is not Method)
        for kind in kinds
    }
    words = ("task.batches(", "drawn(task", "with_examples(", "task.train")
    reads = {kind for kind, text in sources.items() if any(word in text for word in words)}
    assert reads == {kind for kind in kinds if kind.reads_task}
