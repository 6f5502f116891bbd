"""The input of one forward and backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from gradinc.data.padding import padded_together


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch: rows of the stream first, then replayed rows of a memory.

    Attributes:
        x: inputs, shape (rows, *shape).
        y: labels, shape (rows,), or targets, shape (rows, targets).
        task: index of the stream's current task, from 0.
        items: weight of this batch in its window, which is divided by the sum of the weights: Σ of the rows' terms
            times their weights, except for rows whose mean is added to other rows' mean (``loss=sum``).
        weight: weight of each row in the criterion, shape (rows,); None if all are 1.
        tasks: index of each row's task, int64, shape (rows,); None if all are of `task`.
        replayed: number of rows from a memory.
        kept: further values that methods store for rows, as ``part.field``, e.g. earlier outputs of the model, shape
            (rows of the part, outputs).
        parts: positions of rows by a method's name for them: the first, and one past the last.
        mask: 0 for the outputs that count for a row and -∞ for the others, shape (rows, outputs), in addition to the
            scenario's mask; None for no further mask.
        heads: further tasks whose heads a method's `loss` uses.
        terms: terms of the loss in each row, as the criterion counts them (`Criterion.terms`): tokens that count, or
            the weight of the row's class; float, shape (rows,); None if each row is one term.
        tokens: tokens of the stream's rows that were read for this batch; 0 if the data have no tokens.
        repeat: number of earlier updates from the same rows of the stream (``stream.updates_per_batch``).
    """

    x: Tensor
    y: Tensor
    task: int
    items: float
    weight: Tensor | None = None
    tasks: Tensor | None = None
    replayed: int = 0
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    mask: Tensor | None = None
    heads: tuple[int, ...] = ()
    terms: Tensor | None = None
    tokens: int = 0
    repeat: int = 0

    @property
    def fresh(self) -> int:
        """Number of rows from the stream, which come first."""
        return self.x.shape[0] - self.replayed

    @property
    def task_of_rows(self) -> Tensor:
        """Return the task of each row, int64, shape (rows,)."""
        if self.tasks is None:
            return torch.full((self.x.shape[0],), self.task, dtype=torch.int64, device=self.y.device)
        return self.tasks

    def rows(self, first: int, last: int) -> Batch:
        """Return some of the rows as a new batch, without their parts."""
        chosen = slice(first, last)
        weight = None if self.weight is None else self.weight[chosen]
        terms = None if self.terms is None else self.terms[chosen]
        return Batch(
            self.x[chosen],
            self.y[chosen],
            self.task,
            items_of(last - first, weight, terms),
            weight,
            None if self.tasks is None else self.tasks[chosen],
            mask=None if self.mask is None else self.mask[chosen],
            terms=terms,
        )

    def part(self, name: str, out: Tensor) -> tuple[Batch, Tensor]:
        """Return the rows of a part, each with weight 1, and the model's outputs for them, shape (rows of the part,
        outputs).

        Args:
            name: name of the part; its stored values have the names of its fields.
            out: the model's outputs for all rows, shape (rows, outputs).
        """
        first, last = self.parts[name]
        kept = {key.removeprefix(f"{name}."): value for key, value in self.kept.items() if key.startswith(f"{name}.")}
        chosen = slice(first, last)
        terms = None if self.terms is None else self.terms[chosen]
        rows = Batch(
            self.x[chosen],
            self.y[chosen],
            self.task,
            items_of(last - first, None, terms),
            tasks=None if self.tasks is None else self.tasks[chosen],
            kept=kept,
            mask=None if self.mask is None else self.mask[chosen],
            terms=terms,
        )
        return rows, out[chosen]

    def keeping(self, name: str, first: int, last: int, **fields: Tensor) -> Batch:
        """Return this batch with a name for some of its rows, and stored values for them."""
        kept = {f"{name}.{key}": value for key, value in fields.items()}
        return replace(self, kept={**self.kept, **kept}, parts={**self.parts, name: (first, last)})

    def replaying(
        self,
        x: Tensor,
        y: Tensor,
        tasks: Tensor,
        weight: float = 1.0,
        names: Sequence[str] = (),
        terms: Tensor | None = None,
        **kept: Tensor,
    ) -> Batch:
        """Return this batch with rows of a memory after its own.

        Args:
            x, y, tasks: the rows, their labels and their tasks.
            weight: weight of each row in the criterion; with 0 only a method's own `loss` uses them.
            names: names of the rows for `part`; several names share the rows evenly, one after another.
            terms: terms of the loss in each of the rows, if the rows of this batch have them.
            kept: further stored values of the rows.
        """
        before, rows = self.x.shape[0], x.shape[0]
        weights, mask = self.weight, self.mask
        if weights is None and weight != 1:
            weights = self.x.new_ones(before)
        if weights is not None:
            weights = torch.cat((weights, weights.new_full((rows,), weight)))
        if mask is not None:
            mask = torch.cat((mask, mask.new_zeros(rows, mask.shape[1])))
        parts, values = dict(self.parts), dict(self.kept)
        for number, name in enumerate(names):
            first, last = number * rows // len(names), (number + 1) * rows // len(names)
            parts[name] = (before + first, before + last)
            values |= {f"{name}.{key}": value[first:last] for key, value in kept.items()}
        return Batch(
            padded_together(self.x, x),
            padded_together(self.y, y),
            self.task,
            self.items + weight * items_of(rows, None, terms),
            weights,
            torch.cat((self.task_of_rows, tasks)),
            self.replayed + rows,
            values,
            parts,
            mask,
            self.heads,
            None if self.terms is None or terms is None else torch.cat((self.terms, terms)),
            repeat=self.repeat,
        )

    def state(self) -> list[Any]:
        """Return the fields in order, for a checkpoint; ``Batch(*state)`` restores the batch."""
        values = [getattr(self, each.name) for each in fields(self)]
        # A view of several batches that were read together would be saved with all of them.
        return [value.clone() if isinstance(value, Tensor) else value for value in values]


def items_of(rows: int, weight: Tensor | None, terms: Tensor | None) -> float:
    """Return Σ of the rows' terms times their weights, each 1 if None; reading them waits for a GPU.

    Args:
        rows: number of rows.
        weight, terms: shape (rows,).
    """
    if weight is None:
        return float(rows) if terms is None else float(terms.sum())
    return float((weight if terms is None else weight * terms).sum())
