"""Samples per second on a GPU, compared with hand-written loops."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import Rows, TensorRows
from gradinc.runs.build import Shape, build_model
from gradinc.studies.bench.harness import MLP, PLAIN_SGD, in_turns, random_dataset, summarized, timed_run

_ROWS, _STEPS = 8192, 300


@dataclass(frozen=True)
class TimedTraining:
    """A training to time.

    Attributes:
        words: overrides for gradinc.
        layout: memory format of the hand-written loop's model; gradinc's convolutions have their channels last.
    """

    name: str
    words: tuple[str, ...]
    layout: torch.memory_format = torch.contiguous_format


_CNN = ("model=cnn", *PLAIN_SGD, "data.batch_size=128")
_RESNET = ("model=resnet18", *PLAIN_SGD, "data.batch_size=64")
_LAST = "channels last by hand too"
TRAININGS = (
    TimedTraining("mlp, batch 10", (*MLP, *PLAIN_SGD, "data.batch_size=10")),
    TimedTraining("mlp, batch 128", (*MLP, *PLAIN_SGD, "data.batch_size=128")),
    TimedTraining("mlp, batch 128, bfloat16", (*MLP, *PLAIN_SGD, "data.batch_size=128", "dtype=bfloat16")),
    TimedTraining("cnn, batch 128", _CNN),
    TimedTraining(f"cnn, batch 128, {_LAST}", _CNN, torch.channels_last),
    TimedTraining("resnet18, batch 64", _RESNET),
    TimedTraining(f"resnet18, batch 64, bfloat16, {_LAST}", (*_RESNET, "dtype=bfloat16"), torch.channels_last),
)


def speeds(line: TimedTraining, device: torch.device, rounds: int) -> str:
    """Return in words the samples per second of gradinc and of a hand-written loop, measured in turns."""
    words = [*line.words, f"budget.steps={_STEPS}", f"device={device}", "progress=quiet"]
    config, dataset = load_config(words), _moved(random_dataset(_ROWS), device)

    def ours() -> float:
        seconds, samples = timed_run(words, dataset, device=device)
        return samples / seconds

    pairs = in_turns(ours, lambda: _by_hand(config, dataset, line.layout, device), rounds)
    result = summarized(line.name, "train", pairs, "≥", None)
    mine, other = (sorted(side)[len(side) // 2] for side in zip(*pairs, strict=True))
    return f"{mine:,.0f} samples per second, by hand {other:,.0f}: {result.ratio:.2f} ± {result.spread:.2f}"


def _moved(dataset: Dataset, device: torch.device) -> Dataset:
    train, validation, test = (_there(rows, device) for rows in (dataset.train, dataset.validation, dataset.test))
    return replace(dataset, train=train, validation=validation, test=test)


def _there(rows: Rows, device: torch.device) -> Rows:
    assert isinstance(rows, TensorRows)
    return TensorRows(rows.x.to(device), rows.y.to(device))


def _by_hand(config: Config, dataset: Dataset, layout: torch.memory_format, device: torch.device) -> float:
    """Return the samples per second of a hand-written loop with its rows on the device."""
    rows = dataset.train
    assert isinstance(rows, TensorRows)
    model = build_model(config, Shape(dataset.shape, dataset.outputs), device)
    model = model.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    size, taken = config.data.batch_size, 0
    begun = time.perf_counter()
    while taken < _STEPS:
        for chosen in torch.randperm(len(rows.x), device=device).split(size)[: _STEPS - taken]:
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.dtype == "bfloat16"):
                out = model(rows.x[chosen])
            loss = F.cross_entropy(out.float(), rows.y[chosen])
            loss.backward()
            optimizer.step()
            taken += 1
    loss.item()  # the GPU has finished
    return _STEPS * size / (time.perf_counter() - begun)
