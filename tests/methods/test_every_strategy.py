"""What holds for every strategy file there is, alone and with each other. A new file is covered at once."""

from __future__ import annotations

import copy
import dataclasses
import io
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.data import dataset as data
from gradinc.data.batch import Batch
from gradinc.data.stream import Task, open_stream
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model

torch.set_num_threads(1)

STRATEGIES = groups.names("strategy")
SETTINGS = [
    "grokfast strategy.methods.grokfast.kind=ma strategy.methods.grokfast.window=2",
    "lookahead strategy.methods.lookahead.k=2",
]
"""What the files' own settings leave out within four windows."""

ALONE = [*STRATEGIES, *SETTINGS]
SIZE, MICRO = 4, 8
SMALL = ["data=digits", "model=mlp", "model.width=12", "model.depth=1", "model.dropout=0.1", "dtype=float64"]


@cache
def config(strategy: str) -> Config:
    return load_config([*SMALL, *f"strategy={strategy} strategy.window.size={SIZE}".split()])


@cache
def dataset() -> data.Dataset:
    return data.load_dataset(config("sgd").data, "cpu", torch.float64)


def task(config: Config) -> Task:
    return open_stream(config, dataset())[0]


def both(first: str, second: str) -> Config:
    """``strategy=[first,second]``, without composing it again: methods in order, the later window's keys win."""
    one, two, plain = config(first).strategy, config(second).strategy, config("accumulate").strategy.window
    window = one.window if two.window == plain else two.window
    methods = {**one.methods, **two.methods}
    changed = dataclasses.replace(config(first).strategy, window=window, methods=methods)
    return dataclasses.replace(config(first), strategy=changed)


def build(config: Config) -> Learner:
    model = build_model(config, Shape(dataset().shape, dataset().outputs), torch.device("cpu"))
    return build_learner(config, model, build_criterion(dataset()), len(dataset().train))


def begin(config: Config, *more: Method) -> Learner:
    """A learner before its task's first batch, with methods besides those of the config."""
    learner = build(config)
    if more:
        named = {**learner.named, **{type(method).__name__.lower(): method for method in more}}
        learner = Learner(learner.passes, learner.rate, learner.window, named)
    for method in learner.methods:
        method.begin(task(config), learner)
    return learner


def micro_batches(config: Config, windows: int) -> Iterator[Batch]:
    served = task(config).train.batches(torch.arange(windows * SIZE * MICRO), MICRO)
    return (Batch(x, y, 0, float(len(y))) for x, y in served)


def train(learner: Learner, batches: list[Batch]) -> Iterator[None]:
    """Go through the micro-batches in windows from wherever the learner is; yields where a run may be saved."""
    for batch in batches:
        if learner.window.taken == 0:
            learner.open(SIZE * MICRO, SIZE)
        learner.take(batch)
        if learner.window.taken == SIZE:
            learner.update()
        yield


def restored(learner: Learner, config: Config) -> Learner:
    """Another learner that goes on from what a checkpoint has of this one; its task does not begin again."""
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    file.seek(0)
    other = build(config)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


# ---- alone ----


@pytest.mark.parametrize("strategy", ALONE)
def test_it_learns(strategy):
    """40 updates, eight times over the same rows, with the learning rate of its file or the usual one."""
    learner = begin(config(strategy))
    batches = list(micro_batches(config(strategy), 5))
    x, y = torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches])
    everything = Batch(x, y, 0, float(len(y)))

    def loss() -> float:
        with torch.no_grad():
            return float(learner.criterion.total(everything, learner.model.eval()(x))) / len(y)

    before = loss()
    learner.model.train()
    for _ in range(8):
        list(train(learner, batches))
    assert loss() < 0.95 * before


@pytest.mark.parametrize("strategy", ALONE)
def test_it_resumes_bit_for_bit_at_every_micro_batch(strategy):
    """Over four windows: the first has no history yet, and queues turn over in the third."""
    chosen = config(strategy)
    batches = list(micro_batches(chosen, 4))
    whole = begin(chosen)
    list(train(whole, batches))
    first = begin(chosen)
    for number, _ in enumerate(train(first, batches), start=1):
        second = restored(first, chosen)
        list(train(second, batches[number:]))
        assert same(second.state_dict(), whole.state_dict()), f"saved after micro-batch {number}"


def undeclared(strategy: Config, learner: Learner) -> set[str]:
    """Attributes that hooks change, as seen where a run may be saved, and that `state` does not name."""
    parts = [*learner.methods, learner.window.rule]
    before = [copy.deepcopy(vars(part)) for part in parts]
    changed = set()
    for _ in train(learner, list(micro_batches(strategy, 4))):
        for part, old in zip(parts, before, strict=True):
            now = vars(part)
            names = {name for name in old.keys() | now.keys() if not same(old.get(name), now.get(name))}
            changed |= {f"{type(part).__name__}.{name}" for name in names if name not in part.state}
    return changed


@pytest.mark.parametrize("strategy", [name for name in ALONE if config(name).strategy.methods])
def test_its_methods_declare_what_they_keep(strategy):
    learner = begin(config(strategy))
    methods = {type(method).__name__ for method in learner.methods}
    assert not {name for name in undeclared(config(strategy), learner) if name.partition(".")[0] in methods}


