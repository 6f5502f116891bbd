"""The same methods in a well-kept collection of optimizers, on the same windows as large batches."""

from collections.abc import Callable

import pytest
import pytorch_optimizer as theirs
import torch
from learners import distance, learner, network, train, windows
from pytorch_optimizer.optimizer import grokfast as filters
from torch import nn

from gradinc.methods.agc import AGC
from gradinc.methods.asam import ASAM
from gradinc.methods.centralize import Centralize
from gradinc.methods.grokfast import Grokfast
from gradinc.methods.lookahead import Lookahead
from gradinc.methods.sam import SAM


def by_them(wrap: Callable, change: Callable = lambda model: None) -> torch.Tensor:
    """Train on the large batches of the same rows with an optimizer of theirs.

    Args:
        wrap: makes it from the model's parameters.
        change: what is done to the model's gradients before it steps.
    """
    model = network()
    optimizer = wrap(model.parameters())
    for (batch,) in windows(64, 1):

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch.x), batch.y)
            loss.backward()
            change(model)
            return loss

        closure()
        optimizer.step(*([closure] if isinstance(optimizer, theirs.SAM) else []))
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.mark.parametrize(("ours", "adaptive"), [(SAM(rho=0.3), False), (ASAM(rho=0.3, eta=0), True)])
def test_sam_and_asam(ours, adaptive):
    """They take the norm in float32."""
    made = by_them(lambda p: theirs.SAM(p, torch.optim.SGD, rho=0.3, adaptive=adaptive, lr=0.1))
    assert distance(train(learner(ours), 16, 4), made) < 1e-7


def test_lookahead():
    """10 updates, so that the last one is a step of the slow weights for them too."""
    made = by_them(lambda p: theirs.Lookahead(torch.optim.SGD(p, lr=0.1, momentum=0.9), k=5, alpha=0.3))
    assert distance(train(learner(Lookahead(k=5, alpha=0.3), momentum=0.9), 16, 4), made) < 1e-12


def test_centralize():
    def change(model):
        for p in model.parameters():
            theirs.centralize_gradient(p.grad)

    assert distance(train(learner(Centralize()), 16, 4), by_them(sgd, change)) < 1e-12


def test_agc():
    """The head is left out by hand: they leave that to the caller."""

    def change(model):
        for p in model[0].parameters():
            p.grad = theirs.agc(p, p.grad, agc_clip_val=0.02)

    assert distance(train(learner(AGC(ratio=0.02)), 16, 4), by_them(sgd, change)) < 1e-12


def once_an_update(filter_gradient):
    kept = {"grads": None}

    def change(model):
        kept["grads"] = filter_gradient(model, kept["grads"])

    return change


def test_grokfast_with_an_exponential_average():
    change = once_an_update(lambda model, grads: filters.gradfilter_ema(model, grads, alpha=0.7, lamb=2.0))
    assert distance(train(learner(Grokfast(alpha=0.7)), 16, 4), by_them(sgd, change)) < 1e-12


def test_grokfast_with_a_moving_average():
    change = once_an_update(
        lambda model, grads: filters.gradfilter_ma(model, grads, window_size=3, lamb=2.0, warmup=False)
    )
    assert distance(train(learner(Grokfast(kind="ma", window=3)), 16, 4), by_them(sgd, change)) < 1e-12
