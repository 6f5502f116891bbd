"""Jobs on a Ray cluster: actors hold places on its machines, and each has a worker process of its own."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.signals import Interruption
from gradinc.config.values import Count, NonNegative, Positive
from gradinc.studies.sweep.process import Worker
from gradinc.studies.sweep.shipment import Ending, Shipment
from gradinc.studies.sweep.watch import Watch

_LOOKED_EVERY = 0.5
"""Seconds between two checks of the actors."""

TRIES = 3
"""Largest number of times that a job is sent, if its machine or actor is lost."""


class Ray:
    """A Ray cluster whose machines share a file system

    Args:
        address: of its head, as HOST:PORT; auto finds the one on this machine, local starts one here.
        n_jobs: jobs at a time; null takes as many as there is room for.
        cpus: processors of each job.
        gpus: GPUs of each job; a fraction puts several on one.
    """

    def __init__(
        self, *, address: str = "auto", n_jobs: Count | None = None, cpus: Positive = 1.0, gpus: NonNegative = 0.0
    ) -> None:
        self.address, self.n_jobs, self.cpus, self.gpus = address, n_jobs, cpus, gpus
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise UserError("cluster=ray", "needs ray", "Install it with pip install ray") from None
        self._ray: Any = ray

    def run(self, shipments: Sequence[Shipment], watch: Watch, stop: Interruption) -> None:
        """Send the jobs to free actors; a lost actor is replaced, and its job resumes.

        Raises:
            UserError: there is no such cluster.
        """
        self._connect()
        try:
            _Dispatch(self, shipments, watch, stop).run()
        finally:
            self._ray.shutdown()

    def _connect(self) -> None:
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if "PYTHONPATH" in os.environ:
            options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}
        try:
            self._ray.init(address=self.address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            what = f"no cluster answers ({str(error).splitlines()[0].rstrip('.')})"
            raise UserError(f"cluster.address={self.address}", what, "Start one with ray start --head") from error

    def places(self) -> int:
        """Return the number of jobs that the cluster has resources for."""
        there = self._ray.cluster_resources()
        room = [there.get("CPU", 0) / self.cpus, *([there.get("GPU", 0) / self.gpus] if self.gpus else [])]
        return max(1, int(min(room)))

    def actor(self) -> Any:
        """Return a new actor on any machine with free resources."""
        remote = self._ray.remote(max_concurrency=2, max_restarts=0)(_Place)
        return remote.options(num_cpus=self.cpus, num_gpus=self.gpus).remote()


class _Place:
    """An actor: a process on a machine of the cluster that runs one job at a time."""

    def __init__(self) -> None:
        self._worker = Worker()
        self._stop = 0
        self._said: dict[str, Any] = {}

    def run(self, shipment: Shipment) -> Ending:
        """Run one job, while `look` is answered too."""
        self._said = {}
        return self._worker.run(shipment, self._said.update, lambda: self._stop)

    def look(self, stop: int) -> dict[str, Any]:
        """Return the latest report of a job; the job is stopped if `stop` is the number of a signal."""
        self._stop = stop
        said = dict(self._said)
        self._said.pop("warning", None)
        return said


class _Dispatch:
    """Jobs by actor."""

    def __init__(self, engine: Ray, shipments: Sequence[Shipment], watch: Watch, stop: Interruption) -> None:
        import ray

        self._ray: Any = ray
        self._engine, self._watch, self._stop = engine, watch, stop
        self._waiting = deque(shipments)
        self._tries: dict[int, int] = {}
        self._running: dict[Any, tuple[Any, Shipment]] = {}
        self._free: list[Any] = []
        self._count = min(engine.n_jobs or engine.places(), len(shipments))

    def run(self) -> None:
        """Run until no job is left, or until the sweep was stopped and its running jobs have ended."""
        while self._running or (self._waiting and not self._stop.signum):
            while self._waiting and not self._stop.signum and len(self._running) < self._count:
                actor = self._free.pop() if self._free else self._engine.actor()
                shipment = self._waiting.popleft()
                self._running[actor.run.remote(shipment)] = (actor, shipment)
            ready, _ = self._ray.wait(list(self._running), timeout=_LOOKED_EVERY)
            for reference in ready:
                self._collect(reference, *self._running.pop(reference))
            self._look()

    def _collect(self, reference: Any, actor: Any, shipment: Shipment) -> None:
        try:
            self._watch.ended(shipment.number, self._ray.get(reference))
            self._free.append(actor)
        except self._ray.exceptions.RayError as error:
            self._tries[shipment.number] = self._tries.get(shipment.number, 1) + 1
            lost = isinstance(error, self._ray.exceptions.RayActorError)
            if lost and self._tries[shipment.number] <= TRIES and not self._stop.signum:
                self._watch.told(shipment.number, {"warning": "its worker was lost; continuing with another"})
                self._waiting.appendleft(shipment)
            else:
                line = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                self._watch.ended(shipment.number, Ending(128 + self._stop.signum if self._stop.signum else 1, line))

    def _look(self) -> None:
        asked = {actor.look.remote(self._stop.signum): shipment for actor, shipment in self._running.values()}
        ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=_LOOKED_EVERY) if asked else ([], [])
        for reference in ready:
            try:
                said = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                continue  # the actor is lost; its job will report this
            if said:
                self._watch.told(asked[reference].number, said)
