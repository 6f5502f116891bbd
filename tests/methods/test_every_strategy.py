"""What holds for every strategy file there is, alone and with each other. A new file is covered at once."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from functools import cache, partial
from typing import Any

import pytest
import torch
from learners import SMALL, composed, config, finished, micro_batches, restored, same, steps, stream

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.catalog import load_part, parts
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.data.batch import Batch
from gradinc.data.stream import Stream
from gradinc.data.task import Task
from gradinc.methods.agem import AGEM

STRATEGIES = groups.names("strategy")
SETTINGS = [
    "grokfast strategy.methods.grokfast.kind=ma",
    "mir strategy.methods.mir.replay=2",
    "mir strategy.methods.mir.against=best",
    "agem strategy.methods.agem.kind=balanced",
    "gem strategy.methods.gem.kind=balanced",
    "er strategy.methods.er.loss=sum",
]
"""What the files' own settings leave out, also with `few`."""

ALONE = [*STRATEGIES, *SETTINGS]
SIZE, MICRO = 4, 8
WINDOWS = ("model.dropout=0.1", f"strategy.window.size={SIZE}")
HEADS = ("stream=split", "stream.tasks=2", "scenario=task")


@cache
def chosen(strategy: str, *more: str) -> Config:
    return config(*WINDOWS, *f"strategy={strategy}".split(), *more)


FEW = 3


@cache
def few(strategy: str) -> Config:
    """On two tasks with heads, with all whole numbers of methods at most `FEW`, except the sizes of memory and batch.

    So within four windows of the second task a sample is smaller than the memory, a queue is full, and what happens
    in every hundredth update has happened.
    """

    def cut(key: str, value: Any) -> Any:
        return min(value, FEW) if type(value) is int and key not in ("memory", "batch") else value

    made = chosen(strategy, *HEADS, "optimizer.momentum=0.9")
    methods = {name: {k: cut(k, v) for k, v in options.items()} for name, options in made.strategy.methods.items()}
    return dataclasses.replace(made, strategy=dataclasses.replace(made.strategy, methods=methods))


@cache
def ordinary() -> Stream:
    """All of digits as one task."""
    return stream(*WINDOWS)


def both(first: str, second: str) -> Config:
    """``strategy=[first,second]``, without composing it again: methods in order, the later window's keys win."""
    one, two, plain = chosen(first).strategy, chosen(second).strategy, chosen("accumulate").strategy.window
    window = one.window if two.window == plain else two.window
    methods = {**one.methods, **two.methods}
    changed = dataclasses.replace(chosen(first).strategy, window=window, methods=methods)
    return dataclasses.replace(chosen(first), strategy=changed)


def begun(config: Config) -> Learner:
    """A learner before its task's first batch."""
    made = composed(ordinary(), config)
    made.begin(ordinary()[0])
    return made


@cache
def served(count: int) -> list[Batch]:
    """The micro-batches of so many windows."""
    return micro_batches(ordinary()[0], count * SIZE, MICRO)


def walk(made: Learner, count: int) -> None:
    """Train on so many windows of the ordinary task."""
    for batch in served(count):
        if made.window.taken == 0:
            made.open(SIZE * MICRO, SIZE)
        made.take(batch)
        if made.window.taken == SIZE:
            made.update()


# ---- alone ----


def loss(made: Learner, task: Task, count: int) -> float:
    """The mean loss of the rows that a task is trained on, in evaluation."""
    batches = micro_batches(task, count, MICRO)
    x, y = torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches])
    everything = Batch(x, y, task.index, float(len(y)))
    with torch.no_grad(), made.passes.evaluation():
        return float(made.criterion.total(everything, made.model(x))) / len(y)


@pytest.mark.parametrize("strategy", ALONE)
def test_it_learns_task_after_task(strategy: str) -> None:
    """Each of two tasks that share nothing but their shape, with the learning rate of its file or the usual one."""
    name = "split" if strategy == "icarl" else "permuted"  # exemplars of a class belong to one task
    more = (f"stream={name}", "stream.tasks=2", "optimizer.momentum=0.9")
    tasks, count = stream(*more), 100
    made = composed(tasks, chosen(strategy, *more))
    before = after = 0.0
    for index, number in steps(made, tasks, count=count):
        if number == 1:
            before = loss(made, tasks[index], count)
        elif number == 0:
            after = loss(made, tasks[index - 1], count)
            assert after < 0.95 * before, (index - 1, before, after)


WALKED = {"count": 4 * SIZE, "window": SIZE}


def wrongly_resumed(strategy: str) -> list[tuple[int, int]]:
    """Tasks and micro-batches after which a resumed run ends with another state."""
    tasks = stream(*HEADS)

    def make() -> Learner:
        return composed(tasks, few(strategy))

    whole = make()
    stops = {(0, 1), (0, 6), (0, 12), (1, 0), (1, 3), (1, 8), (1, 13), (2, 0)}
    resumed = {stop: restored(whole, make) for stop in steps(whole, tasks, **WALKED) if stop in stops}
    assert resumed.keys() == stops
    for stop, again in resumed.items():
        for _ in steps(again, tasks, start=stop, **WALKED):
            pass
    return [stop for stop, again in resumed.items() if not same(again.state_dict(), whole.state_dict())]


@pytest.mark.parametrize("strategy", ALONE)
def test_it_resumes_bit_for_bit_inside_a_task_and_at_its_boundaries(strategy: str) -> None:
    """With dropout, momentum and heads, over four windows of each of two tasks.

    The first window has no history yet, and queues turn over in the third. A head that a method looks at at the end
    of its task, as EWC does, must not move with the next task's first step.
    """
    assert wrongly_resumed(strategy) == []


