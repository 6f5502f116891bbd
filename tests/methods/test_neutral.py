"""At its neutral setting a method is plain accumulation, bit for bit."""

import math

import pytest
import torch
from learners import distance, learner, network, train

from gradinc.core.method import Method
from gradinc.data.task import Setting
from gradinc.methods.agc import AGC
from gradinc.methods.asam import ASAM
from gradinc.methods.c_flat import CFlat
from gradinc.methods.cautious import Cautious
from gradinc.methods.clip import Clip
from gradinc.methods.continual_backprop import ContinualBackprop
from gradinc.methods.grokfast import Grokfast
from gradinc.methods.l2_init import L2Init
from gradinc.methods.lookahead import Lookahead
from gradinc.methods.noise import Noise
from gradinc.methods.sam import SAM
from gradinc.methods.shrink_perturb import ShrinkPerturb
from gradinc.methods.snoo import Snoo


def checked(method: Method) -> Method:
    """A method that has seen the model, as a run shows it."""
    method.check(network(norm=True, dropout=0.2), Setting())
    return method


NEUTRAL = {
    "grokfast": (lambda: Grokfast(lamb=0), lambda: Grokfast()),
    "grokfast of kind ma": (lambda: Grokfast(kind="ma", lamb=0), lambda: Grokfast(kind="ma")),
    "noise": (lambda: Noise(eta=0), lambda: Noise()),
    "clip": (lambda: Clip(norm=math.inf, value=math.inf), lambda: Clip(norm=0.1)),
    "agc": (lambda: AGC(ratio=math.inf), lambda: AGC()),
    "sam": (lambda: SAM(rho=0), lambda: SAM()),
    "asam": (lambda: ASAM(rho=0), lambda: ASAM()),
    "snoo": (lambda: Snoo(k=3, lr=1, momentum=0), lambda: Snoo(k=3)),
    "c_flat": (lambda: CFlat(rho=0), lambda: CFlat()),
    "l2_init": (lambda: L2Init(strength=0), lambda: L2Init()),
    "shrink_perturb": (lambda: ShrinkPerturb(shrink=0, perturb=0), lambda: ShrinkPerturb()),
    "continual_backprop": (
        lambda: checked(ContinualBackprop(rate=0)),
        lambda: checked(ContinualBackprop(rate=0.1, maturity=2)),
    ),
    "lookahead": (lambda: Lookahead(k=3, alpha=1), lambda: Lookahead(k=3)),
}
OPTIMIZERS = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
    "adamw": {"lr": 1e-2, "weight_decay": 0.1},
}


@pytest.mark.parametrize("name", NEUTRAL)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_neutral_method_changes_no_bit(name, optimizer, dtype):
    def trained(*methods):
        model = network(norm=True, dropout=0.2).to(dtype)
        return train(learner(*methods, model=model, optimizer=optimizer, **OPTIMIZERS[optimizer]), 16, 4, dtype=dtype)

    neutral, usual = NEUTRAL[name]
    plain = trained()
    assert torch.equal(trained(neutral()), plain)
    assert not torch.equal(trained(usual()), plain)


def test_cautious_masks_nothing_of_plain_gradient_descent():
    """u = −η g never goes against g; all that is left is the paper's d / (nnz + 1)."""
    entries = len(learner().weights)
    plain = train(learner(lr=0.1 * entries / (entries + 1)), 16, 4)
    assert distance(train(learner(Cautious()), 16, 4), plain) < 1e-10
    assert distance(train(learner(Cautious(), momentum=0.9), 16, 4), train(learner(momentum=0.9), 16, 4)) > 1e-3
