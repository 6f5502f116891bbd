"""Jobs on this machine: joblib distributes them to threads, and each thread has its own worker process."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gradinc.base.signals import Interruption
from gradinc.config.values import Jobs
from gradinc.studies.sweep.process import Worker, start_workers
from gradinc.studies.sweep.shipment import Ending, Shipment
from gradinc.studies.sweep.watch import Watch


class Local:
    """Worker processes on this machine, with its GPUs assigned in turn.

    joblib's own pools give up all their workers when one dies, and set the number of threads that numbers depend
    on; so joblib counts the processors and hands out the jobs, and the processes are gradinc's.

    Args:
        n_jobs: jobs at a time; -1 is one for each processor, -2 leaves one free.
    """

    def __init__(self, *, n_jobs: Jobs = 1) -> None:
        self.n_jobs = n_jobs
        self._workers: list[Worker] = []

    @contextmanager
    def started(self, devices: Sequence[str]) -> Iterator[None]:
        """Start workers before the sweep computes or shows anything (see `gradinc.studies.sweep.fork`), for use inside.

        Args:
            devices: ``device=`` of each job.
        """
        self._workers = start_workers(self.n_jobs, devices)
        try:
            yield
        finally:
            for worker in self._workers:
                worker.close()

    def run(self, shipments: Sequence[Shipment], watch: Watch, stop: Interruption) -> None:
        """Run the jobs in order, each as soon as a worker is free."""
        import joblib

        workers: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for started in self._workers:
            workers.put(started)

        def one(shipment: Shipment) -> None:
            if stop.signum:
                return
            worker = workers.get()
            try:
                ending = worker.run(shipment, lambda said: watch.told(shipment.number, said), lambda: stop.signum)
            except Exception as error:
                ending = Ending(1, f"{type(error).__name__}: {error}")
            finally:
                workers.put(worker)
            watch.ended(shipment.number, ending)

        tasks = (joblib.delayed(one)(shipment) for shipment in shipments)
        joblib.Parallel(n_jobs=len(self._workers), backend="threading", batch_size=1, pre_dispatch="n_jobs")(tasks)
