r"""The loss at the image within ε with the largest loss.

$$ \min_w \; \mathbb{E} \max_{\lVert \delta\rVert \le \epsilon} \ell\left(h_w(x + \delta), y\right) $$
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count, NonNegative
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.input_space import InputSpace
from gradinc.data.task import Setting, Task


class PGDAT(Method):
    """Adversarial training: every image is moved by PGD before training on it

    Paper: Madry et al. 2018, arXiv 1706.06083
    Title: Towards Deep Learning Models Resistant to Adversarial Attacks
    Authors: Aleksander Madry, Aleksandar Makelov, Ludwig Schmidt, Dimitris Tsipras, Adrian Vladu
    Neutral: eps=0
    Limits: Needs images, and `steps` more passes for every row. At equal clean accuracy it is more robust than SGD
        within its ε (`gradinc table safety`); larger changes of an image still fool the model.

    Images are crafted row by row, at the current weights and in evaluation mode. With start=image
    a window therefore equals the large batch; random starts are drawn for each micro-batch.

    Args:
        eps: largest change of a pixel, in input units, 0 to 1.
        steps: steps of PGD, each a forward and a backward pass, of length 2.5 eps / steps.
        start: starting point: random, a random point within eps, or image, the image itself.
    """

    state = ("std", "low", "high")
    reads_task = True

    def __init__(
        self, *, eps: NonNegative = 0.1, steps: Count = 7, start: Literal["random", "image"] = "random"
    ) -> None:
        self.eps, self.steps, self.start = eps, steps, start
        self.std = self.low = self.high = torch.empty(0)

    def check(self, model: nn.Module, setting: Setting) -> None:
        if setting.shape is not None and (len(setting.shape) != 3 or not setting.classes):
            raise UserError("strategy.methods.pgd_at", "moves the pixels of images with classes", "Use data=digits")

    def begin(self, task: Task, learner: LearnerView) -> None:
        mean, std = task.setting.mean, task.setting.std
        if not mean:
            what = "needs the normalisation of the images, because eps is in input units"
            raise UserError("strategy.methods.pgd_at", what, "Give mean=… and std=…, one number for each channel")
        space = InputSpace.around(mean, std, (x for x, _ in task.train.chunks(4096)), task.train.y.device)
        space = space.to(learner.weights.value.dtype)
        self.std, self.low, self.high = space.std, space.low, space.high

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.eps == 0:
            return batch
        space = InputSpace(self.std, self.low, self.high)
        at = batch.x
        if self.start == "random":
            at = space.random(at, self.eps, "linf", learner.rng("pgd_at"))
        for _ in range(self.steps):
            uphill = learner.input_gradient(replace(batch, x=at))
            step = space.steepest(uphill, 2.5 * self.eps / self.steps, "linf")
            at = space.project(at + step, batch.x, self.eps, "linf")
        return replace(batch, x=at)

    @property
    def nbytes(self) -> int:
        """Return 0: no rows are stored."""
        return 0
