"""Jobs on a Slurm cluster, sent there by submitit: one Slurm job for each, in one array."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradinc.base.errors import UserError
from gradinc.base.signals import Interruption
from gradinc.config.values import Count, Positive, Whole
from gradinc.studies.sweep.process import Worker
from gradinc.studies.sweep.shipment import Ending, Shipment
from gradinc.studies.sweep.watch import Watch

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

OVER = ("GONE", "FAILED", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "BOOT_FAIL", "DEADLINE", "COMPLETED")
"""States of a job that will not run again."""

_LOOKED_EVERY = 1.0
"""Seconds between two queries to Slurm."""

SAVED_WITHIN = 60.0
"""Seconds in which a run must save its state before Slurm ends it."""

MISSED = 5
"""Queries of the queue after which a missing job without a result counts as lost."""

LOGS = ".slurm"
"""Folder, under the output directory, of submitit's scripts, pickles and logs."""


class Slurm:
    """A Slurm cluster: a job for each run, queued again if its time is over

    Args:
        partition: the partition; null takes the cluster's own default.
        n_jobs: jobs that run at a time at most; null leaves that to Slurm.
        timeout_min: minutes after which a job is stopped, saved and queued again.
        cpus_per_task: processors of each job.
        gpus_per_node: GPUs of each job.
        mem_gb: gigabytes of memory of each job; null takes the partition's default.
        account: whom the jobs are charged to.
        requeues: largest number of times that a job resumes after its time limit.
    """

    def __init__(
        self,
        *,
        partition: str | None = None,
        n_jobs: Count | None = None,
        timeout_min: Count = 240,
        cpus_per_task: Count = 1,
        gpus_per_node: Whole = 0,
        mem_gb: Positive | None = None,
        account: str | None = None,
        requeues: Whole = 100,
    ) -> None:
        self.n_jobs, self.requeues = n_jobs, requeues
        own = {"partition": partition, "account": account}
        self._parameters: dict[str, Any] = {
            "timeout_min": timeout_min,
            "cpus_per_task": cpus_per_task,
            **({} if mem_gb is None else {"mem_gb": mem_gb}),
            **({"gpus_per_node": gpus_per_node} if gpus_per_node else {}),
            **{f"slurm_{key}": value for key, value in own.items() if value is not None},
        }
        try:
            import submitit
        except ImportError:
            raise UserError("cluster=slurm", "needs submitit", "Install it with pip install submitit") from None
        from submitit.slurm.slurm import SlurmExecutor

        if SlurmExecutor.affinity() < 0:
            raise UserError("cluster=slurm", "there is no sbatch on this machine", "Start it where Slurm is")
        self._submitit = submitit

    def run(self, shipments: Sequence[Shipment], watch: Watch, stop: Interruption) -> None:
        """Submit the jobs as one array and wait for all of them."""
        folder = Path(shipments[0].folder) / shipments[0].document["output"] / LOGS
        executor = self._submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=self.requeues)
        executor.update_parameters(
            name="gradinc",
            slurm_array_parallelism=self.n_jobs or len(shipments),
            **self._parameters,
        )
        try:
            jobs = executor.map_array(OnNode(), shipments)
        except self._submitit.core.utils.FailedJobError as error:
            said = (str(error).strip().splitlines() or ["it gave no reason"])[-1].rstrip(".")
            fix = "Check with sinfo that the cluster is up and has the requested resources"
            raise UserError("cluster=slurm", f"sbatch accepted no job ({said})", fix) from error
        waiting = dict(zip((shipment.number for shipment in shipments), jobs, strict=True))
        asked, missed = False, dict.fromkeys(waiting, 0)
        while waiting:
            time.sleep(_LOOKED_EVERY)
            queued = _queued()
            if stop.signum and not asked:
                asked = True
                for job in waiting.values():
                    job.cancel(check=False)  # Slurm sends SIGTERM first: running jobs are saved
            for number, job in list(waiting.items()):
                state = queued.get(job.job_id, "GONE")
                missed[number] = missed[number] + 1 if state in OVER else 0
                if job.paths.result_pickle.exists() or missed[number] > MISSED:
                    del waiting[number]
                    watch.ended(number, _ending(job, state, stop.signum))
                elif state == "RUNNING":
                    watch.told(number, {})


def _queued() -> dict[str, str]:
    """Return the state of every job of this user in Slurm's queue, by its number. This needs no Slurm accounting."""
    words = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T"]
    said = subprocess.run(words, capture_output=True, text=True).stdout
    return {job: state for job, _, state in (line.strip().partition(" ") for line in said.splitlines())}


def _ending(job: Any, state: str, stopping: int) -> Ending:
    """Return the result of a job, or Slurm's state of a job without a result."""
    if not job.paths.result_pickle.exists():
        if stopping:
            return Ending(128 + stopping)
        death = f"Slurm job {state.lower()}"
        return Ending(1, f"Slurm job {job.job_id} is {state.lower()} and left no result: {job.paths.stderr}", death)
    try:
        ending: Ending = job.result()
    except Exception as error:
        if stopping:
            return Ending(128 + stopping)
        return Ending(1, f"Slurm job {job.job_id}: {''.join(str(error).strip().splitlines()[-1:])}")
    return ending


class OnNode:
    """Run a worker inside a Slurm job, so that a crash of the job is reported.

    submitit calls `checkpoint` before Slurm ends the job, and queues the job that it returns.
    """

    def __init__(self) -> None:
        self._stop = 0
        self._worker: Worker | None = None

    def __call__(self, shipment: Shipment) -> Ending:
        signal.signal(signal.SIGTERM, self._terminate)
        self._worker = Worker()
        ending = self._worker.run(shipment, lambda said: None, lambda: self._stop)
        self._worker.close()
        return ending

    def _terminate(self, number: int, frame: object) -> None:
        self._stop = number

    def checkpoint(self, shipment: Shipment) -> DelayedSubmission:
        """Make the run save its state, which takes one micro-batch, and return the job for resubmission."""
        from submitit.helpers import DelayedSubmission

        if self._worker is not None:
            self._worker.save(signal.SIGTERM, SAVED_WITHIN)
        return DelayedSubmission(OnNode(), shipment)
