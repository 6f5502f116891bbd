"""Rows of a data set, served in batches: from memory, or from files as they are needed."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gradinc.base.errors import UserError
from gradinc.data.available_memory import fits
from gradinc.data.decode import decode, threads
from gradinc.data.source import ImageFiles

Pair = tuple[Tensor, Tensor]

Change = Callable[[Tensor], Tensor]
"""What is done to the inputs of rows, shape (rows, *shape), each row by itself."""

_ROWS = 512
"""Rows in memory that are changed together: few enough to lie in a cache."""

GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

GRACE = 30
"""Seconds that a worker lives on after SIGTERM."""


@dataclass(frozen=True)
class Standardize:
    """Raw values to what a model sees: ``(raw - shift) / factor``, in one rounding each.

    Attributes:
        shift, factor: one value per channel or feature, in the data's dtype, shaped to broadcast
            over a batch of rows.
    """

    shift: Tensor
    factor: Tensor

    def __call__(self, raw: Tensor) -> Tensor:
        """Raw rows on any device, as normalised rows on the device of `shift`."""
        return raw.to(self.shift.device).to(self.shift.dtype, copy=True).sub_(self.shift).div_(self.factor)


class Rows(ABC):
    """Some rows of a data set and their targets.

    Attributes:
        y: labels, int64, shape (n,), or targets, shape (n, targets); on the device.
        shape: shape of one row.
    """

    y: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.y)

    @abstractmethod
    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        """Batches of the rows in a given order.

        Args:
            order: row numbers, int64, shape (m,), on the CPU; a row may occur several times.
            batch_size: rows of a batch; the last one has what is left.
            start: number of the first batch to yield, from 0.

        Yields:
            Inputs, shape (rows, *shape), and targets, both on the device.

        Raises:
            UserError: an image file is broken or gone.
        """

    @abstractmethod
    def chunks(self, size: int) -> Iterator[Pair]:
        """All rows in their own order, `size` at a time: for evaluation. Do not write into them."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Rows:
        """Some of the rows, in the order of `indices`, int64, shape (m,)."""

    @abstractmethod
    def labelled(self, y: Tensor) -> Rows:
        """The same rows with other labels, shape (n,), on the device."""

    @abstractmethod
    def changed(self, change: Change) -> Rows:
        """The same rows with their inputs changed."""


