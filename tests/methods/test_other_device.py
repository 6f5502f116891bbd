"""Every model, rule, due, method and optimizer on another device than the CPU: one device, and no number read back.

The device has no numbers (`elsewhere`), so that this needs no GPU. `gradinc bench cuda` checks the same on a GPU.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from elsewhere import DEVICE, Elsewhere, Mixed, moved
from learners import digits, learner, rule
from torch import Tensor

from gradinc.config import groups
from gradinc.config.catalog import load_part, parts
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.data.batch import Batch
from gradinc.data.stream import Stream, open_stream
from gradinc.data.text import Tokens
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.studies.bench.waits import WAITS, waits
from gradinc.studies.bench.windows import SMALL, strategy_words, train_windows

STRATEGIES = groups.names("strategy")
HEADS = ("stream=split", "stream.tasks=2", "scenario=task")
CASES = [
    *(strategy_words(name) for name in STRATEGIES),
    *((f"strategy.window.rule={part.name}",) for part in parts("rule") if part.name not in STRATEGIES),
    *((f"strategy.window.due={part.name}",) for part in parts("due")),
    *((f"optimizer={part.name}", "model.depth=2") for part in parts("optimizer")),
    *((f"strategy={name}", *HEADS) for name in ("sgd", "er", "derpp", "agem", "ewc", "lwf", "ogd", "joint")),
    (*strategy_words("mir"), "strategy.methods.mir.among=past"),
    (*strategy_words("er"), "strategy.methods.er.among=past"),
    (*strategy_words("er"), "strategy.methods.er.kind=balanced"),
    (*strategy_words("er"), "strategy.methods.er.kind=ring"),
    (*strategy_words("er"), "strategy.methods.er.loss=sum"),
    (*strategy_words("agem"), "strategy.methods.agem.kind=balanced"),
    ("strategy.window.layers={output.*:8}",),
    ("strategy=sam", "model.dropout=0.1", "diagnostics=true"),
    ("corrupt.prob=0.5", "corrupt.kind=noise"),
]
SMALL_MODEL = {"width": 8, "heads": 2, "depth": 1}
INPUTS = {"cnn1d": (40,), "decoder": (3,), "encoder": (3,), "gru": (3,), "text_cnn": (6,), "tc_resnet8": (16, 40)}
"""Shapes of the inputs of models that read sequences; all others read images."""

OTHERS = ("module", "pretrained")
"""Models of a caller, and of a folder that transformers has saved: their layers are not gradinc's."""


@cache
def chosen(*words: str) -> Config:
    small = [word for word in SMALL if not (word.startswith("optimizer.") and words[0].startswith("optimizer="))]
    return load_config([*small, *words])


def there(config: Config, *more: Method) -> tuple[Learner, Stream]:
    """A learner on the device, and the tasks that it learns from, which are not there yet."""
    tasks = open_stream(config, digits())
    model = build_model(config, Shape(digits().shape, tasks.setting.outputs), torch.device("cpu")).to(DEVICE)
    outputs = tasks.outputs and replace(tasks.outputs, of_task=tasks.outputs.of_task.to(DEVICE))
    made = build_learner(config, model, build_criterion(digits(), outputs), tasks.longest, tasks)
    if more:
        named = {**made.named, **{str(number): method for number, method in enumerate(more)}}
        made = Learner(made.passes, made.rate, made.window, named)
    return made, tasks


def waited(config: Config, *more: Method) -> tuple[list[str], Stream]:
    """What the training of some windows of each task waited for."""
    device = Elsewhere()
    with device.here():
        mine, tasks = there(config, *more)
        train_windows(mine, [moved(task) for task in tasks], config, DEVICE, device.watch)
    assert mine.weights.value.device == DEVICE
    return device.waits, tasks


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_it_stays_on_the_device_and_waits_only_for_a_listed_reason(words: tuple[str, ...]) -> None:
    config = chosen(*words)
    waits_for, tasks = waited(config)
    assert bool(waits_for) == bool(waits(config, tasks)), (sorted(set(waits_for)), waits(config, tasks))


def test_every_listed_reason_is_that_of_a_case() -> None:
    found = set()
    for words in CASES:
        config = chosen(*words)
        found |= waits(config, open_stream(config, digits()))
    assert found == WAITS.keys()


@pytest.mark.parametrize("by", ["mean", "dp"])
@pytest.mark.parametrize("name", [part.name for part in parts("model") if part.name not in OTHERS])
def test_a_model_stays_on_the_device(name: str, by: str) -> None:
    """With the gradient of a micro-batch, and with those of its rows."""
    part = next(each for each in parts("model") if each.name == name)
    # BatchNorm has no gradients of single rows.
    wanted = {**SMALL_MODEL, **({"norm": "group"} if by == "dp" else {})}
    options = {key: value for key, value in wanted.items() if key in part.parameters}
    shape = INPUTS.get(name, (1, 8, 8))
    device = Elsewhere()
    text = [Tokens(9)] if name in ("encoder", "text_cnn") else []  # models of tokens only
    model = load_part("model", name)(shape, 10, *text, **options).double()
    x, y = torch.randint(0, 9, (4, *shape)).double(), torch.arange(4)
    with device.here():
        mine = learner(model=model.to(DEVICE), rule=rule(by))
        for _ in range(2):
            mine.open(8.0, 2)
            with device.watch():
                for _ in range(2):
                    mine.take(Batch(x.to(DEVICE, non_blocking=True), y.to(DEVICE, non_blocking=True), 0, 4.0))
                mine.update()
    assert mine.updates == 2
    assert not device.waits


# ---- what would be found ----


class Reads(Method):
    """Broken on purpose: reads a number, in one of four ways."""

    def __init__(self, how: str) -> None:
        self.how = how

    def transform(self, g: Tensor, learner: Learner) -> None:
        if self.how == "number":
            g.mul_(g.norm().item())
        elif self.how == "branch" and g.sum() > 0:
            g.neg_()
        elif self.how == "rows":
            g.add_(g[g > 0].sum())
        elif self.how == "constant":
            g.mul_(torch.tensor([0.5], device=g.device, dtype=g.dtype))
        elif self.how == "copy":
            g.mul_(torch.ones(1).to(g))


class Mixes(Method):
    """Broken on purpose: computes with a tensor, or draws with a generator, of the CPU."""

    def __init__(self, how: str) -> None:
        self.how = how

    def transform(self, g: Tensor, learner: Learner) -> None:
        if self.how == "tensor":
            g.add_(torch.ones(len(g), dtype=g.dtype))
        else:
            g.add_(torch.randn(g.shape, generator=torch.Generator(), device=g.device, dtype=g.dtype))


@pytest.mark.parametrize("how", ["number", "branch", "rows", "constant", "copy"])
def test_a_method_that_reads_a_number_or_copies_one_to_the_device_is_found(how: str) -> None:
    waits_for, _ = waited(chosen("strategy=sgd"), Reads(how))
    assert waits_for


@pytest.mark.parametrize("how", ["tensor", "generator"])
def test_a_method_that_mixes_devices_is_found(how: str) -> None:
    with pytest.raises(Mixed):
        waited(chosen("strategy=sgd"), Mixes(how))