def acts_on_windows(strategy: str) -> bool:
    methods = [load_part("method", name) for name in config(strategy).strategy.methods]
    return any(m.transform is not Method.transform or m.stepped is not Method.stepped for m in methods)


class Forgetful(Method):
    """Broken on purpose: counts updates, and does not say so."""

    def __init__(self) -> None:
        self.count = 0

    def transform(self, g, learner):
        self.count += 1


def test_a_method_that_does_not_declare_what_it_keeps_is_caught():
    learner = begin(config("sgd"), Forgetful())
    assert undeclared(config("sgd"), learner) == {"Forgetful.count"}


@pytest.mark.parametrize("strategy", [name for name in ALONE if acts_on_windows(name)])
def test_its_methods_act_once_per_window(strategy, monkeypatch):
    calls = Counter()
    classes = [load_part("method", name) for name in config(strategy).strategy.methods]
    for method in classes:
        for hook in ("transform", "stepped"):
            own = getattr(method, hook)
            if own is not getattr(Method, hook):

                def counted(self, *given, own=own, hook=hook):
                    calls[type(self), hook] += 1
                    return own(self, *given)

                monkeypatch.setattr(method, hook, counted)
    learner = begin(config(strategy))
    asked = counting_gradients(learner)
    list(train(learner, list(micro_batches(config(strategy), 3))))
    assert calls or all(getattr(m, h) is getattr(Method, h) for m in classes for h in ("transform", "stepped"))
    assert set(calls.values()) <= {3}
    again = any(method.role == "recomputes" for method in classes)
    assert (learner.updates, learner.work.samples) == (3, 3 * SIZE * MICRO)
    assert learner.work.backward_rows >= 3 * SIZE * MICRO * (1 + again) + sum(len(batch.x) for batch in asked)


def counting_gradients(learner: Learner) -> list[Batch]:
    """The batches, beside the stream's, whose gradient methods ask for."""
    asked, gradient = [], learner.gradient

    def counted(batch, *given, **options):
        asked.append(batch)
        return gradient(batch, *given, **options)

    learner.gradient = counted
    return asked


WAITS = {
    getattr(torch.ops.aten, name).default
    for name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")
}


class Waits(TorchDispatchMode):
    """Counts what would stop a GPU's queue until the number is there."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in WAITS:
            self.seen.append(function)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("strategy", [name for name in ALONE if config(name).strategy.methods])
def test_its_methods_wait_for_no_number(strategy):
    learner = begin(config(strategy))
    learner.open(SIZE * MICRO, SIZE)
    for batch in micro_batches(config(strategy), 1):
        learner.take(batch)
    with torch.no_grad(), Waits() as waits:
        learner.window.reduce(learner)
        for method in learner.methods:
            method.transform(learner.weights.grad, learner)
        for method in learner.methods:
            method.stepped(learner.window, learner)
    assert not waits.seen


def test_a_method_that_waits_for_a_number_is_caught():
    with Waits() as waits:
        torch.ones(3).sum().item()
    assert len(waits.seen) == 1


# ---- with each other ----


@pytest.mark.parametrize("first", STRATEGIES)
def test_it_combines_with_every_other_or_says_why_not(first):
    """Trained, and resumed in mid-window, or refused with what to write instead."""
    for second in STRATEGIES:
        if second == first:
            continue
        chosen = both(first, second)
        batches = list(micro_batches(chosen, 2))
        try:
            learner = begin(chosen)
        except UserError as refusal:
            check_refusal(refusal, first, second)
            continue
        steps = train(learner, batches)
        for _ in range(SIZE + 2):
            next(steps)
        other = restored(learner, chosen)
        list(steps)
        list(train(other, batches[SIZE + 2 :]))
        names = f"[{first},{second}]"
        assert learner.weights.value.isfinite().all(), names
        assert same(other.state_dict(), learner.state_dict()), names


def check_refusal(refusal: UserError, first: str, second: str) -> None:
    """It names methods of both, and the order that it offers is taken."""
    one, two = (config(name).strategy.methods or [config(name).strategy.window.rule] for name in (first, second))
    assert any(name in refusal.what for name in one), refusal
    assert any(name in refusal.what for name in two), refusal
    if refusal.mend == "Use one of them":
        with pytest.raises(UserError):
            begin(both(second, first))
    else:
        names = refusal.mend.removeprefix("Use strategy=[").removesuffix("]").split(",")
        assert sorted(names) == sorted({**one, **two})
        begin(load_config([*SMALL, f"strategy=[{','.join(names)}]"]))


@pytest.mark.parametrize(("first", "second"), [("sam", "clip"), ("enhance", "sgd"), ("centralize", "enhance")])
def test_combining_them_here_is_what_the_command_line_does(first, second):
    composed = load_config([*SMALL, f"strategy=[{first},{second}]", f"strategy.window.size={SIZE}"])
    assert composed.document == both(first, second).document
    assert list(composed.strategy.methods) == list(both(first, second).strategy.methods)
