"""The share of its limits that a task has used."""

from __future__ import annotations

from gradinc.base.errors import Stalled
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.data.stream import Stream
from gradinc.runs.budget import COUNTED, Limits, Spent
from gradinc.runs.budget import limits as limits_of
from gradinc.runs.clock import RunClock
from gradinc.runs.position import Position


class Spending:
    """The amounts that the current task has used of its limits.

    Attributes:
        limits: the limits of the task.
    """

    def __init__(self, config: Config, stream: Stream, learner: Learner, clock: RunClock) -> None:
        self._config, self._stream, self._learner, self._clock = config, stream, learner, clock
        self.limits = Limits()
        self._counted: list[tuple[str, float]] = []
        self._rows = 0

    def begin(self, rows: int) -> None:
        """Begin or resume a task with this number of training rows."""
        self._rows = rows
        self.limits = limits_of(self._config.budget, rows, self._stream)
        self._counted = [(name, limit) for name in COUNTED if (limit := getattr(self.limits, name)) is not None]

    def total(self) -> list[float]:
        """Steps, samples and seconds of the whole run so far."""
        return [self._learner.updates, self._learner.work.samples, self._clock.seconds]

    def reached(self, position: Position) -> str | None:
        """Return the limit that ends the task before its next window, or None."""
        learner = self._learner
        for name, limit in self._counted:
            if name == "steps":
                used: float = learner.place.updates - position.began[0]
            else:
                used = getattr(self._spent(position), name)
            if name == "seconds" and not learner.place.world.alone:  # all processes use the first one's clock
                used = learner.place.world.first(round(used * 1000)) / 1000
            if used >= limit:
                return name
        return None

    def used_before_training(self, position: Position) -> str | None:
        """Return the limit that methods had reached when the previous task ended: this task is not trained."""
        work = self._learner.work
        limit = self.reached(position) if work.rows > work.ended else None
        return limit if limit in ("rows", "passes") else None

    def share(self, position: Position) -> float:
        """Return the finished share of the whole run, from 0 to 1."""
        rows = max(1, self._rows * self._config.stream.updates_per_batch)
        epoch = position.batch * self._config.data.batch_size / rows
        task = self.limits.share(self._spent(position), min(1.0, epoch))
        return (position.task + task) / len(self._stream)

    def check_progress(self, position: Position) -> None:
        """Check, at the end of an epoch, that training will end.

        Raises:
            Stalled: the rule rejected every window of the epoch, and no limit would end the training.
        """
        limits = self.limits
        counts = (limits.epochs, limits.samples, limits.tokens, limits.work(1), limits.seconds)
        ends = any(each is not None for each in counts)
        if not ends and self._learner.updates == position.steps and self._learner.window.taken == 0:
            rule = self._config.strategy.window.rule
            what = f"rejected every window of epoch {position.epoch + 1}, so that training would not end"
            raise Stalled(f"strategy.window.rule={rule}", what, "Loosen the rule, or add budget.epochs=…")

    def _spent(self, position: Position) -> Spent:
        """Return the amounts that the task has used, with the methods' rows at the end of the previous task."""
        steps, samples, seconds = (now - began for now, began in zip(self.total(), position.began, strict=True))
        rows = self._learner.work.rows - self._learner.work.ended
        work, passes = self._learner.work, rows / self._config.data.batch_size
        tokens = work.tokens - work.token_start
        return Spent(position.epoch, int(steps), int(samples), tokens, rows, passes, seconds)
