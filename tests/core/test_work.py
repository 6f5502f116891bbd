"""Rows through the model: what the learner counts, beside a count of what really goes through the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learners import built, finished, steps, stream
from torch import Tensor, nn

from gradinc.config import groups
from gradinc.core.learner import Learner
from gradinc.core.method import Method

STRATEGIES = groups.names("strategy")
SPLIT = ("stream=split", "stream.tasks=3", "scenario=task")
SETTINGS = (
    *(f"strategy={name}" for name in STRATEGIES),
    "strategy=ewc strategy.methods.ewc.fisher=true",
    "strategy=ewc strategy.methods.ewc.fisher=batch",
    "strategy=ogd strategy.methods.ogd.kind=all",
    "strategy=[derpp,lwf,sam]",
    "strategy=[mir,pgd_at]",
    "strategy=er corrupt.prob=0.5",
    "strategy=accumulate diagnostics=true",
    "strategy=er strategy.window.due=norm_test",
)
WINDOWS = "strategy.window.size=2"


class Tally:
    """Rows that were seen. No list: `torch.func` would hand copies of one on."""

    def __init__(self) -> None:
        self.rows = 0


class Count(torch.autograd.Function):
    """The identity, which tallies the rows that it sees, and hands their gradient to another that does so too.

    Under `torch.func.vmap` it sees all rows together.
    """

    @staticmethod
    def forward(out: Tensor, seen: Tally, behind: Tally | None) -> Tensor:  # type: ignore[override]
        seen.rows += out.shape[0]
        return out.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.behind = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        if ctx.behind is not None:
            grad = Count.apply(grad, ctx.behind, None)
        return grad, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, out: Tensor, seen: Tally, behind: Tally | None) -> Any:
        return Count.apply(out.movedim(in_dims[0], 0), seen, behind), 0


class Counted:
    """Rows that go through a model while it is watched, forward and backward."""

    def __init__(self, model: nn.Module) -> None:
        self.forward, self.backward = Tally(), Tally()
        model.register_forward_hook(lambda module, given, out: Count.apply(out, self.forward, self.backward))

    @property
    def rows(self) -> tuple[int, int]:
        return self.forward.rows, self.backward.rows


def taken(learner: Learner) -> tuple[int, int]:
    return learner.work.forward_rows, learner.work.backward_rows


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_row_that_goes_through_the_model_is_counted(setting: str) -> None:
    words = (*SPLIT, WINDOWS, *setting.split())
    tasks = stream(*words)
    made = built(tasks, *words)
    counted = Counted(made.model)
    for place in steps(made, tasks):
        assert taken(made) == counted.rows, place
    assert made.work.samples == 8 * 8 * len(tasks)
    assert min(counted.rows) >= made.work.samples


class Peeks(Method):
    """Calls the model behind the learner's back."""

    def transform(self, g: Tensor, learner: Learner) -> None:
        with torch.no_grad():
            learner.model(torch.zeros(3, 64, dtype=torch.float64))


def test_a_pass_that_goes_by_the_learner_would_be_seen() -> None:
    tasks = stream(*SPLIT)
    made = built(tasks, *SPLIT)
    made = Learner(made.passes, made.rate, made.window, {"peeks": Peeks()})
    counted = Counted(made.model)
    finished(made, tasks)
    assert counted.rows[0] == taken(made)[0] + 3 * made.updates


SAMPLES = 3 * 64  # rows of three tasks, in micro-batches of 8
BY_HAND = {
    "finetune": (SAMPLES, SAMPLES),
    # 10 rows with each micro-batch from the second window on, since the first one fills the memory
    "er strategy.methods.er.replay=10": (SAMPLES + 10 * 22, SAMPLES + 10 * 22),
    # the teacher sees the rows of the second and third task
    "lwf": (SAMPLES + 2 * 64, SAMPLES),
    "sam": (2 * SAMPLES, 2 * SAMPLES),
    # three tasks' gradients of 5 rows each, one by one
    "ewc strategy.methods.ewc.rows=5": (SAMPLES + 3 * 5, SAMPLES + 3 * 5),
    # 4 windows with one old task and 4 with two, whose memories have 5 rows each
    "gem strategy.methods.gem.memory=15": (SAMPLES + 4 * 5 + 4 * 10, SAMPLES + 4 * 5 + 4 * 10),
    # 12 candidates before and after the virtual step, which is the micro-batch's own gradient; 3 of them are replayed
    "mir strategy.methods.mir.candidates=12 strategy.methods.mir.replay=3": (
        SAMPLES + 22 * (8 + 24 + 3),
        SAMPLES + 22 * (8 + 3),
    ),
    # seven steps of an attack before the rows are trained on
    "pgd_at": (8 * SAMPLES, 8 * SAMPLES),
    # each row's own gradient, from the pass that gives the loss
    "dp": (SAMPLES, SAMPLES),
    # GPM looks at the inputs of 10 rows of each task
    "gpm strategy.methods.gpm.rows=10": (SAMPLES + 3 * 10, SAMPLES),
}


@pytest.mark.parametrize("strategy", BY_HAND)
def test_counts_by_hand(strategy: str) -> None:
    words = (*SPLIT, WINDOWS, *f"strategy={strategy}".split())
    tasks = stream(*words)
    made = finished(built(tasks, *words), tasks)
    assert taken(made) == BY_HAND[strategy]
    assert made.work.rows == sum(BY_HAND[strategy]) / 2


def test_a_checkpoint_of_before_rows_were_counted_is_refused() -> None:
    tasks = stream(*SPLIT)
    state = built(tasks, *SPLIT).state_dict()
    del state["work"]
    with pytest.raises(ValueError, match="it was saved before rows were counted"):
        built(tasks, *SPLIT).load_state_dict(state)
