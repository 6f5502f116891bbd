"""Which orders of methods are refused, with the order to write instead."""

from itertools import permutations

import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.core.method import Method
from gradinc.core.order import check_order
from gradinc.data.dataset import load_dataset
from gradinc.methods.asam import ASAM
from gradinc.methods.cautious import Cautious
from gradinc.methods.clip import Clip
from gradinc.methods.lookahead import Lookahead
from gradinc.methods.noise import Noise
from gradinc.methods.sam import SAM
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model


class Projection(Method):
    role = "steers"

    def transform(self, g, learner):
        pass


class Replay(Method):
    """Has no transform."""

    def batch(self, batch, learner):
        return batch

    def stepped(self, window, learner):
        pass


METHODS = {
    "sam": SAM,
    "asam": ASAM,
    "clip": Clip,
    "noise": Noise,
    "cautious": Cautious,
    "lookahead": Lookahead,
    "gpm": Projection,
    "ogd": Projection,
    "er": Replay,
}


def refusal(*names):
    try:
        check_order({name: METHODS[name] for name in names})
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (
            ("clip", "sam"),
            "strategy=[clip,sam]: sam recomputes the gradient, so it must come before clip. Use strategy=[sam,clip].",
        ),
        (
            ("er", "noise", "clip", "asam"),
            "strategy=[er,noise,clip,asam]: asam recomputes the gradient, so it must come before noise. "
            "Use strategy=[er,asam,noise,clip].",
        ),
        (
            ("sam", "asam"),
            "strategy=[sam,asam]: both sam and asam recompute the gradient, so only the last would count. "
            "Use one of them.",
        ),
        (
            ("gpm", "noise"),
            "strategy=[gpm,noise]: gpm projects the gradient, so nothing but clip may follow, and noise does. "
            "Use strategy=[noise,gpm].",
        ),
        (
            ("gpm", "ogd"),
            "strategy=[gpm,ogd]: gpm projects the gradient, so nothing but clip may follow, and ogd does. "
            "Use one of them.",
        ),
        (
            ("lookahead", "cautious"),
            "strategy=[lookahead,cautious]: lookahead averages the weights, so it must come after cautious. "
            "Use strategy=[cautious,lookahead].",
        ),
    ],
)
def test_a_wrong_order_is_refused_with_the_right_one(names, line):
    assert refusal(*names) == line


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("sam",),
        ("sam", "clip"),
        ("er", "sam", "noise", "clip"),
        ("sam", "er"),
        ("noise", "gpm", "clip"),
        ("cautious", "er", "lookahead"),
        ("sam", "lookahead"),
        ("lookahead", "sam"),
    ],
)
def test_a_right_order_is_let_through(names):
    assert refusal(*names) is None


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_fix_leads_to_an_order_that_is_let_through(count):
    """By following the fixes, one at a time, unless two methods exclude each other."""
    refused = 0
    for names in permutations([name for name in METHODS if name not in ("asam", "ogd")], count):
        line = refusal(*names)
        refused += line is not None
        for _ in range(count):
            if line is None:
                break
            fixed = line.rpartition("Use strategy=[")[2].rstrip("].").split(",")
            assert sorted(fixed) == sorted(names), line
            line = refusal(*fixed)
        assert line is None, names
    assert refused > 0


def test_a_run_in_a_wrong_order_is_refused_before_it_is_built():
    dataset = load_dataset(load_config(["data=digits"]).data, "cpu", torch.float32)

    def build(strategy):
        config = load_config([f"strategy={strategy}", "model=linear"])
        model = build_model(config, Shape(dataset.shape, dataset.outputs), dataset.train.y.device)
        return build_learner(config, model, build_criterion(dataset), len(dataset.train))

    assert [type(method) for method in build("[sam,clip]").methods] == [SAM, Clip]
    with pytest.raises(UserError, match=r"Use strategy=\[sam,clip\]\.$"):
        build("[clip,sam]")


def test_no_entries_are_dropped_from_an_update_that_was_projected():
    for names in (["cautious", "gpm"], ["gpm", "cautious"]):
        with pytest.raises(UserError, match="cautious drops entries of the update, which leaves the subspace"):
            check_order({name: load_part("method", name) for name in names})
    check_order({name: load_part("method", name) for name in ["cautious", "agem"]})
