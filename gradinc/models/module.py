"""A network of the calling program."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.base.objects import held

Maker = Callable[[tuple[int, ...], int], nn.Module]
"""Returns a new network with its initial weights, for the shape of a row and the number of outputs."""


def module(shape: tuple[int, ...], outputs: int, *, net: str = "", digest: str = "", weights: str = "") -> nn.Module:
    """Your own nn.Module, from Python: gradinc.train(model=net)

    Args:
        net: the name of its class or function.
        digest: digest of its code.
        weights: digest of its initial weights; empty for a function or a class, whose weights depend on the seed.
    """
    make: Maker = held("model", f"{digest}-{weights}" if weights else digest, net)
    model = make(shape, outputs)
    _check_outputs(model, net, shape, outputs)
    return model


def _check_outputs(model: nn.Module, net: str, shape: tuple[int, ...], outputs: int) -> None:
    """Check that the network gives one vector of outputs for each row.

    Raises:
        UserError: it does not.
    """
    parameters = list(model.parameters())
    if not any(each.requires_grad for each in parameters):
        raise UserError(f"model={net}", "has no weight to train", "Give a network whose parameters require gradients")
    training = model.training
    x = torch.zeros(2, *shape, dtype=parameters[0].dtype, device=parameters[0].device)
    try:
        with torch.no_grad():
            out = model.eval()(x)
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"model={net}", f"fails on rows of shape {shape} ({text})", "Give a network for them"
        ) from error
    finally:
        model.train(training)
    if not isinstance(out, Tensor) or tuple(out.shape) != (2, outputs):
        given = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        what = f"gives {given} for two rows of shape {shape}"
        raise UserError(f"model={net}", what, f"It must give a tensor of shape (2, {outputs})")
