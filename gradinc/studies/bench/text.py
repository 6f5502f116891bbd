"""`gradinc bench text`: training on rows of tokens, against a hand-written loop on the same rows.

The hand-written loop pads the rows of a micro-batch to the longest of them and ignores the padding in the loss.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gradinc.config.compose import load_config
from gradinc.data.dataset import Dataset
from gradinc.data.padding import PAD
from gradinc.data.stream import open_stream
from gradinc.data.text import Tokens
from gradinc.data.token_rows import TokenRows
from gradinc.runs.build import Shape, build_model
from gradinc.runs.device import choose_threads, pin
from gradinc.studies.bench.harness import CPU, Bench, BenchResult, in_turns, loop_speed, summarized, timed_run

_ROWS, _TOKENS, _CLASSES = 1024, 2000, 50

_KINDS = {
    "text_cnn sgd, batch 32": ("text_cnn", False, 20, 32, 1, 240),
    "text_cnn sgd, windows of 4, batch 32": ("text_cnn", False, 20, 32, 4, 240),
    "decoder sgd, batch 8": ("decoder", True, 64, 8, 1, 144),
    "decoder sgd, windows of 4, batch 8": ("decoder", True, 64, 8, 4, 144),
}
"""Model, whether every token has a target, longest row, rows of a micro-batch, window and micro-batches, by name.

A run has some seconds, so that its last checkpoint, which waits for the disk, is less than a hundredth of it.
"""


def token_rows() -> dict[str, Bench]:
    """Return the benches by name: a classifier and a language model."""
    return {name: partial(_train, name, *kind) for name, kind in _KINDS.items()}


def _texts(longest: int, *, each: bool) -> tuple[Dataset, list[Tensor], Tensor]:
    """Return generated rows of 1 to `longest` tokens, always the same: as a data set, and their tokens and labels.

    Args:
        each: whether every token has a target, the next one. A row then has one more token.
    """
    draws = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, longest + 1, (_ROWS,), generator=draws)
    held = lengths + 1 if each else lengths
    values = torch.randint(0, _TOKENS, (int(held.sum()),), generator=draws)
    y = torch.randint(0, _CLASSES, (_ROWS,), generator=draws)
    starts = held.cumsum(0) - held
    rows = TokenRows(values.int(), starts, lengths, None if each else y, longest, torch.float32)
    none = rows.subset(torch.arange(0))
    classes = None if each else tuple(str(label) for label in range(_CLASSES))
    outputs = _TOKENS if each else _CLASSES
    head = ("bench", classes, (longest,), outputs, rows, none, none)
    dataset = Dataset(*head, (0.0,), (1.0,), None, None, "", "", text=Tokens(_TOKENS, each))
    return dataset, list(values.split(held.tolist())), y


def _train(
    name: str, network: str, each: bool, longest: int, size: int, window: int, steps: int, rounds: int
) -> BenchResult:
    """Measure samples per second of gradinc over those of the loop."""
    overrides = [f"model={network}", "optimizer.momentum=0", f"data.batch_size={size}", "device=cpu", "progress=quiet"]
    overrides += [f"strategy.window.size={window}", f"budget.steps={steps // window}"]
    config = load_config(overrides)
    dataset, texts, labels = _texts(longest, each=each)
    shape = Shape.of(dataset, open_stream(config, dataset))
    pin(choose_threads("auto", build_model(config, shape, CPU), dataset.shape, size), CPU)
    rate = config.optimizer.options["lr"]

    def ours() -> float:
        seconds, samples = timed_run(overrides, dataset)
        return samples / seconds

    def theirs() -> float:
        model = build_model(config, shape, CPU).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)

        def loss(chosen: Tensor) -> Tensor:
            rows = pad_sequence([texts[index] for index in chosen], batch_first=True, padding_value=PAD)
            if each:
                x, y = rows[:, :-1].clone(), rows[:, 1:]
                x[y == PAD] = PAD
            else:
                x, y = rows, labels[chosen]
            return F.cross_entropy(model(x.float()).flatten(0, -2), y.flatten(), ignore_index=PAD)

        return loop_speed(optimizer, loss, _ROWS, size, window, steps // window)

    return summarized(name, "train", in_turns(ours, theirs, rounds), "≥", 0.97)