def test_what_a_method_draws_for_begins_with_its_name() -> None:
    """Else two of them in one strategy could keep, replay or measure the same rows."""
    asked: set[str] = set()
    for method in (part.name for part in parts("method")):
        tasks = stream(*HEADS)
        made = composed(tasks, chosen(method, *HEADS))
        real, purposes = made.rng, set()

        def recorded(purpose: str, real: Any = real, purposes: set[str] = purposes) -> torch.Generator:
            purposes.add(purpose)
            return real(purpose)

        made.rng = recorded  # type: ignore[method-assign]
        finished(made, tasks)
        assert [each for each in purposes if each != method and not each.startswith(f"{method}_")] == []
        assert not purposes & asked
        asked |= purposes
    assert len(asked) > 20


def undeclared(strategy: str) -> set[str]:
    """Attributes that hooks change, as seen where a run may be saved, and that `state` does not name."""
    tasks = stream(*HEADS)
    learner = composed(tasks, few(strategy))
    before = [copy.deepcopy(vars(method)) for method in learner.methods]
    changed = set()
    for _ in steps(learner, tasks, **WALKED):
        for method, old in zip(learner.methods, before, strict=True):
            now = vars(method)
            names = {name for name in old.keys() | now.keys() if not same(old.get(name), now.get(name))}
            changed |= {f"{type(method).__name__}.{name}" for name in names if name not in method.state}
    return changed


@pytest.mark.parametrize("strategy", [name for name in ALONE if chosen(name).strategy.methods])
def test_its_methods_declare_what_they_keep(strategy: str) -> None:
    assert undeclared(strategy) == set()


def test_a_method_that_does_not_declare_what_it_draws_once_per_window_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A-GEM, broken on purpose: in the second task, a run that resumes within a window draws another sample."""
    monkeypatch.setattr(AGEM, "state", tuple(name for name in AGEM.state if name != "chosen"))
    assert undeclared("agem") == {"AGEM.chosen"}
    assert wrongly_resumed("agem") == [(1, 3)]


def acts_on_windows(strategy: str) -> bool:
    methods = [load_part("method", name) for name in chosen(strategy).strategy.methods]
    return any(m.transform is not Method.transform or m.stepped is not Method.stepped for m in methods)


@pytest.mark.parametrize("strategy", [name for name in ALONE if acts_on_windows(name)])
def test_its_methods_act_once_per_window(strategy, monkeypatch):
    calls = Counter()
    classes = [load_part("method", name) for name in chosen(strategy).strategy.methods]
    for method in classes:
        for hook in ("transform", "stepped"):
            own = getattr(method, hook)
            if own is not getattr(Method, hook):

                def counted(self, *given, own=own, hook=hook):
                    calls[type(self), hook] += 1
                    return own(self, *given)

                monkeypatch.setattr(method, hook, counted)
    learner = begun(chosen(strategy))
    asked = counting_gradients(learner)
    walk(learner, 3)
    assert calls or all(getattr(m, h) is getattr(Method, h) for m in classes for h in ("transform", "stepped"))
    assert set(calls.values()) <= {3}
    again = any(method.role == "recomputes" for method in classes)
    assert (learner.updates, learner.work.samples) == (3, 3 * SIZE * MICRO)
    assert learner.work.backward_rows >= 3 * SIZE * MICRO * (1 + again) + sum(len(batch.x) for batch in asked)


def counting_gradients(learner: Learner) -> list[Batch]:
    """The batches, beside the stream's, whose gradient methods ask for."""
    asked = []

    def counted(own, batch, *given, **options):
        asked.append(batch)
        return own(batch, *given, **options)

    for name in ("gradient", "row_gradients"):
        setattr(learner, name, partial(counted, getattr(learner, name)))
    return asked


# ---- with each other ----


@pytest.mark.parametrize("first", STRATEGIES)
def test_it_combines_with_every_other_or_says_why_not(first):
    """Trained, or refused with what to write instead. Resuming is a matter of each alone: states are kept by name."""
    for second in STRATEGIES:
        if second == first:
            continue
        try:
            learner = begun(both(first, second))
        except UserError as refusal:
            check_refusal(refusal, first, second)
            continue
        before = learner.weights.value.clone()
        walk(learner, 1)
        names = f"[{first},{second}]"
        assert learner.weights.value.isfinite().all(), names
        assert not torch.equal(learner.weights.value, before), names


def check_refusal(refusal: UserError, first: str, second: str) -> None:
    """It names methods of both, and the order that it offers is taken."""
    one, two = (chosen(name).strategy.methods or [chosen(name).strategy.window.rule] for name in (first, second))
    assert any(name in refusal.what for name in one), refusal
    assert any(name in refusal.what for name in two), refusal
    if refusal.fix == "Use one of them":
        with pytest.raises(UserError):
            begun(both(second, first))
    else:
        names = refusal.fix.removeprefix("Use strategy=[").removesuffix("]").split(",")
        assert sorted(names) == sorted({**one, **two})
        begun(load_config([*SMALL, *WINDOWS, f"strategy=[{','.join(names)}]"]))


@pytest.mark.parametrize(("first", "second"), [("sam", "clip"), ("enhance", "sgd"), ("centralize", "enhance")])
def test_combining_them_here_is_what_the_command_line_does(first, second):
    composed = load_config([*SMALL, *WINDOWS, f"strategy=[{first},{second}]"])
    unnamed = dataclasses.replace(composed.strategy, name=both(first, second).strategy.name)
    assert dataclasses.replace(composed, strategy=unnamed).document == both(first, second).document
    assert list(composed.strategy.methods) == list(both(first, second).strategy.methods)
