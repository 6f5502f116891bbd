"""Tasks, and streams of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from gradinc.config.catalog import load_part
from gradinc.config.schema import Config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import Rows


@dataclass(frozen=True)
class Task:
    """One experience of a stream.

    Attributes:
        index: its place in the stream, from 0.
        classes: labels that occur in it; None for regression.
        train, validation, test: its rows.
    """

    index: int
    classes: tuple[int, ...] | None
    train: Rows
    validation: Rows
    test: Rows


class Stream(Sequence[Task]):
    """A sequence of tasks; ordinary training is a stream of one.

    Attributes:
        dataset: the data set that the tasks were made of.
    """

    def __init__(self, dataset: Dataset, tasks: Sequence[Task]) -> None:
        self.dataset = dataset
        self._tasks = tuple(tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        return self._tasks[index]

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)


def open_stream(config: Config, dataset: Dataset) -> Stream:
    """The stream that a configuration names, over a data set."""
    stream = load_part("stream", config.stream.name)(dataset, **config.stream.options)
    assert isinstance(stream, Stream)
    return stream
