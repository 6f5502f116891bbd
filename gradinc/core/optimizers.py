"""The optimizers: PyTorch's own, on the weights as one vector.

Each function here is an optimizer's name in ``optimizer=…``. It gives PyTorch's class the fewest
contiguous slices of `Weights`, one for most models, so that a step is a few kernels over one
vector. The implementation (``fused``, ``foreach`` or the plain loop) is fixed here, because the implementations round
differently and PyTorch would choose one by device. Speed of ``fused`` relative to the plain loop, measured on one CPU
thread with 270,000 weights: SGD with momentum 1.4, with Nesterov's momentum 20, Adam and AdamW 9, Adagrad 2.4; SGD
without momentum 0.8, so it uses the plain loop. Over 8,000 weights the order is the same, with smaller gains. NAdam and
RAdam have no fused kernel; their ``foreach`` form creates fewer temporary vectors and is 3 and 8 times faster.
RMSprop's ``foreach`` form is not faster.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.optim import Optimizer

from gradinc.base.errors import UserError
from gradinc.config.values import Decay, NonNegative, Positive
from gradinc.core.collection import from_collection
from gradinc.core.stepper import Descent, Joint, NAdam, eager
from gradinc.core.stepper import stepper as stepper
from gradinc.core.weights import Weights


def sgd(
    weights: Weights,
    *,
    lr: Positive,
    momentum: Decay = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Stochastic gradient descent, with momentum or Nesterov's momentum

    Args:
        lr: learning rate.
        momentum: share of the velocity that each update keeps.
        nesterov: whether the gradient is as if taken one momentum step ahead.
        weight_decay: factor of the L2 penalty's gradient.

    Raises:
        UserError: Nesterov's momentum without momentum.
    """
    if nesterov and momentum == 0:
        raise UserError("optimizer.nesterov", "needs momentum", "Set optimizer.momentum=0.9, or nesterov=false")
    slices = weights.leaves.slices()[None]
    if momentum > 0 or weight_decay > 0:
        return eager(torch.optim.SGD)(
            slices, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
        )
    if len(slices) > 1 or isinstance(slices[0], dict):
        return eager(torch.optim.SGD)(slices, lr=lr, foreach=False)
    return Descent(weights, slices, lr)