class TensorRows(Rows):
    """Rows that lie in memory, on the device.

    Attributes:
        x: normalised inputs, shape (n, *shape).
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        self.shape = tuple(x.shape[1:])

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        x, y = self.x, self.y
        for rows in order[start * batch_size :].to(x.device).split(batch_size):
            if len(rows):  # an empty order splits into one empty batch
                yield x.index_select(0, rows), y.index_select(0, rows)

    def chunks(self, size: int) -> Iterator[Pair]:
        for first in range(0, len(self), size):
            yield self.x[first : first + size], self.y[first : first + size]

    def subset(self, indices: Tensor) -> TensorRows:
        indices = indices.to(self.x.device)
        return TensorRows(self.x.index_select(0, indices), self.y.index_select(0, indices))

    def labelled(self, y: Tensor) -> TensorRows:
        return TensorRows(self.x, y)

    def changed(self, change: Change) -> TensorRows:
        x = torch.empty_like(self.x)
        for old, new in zip(self.x.split(_ROWS), x.split(_ROWS), strict=True):
            new.copy_(change(old))
        return TensorRows(x, self.y)


class FileRows(Rows):
    """Rows that stay in image files and are decoded for every batch.

    Batches are the same for every number of workers, and the same as those of `TensorRows`.

    Args:
        files: the images.
        y: labels, int64, shape (n,), on the device.
        standardize: applied to the decoded values, on the device.
        workers: processes that decode; with 0 this process does it, in threads.
    """

    def __init__(self, files: ImageFiles, y: Tensor, standardize: Standardize, workers: int) -> None:
        self.files, self.y = files, y
        self.standardize, self.workers = standardize, workers
        self.indices = np.arange(len(files))
        self.shape = files.shape

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        order = order.cpu()[start * batch_size :]
        groups = [] if len(order) == 0 else list(order.split(batch_size))
        lists = (self.indices[rows.numpy()].tolist() for rows in groups)
        images = self._in_processes(lists) if self.workers and groups else self._in_threads(lists)
        for rows, raw in zip(groups, images, strict=True):
            yield self.standardize(raw), self.y.index_select(0, rows.to(self.y.device))

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

    def changed(self, change: Change) -> ChangedRows:
        return ChangedRows(self, change)

    def _in_threads(self, lists: Iterable[list[int]]) -> Iterator[Tensor]:
        """Decodes one batch ahead of the one that is asked for."""
        with ThreadPoolExecutor(threads()) as pool:
            waiting: deque[list[Future[np.ndarray]]] = deque()
            for rows in lists:
                waiting.append([pool.submit(decode, self.files, row) for row in rows])
                if len(waiting) > 1:
                    yield _stack(image.result() for image in waiting.popleft())
            for images in waiting:
                yield _stack(image.result() for image in images)

    def _in_processes(self, lists: Iterable[list[int]]) -> Iterator[Tensor]:
        # Workers send arrays, not tensors: a tensor is sent through a socket in the temporary folder, and never comes
        # where the path of that folder is too long for a socket. A DataLoader draws the seed of its workers from a
        # generator: by default from PyTorch's own, from which dropout draws.
        loader: DataLoader[np.ndarray | _Broken] = DataLoader(
            _Images(self.files),
            batch_size=None,
            sampler=lists,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=partial(_begin_worker, os.getpid()),
            generator=torch.Generator().manual_seed(0),
        )
        with _signals_held():
            items = iter(loader)
        for item in items:
            if isinstance(item, _Broken):
                raise UserError(item.where, item.what, item.mend)
            yield torch.from_numpy(item)


class OutlinedRows(Rows):
    """Rows whose inputs nobody has read: their number, their targets and their shape, to check a config against."""

    def __init__(self, y: Tensor, shape: tuple[int, ...]) -> None:
        self.y, self.shape = y, shape

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        raise AssertionError("an outline has no inputs")

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.batches(self.y, size)

    def subset(self, indices: Tensor) -> OutlinedRows:
        return OutlinedRows(self.y.index_select(0, indices), self.shape)

    def labelled(self, y: Tensor) -> OutlinedRows:
        return OutlinedRows(y, self.shape)

    def changed(self, change: Change) -> OutlinedRows:
        return self


class ChangedRows(Rows):
    """Rows whose inputs are changed as they are served.

    Args:
        rows: as they are.
        change: applied to each batch of inputs.
    """

    def __init__(self, rows: Rows, change: Change) -> None:
        self.rows, self.change = rows, change
        self.y, self.shape = rows.y, rows.shape

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        return ((self.change(x), y) for x, y in self.rows.batches(order, batch_size, start))

    def chunks(self, size: int) -> Iterator[Pair]:
        return ((self.change(x), y) for x, y in self.rows.chunks(size))

    def subset(self, indices: Tensor) -> ChangedRows:
        return ChangedRows(self.rows.subset(indices), self.change)

    def labelled(self, y: Tensor) -> ChangedRows:
        return ChangedRows(self.rows.labelled(y), self.change)

    def changed(self, change: Change) -> ChangedRows:
        return ChangedRows(self, change)


class SelectedRows(Rows):
    """Some of other rows, looked up as they are served.

    Args:
        rows: all of them.
        indices: which ones, int64, shape (m,).
    """

    def __init__(self, rows: Rows, indices: Tensor) -> None:
        self.rows, self.indices = rows, indices.cpu()
        self.y, self.shape = rows.y.index_select(0, indices.to(rows.y.device)), rows.shape

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        return self.rows.batches(self.indices[order.cpu()], batch_size, start)

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.rows.batches(self.indices, size)

    def subset(self, indices: Tensor) -> SelectedRows:
        return SelectedRows(self.rows, self.indices[indices.cpu()])

    def labelled(self, y: Tensor) -> SelectedRows:
        whole = self.rows.y.index_copy(0, self.indices.to(y.device), y)
        return SelectedRows(self.rows.labelled(whole), self.indices)

    def changed(self, change: Change) -> ChangedRows:
        return ChangedRows(self, change)


class JoinedRows(Rows):
    """Several rows, one after the other, that do not all lie in memory.

    Args:
        parts: one or more.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.y = torch.cat([part.y for part in parts])
        self.shape = parts[0].shape
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        groups = [group for group in order.cpu()[start * batch_size :].split(batch_size) if len(group)]
        owners = [torch.bucketize(group, self._ends, right=True) for group in groups]
        served = [
            part.batches(torch.cat([group[owner == n] for group, owner in zip(groups, owners, strict=True)]) - first, 1)
            for n, (part, first) in enumerate(zip(self.parts, self._firsts(), strict=True))
        ]
        for group, owner in zip(groups, owners, strict=True):
            yield torch.cat([next(served[n])[0] for n in owner.tolist()]), self.y[group.to(self.y.device)]

    def chunks(self, size: int) -> Iterator[Pair]:
        yield from self.batches(torch.arange(len(self)), size)

    def subset(self, indices: Tensor) -> SelectedRows:
        return SelectedRows(self, indices)

    def labelled(self, y: Tensor) -> JoinedRows:
        sizes = [len(part) for part in self.parts]
        return JoinedRows([part.labelled(own) for part, own in zip(self.parts, y.split(sizes), strict=True)])

    def changed(self, change: Change) -> ChangedRows:
        return ChangedRows(self, change)

    def _firsts(self) -> list[int]:
        return [0, *self._ends.tolist()[:-1]]


