"""Examples kept for later: which rows stay, and drawing from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

Rows = dict[str, Tensor]
"""Rows by the name of their field: ``x``, ``y``, ``tasks``, and whatever a method keeps besides."""


class Memory(ABC):
    """Rows kept on the device, with a generator of its own.

    Which rows stay depends on the rows and their order only, not on how they come in batches: a window of
    micro-batches fills it as the large batch does.

    Args:
        capacity: rows that it holds at most.
        seed: what its choices are derived from.

    Attributes:
        seen: rows that were offered so far.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        self.capacity, self.seed = capacity, seed
        self.seen = 0
        self._size = 0
        self._fields: Rows = {}

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return sum(field.nbytes for field in self._fields.values())

    def add(self, **rows: Tensor) -> None:
        """Offer rows.

        Args:
            rows: each of shape (rows, …): ``x``, ``y`` and ``tasks``, int64, and others by name.
        """
        count = len(rows["y"])
        if count and self.capacity:
            sources, slots = self._choose(rows["y"], rows["tasks"])
            self.place(sources, slots, **rows)
        self.seen += count

    def place(self, sources: Tensor, slots: Tensor, **rows: Tensor) -> None:
        """Write rows to slots, no two to one.

        Args:
            sources: which of the rows, int64, shape (n,).
            slots: where each goes, int64, shape (n,). New ones follow upon those that are filled.
        """
        if not self._fields:
            # calloc: pages that no row has been written to take no memory
            self._fields = {name: row.new_zeros(self.capacity, *row.shape[1:]) for name, row in rows.items()}
        if len(slots) == 0:
            return
        for name, field in self._fields.items():
            where = field.device
            field.index_copy_(0, slots.to(where), rows[name].detach().index_select(0, sources.to(where)))
        self._size = max(self._size, int(slots.max()) + 1)

    def draw(self, count: int, random: torch.Generator) -> Rows:
        """That many rows, or all if there are fewer, at random and none twice; ``Batch.replaying`` takes them.

        Args:
            random: on the memory's device.
        """
        if count >= self._size:
            return self.rows()
        return self.rows(_distinct(self._size, count, random))

    def rows(self, slots: Tensor | None = None) -> Rows:
        """The rows in some slots, int64, shape (n,); all of them if none are given."""
        if slots is None:
            return {name: field[: self._size] for name, field in self._fields.items()}
        return {name: field.index_select(0, slots) for name, field in self._fields.items()}

    def update(self, slots: Tensor, **rows: Tensor) -> None:
        """Write some fields of rows anew, in their slots."""
        for name, values in rows.items():
            self._fields[name].index_copy_(0, slots, values.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything that a restart needs."""
        rows = {name: field.clone() for name, field in self.rows().items()}
        return {"capacity": self.capacity, "seed": self.seed, "seen": self.seen, "rows": rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.capacity, self.seed, self.seen = state["capacity"], state["seed"], state["seen"]
        self._fields, self._size = {}, 0
        if state["rows"]:
            places = torch.arange(len(state["rows"]["y"]))
            self.place(places, places, **state["rows"])

    @abstractmethod
    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the rows offered stay, and in which slots, both int64, shape (n,)."""

    def _uniform(self, count: int) -> np.ndarray:
        """For each of the next `count` rows a number in [0, 1), from its place in the stream alone, float64."""
        return _hashed(np.uint64(self.seed), np.arange(self.seen, self.seen + count, dtype=np.uint64))


class Reservoir(Memory):
    """Every row that was ever offered is in it with the same probability.

    Paper: Vitter 1985, ACM TOMS 11, algorithm R
    """

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        count = len(y)
        number = np.arange(self.seen, self.seen + count)
        slot = (self._uniform(count) * (number + 1)).astype(np.int64)
        slot = np.where(number < self.capacity, number, slot)
        stays = np.flatnonzero(slot < self.capacity)
        # Of several rows for one slot the last one stays: the first one from the end.
        _, last = np.unique(slot[stays][::-1], return_index=True)
        sources = stays[::-1][last]
        return torch.from_numpy(sources), torch.from_numpy(slot[sources])


class Balanced(Memory):
    """Classes share it evenly, and every row of a class is in it with the same probability.

    The rows of a class are numbered in a random order; those with the lowest numbers stay. A class with fewer
    rows than its share leaves the rest to the others.
    """

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        size, count = self._size, len(y)
        new = torch.from_numpy(self._uniform(count)).to(y.device)
        keys = torch.cat((self._fields["key"][:size], new)) if size else new
        labels = torch.cat((self._fields["y"][:size], y)) if size else y
        order = keys.argsort(stable=True)
        order = order[labels[order].argsort(stable=True)]
        grouped = labels[order]
        first = torch.searchsorted(grouped, grouped)  # where the row's class begins
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=y.device) - first
        by_key = keys.argsort(stable=True)
        stays = by_key[rank[by_key].argsort(stable=True)][: self.capacity]
        kept = torch.zeros(size + count, dtype=torch.bool, device=y.device)
        kept[stays] = True
        sources = kept[size:].nonzero().flatten()
        free = (~kept[:size]).nonzero().flatten()
        fresh = torch.arange(size, size + len(sources) - len(free), device=y.device)
        return sources, torch.cat((free, fresh))

    def add(self, **rows: Tensor) -> None:
        """Offer rows, each with the number that decides about it."""
        keys = torch.from_numpy(self._uniform(len(rows["y"]))).to(rows["y"].device)
        super().add(**rows, key=keys)

    def rows(self, slots: Tensor | None = None) -> Rows:
        """The rows without the numbers."""
        return {name: field for name, field in super().rows(slots).items() if name != "key"}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a restart needs, the numbers too."""
        return {**super().state_dict(), "rows": {n: f[: self._size].clone() for n, f in self._fields.items()}}


class Ring(Memory):
    """The latest rows of each class, the same number of each.

    Paper: Chaudhry et al. 2019, arXiv 1902.10486

    Args:
        classes: how many there will be; each has capacity // classes rows, one at least.
    """

    def __init__(self, capacity: int, seed: int = 0, *, classes: int) -> None:
        super().__init__(max(capacity, classes) // classes * classes, seed)
        self.classes = classes
        self._offered = torch.zeros(classes, dtype=torch.int64)
        self._slots: Tensor = torch.zeros(0, dtype=torch.int64)  # of each class and place, -1 where none is taken

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        each = self.capacity // self.classes
        if len(self._slots) == 0:
            self._slots = torch.full((self.classes, each), -1, dtype=torch.int64)
        labels = y.cpu()
        member = torch.nn.functional.one_hot(labels, self.classes)
        behind = (
            member.flip(0).cumsum(0).flip(0).gather(1, labels[:, None]).squeeze(1) - 1
        )  # of its class still to come
        place = (self._offered[labels] + member.cumsum(0).gather(1, labels[:, None]).squeeze(1) - 1) % each
        self._offered += member.sum(0)
        sources = (behind < each).nonzero().flatten()
        labels, place = labels[sources], place[sources]
        empty = (self._slots[labels, place] < 0).nonzero().flatten()
        self._slots[labels[empty], place[empty]] = torch.arange(self._size, self._size + len(empty))
        return sources, self._slots[labels, place]

    def state_dict(self) -> dict[str, Any]:
        """Everything that a restart needs, the places of each class too."""
        return {**super().state_dict(), "offered": self._offered, "slots": self._slots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._offered, self._slots = state["offered"].cpu(), state["slots"].cpu()


def make_memory(kind: str, capacity: int, seed: int, classes: int) -> Memory:
    """A memory of kind ``reservoir``, ``balanced`` or ``ring``."""
    if kind == "ring":
        return Ring(capacity, seed, classes=classes)
    return {"reservoir": Reservoir, "balanced": Balanced}[kind](capacity, seed)


def _distinct(size: int, count: int, random: torch.Generator) -> Tensor:
    """`count` different numbers below `size`, in random order, int64, on the generator's device."""
    device = random.device
    if size <= 8192 or count * 8 > size:
        return torch.randperm(size, generator=random, device=device)[:count]
    # In a large memory few draws meet: draw some more than needed, and keep the first of each.
    while True:
        draws = torch.randint(size, (2 * count,), generator=random, device=device)
        values, inverse = draws.unique(return_inverse=True)
        if len(values) >= count:
            first = torch.full((len(values),), 2 * count, device=device)
            first.scatter_reduce_(0, inverse, torch.arange(2 * count, device=device), "amin")
            return draws[first.sort().values[:count]]


def _hashed(seed: np.uint64, numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele et al. 2014) of each number, as float64 in [0, 1)."""
    with np.errstate(over="ignore"):
        z = seed * np.uint64(0xD1342543DE82EF95) + (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)) * 2.0**-53
