"""Several updates from the same rows of the stream: ``stream.updates_per_batch``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gradinc.core.plan import Last
from gradinc.data.batch import Batch
from gradinc.runs.epoch import Epoch


@dataclass(frozen=True)
class Repeats:
    """An epoch in which every window is trained on several times in a row, before the next one is read.

    It has the functions of `Epoch`, and counts a micro-batch once for each time. Methods draw anew each time: replay
    has other rows of a memory, and augmentation other images.

    Args:
        times: updates from each window.
        size: micro-batches of a full window.
    """

    epoch: Epoch
    times: int
    size: int

    @property
    def length(self) -> int:
        """Micro-batches of the epoch, each counted as often as it is trained on."""
        return self.epoch.length * self.times

    def window(self, first: int, size: int, last: Last) -> int:
        """Return the number of micro-batches of the window that begins with number `first`, 0 after the last one."""
        begun, _ = self._place(first)
        return min(self.size, self.epoch.length - begun)

    def planned(self, first: int, count: int) -> float:
        """Return the items in a window of `count` micro-batches from `first` on."""
        return self.epoch.planned(self._place(first)[0], count)

    def batches(self, begun: int) -> Iterator[Batch]:
        """Yield the micro-batches from number `begun` on; each is read on demand, once for each update."""
        while begun < self.length:
            first, repeat = self._place(begun)
            window = first // self.size * self.size
            end = min(window + self.size, self.epoch.length)
            yield from self.epoch.batches(first, end, repeat)
            begun += end - first

    def _place(self, number: int) -> tuple[int, int]:
        """Return the micro-batch of the epoch, and how often it was trained on before."""
        window, rest = divmod(number, self.size * self.times)
        count = max(1, min(self.size, self.epoch.length - window * self.size))
        repeat, inside = divmod(rest, count)
        return window * self.size + inside, repeat
