"""Images in files, against torchvision: 5,000 PNG of 32x32 pixels, from the folder to the last batch of an epoch.

gradinc with rows in memory is compared with one epoch of an `ImageFolder` with given mean and deviation. gradinc with
streamed rows reads the files twice, for the statistics and for the epoch; torchvision then also reads them twice.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from gradinc.config.schema import DataSection
from gradinc.data.dataset import load_dataset
from gradinc.data.torchvision_import import import_torchvision
from gradinc.runs.device import pin
from gradinc.studies.bench.harness import CPU, Bench, BenchResult, Skipped, in_turns, summarized

_FILES, _SIDE, _CLASSES, _BATCH = 5_000, 32, 10, 64

_IN_MEMORY = "image_folder"


def image_folders() -> dict[str, Bench]:
    """Return the benches by name."""
    streamed = {f"image_folder, streamed, workers={workers}": workers for workers in (0, 1, 2)}
    return {
        _IN_MEMORY: partial(_folder, _IN_MEMORY, None),
        **{name: partial(_folder, name, n) for name, n in streamed.items()},
    }


def _folder(name: str, workers: int | None, rounds: int) -> BenchResult:
    """Measure the time of gradinc over the time of torchvision.

    Args:
        workers: processes that decode streamed rows, on both sides; None for rows in memory.

    Raises:
        Skipped: torchvision is not installed.
    """
    try:
        import_torchvision("datasets")
    except ImportError as error:
        raise Skipped(f"torchvision cannot be imported ({error})") from None
    pin(1, CPU)
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        pairs = in_turns(lambda: _gradinc(folder, workers), lambda: _torchvision(folder, workers), rounds)
    return summarized(name, "time", pairs, "≤", 1.0)


def _write(folder: Path) -> None:
    """Write images of blocks with noise, which compress like photographs."""
    draws = np.random.default_rng(0)
    for label in range(_CLASSES):
        (folder / str(label)).mkdir()
    for number in range(_FILES):
        blocks = draws.integers(0, 256, (_SIDE // 4, _SIDE // 4, 3)).repeat(4, 0).repeat(4, 1)
        pixels = np.clip(blocks + draws.integers(-8, 9, (_SIDE, _SIDE, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / str(number % _CLASSES) / f"{number:05}.png")


def _gradinc(folder: str, workers: int | None) -> float:
    os.utime(next(Path(folder).glob("*/*.png")))  # makes an earlier turn's record invalid
    begun = time.perf_counter()
    memory: Literal["tensor", "stream"] = "tensor" if workers is None else "stream"
    section = DataSection(name="image_folder", root=folder, memory=memory, workers=workers or 0, validation=0)
    dataset = load_dataset(section, CPU, torch.float32)
    for rows in (dataset.train, dataset.test):
        _use(rows.batches(torch.randperm(len(rows)), _BATCH))
    return time.perf_counter() - begun


def _torchvision(folder: str, workers: int | None) -> float:
    transforms = import_torchvision("transforms")
    image_folder = import_torchvision("datasets").ImageFolder
    begun = time.perf_counter()
    mean = deviation = torch.full((3,), 0.5)
    if workers is not None:
        count, total, squares = 0, torch.zeros(3), torch.zeros(3)
        for x, _ in DataLoader(image_folder(folder, transforms.ToTensor()), _BATCH, num_workers=workers):
            count += x[:, 0].numel()
            total += x.sum((0, 2, 3))
            squares += (x * x).sum((0, 2, 3))
        mean = total / count
        deviation = (squares / count - mean * mean).sqrt()
    normalized = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, deviation)])
    _use(DataLoader(image_folder(folder, normalized), _BATCH, shuffle=True, num_workers=workers or 0))
    return time.perf_counter() - begun


def _use(batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    rows = sum(len(x) for x, _ in batches)
    assert rows
