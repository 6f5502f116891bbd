"""Rows come in the order asked for, from memory and from files alike, and draw nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import same

from gradinc.base.errors import UserError
from gradinc.config.schema import DataSection
from gradinc.data.dataset import load_dataset
from gradinc.data.file_rows import FileRows
from gradinc.data.rows import Rows, TensorRows

X = torch.randn(23, 2, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(23)
ORDER = torch.randperm(23, generator=torch.Generator().manual_seed(1))

Section = Callable[..., DataSection]


def test_batches_are_the_rows_in_the_order_given() -> None:
    batches = list(TensorRows(X, Y).batches(ORDER, 5))
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat([x for x, _ in batches]), X[ORDER])
    assert torch.equal(torch.cat([y for _, y in batches]), Y[ORDER])


@pytest.mark.parametrize("start", [0, 1, 4, 5, 9])
def test_batches_can_start_in_the_middle(start: int) -> None:
    rows = TensorRows(X, Y)
    assert same(list(rows.batches(ORDER, 5, start)), list(rows.batches(ORDER, 5))[start:])


def test_a_batch_is_a_copy_and_a_chunk_is_a_view() -> None:
    rows = TensorRows(X.clone(), Y)
    next(rows.batches(ORDER, 5))[0].zero_()
    assert torch.equal(rows.x, X)
    next(rows.chunks(5))[0].zero_()
    assert not torch.equal(rows.x, X)


def test_chunks_are_all_rows_in_their_own_order() -> None:
    rows = TensorRows(X, Y)
    assert same(list(rows.chunks(10)), list(rows.batches(torch.arange(23), 10)))


def test_no_rows_give_no_batches() -> None:
    rows = TensorRows(X[:0], Y[:0])
    assert list(rows.batches(Y[:0], 5)) == list(rows.chunks(5)) == []


def test_a_subset_is_those_rows() -> None:
    part = TensorRows(X, Y).subset(torch.tensor([7, 3]))
    assert torch.equal(part.x, X[[7, 3]])
    assert part.y.tolist() == [7, 3]


@pytest.fixture
def both(section: Section, pictures: Callable[..., Path]) -> Callable[[int], tuple[Rows, Rows]]:
    """Training rows of one folder, in memory and streamed by so many workers."""
    root = str(pictures())

    def make(workers: int) -> tuple[Rows, Rows]:
        kept = load_dataset(section("image_folder", root=root, memory="tensor"), "cpu", torch.float32)
        streamed = load_dataset(
            section("image_folder", root=root, memory="stream", workers=workers), "cpu", torch.float32
        )
        assert kept.digest == streamed.digest
        assert (kept.mean, kept.std) == (streamed.mean, streamed.std)
        return kept.train, streamed.train

    return make


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_rows_equal_rows_in_memory_bit_for_bit(both: Callable[[int], tuple[Rows, Rows]], workers: int) -> None:
    kept, streamed = both(workers)
    assert isinstance(kept, TensorRows)
    assert isinstance(streamed, FileRows)
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(2))
    assert same(list(streamed.batches(order, 4)), list(kept.batches(order, 4)))
    assert same(list(streamed.batches(order, 4, 2)), list(kept.batches(order, 4, 2)))
    assert same(list(streamed.chunks(7)), list(kept.chunks(7)))
    chosen = torch.tensor([5, 1, 9])
    assert same(list(streamed.subset(chosen).chunks(2)), list(kept.subset(chosen).chunks(2)))
    assert list(streamed.batches(order[:0], 4)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_draws_from_no_default_generator(both: Callable[[int], tuple[Rows, Rows]], workers: int) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    for rows in both(workers):
        list(rows.batches(torch.arange(len(rows)), 4))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
    torch.utils.data.DataLoader(torch.arange(3)).__iter__()  # the other half: this one does
    assert not torch.equal(torch.get_rng_state(), before[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_during_training_is_named(both: Callable[[int], tuple[Rows, Rows]], workers: int) -> None:
    _, streamed = both(workers)
    assert isinstance(streamed, FileRows)
    path = streamed.files.root / streamed.files.paths[int(streamed.indices[6])]
    path.write_bytes(path.read_bytes()[:40])
    before = set(multiprocessing.active_children())
    batches = streamed.batches(torch.arange(len(streamed)), 4)
    next(batches)
    with pytest.raises(UserError, match="was changed while the run read it") as caught:
        next(batches)
    assert caught.value.where == str(path)
    assert set(multiprocessing.active_children()) <= before, "also while somebody holds the error"


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_is_replaced_by_another_one_is_named(
    both: Callable[[int], tuple[Rows, Rows]], workers: int
) -> None:
    _, streamed = both(workers)
    assert isinstance(streamed, FileRows)
    root, paths = streamed.files.root, streamed.files.paths
    path, other = (root / paths[int(streamed.indices[row])] for row in (6, 7))
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match="was changed while the run read it") as caught:
        list(streamed.chunks(4))
    assert caught.value.where == str(path)
    path.write_bytes(content)  # the same bytes again are the same data
    assert len(list(streamed.chunks(4))) == -(-len(streamed) // 4)


READING = """
import sys
from gradinc.config.schema import DataSection
from gradinc.data.dataset import load_dataset
import torch
section = DataSection(name="image_folder", root=sys.argv[1], memory="stream", workers=2)
rows = load_dataset(section, "cpu", torch.float32).train
order = torch.zeros(100_000, dtype=torch.int64)
for _ in rows.batches(order, 1):
    print("batch", flush=True)
"""


def test_workers_need_nothing_of_the_temporary_folder_and_go_with_their_parent(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    scratch = tmp_path / ("a folder whose path is longer than that of a socket may be " * 2)
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    command = [sys.executable, "-c", READING, str(pictures())]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"batch\n"
        assert process.stdout.readline() == b"batch\n"
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()  # until the last worker has gone
    assert list(scratch.iterdir()) == []


def test_signals_to_the_whole_group_leave_the_workers_to_their_parent(
    both: Callable[[int], tuple[Rows, Rows]],
) -> None:
    kept, streamed = both(2)
    before = set(multiprocessing.active_children())
    order = torch.arange(len(streamed))
    batches = streamed.batches(order, 1)
    got = [next(batches)]
    workers = set(multiprocessing.active_children()) - before
    for worker in workers:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(worker.pid or 0, number)
    got += batches
    assert len(workers) == 2
    assert same(got, list(kept.batches(order, 1)))


@pytest.mark.parametrize("workers", [0, 2])
def test_leaving_an_epoch_early_ends_its_workers(both: Callable[[int], tuple[Rows, Rows]], workers: int) -> None:
    _, streamed = both(workers)
    processes, running = set(multiprocessing.active_children()), threading.active_count()
    batches = streamed.batches(torch.arange(len(streamed)), 2)
    next(batches)
    assert len(set(multiprocessing.active_children()) - processes) == workers
    batches.close()  # type: ignore[attr-defined]
    assert set(multiprocessing.active_children()) <= processes
    if workers == 0:  # sharing tensors between processes keeps a thread for good
        assert threading.active_count() == running
