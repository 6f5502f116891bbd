"""SAM and ASAM: the gradient from the steepest near point, and nothing else moves."""

from functools import partial

import pytest
import torch
from learners import distance, learner, loss_and_gradient, network, take, train, windows
from torch import nn

from gradinc.core.method import Method
from gradinc.methods.asam import ASAM
from gradinc.methods.sam import SAM, gradient_uphill


def sam_step(w, g, rho):
    return rho * g / g.norm()


def asam_step(w, g, rho, eta=0.01):
    size = w.abs() + eta
    return rho * size**2 * g / (size * g).norm()


def authors_asam_step(w, g, rho, eta=0.01):
    """Their loop over named parameters: T only where the name has "weight" in it."""
    named = {name: p.numel() for name, p in network().named_parameters()}
    scales = [
        part.abs() + eta if "weight" in name else torch.ones_like(part)
        for name, part in zip(named, w.split(list(named.values())), strict=True)
    ]
    size = torch.cat(scales)
    return rho * size**2 * g / (size * g).norm()


METHODS = {
    "sam": (SAM, sam_step),
    "asam": (ASAM, asam_step),
    "asam of weights": (partial(ASAM, scales="weights"), authors_asam_step),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_update_is_made_with_the_gradient_at_the_paper_s_point(name):
    method, step = METHODS[name]
    mine = learner(method(rho=0.3))
    model, w = network(), mine.weights.value.clone()
    for window in windows(16, 4):
        take(mine, window)
        mine.update()
        _, g = loss_and_gradient(model, w, window)
        _, there = loss_and_gradient(model, w + step(w, g, 0.3), window)
        w = w - 0.1 * there
        assert distance(mine.weights.value, w) < 1e-12
        assert distance(there, g) > 1e-3


def transformed(mine, window):
    """The window's gradient, before and after the learner's one method."""
    take(mine, window)
    g = mine.weights.grad
    with torch.no_grad():
        mine.window.reduce(mine)
        before = g.clone()
        mine.methods[0].transform(g, mine)
    return before, g


def test_no_direction_of_the_same_length_goes_further_up():
    """To first order: a short step up g beats 200 random ones, and a step down g is the worst."""
    window, rho = next(windows(16, 4)), 1e-3
    model = network()
    w = learner(model=network()).weights.value
    here, g = loss_and_gradient(model, w, window)

    def rise(direction):
        return loss_and_gradient(model, w + rho * direction / direction.norm(), window)[0] - here

    up = rise(g)
    others = torch.randn(200, len(w), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert all(rise(-g) < rise(other) < up for other in others)


def rescaled(factor):
    """The same function by other weights: what goes into a ReLU times a factor, what comes out of it divided."""
    model = network(activation=nn.ReLU)
    with torch.no_grad():
        for p in model[0].parameters():
            p.mul_(factor)
        model[2].weight.div_(factor)
    return model


def test_asam_does_not_depend_on_how_layers_are_scaled_and_sam_does():
    window = next(windows(16, 4))

    def gradient(method, factor):
        """Without the part that rescaling itself makes of it."""
        mine = learner(method, model=rescaled(factor))
        _, g = transformed(mine, window)
        first, offset, second, last = mine.weights.views(g)
        return torch.cat([t.reshape(-1) for t in (first * factor, offset * factor, second / factor, last)])

    relative = [gradient(ASAM(rho=0.5, eta=0), factor) for factor in (1, 16)]
    absolute = [gradient(SAM(rho=0.5), factor) for factor in (1, 16)]
    assert distance(*relative) < 1e-12
    assert distance(*absolute) > 1e-2


@pytest.mark.parametrize("method", [SAM, ASAM])
def test_the_weights_come_back_bit_for_bit(method):
    mine = learner(method(rho=0.3))
    before = mine.weights.value.clone()
    first, again = transformed(mine, next(windows(16, 4)))
    assert torch.equal(mine.weights.value, before)
    assert not torch.equal(first, again)


@pytest.mark.parametrize("method", [SAM, ASAM])
def test_the_weights_come_back_bit_for_bit_where_the_second_pass_fails(method):
    class FailsTheSecondTime(Method):
        passes = 0

        def loss(self, batch, out, learner):
            self.passes += 1
            if self.passes > 6:
                raise RuntimeError("in the middle of the second pass")
            return out.mean()

    mine = learner(method(rho=0.3), FailsTheSecondTime())
    before = mine.weights.value.clone()
    with pytest.raises(RuntimeError, match="second pass"):
        transformed(mine, next(windows(16, 4)))
    assert torch.equal(mine.weights.value, before)


def test_adding_the_step_and_taking_it_away_would_change_bits():
    """Why the weights come back from a copy."""
    mine = learner(SAM())
    w = mine.weights.value
    offset = torch.randn(len(w), dtype=w.dtype, generator=torch.Generator().manual_seed(0))
    assert not torch.equal((w + offset) - offset, w)
    take(mine, next(windows(16, 4)))
    mine.window.reduce(mine)
    before = w.clone()
    gradient_uphill(offset, offset.norm(), float(offset.norm()), mine)
    assert torch.equal(w, before)


@pytest.mark.parametrize("method", [SAM, ASAM])
def test_where_there_is_no_direction_there_is_no_step(method):
    mine = learner(method())
    take(mine, next(windows(16, 4)))
    with torch.no_grad():
        mine.window.reduce(mine)
        here = mine.weights.grad.clone()
        mine.methods[0].transform(mine.weights.grad.zero_(), mine)
    assert torch.equal(mine.weights.grad, here)


@pytest.mark.parametrize("method", [SAM, ASAM])
def test_batchnorm_sees_the_first_pass_only(method):
    def statistics(*methods):
        mine = learner(*methods, model=network(norm=True))
        take(mine, next(windows(16, 4)))
        mine.update()
        return mine.model[2]

    plain, sharp = statistics(), statistics(method())
    assert torch.equal(sharp.running_mean, plain.running_mean)
    assert torch.equal(sharp.running_var, plain.running_var)
    assert sharp.num_batches_tracked == 4
    assert not torch.equal(sharp.weight, plain.weight)


@pytest.mark.parametrize("method", [SAM, ASAM])
def test_the_second_pass_has_the_dropout_masks_of_the_first(method):
    """At rho 0 both passes are at the same weights, so other masks would show."""
    mine = learner(method(rho=0), model=network(dropout=0.5))
    first, again = transformed(mine, next(windows(16, 4)))
    assert torch.equal(first, again)
    with torch.no_grad():
        mine.window.batches.reverse()  # now each micro-batch gets the masks of another
        assert distance(mine.regradient(), first) > 1e-2


@pytest.mark.parametrize("method", [SAM, ASAM])
def test_a_window_costs_twice_its_rows(method):
    plain, sharp = learner(), learner(method())
    train(plain, 16, 4)
    train(sharp, 16, 4)
    assert (sharp.work.samples, sharp.updates) == (plain.work.samples, plain.updates)
    assert sharp.work.rows == 2 * plain.work.rows == 2 * plain.work.samples
