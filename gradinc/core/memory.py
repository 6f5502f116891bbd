"""Memories of past examples: which rows are stored, and how rows are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradinc.config.values import Kept
from gradinc.core.ragged_field import RaggedField

_DRAWN_TOGETHER = 4096
"""Rows for which a reservoir draws slots together."""

MemoryRows = dict[str, Tensor]
"""Rows by the name of their field: ``x``, ``y``, ``tasks``, and fields that a method adds."""


class Memory(ABC):
    """Rows stored on the device; none before `open`.

    The selection of stored rows depends only on the seed, the rows and their order, not on their division into batches:
    a window of micro-batches fills the memory with the same rows as one large batch.

    Attributes:
        capacity: largest number of rows.
        seed: seed of the memory's choices.
        seen: rows that were offered so far.
        ragged: whether rows have different lengths; they are then stored without padding.
    """

    ragged = False

    def __init__(self) -> None:
        self.capacity = self.seed = self.seen = 0
        self._size = 0
        self._fields: dict[str, Tensor | RaggedField] = {}

    def open(self, capacity: int, seed: int, pairs: int = 1) -> None:
        """Give the memory its capacity.

        Args:
            pairs: pairs of a task and one of its classes in the entire stream; a ring divides its capacity among them.
        """
        self.capacity, self.seed = capacity, seed

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Return the bytes of the stored rows."""
        return sum(
            field.nbytes if isinstance(field, RaggedField) else field[: self._size].nbytes
            for field in self._fields.values()
        )

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
        """Write rows to slots, at most one row to each.

        Args:
            sources: which of the rows, int64, shape (n,), on the CPU.
            slots: the slot of each, int64, shape (n,), on the CPU. New slots follow directly after the filled ones.
        """
        if not self._fields:
            # calloc: pages that no row was written to take no memory
            self._fields = {
                name: RaggedField(row, self.capacity)
                if self.ragged and name in ("x", "y") and row.dim() > 1
                else row.new_zeros(self.capacity, *row.shape[1:])
                for name, row in rows.items()
            }
        if len(slots) == 0:
            return
        self._size = max(self._size, int(slots.numpy().max()) + 1)
        # On a GPU a blocking copy would wait for all queued passes.
        device = rows["y"].device
        sources, slots = sources.to(device, non_blocking=True), slots.to(device, non_blocking=True)
        for name, field in self._fields.items():
            field.index_copy_(0, slots, rows[name].detach().index_select(0, sources))

    def draw(self, count: int, random: torch.Generator, among: Tensor | None = None) -> MemoryRows:
        """Draw `count` rows at random, without repetition, or all rows of a smaller memory, for ``Batch.replaying``.

        Args:
            random: on the memory's device.
            among: slots to draw from, int64, shape (n,), on the memory's device; by default all.
        """
        return self.rows(self.slots(count, random, among))

    def slots(self, count: int, random: torch.Generator, among: Tensor | None = None) -> Tensor | None:
        """Draw slots in the same way as `draw` draws rows; None stands for all slots."""
        size = self._size if among is None else len(among)
        if count >= size:
            return among
        chosen = _distinct(size, count, random)
        return chosen if among is None else among[chosen]

    def rows(self, slots: Tensor | None = None) -> MemoryRows:
        """Return the rows in some slots, int64, shape (n,), on the memory's device; by default all rows."""
        if slots is None:
            return {name: field[: self._size] for name, field in self._fields.items()}
        return {name: field.index_select(0, slots) for name, field in self._fields.items()}

    def update(self, slots: Tensor, **rows: Tensor) -> None:
        """Replace some fields of rows in their slots, on the memory's device."""
        for name, values in rows.items():
            self._fields[name].index_copy_(0, slots, values.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a restart needs."""
        rows = {name: field.clone() for name, field in self.rows().items()}
        state = {"capacity": self.capacity, "seed": self.seed, "seen": self.seen, "rows": rows}
        return {**state, "ragged": True} if self.ragged else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`."""
        self.capacity, self.seed, self.seen = state["capacity"], state["seed"], state["seen"]
        self._fields, self._size, self.ragged = {}, 0, state.get("ragged", False)
        if state["rows"]:
            places = torch.arange(len(state["rows"]["y"]))
            self.place(places, places, **state["rows"])

    @abstractmethod
    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Choose which offered rows are stored, and in which slots, both int64, shape (n,), on the CPU."""

    def _uniform(self, count: int) -> np.ndarray:
        """Return a number in [0, 1) for each of the next `count` rows, from its place in the stream alone, float64."""
        return _hashed(np.uint64(self.seed), np.arange(self.seen, self.seen + count, dtype=np.uint64))


class Reservoir(Memory):
    """A memory that contains every offered row with the same probability.

    Paper: Vitter 1985, ACM TOMS 11, algorithm R
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn, self._first = np.zeros(0, np.int64), 0  # slots of the next rows, and the number of the first

    def open(self, capacity: int, seed: int, pairs: int = 1) -> None:
        super().open(capacity, seed, pairs)
        self._drawn = np.zeros(0, np.int64)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._drawn = np.zeros(0, np.int64)

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        slot = self._slots(len(y))
        sources = np.flatnonzero(slot < self.capacity)
        if len(sources) > 1:
            # If several rows were assigned the same slot, the last of these rows is stored: the first one from the end.
            _, last = np.unique(slot[sources][::-1], return_index=True)
            sources = sources[::-1][last]
        return torch.from_numpy(sources), torch.from_numpy(slot[sources])

    def _slots(self, count: int) -> np.ndarray:
        """Return the slot of each of the next `count` rows; a row with a slot beyond the capacity is not stored.

        Slots are drawn for many rows at once, because they do not depend on the content of the rows.
        """
        begin = self.seen - self._first
        if begin + count > len(self._drawn):
            self._first, begin = self.seen, 0
            number = np.arange(self.seen, self.seen + max(count, _DRAWN_TOGETHER))
            slot = (self._uniform(len(number)) * (number + 1)).astype(np.int64)
            self._drawn = np.where(number < self.capacity, number, slot)
        return self._drawn[begin : begin + count]


class Balanced(Memory):
    """A memory shared evenly between groups, with the same probability for every row of a group.

    The rows of a group are numbered in a random order; the rows with the lowest numbers are stored. If a group has
    fewer rows than its share, the other groups use the rest.

    Args:
        by: the grouping: by class or by task.
    """

    def __init__(self, by: Literal["class", "task"] = "class") -> None:
        super().__init__()
        self._by = by
        self._keys, self._groups = np.zeros(0), np.zeros(0, np.int64)  # for the row in each slot
        self._bars: np.ndarray | None = None  # for each group: a row with a higher number cannot be stored

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        new_keys = self._uniform(len(y))
        new_groups = (y if self._by == "class" else tasks).cpu().numpy()
        rows, size = np.arange(len(y)), self._size
        if self._bars is not None:  # skips the sort for most rows of a long stream
            bars = np.append(self._bars, np.inf)[np.minimum(new_groups, len(self._bars))]
            rows = np.flatnonzero(new_keys < bars)
        if len(rows) == 0:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        keys = np.concatenate((self._keys, new_keys[rows]))
        groups = np.concatenate((self._groups, new_groups[rows]))
        kept = np.ones(len(keys), bool)
        if len(keys) > self.capacity:
            order = np.argsort(groups + keys)
            grouped = groups[order]
            rank = np.empty(len(keys))
            rank[order] = np.arange(len(keys)) - np.searchsorted(grouped, grouped)
            score = rank + keys
            kept[:] = False
            kept[np.argpartition(score, self.capacity)[: self.capacity]] = True
            self._bars = self._highest(keys[kept], groups[kept], score[kept].max())
        free, stays = np.flatnonzero(~kept[:size]), np.flatnonzero(kept[size:])
        slots = np.concatenate((free, np.arange(size, size + len(stays) - len(free))))
        count = max(size, size + len(stays) - len(free))
        self._keys, self._groups = np.resize(self._keys, count), np.resize(self._groups, count)
        self._keys[slots], self._groups[slots] = keys[size:][stays], groups[size:][stays]
        return torch.from_numpy(rows[stays]), torch.from_numpy(slots)

    @staticmethod
    def _highest(keys: np.ndarray, groups: np.ndarray, worst: float) -> np.ndarray:
        """Return for each group the number below which a new row may stay, given the worst number that stays."""
        counts = np.bincount(groups)
        highest = np.zeros(len(counts))
        np.maximum.at(highest, groups, keys)
        # Sorted after all rows of its group, a new row has their count as its rank.
        return np.maximum(highest, worst - counts)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a restart needs, including the rows' numbers."""
        bars = None if self._bars is None else torch.tensor(self._bars)
        own = {"keys": torch.tensor(self._keys), "groups": torch.tensor(self._groups), "bars": bars}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._keys, self._groups = state["keys"].cpu().numpy().copy(), state["groups"].cpu().numpy().copy()
        self._bars = None if state["bars"] is None else state["bars"].cpu().numpy()


_SHIFT = 2**32


class Ring(Memory):
    """A memory with the latest rows of each class of each task; every class of a task has the same number of rows.

    Paper: Chaudhry et al. 2019, arXiv 1902.10486
    """

    def __init__(self) -> None:
        super().__init__()
        self._each = 0
        self._found: dict[int, int] = {}  # index of each pair of task and class so far; a pair is coded as one number
        self._offered = np.zeros(0, np.int64)  # offered rows of each pair
        self._slots = np.zeros((0, 0), np.int64)  # slot of each pair and place, -1 if unused

    def open(self, capacity: int, seed: int, pairs: int = 1) -> None:
        self._each = capacity // pairs
        super().open(self._each * pairs, seed)
        self._offered, self._slots = np.zeros(pairs, np.int64), np.full((pairs, self._each), -1)

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        found, member = np.unique((tasks * _SHIFT + y).cpu().numpy(), return_inverse=True)
        own = [self._found.setdefault(code, len(self._found)) for code in found.tolist()]
        pair = np.array(own)[member]
        order = np.argsort(pair, kind="stable")
        grouped, counts = pair[order], np.bincount(pair, minlength=len(self._offered))
        rank = np.arange(len(pair)) - np.searchsorted(grouped, grouped)
        place = (self._offered[grouped] + rank) % self._each
        latest = rank >= counts[grouped] - self._each
        self._offered += counts
        sources, where = order[latest], (grouped[latest], place[latest])
        by_arrival = np.argsort(sources)
        sources, where = sources[by_arrival], (where[0][by_arrival], where[1][by_arrival])
        slots = self._slots[where]
        slots[slots < 0] = np.arange(self._size, self._size + (slots < 0).sum())
        self._slots[where] = slots
        return torch.from_numpy(sources), torch.from_numpy(slots)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a restart needs, including the slots of each class."""
        own = {"offered": torch.tensor(self._offered), "slots": torch.tensor(self._slots)}
        return {**super().state_dict(), **own, "found": list(self._found)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._offered, self._slots = state["offered"].cpu().numpy().copy(), state["slots"].cpu().numpy().copy()
        self._each = self._slots.shape[1]
        self._found = {code: number for number, code in enumerate(state["found"])}


def make_memory(kind: Kept) -> Memory:
    """Create a memory, not opened yet."""
    return {"reservoir": Reservoir, "balanced": Balanced, "ring": Ring}[kind]()


def _distinct(size: int, count: int, random: torch.Generator) -> Tensor:
    """Draw `count` different numbers below `size`, in random order, int64, on the generator's device."""
    device = random.device
    if device.type != "cpu" or size <= 8192 or count * 8 > size:
        return torch.randperm(size, generator=random, device=device)[:count]
    # In a large memory few draws coincide: draw slightly more than needed, and use the first of each.
    while True:
        draws = torch.randint(size, (2 * count,), generator=random)
        values, inverse = draws.unique(return_inverse=True)
        if len(values) >= count:
            first = torch.full((len(values),), 2 * count)
            first.scatter_reduce_(0, inverse, torch.arange(2 * count), "amin")
            return draws[first.sort().values[:count]]


def _hashed(seed: np.uint64, numbers: np.ndarray) -> np.ndarray:
    """Return SplitMix64 (Steele et al. 2014) of each number, as float64 in [0, 1)."""
    with np.errstate(over="ignore"):
        z = seed * np.uint64(0xD1342543DE82EF95) + (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)) * 2.0**-53
