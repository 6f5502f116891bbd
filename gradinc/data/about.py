"""The first line of a run: its data, their size and their protocol."""

from __future__ import annotations

from gradinc.base.text import counted
from gradinc.data.dataset import Dataset
from gradinc.data.source import DATA_PARTS
from gradinc.data.stream import Stream

_LONGEST = 30
"""Largest total length of the classes' names, in characters."""


def about(stream: Stream) -> str:
    """Return one line: the set, classes or values, the protocol, the rows of each part, the shape of a row."""
    datasets = {id(each.dataset): each.dataset for each in stream.experiences}
    first = stream.experiences[0].dataset
    rows = {part: sum(len(getattr(each, part)) for each in datasets.values()) for part in DATA_PARTS}
    counts = [f"{count:,} {'training' if part == 'train' else part}" for part, count in rows.items() if count]
    if stream.options.samples_per_task is not None:
        counts[0] += f" ({stream.options.samples_per_task:,} per task)"
    parts = ["+".join(dict.fromkeys(each.name for each in datasets.values())), _targets(first.classes, first.outputs)]
    if stream.is_sequence:
        parts[1] += f" in {stream.tested} tasks" + (f", {stream.protocol}" if stream.protocol else "")
    return " · ".join([*parts, f"{', '.join(counts)} rows of {_shape(first)}"])


def _targets(classes: tuple[str, ...] | None, outputs: int) -> str:
    if classes is None:
        return counted(outputs, "value")
    names = ", ".join(classes)
    plain = classes == tuple(str(label) for label in range(len(classes))) or len(names) > _LONGEST
    return f"{len(classes):,} classes" + ("" if plain else f" ({names})")


def _shape(dataset: Dataset) -> str:
    shape = dataset.shape
    if dataset.text is not None:
        return f"up to {counted(shape[0], 'token')}"
    return counted(shape[0], "feature") if len(shape) == 1 else "×".join(map(str, shape))
