"""Every method acts once per window: windows of micro-batches are the large batch."""

import pytest
import torch
from learners import distance, learner, network, train

from gradinc.core.rule import SeparateRule
from gradinc.data.task import Setting
from gradinc.methods.agc import AGC
from gradinc.methods.asam import ASAM
from gradinc.methods.c_flat import CFlat
from gradinc.methods.cautious import Cautious
from gradinc.methods.centralize import Centralize
from gradinc.methods.clip import Clip
from gradinc.methods.continual_backprop import ContinualBackprop
from gradinc.methods.grokfast import Grokfast
from gradinc.methods.l2_init import L2Init
from gradinc.methods.lookahead import Lookahead
from gradinc.methods.noise import Noise
from gradinc.methods.sam import SAM, gradient_uphill
from gradinc.methods.shrink_perturb import ShrinkPerturb
from gradinc.methods.snoo import Snoo
from gradinc.methods.upgd import UPGD


def renewing() -> ContinualBackprop:
    """Renews units of the network of `learner` from the third update on."""
    method = ContinualBackprop(rate=0.05, maturity=1)
    method.check(network(), Setting())
    return method


CHAINS = {
    "grokfast": lambda: [Grokfast(alpha=0.7)],
    "grokfast of kind ma": lambda: [Grokfast(kind="ma", window=3)],
    "centralize": lambda: [Centralize()],
    "noise": lambda: [Noise()],
    "clip the norm": lambda: [Clip(norm=0.3)],
    "clip the value": lambda: [Clip(norm=torch.inf, value=0.01)],
    "agc": lambda: [AGC()],
    "sam": lambda: [SAM(rho=0.1)],
    "asam": lambda: [ASAM()],
    "c_flat": lambda: [CFlat(rho=0.1)],
    "l2_init": lambda: [L2Init(strength=0.1)],
    "shrink_perturb": lambda: [ShrinkPerturb()],
    "continual_backprop": lambda: [renewing()],
    "upgd": lambda: [UPGD()],
    "snoo": lambda: [Snoo(k=2)],
    "lookahead": lambda: [Lookahead(k=2)],
    "cautious": lambda: [Cautious()],
    "sam, clip": lambda: [SAM(), Clip(norm=0.3)],
    "all": lambda: [
        SAM(),
        Grokfast(alpha=0.7),
        Centralize(),
        Noise(),
        AGC(ratio=0.05),
        Clip(norm=0.3),
        Cautious(),
        Lookahead(k=2),
    ],
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("micro", "size"), [(16, 4), (7, 3), (1, 64)])
def test_windows_equal_the_large_batch(name, micro, size):
    """Plain SGD: Adam would hide a wrong scale. 300 rows leave short windows and micro-batches."""
    epochs = 2 if micro > 1 else 1
    accumulated = train(learner(*CHAINS[name]()), micro, size, epochs)
    assert distance(accumulated, train(learner(*CHAINS[name]()), micro * size, 1, epochs)) < 1e-12
    assert distance(accumulated, train(learner(), micro, size, epochs)) > 1e-5


class PerMicroBatch(SeparateRule):
    """Broken on purpose: the mean of what a method makes of each micro-batch's gradient."""

    def __init__(self, method):
        self.method = method

    def open(self, like, size):
        self.total = torch.zeros_like(like)

    def add(self, g, batch, learner):
        g = g.clone()
        self.transform(g, batch, learner)
        self.total += g * batch.items

    def transform(self, g, batch, learner):
        self.method.transform(g, learner)

    def reduce(self, grad, items, planned):
        grad.copy_(self.total / items)
        return True


class SAMPerMicroBatch(PerMicroBatch):
    """Broken on purpose: the mean of the micro-batches' own SAM gradients."""

    def transform(self, g, batch, learner):
        learner.regradient = lambda: learner.gradient(batch)
        with torch.no_grad():
            g.copy_(gradient_uphill(g, g.norm(), self.method.rho, learner))


BROKEN = {
    "clip the norm": PerMicroBatch,
    "clip the value": PerMicroBatch,
    "agc": PerMicroBatch,
    "grokfast": PerMicroBatch,
    "grokfast of kind ma": PerMicroBatch,
    "noise": PerMicroBatch,
    "sam": SAMPerMicroBatch,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_method_applied_to_every_micro_batch_is_caught(name):
    """The equality above would be worth nothing if these passed it."""
    (method,) = CHAINS[name]()
    broken = train(learner(rule=BROKEN[name](method)), 16, 4)
    assert distance(broken, train(learner(*CHAINS[name]()), 64, 1)) > 1e-6


def test_a_linear_method_may_be_applied_to_every_micro_batch():
    """The other half: the harness of the broken rules is itself sound."""
    (method,) = CHAINS["centralize"]()
    assert distance(train(learner(rule=PerMicroBatch(method)), 16, 4), train(learner(Centralize()), 64, 1)) < 1e-12
