"""Optimizers of the collection pytorch-optimizer, on layers as matrices."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from gradinc.base.errors import UserError
from gradinc.core.weights import Weights

UNUSABLE = {
    **dict.fromkeys(("alig", "bsam", "lbfgs"), "evaluates the loss itself in a step"),
    **dict.fromkeys(("adahessian", "sophiah"), "needs second derivatives"),
    **dict.fromkeys(("lomo", "adalomo"), "makes its own backward pass"),
    **dict.fromkeys(("demo", "distributedmuon"), "sends gradients between processes itself"),
    **dict.fromkeys(("schedulefreeadamw", "schedulefreeradam", "schedulefreesgd"), "has other weights in evaluation"),
    **dict.fromkeys(("muon", "muonclip", "adamuon", "adago", "normuon"), "needs to know the hidden layers"),
    **dict.fromkeys(("adammini", "spectralsphere"), "does not step all kinds of layers alike"),
    **dict.fromkeys(("asgd", "kron", "a2grad"), "does not resume exactly, or has no learning rate"),
    **dict.fromkeys(
        (
            *("adafactor", "adalite", "adanorm", "alice", "came", "conda", "emofact", "flashadamw", "lorarite"),
            *("madgrad", "magma", "nero", "qhadam", "racs", "sara", "scalableshampoo", "scion", "scionlight"),
            *("shampoo", "sm3", "spam", "swats"),
        ),
        "has state of another shape than its weights, which a checkpoint cannot be checked for",
    ),
}
"""Optimizers of the collection that gradinc cannot use, with the reason."""


def from_collection(weights: Weights, algorithm: str, lr: float, options: dict[str, Any]) -> Optimizer:
    """Return an optimizer of the collection; the arguments are those of ``optimizer=pytorch_optimizer``."""
    where = f"optimizer.algorithm={algorithm}"
    try:
        import pytorch_optimizer as collection
    except ImportError as error:
        what = "needs the package pytorch-optimizer"
        raise UserError("optimizer=pytorch_optimizer", what, "pip install gradinc[optimizers]") from error
    if algorithm not in collection.get_supported_optimizers():
        raise UserError(where, "is not in the collection", "Use lion, adan, lamb or another name there")
    if algorithm in UNUSABLE:
        raise UserError(where, UNUSABLE[algorithm], "Use another one, such as lion or adan")
    if weights.heads:
        what = "steps whole layers, and tasks have heads of their own in one layer"
        raise UserError("optimizer=pytorch_optimizer", what, "Use stream.heads=masked, or optimizer=adamw")
    kind: Any = collection.load_optimizer(algorithm)
    try:
        made: Optimizer = kind(weights.leaves.layers(), lr=lr, **options)
    except (TypeError, ValueError) as error:
        raise UserError(where, f"refuses its options: {error}", "Give optimizer.options={…}") from error
    return made
