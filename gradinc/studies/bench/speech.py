"""`gradinc bench speech`: training of spoken digits, against a hand-written loop on the same spectrograms.

The log-mel spectrograms of all recordings are computed before the first batch, on both sides.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gradinc.config.compose import load_config
from gradinc.data.dataset import Dataset
from gradinc.data.log_mel import LogMel
from gradinc.data.rows import TensorRows
from gradinc.runs.build import Shape, build_model
from gradinc.runs.device import choose_threads, pin
from gradinc.studies.bench.harness import CPU, Bench, BenchResult, in_turns, loop_speed, summarized, timed_run

_ROWS, _CLASSES = 1024, 10

_LOG_MEL = LogMel(rate=8000, mels=40, window=240, hop=80)


def spoken() -> dict[str, Bench]:
    """Return the benches by name: training with batches of 32 and of 128 rows, and in windows."""
    # Each run has some seconds, so that its last checkpoint, which waits for the disk, is less than a hundredth of it.
    settings = {"batch 32": (32, 1, 360), "batch 128": (128, 1, 120), "windows of 4, batch 32": (32, 4, 360)}
    return {
        f"tc_resnet8 sgd, {name}": partial(_train, f"tc_resnet8 sgd, {name}", *sizes)
        for name, sizes in settings.items()
    }


def _recordings() -> Dataset:
    """Return spectrograms of generated sounds of one second, always the same."""
    draws = torch.Generator().manual_seed(0)
    sounds = torch.randn(_ROWS, 8000, generator=draws) * 0.1
    x = torch.stack([torch.from_numpy(_LOG_MEL(sound.numpy())) for sound in sounds])
    x = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), keepdim=True)
    y = torch.randint(0, _CLASSES, (_ROWS,), generator=draws)
    classes = tuple(str(label) for label in range(_CLASSES))
    shape = (x.shape[1], x.shape[2])
    none = TensorRows(x[:0], y[:0])
    zeros, ones = (0.0,) * shape[0], (1.0,) * shape[0]
    return Dataset("bench", classes, shape, _CLASSES, TensorRows(x, y), none, none, zeros, ones, None, None, "", "")


def _train(name: str, size: int, window: int, steps: int, rounds: int) -> BenchResult:
    """Measure samples per second of gradinc over those of the loop, in training with `steps` micro-batches."""
    overrides = ["model=tc_resnet8", "optimizer.momentum=0", f"data.batch_size={size}", "device=cpu", "progress=quiet"]
    overrides += [f"strategy.window.size={window}", f"budget.steps={steps // window}"]
    config, dataset = load_config(overrides), _recordings()
    shape = Shape(dataset.shape, _CLASSES)
    pin(choose_threads("auto", build_model(config, shape, CPU), dataset.shape, size), CPU)
    rows, rate = dataset.train, config.optimizer.options["lr"]
    assert isinstance(rows, TensorRows)

    def ours() -> float:
        seconds, samples = timed_run(overrides, dataset)
        return samples / seconds

    def theirs() -> float:
        model = build_model(config, shape, CPU).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)

        def loss(chosen: Tensor) -> Tensor:
            return F.cross_entropy(model(rows.x[chosen]), rows.y[chosen])

        return loop_speed(optimizer, loss, len(rows), size, window, steps // window)

    return summarized(name, "train", in_turns(ours, theirs, rounds), "≥", 0.97)
