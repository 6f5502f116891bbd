"""Which rows a memory keeps, and drawing from it."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from gradinc.core.memory import Balanced, Memory, Reservoir, make_memory

KINDS = ("reservoir", "ring", "balanced")


def opened(kind: str, capacity: int, seed: int = 0, pairs: int = 4) -> Memory:
    memory = make_memory(kind)
    memory.open(capacity, seed, pairs)
    return memory


def offer(memory: Memory, first: int, last: int, size: int = 16, labels: torch.Tensor | None = None) -> None:
    """Rows first … last − 1, whose input is their number, in batches; their labels go 0 1 2 3 0 1 … if not given."""
    for begin in range(first, last, size):
        number = torch.arange(begin, min(begin + size, last))
        y = number % 4 if labels is None else labels[number]
        memory.add(x=number.double()[:, None], y=y, tasks=number // 100, z=number * 10)


def kept(memory: Memory) -> list[int]:
    return sorted(memory.rows()["x"][:, 0].long().tolist())


def restarted(memory: Memory) -> Memory:
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    other = type(memory)()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


def frequencies(make, rows: int, trials: int) -> np.ndarray:
    """How often each row is kept."""
    counts = Counter()
    for seed in range(trials):
        counts.update(kept(make(seed)))
    return np.array([counts[row] for row in range(rows)])


def filled(kind: str, seed: int, *, restart: bool = False) -> Memory:
    memory = opened(kind, 10, seed)
    offer(memory, 0, 27, 9)
    if restart:
        memory = restarted(memory)
    offer(memory, 27, 60, 13)
    return memory


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", ["reservoir", "balanced"])
def test_every_row_is_kept_with_the_same_probability(kind: str, restart: bool) -> None:
    found = frequencies(lambda seed: filled(kind, seed, restart=restart), 60, 400)
    assert found.sum() == 400 * 10
    # Counts of rows kept without replacement vary less than independent ones: the test is on the safe side.
    assert chisquare(found).pvalue > 1e-3


def test_a_counter_that_is_lost_at_a_restart_would_be_seen():
    def forgetful(seed: int) -> Memory:
        memory = filled("reservoir", seed)
        memory.seen = 0
        offer(memory, 60, 70)
        return memory

    assert chisquare(frequencies(forgetful, 70, 300)).pvalue < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_which_rows_stay_does_not_depend_on_how_they_come_in_batches(kind: str) -> None:
    """A window of micro-batches fills it as the large batch does."""
    labels = torch.randint(0, 4, (300,), generator=torch.Generator().manual_seed(1))
    pairs = 12 if kind == "ring" else 4
    memories = [opened(kind, 50, 3, pairs) for _ in range(4)]
    for memory, size in zip(memories, (1, 7, 64, 300), strict=True):
        offer(memory, 0, 300, size, labels)
    assert len({tuple(kept(memory)) for memory in memories}) == 1
    other = opened(kind, 50, 4, pairs)
    offer(other, 0, 300, 64, labels)
    assert (kept(other) == kept(memories[0])) is (kind == "ring")


@pytest.mark.parametrize("kind", KINDS)
def test_the_fields_of_a_row_stay_together(kind: str) -> None:
    memory = opened(kind, 40, pairs=16)
    offer(memory, 0, 400, 33)
    rows = memory.rows()
    number = rows["x"][:, 0].long()
    assert torch.equal(rows["y"], number % 4)
    assert torch.equal(rows["tasks"], number // 100)
    assert torch.equal(rows["z"], number * 10)
    assert len(set(number.tolist())) == len(memory)


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_after_a_restart_as_if_there_had_been_none(kind: str) -> None:
    whole, first = opened(kind, 33, pairs=16), opened(kind, 33, pairs=16)
    offer(whole, 0, 100)
    offer(first, 0, 100)
    again = restarted(first)
    offer(whole, 100, 333, 11)
    offer(again, 100, 333, 11)
    assert again.seen == whole.seen == 333
    assert all(torch.equal(again.rows()[name], field) for name, field in whole.rows().items())


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_is_not_open_holds_nothing(kind: str) -> None:
    memory = make_memory(kind)
    offer(memory, 0, 10)
    assert len(memory) == 0
    assert memory.nbytes == 0


def test_classes_are_even_within_1_however_uneven_they_come():
    labels = torch.cat((torch.zeros(200), torch.ones(70), torch.full((30,), 2), torch.full((300,), 3))).long()
    labels = labels[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    memory = opened("balanced", 50)
    offer(memory, 0, 600, 17, labels)
    counts = memory.rows()["y"].bincount()
    assert len(memory) == 50
    assert int(counts.max() - counts.min()) <= 1
    proportional = opened("reservoir", 50)
    offer(proportional, 0, 600, 17, labels)
    counts = proportional.rows()["y"].bincount()
    assert int(counts.max() - counts.min()) > 5


def test_a_class_with_few_rows_leaves_its_share_to_the_others():
    labels = torch.tensor([0] * 3 + [1] * 100 + [2] * 100)
    memory = opened("balanced", 33)
    offer(memory, 0, 203, 10, labels)
    assert memory.rows()["y"].bincount().tolist() == [3, 15, 15]


def test_classes_one_after_the_other_make_room_for_each_other():
    labels = torch.arange(500) // 100
    memory = opened("balanced", 60)
    for task in range(5):
        offer(memory, 100 * task, 100 * task + 100, 16, labels)
        assert memory.rows()["y"].bincount().tolist() == [60 // (task + 1)] * (task + 1)


def test_tasks_can_be_what_is_balanced():
    memory = Balanced(by="task")
    memory.open(40, 0)
    offer(memory, 0, 400)
    assert memory.rows()["tasks"].bincount().tolist() == [10, 10, 10, 10]


def test_a_ring_has_the_latest_rows_of_each_class_of_each_task():
    """Tasks that share their classes do not push each other out."""
    memory = opened("ring", 3 * 8, pairs=8)
    offer(memory, 0, 200, 9)
    expected = [n for task in range(2) for n in range(100 * task + 88, 100 * task + 100)]
    assert kept(memory) == expected
    assert len(memory) == 24


def test_draws_are_distinct_reproducible_and_from_all_of_it():
    for size, count in ((50, 20), (50, 50), (50, 90), (9000, 64)):
        memory = opened("reservoir", size)
        offer(memory, 0, size, 1000)
        random = torch.Generator()
        drawn = memory.draw(count, random.manual_seed(5))["x"][:, 0]
        assert len(drawn) == len(set(drawn.tolist())) == min(count, size)
        assert torch.equal(drawn, memory.draw(count, random.manual_seed(5))["x"][:, 0])
        if count < size:
            assert not torch.equal(drawn, memory.draw(count, random.manual_seed(6))["x"][:, 0])
    many = torch.cat([memory.draw(64, random.manual_seed(seed))["x"][:, 0] for seed in range(1000)])
    assert chisquare(many.long().div(900, rounding_mode="floor").bincount()).pvalue > 1e-3


def test_drawing_costs_the_same_however_many_tasks_there_were():
    """It is one selection of rows from one tensor of each field, not one for each task."""
    calls = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            calls.append(function)
            return function(*args, **(kwargs or {}))

    numbers = []
    for tasks in (1, 20):
        memory = Reservoir()
        memory.open(100, 0)
        offer(memory, 0, 100 * tasks, 50)
        calls.clear()
        with Counting():
            memory.draw(20, torch.Generator().manual_seed(0))
        numbers.append(len(calls))
    assert numbers[0] == numbers[1] > 0
