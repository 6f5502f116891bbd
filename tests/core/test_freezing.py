"""Frozen parts of a model keep their weights and statistics; the other parts train as they would."""

from __future__ import annotations

import pytest
import torch
from learners import built, steps, stream

from gradinc.base.errors import UserError

WORDS = ("model=mlp", "model.depth=2", "model.norm=batch", "stream=split", "stream.tasks=2", "optimizer.lr=0.1")
CENTRED = ("hidden1.bias", "hidden2.bias")
"""Offsets that batch normalisation subtracts again: their gradients are 0 up to rounding."""


def after(*words: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the weights and statistics before and after two tasks, with an evaluation in between."""
    tasks = stream(*WORDS)
    learner = built(tasks, *WORDS, *words)
    before = {name: value.clone() for name, value in learner.model.state_dict().items() if name not in CENTRED}
    for _ in steps(learner, tasks, count=2):
        learner.model.eval()
        learner.model.train()
    return before, {name: value for name, value in learner.model.state_dict().items() if name not in CENTRED}


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        ("[hidden1]", {"hidden1.weight"}),
        ("[hidden*]", {"hidden1.weight", "hidden2.weight"}),
        (
            "[norm1]",
            {"norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var", "norm1.num_batches_tracked"},
        ),
        ("[output.bias]", {"output.bias"}),
    ],
)
def test_exactly_the_named_parts_stay_as_they_were(patterns: str, frozen: set[str]) -> None:
    before, now = after(f"model.freeze={patterns}")
    assert {name for name, value in now.items() if torch.equal(value, before[name])} == frozen
    before, now = after()
    assert not any(torch.equal(value, before[name]) for name, value in now.items())


def test_a_pattern_that_fits_nothing_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(
        UserError,
        match=r"model\.freeze=\[hidden9\]: the model has no such layer\. Did you mean hidden2\? Choose from: hidden",
    ):
        built(stream(*WORDS), *WORDS, "model.freeze=[hidden9]")
    with pytest.raises(UserError, match="no weight is left to train"):
        built(stream(*WORDS), *WORDS, "model.freeze=[hidden*,norm*,output]")
