r"""G − G U Λ Uᵀ for each layer's gradient G, with Λ the importance of the directions U of past tasks' inputs.

$$ G_\ell \leftarrow G_\ell - G_\ell\, U_\ell \Lambda_\ell U_\ell^\top $$
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from gradinc.config.values import Count, Fraction, NonNegative
from gradinc.core.linalg import tiny
from gradinc.core.subspaces import note_free
from gradinc.core.view import LearnerView
from gradinc.data.task import Task
from gradinc.methods.gpm import GPM


class SGP(GPM):
    """Scaled gradient projection: change layers less along past tasks' inputs

    Paper: Saha & Roy 2023, arXiv 2302.01386
    Title: Continual Learning with Scaled Gradient Projection
    Authors: Gobinda Saha, Kaushik Roy
    Limits: As GPM, but directions of little importance may still change: it learns late tasks more easily and forgets
        more.

    The directions are GPM's. Each has an importance λ = (α + 1) σ / (α σ + max σ), with σ the length of the task's
    inputs along it; the importance of all tasks adds up, to 1 at most. A direction of importance 1 is never changed,
    like all directions of GPM; SGP becomes GPM for α → ∞ and inputs without zeros. Biases, normalisations and output
    layers are treated as in GPM.

    Args:
        threshold: share of the inputs' squared norm along the directions; one for all layers or one for each.
        increase: added to the threshold with each task; the authors' 0.97 and 0.003 are for ten tasks.
        alpha: α; with a larger α more directions count as important.
        rows: random training rows of a task for the directions.
    """

    state = ("bases", "importance", "still")

    def __init__(
        self,
        *,
        threshold: Fraction | list[Fraction] = 0.95,
        increase: NonNegative = 0.0,
        alpha: NonNegative = 10.0,
        rows: Count = 300,
    ) -> None:
        super().__init__(threshold=threshold, increase=increase, rows=rows)
        self.alpha = alpha
        self.importance: dict[str, Tensor] = {}  # λ of each layer, shape (r,)

    def change(self, name: str, u: Tensor) -> Callable[[Tensor], Tensor]:
        return partial(_scaled, u=u, importance=self.importance[name])

    def end(self, task: Task, learner: LearnerView) -> None:
        moments, thresholds = self.moments(task, learner)
        for name, u in self.grow(moments, thresholds, learner).items():
            sigma = (u * (moments[name] @ u)).sum(0).clamp(min=0).sqrt()
            largest = sigma.max() if len(sigma) else 0.0
            added = (self.alpha + 1) * sigma / (self.alpha * sigma + largest).clamp(min=tiny(sigma))
            if name in self.importance:
                added[: len(self.importance[name])] += self.importance[name]
            self.importance[name] = added.clamp(max=1).to(self.bases[name])
        note_free(learner, {name: 1 - float(v.sum()) / len(self.bases[name]) for name, v in self.importance.items()})


def _scaled(matrix: Tensor, u: Tensor, importance: Tensor) -> Tensor:
    return matrix - (matrix @ u * importance) @ u.T