def joined(parts: Sequence[Callable[[], Rows]], sizes: Sequence[int], device: torch.device) -> Rows:
    """Several rows, one after the other: in memory where they are there and fit, else from where they are.

    Args:
        parts: each makes its rows, which are let go before the next ones are made.
        sizes: how many rows each of them makes.
    """
    first = parts[0]()
    if len(parts) == 1:
        return first
    if isinstance(first, FileRows):
        files = [first, *(part() for part in parts[1:])]
        if all(isinstance(rows, FileRows) and rows.files is first.files for rows in files):
            whole = first.labelled(torch.cat([rows.y for rows in files]))
            whole.indices = np.concatenate([rows.indices for rows in files])  # type: ignore[attr-defined]
            return whole
        return JoinedRows(files)
    if not isinstance(first, TensorRows) or not fits(sum(sizes) * first.x[:1].nbytes, device):
        return JoinedRows([first, *(part() for part in parts[1:])])
    x = first.x.new_empty(sum(sizes), *first.shape)
    y = first.y.new_empty(sum(sizes), *first.y.shape[1:])
    place = 0
    for number, size in enumerate(sizes):
        rows = first if number == 0 else parts[number]()
        assert isinstance(rows, TensorRows)
        x[place : place + size], y[place : place + size] = rows.x, rows.y
        place += size
    return TensorRows(x, y)


@dataclass(frozen=True)
class _Broken:
    """The parts of a UserError: a worker can send these, but no exception that takes several arguments."""

    where: str
    what: str
    mend: str


class _Images(Dataset[np.ndarray | _Broken]):
    """What a worker does with a list of row numbers."""

    def __init__(self, files: ImageFiles) -> None:
        self.files = files

    def __getitem__(self, rows: list[int]) -> np.ndarray | _Broken:
        try:
            return np.stack([decode(self.files, row) for row in rows])
        except UserError as error:
            return _Broken(error.where, error.what, error.mend)


def _stack(images: Iterable[np.ndarray]) -> Tensor:
    """Images as one uint8 tensor, shape (rows, C, H, W)."""
    return torch.from_numpy(np.stack(list(images)))


def _as_it_is(item: object) -> object:
    return item


@contextmanager
def _signals_held() -> Iterator[None]:
    """What is started inside never sees the signals of `GROUP_SIGNALS`; here they are only put off.

    Ctrl-C and a scheduler's SIGTERM reach the whole process group, but only the parent may answer: it
    finishes its step, saves, and ends the workers by closing their queue. A worker that died first
    would make it fail instead.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(parent: int, worker: int) -> None:
    """End a worker whose parent is dead already, which no worker notices later.

    SIGTERM alone is let through, later: Python ends workers that are left at its exit by it.
    """
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _put_off)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _put_off(number: int, frame: object) -> None:
    signal.alarm(GRACE)
