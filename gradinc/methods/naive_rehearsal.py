r"""Train on B ∪ M, with M drawn from rows that were stored when their task ended.

$$ \ell(B \cup M_k), \qquad M_k \subset M \text{ drawn for each micro-batch} $$
"""

from __future__ import annotations

from gradinc.config.values import Count
from gradinc.core.memory import Balanced
from gradinc.core.method import Method
from gradinc.core.rehearsal import open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Task

_TOGETHER = 256
"""Rows that are stored together."""


class NaiveRehearsal(Method):
    """Naive rehearsal: replay random rows, stored when their task ends

    Paper: Hsu et al. 2018, arXiv 1810.12488
    Title: Re-evaluating Continual Learning Scenarios: A Categorization and Case for Strong Baselines
    Authors: Yen-Chang Hsu, Yen-Cheng Liu, Anita Ramasamy, Zsolt Kira
    Limits: Needs the rows of a whole task at its end, and boundaries between tasks; ``er`` needs neither.

    Past tasks share the memory evenly: at a task's end random rows of it are stored, and others leave. All of the
    memory is for past tasks, while the memory of ``er`` also fills with rows of the task in training. The loss is the
    mean over a micro-batch's rows and the rows replayed with it.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
    """

    state = ("memory",)
    needs_past = True
    reads_task = True

    def __init__(self, *, memory: Count = 500, replay: Count = 32) -> None:
        self.capacity, self.replay = memory, replay
        self.memory = Balanced(by="task")

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "naive_rehearsal")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "naive_rehearsal")

    def end(self, task: Task, learner: LearnerView) -> None:
        for rows in task.batches(_TOGETHER, rows=self.memory.capacity, random=learner.rng("naive_rehearsal_rows")):
            self.memory.add(x=rows.x, y=rows.y, tasks=rows.task_of_rows)
