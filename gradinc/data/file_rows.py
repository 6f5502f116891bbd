"""Rows in files, decoded for every batch, in threads or in worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gradinc.base.errors import UserError
from gradinc.data.reading import read_groups, read_rows
from gradinc.data.rows import Pair, Rows, Standardize
from gradinc.data.source import RowFiles

GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

GRACE = 30
"""Seconds between SIGTERM and the end of a worker."""


class FileRows(Rows):
    """Rows in files that are decoded for every batch.

    Batches are the same for every number of workers, and the same as those of `TensorRows`.

    Args:
        files: the files.
        y: labels, int64, shape (n,), on the device.
        standardize: function for the decoded values, on the device.
        workers: number of decoding processes; with 0 this process decodes in threads.
    """

    def __init__(self, files: RowFiles, y: Tensor, standardize: Standardize, workers: int) -> None:
        self.files, self.y = files, y
        self.standardize, self.workers = standardize, workers
        self.indices = np.arange(len(files))
        self.shape = files.shape

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        order = order.cpu()[start * batch_size :]
        groups = [] if len(order) == 0 else list(order.split(batch_size))
        lists = (self.indices[rows.numpy()].tolist() for rows in groups)
        decoded = self._in_processes(lists) if self.workers and groups else self._in_threads(lists)
        for rows, raw in zip(groups, decoded, strict=True):
            yield self.standardize(raw), self.y.index_select(0, rows.to(self.y.device, non_blocking=True))

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.batches(torch.arange(len(self)), size)

    def subset(self, indices: Tensor) -> FileRows:
        indices = indices.cpu()
        part = FileRows(self.files, self.y.index_select(0, indices.to(self.y.device)), self.standardize, self.workers)
        part.indices = self.indices[indices.numpy()]
        return part

    def labelled(self, y: Tensor) -> FileRows:
        same = FileRows(self.files, y, self.standardize, self.workers)
        same.indices = self.indices
        return same

    def _in_threads(self, lists: Iterable[list[int]]) -> Iterator[Tensor]:
        for rows, _ in read_groups(self.files, lists):
            yield torch.from_numpy(rows)

    def _in_processes(self, lists: Iterable[list[int]]) -> Iterator[Tensor]:
        # Workers send arrays, not tensors: a tensor is sent through a socket in the temporary folder, which fails if
        # the path of this folder is too long for a socket. A DataLoader draws the seed of its workers from a
        # generator: by default PyTorch's own, from which dropout draws.
        loader: DataLoader[np.ndarray | _Broken] = DataLoader(
            _Decoded(self.files),
            batch_size=None,
            sampler=lists,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=partial(_begin_worker, os.getpid()),
            generator=torch.Generator().manual_seed(0),
        )
        with _signals_held():
            items = iter(loader)
        try:
            for item in items:
                if isinstance(item, _Broken):
                    raise UserError(item.where, item.what, item.fix)
                yield torch.from_numpy(item)
        finally:
            del items  # ends the workers now: the traceback of an error would keep them alive


@dataclass(frozen=True)
class _Broken:
    """The parts of a UserError: a worker can send these, but not an exception with several arguments."""

    where: str
    what: str
    fix: str


class _Decoded(Dataset[np.ndarray | _Broken]):
    """The rows of a list of row numbers, decoded in a worker."""

    def __init__(self, files: RowFiles) -> None:
        self.files = files

    def __getitem__(self, rows: list[int]) -> np.ndarray | _Broken:
        try:
            return read_rows(self.files, rows)[0]
        except UserError as error:
            return _Broken(error.where, error.what, error.fix)


def _as_it_is(item: object) -> object:
    return item


@contextmanager
def _signals_held() -> Iterator[None]:
    """Make processes started inside ignore the signals of `GROUP_SIGNALS`, which are delayed in this process.

    Ctrl-C and a scheduler's SIGTERM reach the whole process group, but only the parent may react: it
    finishes its step, saves, and ends the workers by closing their queue. If a worker ended first, the parent would
    fail instead.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(parent: int, worker: int) -> None:
    """End a worker whose parent has already ended; the worker would not notice this later.

    Of the blocked signals only SIGTERM is unblocked: Python sends it at its exit to end remaining workers.
    """
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _put_off)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _put_off(number: int, frame: object) -> None:
    signal.alarm(GRACE)
