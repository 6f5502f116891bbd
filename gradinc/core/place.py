"""The place of an update in its run: what random numbers are derived from."""

from __future__ import annotations

import torch

from gradinc.base.randomness import derive
from gradinc.core.world import World


class Place:
    """How far training is, and the generators that follow from it.

    Every random choice of training is a function of the seed, its purpose and the place, so that no generator has a
    state to save.

    Attributes:
        seed: of the run.
        world: the processes that train the run.
        task: index of the task, from 0.
        began: updates of the run when the task began.
        windows: windows that are closed, also those that their rule made no update of.
        updates: updates that were made.
        member: micro-batches of the present window so far, of this process; the number of the one at hand.
        here: over all processes the number of the micro-batch that is taken in, else how many there are so far.
    """

    def __init__(self, seed: int, device: torch.device, world: World | None = None) -> None:
        self.seed, self.world = seed, world or World()
        self.task = self.began = self.windows = self.updates = self.member = self.here = 0
        self._device = device
        self._generators: dict[str, torch.Generator] = {}

    @property
    def index(self) -> int:
        """The number in its window of the micro-batch at hand, over all processes."""
        return self.member * self.world.size + self.world.rank

    def derived(self, purpose: str, index: int) -> int:
        """A seed for one purpose at a micro-batch of the present window."""
        return derive(self.seed, purpose, self.task, self.windows, index)

    def generator(self, purpose: str) -> torch.Generator:
        """A generator on the weights' device for one purpose, at its beginning in every micro-batch.

        Args:
            purpose: it begins with the method's name, so that no two methods make the same draws.
        """
        generator = self._generators.get(purpose)
        if generator is None:
            generator = self._generators[purpose] = torch.Generator(device=self._device)
        return generator.manual_seed(self.derived(purpose, self.here))

    def taken(self, members: int) -> None:
        """So many micro-batches are behind."""
        self.member = self.here = members

    def close(self, made: bool) -> None:
        """Go on to the next window.

        Args:
            made: whether an update was made of the one before.
        """
        self.updates += made
        self.windows += 1
        self.taken(0)

    def state_dict(self) -> list[int]:
        """Everything that a restart needs; the micro-batches of an open window are the window's to keep."""
        return [self.task, self.began, self.windows, self.updates]

    def load_state_dict(self, state: list[int]) -> None:
        """Resume from what `state_dict` gave."""
        self.task, self.began, self.windows, self.updates = state
