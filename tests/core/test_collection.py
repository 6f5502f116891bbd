"""Optimizers of the collection pytorch-optimizer step our layers as they step a model's own parameters."""

from __future__ import annotations

import pytest
import pytorch_optimizer as theirs
import torch
from learners import distance, learner, network, restored, update, windows
from torch.nn import functional

from gradinc.base.errors import UserError
from gradinc.core import optimizers
from gradinc.core.collection import UNUSABLE
from gradinc.core.learner import Learner
from gradinc.core.weights import Weights

SOME = ("lion", "adan", "lamb", "prodigy", "soap", "ranger")


def made(algorithm: str) -> Learner:
    return learner(model=network(), optimizer="pytorch_optimizer", algorithm=algorithm, lr=0.01)


@pytest.mark.parametrize("algorithm", SOME)
def test_it_steps_as_the_collection_does_and_resumes_bit_for_bit(algorithm: str) -> None:
    """Layer by layer: LAMB scales by the norm of a layer, SOAP by its two sides."""
    mine, model = made(algorithm), network()
    free = theirs.load_optimizer(algorithm)(model.parameters(), lr=0.01)
    batches = list(windows(64, 1, 3))[:10]
    for number, (batch,) in enumerate(batches):
        free.zero_grad()
        functional.cross_entropy(model(batch.x), batch.y).backward()
        free.step()
        update(mine, [batch])
        if number == 4:
            again = restored(mine, lambda: made(algorithm))
        if number > 4:
            update(again, [batch])
    assert distance(mine.weights.value, torch.cat([p.detach().flatten() for p in model.parameters()])) < 1e-9
    assert torch.equal(again.weights.value, mine.weights.value)
    assert distance(mine.weights.value, made(algorithm).weights.value) > 1e-6, "prodigy starts slowly"


def test_what_cannot_be_used_is_refused_with_the_reason() -> None:
    assert UNUSABLE.keys() <= set(theirs.get_supported_optimizers())
    for algorithm, why in (("adahessian", "needs second derivatives"), ("adamz", "is not in the collection")):
        with pytest.raises(UserError, match=f"^optimizer.algorithm={algorithm}: {why}"):
            optimizers.pytorch_optimizer(Weights(network()), algorithm=algorithm, lr=0.1)
    with pytest.raises(UserError, match=r"^optimizer\.algorithm=lion: refuses its options: .*beta1"):
        optimizers.pytorch_optimizer(Weights(network()), lr=0.1, options={"betas": [2.0, 0.9]})
    heads = Weights(network(), [range(5), range(5, 10)])
    with pytest.raises(UserError, match=r"heads of their own in one layer. Use stream\.heads=masked"):
        optimizers.pytorch_optimizer(heads, lr=0.1)


def test_its_options_are_the_collections() -> None:
    mine = optimizers.pytorch_optimizer(Weights(network()), lr=0.1, options={"betas": [0.5, 0.6], "weight_decay": 0.1})
    assert mine.param_groups[0]["betas"] == [0.5, 0.6]
    assert mine.param_groups[0]["weight_decay"] == 0.1
