"""The config of a run: one frozen object, a section for each noun. `gradinc.config.validation` makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import StringConstraints

from gradinc.config.check import Words, as_plain
from gradinc.config.protocol import Heads, Scenario, Visible
from gradinc.config.values import DEVICE, Count, Decay, Fraction, NonNegative, Positive, Threads, Whole

LONGEST_NAME = 100

Seed = Annotated[int, Ge(0), Lt(2**63)]

RunName = Annotated[
    str,
    StringConstraints(pattern=rf"\A[A-Za-z0-9][A-Za-z0-9._=,+-]{{0,{LONGEST_NAME - 1}}}\z"),
    Words(f"letters, digits and . _ = , + - only, a letter or digit first, {LONGEST_NAME} at most"),
]

PathText = Annotated[str, StringConstraints(pattern=r"\A[^\x00-\x1f\x7f-\x9f]+\z"), Words("a path")]

Device = Annotated[str, StringConstraints(pattern=rf"\A({DEVICE})\z"), Words("auto, cpu, cuda or cuda:N")]


ClassWeight = Annotated[float, Gt(0), Lt(math.inf)]

MetricName = Annotated[
    str,
    StringConstraints(pattern=r"\A\w{1,60}-[\w.=,+-]{1,110}\z"),
    Words("the name and the digest of a function that a Python program gives"),
]

Constants = Annotated[tuple[float, Positive], Words("[mean,deviation]")]


@dataclass(frozen=True)
class DataSection:
    """The rows, and how they are served."""

    name: str
    root: PathText | None = None
    batch_size: Count = 32
    validation: Decay = 0.1
    test: Decay = 0.2
    split_seed: Whole = 0
    normalize: Literal["channel", "unit", "none"] | Constants = "channel"
    pad: Whole = 0
    shuffle: bool = True
    group_by_length: bool = False
    augment: tuple[str, ...] = ()
    workers: Whole = 0
    memory: Literal["auto", "tensor", "stream"] = "auto"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSection:
    """The network."""

    name: str
    freeze: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamSection:
    """The sequence of tasks."""

    name: str
    data: Literal["current", "cumulative", "joint", "memory"] = "current"
    memory: Count = 500
    samples_per_task: Count | None = None
    scored_tasks: Count | None = None
    heads: Heads | None = None
    train_logits: Visible | None = None
    test_logits: Visible | None = None
    memory_unit: Literal["total", "task", "class"] = "total"
    restart: Literal["nothing", "optimizer", "weights"] = "nothing"
    updates_per_batch: Count = 1
    seed: Seed | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OptimizerSection:
    """The optimizer; its options include ``lr``."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleSection:
    """The learning rate over the updates."""

    name: str
    warmup: Whole = 0
    warmup_factor: Fraction | None = None
    updates: Count | None = None
    task_factor: Positive = 1.0
    task_floor: Fraction = 0.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CriterionSection:
    """The loss."""

    name: str = "auto"
    class_weights: Literal["balanced"] | tuple[ClassWeight, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WindowSection:
    """The window: when an update is due, and how its gradients become one."""

    size: Count = 1
    rule: str = "mean"
    due: str = "size"
    last: Literal["flush", "carry", "drop"] = "flush"
    micro_batch: Literal["given", "auto"] = "given"
    layers: dict[str, Count] = field(default_factory=dict)
    rule_options: dict[str, Any] = field(default_factory=dict)
    due_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StrategySection:
    """A window and a chain of methods: their options by name, in the order in which they act."""

    window: WindowSection
    name: RunName | None = field(default=None, compare=False)
    scale_lr: Literal["none", "linear", "sqrt"] = "none"
    scale_beta2: bool = False
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class BudgetSection:
    """The limits of a task; the first one reached ends it."""

    epochs: Literal["auto"] | Count | None = "auto"
    steps: Count | None = None
    samples: Count | None = None
    tokens: Count | None = None
    rows: Count | None = None
    passes: Count | None = None
    seconds: Positive | None = None
    accuracy: Fraction | None = None


@dataclass(frozen=True)
class CorruptSection:
    """Corruption of micro-batches' gradients."""

    prob: Fraction = 0.0
    scale: Positive = 100.0
    kind: Literal["scale", "flip", "noise"] = "scale"
    start: Whole = 0
    stop: Count | None = None


@dataclass(frozen=True)
class EvaluateSection:
    """Times of validation, and the data for the measurement at a task's end."""

    epochs: Count = 1
    steps: Count | None = None
    rows: Literal["test", "validation"] = "test"
    tasks: Literal["auto", "seen", "all", "needed", "current", "none"] = "auto"
    metric: MetricName | None = None


@dataclass(frozen=True)
class CheckpointSection:
    """Times of saving, and the number of checkpoints."""

    seconds: NonNegative = 30.0
    keep: Count = 2


@dataclass(frozen=True)
class LogSection:
    """Times of lines in ``metrics.jsonl``."""

    steps: Count = 50


@dataclass(frozen=True, kw_only=True)
class Config:
    """All values of a run, including every default."""

    seed: Seed = 0
    device: Device = "auto"
    threads: Literal["auto"] | Threads = "auto"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    name: RunName | None = None
    output: PathText = "outputs"
    init: PathText | None = None
    search: PathText | None = None
    scenario: Scenario | None = None
    metrics: tuple[str, ...] = ()
    fresh: bool = False
    strict: bool = False
    diagnostics: bool = False
    progress: Literal["auto", "plain", "quiet"] = "auto"
    track: tuple[str, ...] | str = ()
    data: DataSection
    model: ModelSection
    stream: StreamSection
    optimizer: OptimizerSection
    schedule: ScheduleSection
    criterion: CriterionSection
    strategy: StrategySection
    budget: BudgetSection
    corrupt: CorruptSection
    evaluate: EvaluateSection
    checkpoint: CheckpointSection
    log: LogSection

    @property
    def trackers(self) -> tuple[str, ...]:
        """The trackers: one can be given without a list."""
        return (self.track,) if isinstance(self.track, str) else self.track

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return the config as plain nested dicts and lists, keys in a fixed order; `validate` restores the config."""
        document = {name: as_plain(getattr(self, name)) for name in TOP_KEYS}
        document.update({kind: _section_document(getattr(self, kind)) for kind in PARTS})
        document["strategy"] = {
            "name": self.strategy.name,
            "window": _window_document(self.strategy.window),
            "scale_lr": self.strategy.scale_lr,
            "scale_beta2": self.strategy.scale_beta2,
            "methods": as_plain(self.strategy.methods),
        }
        document.update({name: _section_document(getattr(self, name)) for name in PLAIN})
        return document


PARTS: dict[str, type] = {
    "data": DataSection,
    "model": ModelSection,
    "stream": StreamSection,
    "optimizer": OptimizerSection,
    "schedule": ScheduleSection,
    "criterion": CriterionSection,
}
"""Sections that choose a part by name."""

PLAIN: dict[str, type] = {
    "budget": BudgetSection,
    "corrupt": CorruptSection,
    "evaluate": EvaluateSection,
    "checkpoint": CheckpointSection,
    "log": LogSection,
}
"""Sections that always have the same keys."""

TOP_KEYS = tuple(f.name for f in fields(Config) if f.name not in (*PARTS, *PLAIN, "strategy"))
"""Keys outside sections."""

STRATEGY_KEYS = tuple(f.name for f in fields(StrategySection) if f.name not in ("window", "methods"))
"""Keys of a strategy besides its window and its methods."""


def common_keys(kind: type) -> list[str]:
    """Return the keys of a section that do not come from its part."""
    return [f.name for f in fields(kind) if f.name != "options" and not f.name.endswith("_options")]


def _section_document(part: Any) -> dict[str, Any]:
    """Return a section as a plain dict, with its part's own options beside the others."""
    document = {f.name: as_plain(getattr(part, f.name)) for f in fields(part)}
    own = document.pop("options", {})
    return {**document, **own}


def _window_document(window: WindowSection) -> dict[str, Any]:
    """Return the window as a plain dict, with the options of its rule and its due under their names."""
    document = {key: getattr(window, key) for key in common_keys(WindowSection)}
    nested = {window.rule: window.rule_options, window.due: window.due_options}
    return {**document, **{name: as_plain(own) for name, own in nested.items() if own}}
