r"""Train on B ∪ M, with a memory of rows whose gradients point in different directions.

$$ \ell(B \cup M_k), \qquad M \text{ chosen so that } \max_j \cos(g_i, g_j) \text{ is small} $$
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gradinc.base.randomness import generator
from gradinc.config.values import Count
from gradinc.core.episodes import batch_of
from gradinc.core.memory import MemoryRows, make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.padding import padded_together
from gradinc.data.task import Task

_NEAR = 1e-12
"""The least norm of a gradient with a direction, as in PyTorch's `normalize`."""

_FIRST = 0.1
"""The score of the first micro-batch with screen=batch."""


class GSS(Method):
    """Gradient-based sample selection: store rows whose gradients differ

    Paper: Aljundi et al. 2019, arXiv 1903.08671, algorithm 2 (greedy)
    Title: Gradient based sample selection for online continual learning
    Authors: Rahaf Aljundi, Min Lin, Baptiste Goujaud, Yoshua Bengio
    Limits: Compares gradients of single rows to choose what to store, which costs more than a reservoir. In the
        published table of Split MNIST, 200 rows chosen by it keep less than half of what a reservoir keeps.

    A row's score is its largest cosine similarity to the gradients of `compare` random rows of the memory, plus 1, both
    in evaluation mode as in the authors' program. A full memory stores only rows with a score under 1 (see `screen`):
    row i of the memory is picked with probability ∝ Cᵢ and replaced with probability Cᵢ / (Cᵢ + c). The rows of a
    window are scored together after its update and pick different rows; the paper's algorithm goes row by row. Replayed
    rows join the micro-batch as in ``er``. The method needs the gradient of every single row, a vector as long as all
    weights, and computes a few of them at a time.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
        compare: rows of the memory that new rows are compared with.
        screen: rows scores every row, and rows with a score under 1 may enter a full memory. batch, as in the programs
            of the authors and of DER's authors, scores a micro-batch by its mean gradient, and if this is under 1 all
            its rows may enter, with their own scores. Rows that fill the memory have the score of their micro-batch,
            0.1 for the first one, as in the latter program: rows of the first micro-batch hardly ever leave. On a GPU
            each micro-batch waits for its score.
    """

    state = ("memory",)
    rereads = True
    by_row = True

    def __init__(
        self,
        *,
        memory: Count = 500,
        replay: Count = 10,
        compare: Count = 10,
        screen: Literal["rows", "batch"] = "rows",
    ) -> None:
        self.capacity, self.replay, self.compare, self.screen = memory, replay, compare, screen
        self.memory = make_memory("reservoir")  # stores the rows; `stepped` selects them

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "gss")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "gss")

    def stepped(self, window: Window, learner: LearnerView) -> None:
        memory, new = self.memory, [batch.rows(0, batch.fresh) for batch in window.batches if not batch.repeat]
        if not new:
            return
        # From the memory's own position: a window of micro-batches makes the same draws as the large batch.
        random = generator(memory.seed, "gss", memory.seen, device=learner.weights.value.device)
        rows = {"x": padded_together(*(b.x for b in new)), "y": padded_together(*(b.y for b in new))}
        count = len(rows["y"])
        free = min(memory.capacity - len(memory), count)
        score = self._scores(new, free, random, learner)
        rows |= {"tasks": torch.cat([b.task_of_rows for b in new]), "score": score}
        if free:
            first = torch.arange(free)
            memory.place(first, first + len(memory), **rows)
        if free < count:
            self._replace({name: field[free:] for name, field in rows.items()}, random)
        memory.seen += count

    def _scores(self, new: list[Batch], free: int, random: torch.Generator, learner: LearnerView) -> Tensor:
        """Return c of each row, shape (rows,); ∞ if its micro-batch is screened out.

        It is 1 if there is nothing to compare the row with, or 0.1 with screen=batch.

        Args:
            free: number of rows, from the first, that fill the memory.
        """
        by_batch = self.screen == "batch"
        if len(self.memory) == 0:
            return torch.cat([b.x.new_full((len(b.y),), _FIRST if by_batch else 1.0) for b in new])
        old = self.memory.draw(self.compare, random)
        directions = list(learner.row_gradients(batch_of(old, new[0].task), evaluated=True))
        lengths = torch.cat([part.norms() for part in directions]).clamp_min(_NEAR)
        scores = []
        for rows in new:
            count, alike = len(rows.y), 0
            if by_batch:
                mean = learner.gradient(rows, evaluated=True)
                products = torch.cat([one.times(mean) for one in directions]) / lengths
                score = products.amax() / mean.norm().clamp_min(_NEAR) + 1
                alike = min(free, count)
                free -= alike
                scores.append(score.expand(alike))
                if score >= 1:
                    scores.append(score.new_full((count - alike,), torch.inf))
                    continue
            for part in learner.row_gradients(rows.rows(alike, count), evaluated=True) if alike < count else ():
                products = torch.cat([part.products(one) for one in directions], 1).to(lengths.dtype) / lengths
                scores.append(products.amax(1) / part.norms().clamp_min(_NEAR) + 1)
        return torch.cat(scores)

    def _replace(self, rows: MemoryRows, random: torch.Generator) -> None:
        """Let rows replace others in a full memory, without a host read of their number."""
        most = 1.0 if self.screen == "rows" else torch.inf
        order = (rows["score"] >= most).to(torch.int8).argsort(stable=True)[: len(self.memory)]
        rows = {name: field[order] for name, field in rows.items()}
        new, held = rows["score"], self.memory.rows()["score"]
        # The first k of an exponential race are k draws without replacement.
        race = torch.empty_like(held).exponential_(generator=random) / held
        slots = race.topk(len(new), largest=False).indices
        old = self.memory.rows(slots)
        chance = old["score"] / (old["score"] + new)
        enters = (new < most) & (torch.rand(len(new), generator=random, device=new.device) < chance)
        chosen = {}
        for name, field in rows.items():
            entering, staying = padded_together(field, old[name]).split(len(field))
            chosen[name] = torch.where(_beside(enters, field), entering, staying)
        self.memory.update(slots, **chosen)


def _beside(rows: Tensor, field: Tensor) -> Tensor:
    """Return one number for each row, in a shape that broadcasts over a field of the rows."""
    return rows.view(-1, *[1] * (field.dim() - 1))