def adam(
    weights: Weights,
    *,
    lr: Positive,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam: steps scaled by running moments of the gradient

    Paper: Kingma & Ba 2015, arXiv 1412.6980
    Title: Adam: A Method for Stochastic Optimization
    Authors: Diederik P. Kingma, Jimmy Ba

    Args:
        lr: learning rate.
        beta1: decay of the gradient's running mean.
        beta2: decay of the squared gradient's running mean.
        eps: added to the denominator.
        weight_decay: factor of the L2 penalty's gradient.
        amsgrad: whether the denominator never shrinks (arXiv 1904.09237).
    """
    return eager(torch.optim.Adam)(
        weights.leaves.slices()[None],
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        fused=True,
    )


def adamw(
    weights: Weights,
    *,
    lr: Positive,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.01,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam with decoupled weight decay

    Paper: Loshchilov & Hutter 2019, arXiv 1711.05101
    Title: Decoupled Weight Decay Regularization
    Authors: Ilya Loshchilov, Frank Hutter

    Args:
        lr: learning rate.
        beta1: decay of the gradient's running mean.
        beta2: decay of the squared gradient's running mean.
        eps: added to the denominator.
        weight_decay: share of the weights, times lr, that each update takes away.
        amsgrad: whether the denominator never shrinks (arXiv 1904.09237).
    """
    return eager(torch.optim.AdamW)(
        weights.leaves.slices()[None],
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        fused=True,
    )


def nadam(
    weights: Weights,
    *,
    lr: Positive,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    decoupled: bool = False,
    momentum_decay: NonNegative = 0.004,
) -> Optimizer:
    """Adam with Nesterov's momentum

    Paper: Dozat 2016, ICLR workshop

    Args:
        lr: learning rate.
        beta1: decay of the gradient's running mean.
        beta2: decay of the squared gradient's running mean.
        eps: added to the denominator.
        weight_decay: factor of the L2 penalty's gradient.
        decoupled: whether weight decay stays out of the gradient, as in AdamW.
        momentum_decay: how fast beta1 rises to its value.
    """
    return NAdam(
        weights.leaves.slices()[None],
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled,
        momentum_decay=momentum_decay,
        foreach=True,
    )


def radam(
    weights: Weights,
    *,
    lr: Positive,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    decoupled: bool = False,
) -> Optimizer:
    """Adam with the early variance of its step rectified

    Paper: Liu et al. 2020, arXiv 1908.03265
    Title: On the Variance of the Adaptive Learning Rate and Beyond
    Authors: Liyuan Liu, Haoming Jiang, Pengcheng He, Weizhu Chen, Xiaodong Liu, Jianfeng Gao, Jiawei Han

    Args:
        lr: learning rate.
        beta1: decay of the gradient's running mean.
        beta2: decay of the squared gradient's running mean.
        eps: added to the denominator.
        weight_decay: factor of the L2 penalty's gradient.
        decoupled: whether weight decay stays out of the gradient, as in AdamW.
    """
    return eager(torch.optim.RAdam)(
        weights.leaves.slices()[None],
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled,
        foreach=True,
    )


def rmsprop(
    weights: Weights,
    *,
    lr: Positive,
    alpha: Decay = 0.99,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    momentum: Decay = 0.0,
    centered: bool = False,
) -> Optimizer:
    """RMSProp: steps scaled by the gradient's running root mean square

    Paper: Hinton 2012, lecture 6e of Neural Networks for Machine Learning

    Args:
        lr: learning rate.
        alpha: decay of the squared gradient's running mean.
        eps: added to the denominator.
        weight_decay: factor of the L2 penalty's gradient.
        momentum: share of the velocity that each update keeps.
        centered: whether the gradient's running mean is taken out of the denominator.
    """
    return eager(torch.optim.RMSprop)(
        weights.leaves.slices()[None],
        lr=lr,
        alpha=alpha,
        eps=eps,
        weight_decay=weight_decay,
        momentum=momentum,
        centered=centered,
        foreach=False,
    )


def adagrad(
    weights: Weights,
    *,
    lr: Positive,
    lr_decay: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    initial: NonNegative = 0.0,
    eps: Positive = 1e-10,
) -> Optimizer:
    """Adagrad: steps scaled by the root of all squared gradients so far

    Paper: Duchi et al. 2011, JMLR 12

    Args:
        lr: learning rate.
        lr_decay: the learning rate is divided by 1 + lr_decay times the updates made.
        weight_decay: factor of the L2 penalty's gradient.
        initial: what the sum of squares starts from.
        eps: added to the denominator.
    """
    return eager(torch.optim.Adagrad)(
        weights.leaves.slices()[None],
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial,
        eps=eps,
        fused=True,
    )


def muon(
    weights: Weights,
    *,
    lr: Positive,
    momentum: Decay = 0.95,
    nesterov: bool = True,
    weight_decay: NonNegative = 0.1,
    adjust: Literal["original", "match_rms_adamw"] = "match_rms_adamw",
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    eps: Positive = 1e-8,
) -> Optimizer:
    """Orthogonalised momentum for hidden matrices, AdamW for the rest

    Paper: Jordan et al. 2024, kellerjordan.github.io/posts/muon; Liu et al. 2025, arXiv 2502.16982
    Title: Muon is Scalable for LLM Training
    Authors: Jingyuan Liu, Jianlin Su, Xingcheng Yao, others

    Args:
        lr: learning rate of both.
        momentum: share of the velocity that each update keeps, of the hidden matrices.
        nesterov: whether the orthogonalised step looks one momentum step ahead.
        weight_decay: share of the weights, times lr, that each update takes away.
        adjust: how lr is fitted to a matrix's shape; match_rms_adamw makes one lr right for both.
        beta1: AdamW's decay of the gradient's running mean.
        beta2: AdamW's decay of the squared gradient's running mean.
        eps: added to AdamW's denominator.

    Raises:
        UserError: this PyTorch has no Muon, or the model has no hidden matrix.
    """
    if not hasattr(torch.optim, "Muon"):
        raise UserError("optimizer=muon", f"PyTorch {torch.__version__} has no Muon", "Use optimizer=adamw")
    # AdamW steps the first layer and the last layer. Position embeddings and class tokens have as many
    # dimensions as a matrix, but their names do not end in "weight".
    shapes = zip(weights.names, weights.shapes, strict=True)
    hidden = [name for name, shape in shapes if len(shape) > 1 and name.endswith("weight")][1:-1]
    if not hidden:
        raise UserError(
            "optimizer=muon",
            "this model has no hidden matrix: first and last layers are AdamW's",
            "Use optimizer=adamw, or a deeper model",
        )
    matrices = eager(torch.optim.Muon)(
        weights.leaves.matrices(hidden),
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=nesterov,
        adjust_lr_fn=adjust,
    )
    chosen = set(hidden)
    rest = eager(torch.optim.AdamW)(
        weights.leaves.slices(lambda name: name in chosen)[False],
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        fused=True,
    )
    return Joint([matrices, rest])


def pytorch_optimizer(
    weights: Weights,
    *,
    algorithm: str = "lion",
    lr: Positive,
    options: dict[str, Any] = {},  # noqa: B006  (read, never changed)
) -> Optimizer:
    """An optimizer of the collection pytorch-optimizer, by its name there

    Args:
        algorithm: its name, such as lion, adan or lamb.
        lr: learning rate.
        options: its further options, by their names there.

    Raises:
        UserError: the collection is not installed, has no such optimizer, or gradinc cannot use it.
    """
    return from_collection(weights, algorithm, lr, options)
