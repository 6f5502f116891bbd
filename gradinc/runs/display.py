"""The interface of a run's progress display."""

from __future__ import annotations

from typing import Any, Protocol

from gradinc.records.matrix import MatrixRow

LINE_EVERY = 10.0
"""Seconds between two lines about progress, if there is no progress bar."""


class Display(Protocol):
    """A display of a run's progress."""

    def begin(self, title: str, share: float) -> None:
        """Training begins, or resumes, with this share of its budget used."""

    def numbers(self, share: float, **numbers: str) -> None:
        """New numbers, e.g. ``loss="0.31"``; each is shown until a new number of the same name comes."""

    def reached(self, where: str) -> None:
        """Training has reached this place; shown every `LINE_EVERY` seconds."""

    def evaluated(self, where: str) -> None:
        """An evaluation is done at this place."""

    def matrix(self, matrix: list[MatrixRow]) -> None:
        """The accuracy matrix so far, with the row that is being measured."""

    def measured(self, done: int, row: list[float | None]) -> None:
        """A row of the accuracy matrix, after `done` tasks, is complete."""

    def say(self, line: str, style: str | None = None) -> None:
        """A line that is not overwritten by later output."""

    def warn(self, line: str) -> None:
        """A warning, which is also shown by a quiet display."""

    def ended(self, result: dict[str, Any]) -> None:
        """The run has finished with this ``result.json``."""


class Silent:
    """A display that shows nothing."""

    def begin(self, title: str, share: float) -> None: ...
    def numbers(self, share: float, **numbers: str) -> None: ...
    def reached(self, where: str) -> None: ...
    def evaluated(self, where: str) -> None: ...
    def matrix(self, matrix: list[MatrixRow]) -> None: ...
    def measured(self, done: int, row: list[float | None]) -> None: ...
    def say(self, line: str, style: str | None = None) -> None: ...
    def warn(self, line: str) -> None: ...
    def ended(self, result: dict[str, Any]) -> None: ...
