"""The place of an update in its run, from which random numbers are derived."""

from __future__ import annotations

import torch

from gradinc.base.randomness import derive
from gradinc.core.world import World


class Place:
    """The position in training, and the generators derived from it.

    Every random choice of training is a function of the seed, its purpose and the place, so that no generator has a
    state to save.

    Attributes:
        seed: seed of the run.
        world: the processes that train the run.
        task: index of the task, from 0.
        began: updates of the run when the task began.
        windows: closed windows, with or without an update.
        updates: updates made.
        member: this process's micro-batches of the current window so far; also the number of the current micro-batch.
        here: number, over all processes, of the micro-batch being processed; between two micro-batches, their count so
            far.
    """

    def __init__(self, seed: int, device: torch.device, world: World | None = None) -> None:
        self.seed, self.world = seed, world or World()
        self.task = self.began = self.windows = self.updates = self.member = self.here = 0
        self._device = device
        self._generators: dict[str, torch.Generator] = {}

    @property
    def index(self) -> int:
        """Number of the current micro-batch in its window, over all processes."""
        return self.member * self.world.size + self.world.rank

    def derived(self, purpose: str, index: int) -> int:
        """Return a seed for one purpose at a micro-batch of the current window."""
        return derive(self.seed, purpose, self.task, self.windows, index)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator on the weights' device for one purpose, newly seeded in every micro-batch.

        Args:
            purpose: text that begins with the method's name, so that no two methods make the same draws.
        """
        generator = self._generators.get(purpose)
        if generator is None:
            generator = self._generators[purpose] = torch.Generator(device=self._device)
        return generator.manual_seed(self.derived(purpose, self.here))

    def update_generator(self, purpose: str) -> torch.Generator:
        """Return a generator like `generator`, newly seeded in every update, for any number of micro-batches."""
        return self.generator(purpose).manual_seed(self.derived(purpose, -1))

    def chance(self, purpose: str) -> float:
        """Return a number in [0, 1) that is drawn once for each update, known without a wait for the device."""
        return self.derived(purpose, -1) / 2**63

    def taken(self, members: int) -> None:
        """Count micro-batches as processed."""
        self.member = self.here = members

    def close(self, made: bool) -> None:
        """Move to the next window.

        Args:
            made: whether an update was made from the last window.
        """
        self.updates += made
        self.windows += 1
        self.taken(0)

    def state_dict(self) -> list[int]:
        """Return the state that a restart needs; `Window` stores the micro-batches of an open window."""
        return [self.task, self.began, self.windows, self.updates]

    def load_state_dict(self, state: list[int]) -> None:
        """Resume from the result of `state_dict`."""
        self.task, self.began, self.windows, self.updates = state
