"""Hidden units: their incoming and outgoing weights, how active they are, and their renewal.

A unit is an output of a linear layer or a map of a convolution. Its outgoing weights are the weights of the next layer
for its output: with CReLU for both copies, and after a flattened map for all positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.core.initial import drawn_from
from gradinc.core.layer_inputs import CONVOLUTIONS
from gradinc.core.normalization import BATCH_NORMS, NORMS
from gradinc.core.view import LearnerView

MOMENTS = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg", "sum")
"""State of optimizers that belongs to single weights and starts from 0."""


class Units(NamedTuple):
    """The units of one hidden layer.

    Attributes:
        layer: name of the layer.
        norms: names of the batch normalisations between the layer and the next one.
        following: name of the next layer.
        size: number of units.
        copies: how often each unit occurs among the inputs of the next layer.
        positions: inputs of the next layer for each copy of a unit, next to each other.
    """

    layer: str
    norms: tuple[str, ...]
    following: str
    size: int
    copies: int
    positions: int

    def inputs(self, chosen: Tensor) -> Tensor:
        """Return the inputs of the next layer that come from some units, both int64 and of one dimension."""
        copies = self.size * torch.arange(self.copies, device=chosen.device)
        places = torch.arange(self.positions, device=chosen.device)
        return ((copies[:, None, None] + chosen[:, None]) * self.positions + places).flatten()

    def each(self, values: Tensor) -> Tensor:
        """Return the sums of values of the next layer's inputs over the inputs of each unit, shape (units,)."""
        return values.view(self.copies, self.size, self.positions).sum((0, 2))


def hidden_units(method: str, model: nn.Module) -> list[Units]:
    """Return the units of every hidden layer whose incoming and outgoing weights are trained.

    Args:
        method: name of the method, for the message.

    Raises:
        UserError: the model is not a chain of linear and convolutional layers, has no hidden layer, or a normalisation
            mixes units.
    """
    where, layer, copies = f"strategy.methods.{method}", "", 1
    found: list[Units] = []
    norms: tuple[str, ...] = ()
    modules: dict[str, Any] = dict(_chain(model))
    for name, module in modules.items():
        if isinstance(module, (nn.Linear, *CONVOLUTIONS)):
            if getattr(module, "groups", 1) != 1:
                what = f"renews single units, and {name} has groups of channels"
                raise UserError(where, what, "Use model=mlp or cnn")
            if layer:
                units = len(modules[layer].weight)
                positions = module.weight.shape[1] // (copies * units)
                found.append(Units(layer, norms, name, units, copies, positions))
            layer, norms, copies = name, (), 1
        elif isinstance(module, BATCH_NORMS):
            norms = (*norms, name)
        elif isinstance(module, NORMS):
            what = f"renews single units, and the normalisation {name} ({type(module).__name__}) mixes them"
            raise UserError(where, what, "Use model.norm=none or batch")
        elif [*module.parameters(), *module.children()]:
            what = f"follows units from layer to layer, and this model's {name or 'module'} ({type(module).__name__})"
            raise UserError(where, f"{what} is no plain layer", "Use model=mlp, cnn or cnn1d without residuals")
        else:
            copies *= getattr(module, "copies", 1)
    trained = [units for units in found if _is_trained(modules, units)]
    if not trained:
        raise UserError(where, "renews hidden units, and no hidden layer is trained", "Use model=mlp")
    return trained


def _is_trained(modules: Mapping[str, Any], units: Units) -> bool:
    return all(p.requires_grad for name in (units.layer, units.following) for p in modules[name].parameters())


def _chain(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of nested plain sequences, in order, with their names."""
    if type(module) is not nn.Sequential:
        yield name, module
        return
    for own, child in module.named_children():
        yield from _chain(child, f"{name}.{own}" if name else own)


def watch_activity(sums: dict[str, Tensor], units: list[Units], learner: LearnerView) -> None:
    """Add the inputs of the layers after hidden units in the next micro-batch to sums, for a method's `batch`.

    Args:
        sums: for each hidden layer the sums over rows of h and of |h|, shape (2, inputs + 1); the last entry is the
            number of rows. Of a convolution's input the mean over its positions is added.
    """
    for each in units:
        learner.passes.watch(each.following, partial(_add, sums, each.layer))


def mean_activity(sums: dict[str, Tensor], units: list[Units], learner: LearnerView) -> list[Tensor]:
    """Return the means of h and of |h| for each hidden layer, shape (2, inputs), and clear the sums."""
    found = []
    for each in units:
        total = sums.pop(each.layer, None)
        if total is None:  # this process had no micro-batch in the window
            total = learner.weights.value.new_zeros(2, each.size * each.copies * each.positions + 1)
        learner.place.world.sum_(total)
        found.append(total[:, :-1] / total[:, -1:])
    return found


def _add(sums: dict[str, Tensor], name: str, x: Tensor) -> None:
    x = x.flatten(2) if x.dim() > 2 else x[:, :, None]
    total = torch.stack((x.mean(2).sum(0), x.abs().mean(2).sum(0)))
    total = torch.cat((total, total.new_full((2, 1), len(x))), 1)
    sums[name] = sums[name] + total if name in sums else total


@torch.no_grad()
def renew(
    units: Units, chosen: Tensor, mean: Tensor | None, initial: Tensor, learner: LearnerView, random: torch.Generator
) -> None:
    """Draw the incoming weights of some units anew, set their outgoing weights and their optimizer's moments to 0.

    Args:
        chosen: the units, int64, shape (k,).
        mean: mean inputs of the next layer, shape (inputs,), whose effect is added to that layer's bias, if it has one.
        initial: the initial weights of the model, shape (P,), from which new weights are drawn.
    """
    weights = learner.weights
    values, first = dict(weights.layers(weights.value)), dict(weights.layers(initial))
    renewed = torch.zeros_like(weights.value, dtype=torch.bool)
    marks = dict(weights.layers(renewed))
    for owner in (units.layer, *units.norms):
        for kind in ("weight", "bias"):
            if (name := f"{owner}.{kind}") in values:
                shape = (len(chosen), *values[name].shape[1:])
                values[name].index_copy_(0, chosen, drawn_from(first[name], shape, random))
                marks[name].index_fill_(0, chosen, True)
    for name in units.norms:
        norm: Any = learner.model.get_submodule(name)
        if norm.running_mean is not None:
            norm.running_mean.index_fill_(0, chosen, 0)
            norm.running_var.index_fill_(0, chosen, 1)
    inputs, outgoing = units.inputs(chosen), values[f"{units.following}.weight"]
    bias = values.get(f"{units.following}.bias")
    if bias is not None and mean is not None:
        taken = outgoing.index_select(1, inputs).reshape(len(outgoing), len(inputs), -1)
        bias.add_(taken.sum(2) @ mean[inputs])
    outgoing.index_fill_(1, inputs, 0)
    marks[f"{units.following}.weight"].index_fill_(1, inputs, True)
    _clear_moments(renewed, learner)


def _clear_moments(renewed: Tensor, learner: LearnerView) -> None:
    """Set the optimizer's moments of some weights to 0; `renewed` is bool, shape (P,)."""
    begin = learner.weights.value.storage_offset()
    for leaf, state in learner.optimizer.state.items():
        start = leaf.storage_offset() - begin
        mark = renewed[start : start + leaf.numel()].view(leaf.shape)
        for name in MOMENTS:
            if isinstance(moment := state.get(name), Tensor) and moment.shape == leaf.shape:
                moment.masked_fill_(mark, 0)
