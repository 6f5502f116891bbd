"""The gradients of single rows in factored form.

A row's gradient is as long as all weights, but for a linear layer it is δᵀ x: it is determined by the layer's input x
and the gradient δ of the layer's output. Squares, norms, sums and products of the gradients are computed from these
factors. With one position for each row, the sum of the squared gradients is a product of squares, (δ²)ᵀ x². With
several positions, as in a convolution or a sequence, the sum over the positions comes before the square.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from gradinc.core.linalg import COLUMNS

NUMBERS = 2**22
"""Numbers of a layer that are computed at a time, in rows' gradients and in the patches under a kernel."""


class Factor(ABC):
    """The gradients of one parameter, each row's own.

    Attributes:
        size: number of the parameter's entries, which have the order of the weights' vector.
        tensors: tensors that determine the gradients; the first dimension of each tensor is the rows.
    """

    size: int
    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors[0])

    @abstractmethod
    def rows(self) -> Tensor:
        """Return the gradients themselves, shape (rows, size)."""

    @abstractmethod
    def add(self, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
        """Add Σ f(gᵢ) over the rows to a vector of shape (size,), for an elementwise f with f(ab) = f(a) f(b)."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """Return ‖gᵢ‖² of each row, shape (rows,)."""

    @abstractmethod
    def add_combined(self, weights: Tensor, total: Tensor) -> None:
        """Add Σ wᵢ gᵢ to a vector of shape (size,), with one weight for each row."""

    @abstractmethod
    def times(self, vector: Tensor) -> Tensor:
        """Return the product of each row with a vector of shape (size,), shape (rows,)."""

    @abstractmethod
    def of(self, *tensors: Tensor) -> Self:
        """Return the gradients of other rows in the same form, from their `tensors`."""

    def stored(self) -> Factor:
        """Return the gradients in the form with the fewest numbers, for rows that are kept."""
        return self

    def scaled(self, weights: Tensor) -> Self:
        """Return wᵢ gᵢ, with one weight for each row."""
        first, *others = self.tensors
        return self.of(first * weights.view(-1, *[1] * (first.dim() - 1)), *others)

    def joined(self, other: Factor) -> Factor:
        """Return these rows and then those of another factor of the parameter."""
        return self.of(*(torch.cat(pair) for pair in zip(self.tensors, other.tensors, strict=True)))

    def products(self, other: Factor) -> Tensor:
        """Return the products of rows with other rows of the same parameter, float64, shape (rows, others)."""
        pairs = zip(self.rows().split(COLUMNS, 1), other.rows().split(COLUMNS, 1), strict=True)
        return torch.stack([mine.double() @ others.double().T for mine, others in pairs]).sum(0)


class Entries(Factor):
    """Gradients that are stored entry by entry, shape (rows, size)."""

    def __init__(self, each: Tensor) -> None:
        self.tensors, self.size = (each,), each.shape[1]

    def of(self, *tensors: Tensor) -> Self:
        return type(self)(*tensors)

    def rows(self) -> Tensor:
        return self.tensors[0]

    def add(self, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
        total += of(self.tensors[0]).sum(0)

    def squared_norms(self) -> Tensor:
        return self.tensors[0].square().sum(1)

    def add_combined(self, weights: Tensor, total: Tensor) -> None:
        total.addmv_(self.tensors[0].T, weights)

    def times(self, vector: Tensor) -> Tensor:
        return self.tensors[0] @ vector


class Outer(Factor):
    """Gradients Σₜ leftₜᵀ rightₜ of a matrix or of a block-diagonal matrix, as two factors.

    Args:
        left: gradients of the layer's outputs, shape (rows, groups, positions, outputs of a group).
        inputs: the layer's inputs; the first dimension is the rows.
        size: number of the matrix's entries.
        patches: returns the right factor of some rows, shape (rows, groups, positions, inputs of an output). It is
            computed when it is needed, because the patches of a convolution overlap.
    """

    def __init__(
        self, left: Tensor, inputs: Tensor, size: int, patches: Callable[[Tensor], Tensor] = lambda inputs: inputs
    ) -> None:
        self.tensors, self.size, self._patches = (left, inputs), size, patches

    def of(self, *tensors: Tensor) -> Self:
        left, inputs = tensors
        return type(self)(left, inputs, self.size, self._patches)

    def stored(self) -> Factor:
        left, right = self.factors
        return Outer(left, right, self.size) if left[0].numel() + right[0].numel() < self.size else Entries(self.rows())

    def rows(self) -> Tensor:
        return torch.cat([(left.mT @ right).flatten(1) for left, right in self._blocks(self.size)])

    def add(self, of: Callable[[Tensor], Tensor], total: Tensor) -> None:
        if self._single:
            for left, right in self._blocks():
                self._add(of(left), of(right), total)
        else:
            for left, right in self._blocks(self.size):
                total += of(left.mT @ right).sum(0).flatten()

    def squared_norms(self) -> Tensor:
        if self._single:
            pairs = ((left.square().sum(3), right.square().sum(3)) for left, right in self._blocks())
            return torch.cat([(left * right).sum((1, 2)) for left, right in pairs])
        positions, outputs = self.tensors[0].shape[2:]
        if positions < self.size // max(outputs, 1) // 2:  # ‖LᵀR‖² is the product of L Lᵀ and R Rᵀ
            pairs = ((left @ left.mT, right @ right.mT) for left, right in self._blocks(positions**2))
            return torch.cat([(left * right).sum((1, 2, 3)) for left, right in pairs])
        return torch.cat([(left.mT @ right).square().sum((1, 2, 3)) for left, right in self._blocks(self.size)])

    def add_combined(self, weights: Tensor, total: Tensor) -> None:
        for left, right in self.scaled(weights)._blocks():
            self._add(left, right, total)

    def times(self, vector: Tensor) -> Tensor:
        _, groups, positions, outputs = self.tensors[0].shape
        matrices = vector.view(groups, outputs, -1)
        found = []
        for left, right in self._blocks():
            products = (_by_group(right) @ matrices.mT).mul_(_by_group(left)).sum(2)
            found.append(products.view(groups, len(left), positions).sum((0, 2)))
        return torch.cat(found)

    def products(self, other: Factor) -> Tensor:
        if not (isinstance(other, Outer) and self._single and other._single):
            return super().products(other)
        (left, right), (others_left, others_right) = (
            [_by_group(factor.double()) for factor in each.factors] for each in (self, other)
        )
        return ((left @ others_left.mT) * (right @ others_right.mT)).sum(0)

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """The left and the right factor of all rows."""
        return self.tensors[0], self._patches(self.tensors[1])

    @property
    def _single(self) -> bool:
        """Return whether each row has one position, so that its gradient is one outer product."""
        return self.tensors[0].shape[2] == 1

    def _blocks(self, numbers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the factors of some rows at a time.

        Args:
            numbers: further numbers that are computed for each row.
        """
        left, inputs = self.tensors
        positions, outputs = left.shape[2:]
        patches = 0 if self._single else positions * self.size // max(outputs, 1)
        count = max(1, NUMBERS // max(1, patches, numbers)) if patches or numbers else len(left)
        for some, given in zip(left.split(count), inputs.split(count), strict=True):
            yield some, self._patches(given)

    def _add(self, left: Tensor, right: Tensor, total: Tensor) -> None:
        """Add Σ leftₜᵀ rightₜ over rows and positions to a vector of shape (size,)."""
        _, groups, _, outputs = left.shape
        total.view(groups, outputs, -1).baddbmm_(_by_group(left).mT, _by_group(right))


def kept(tensors: Sequence[Tensor], size: int) -> Factor:
    """Restore the result of `Factor.stored` from its tensors."""
    return Entries(tensors[0]) if len(tensors) == 1 else Outer(tensors[0], tensors[1], size)


def _by_group(factor: Tensor) -> Tensor:
    """Return a factor with all rows and positions in one dimension, shape (groups, rows · positions, numbers)."""
    return factor.transpose(0, 1).flatten(1, 2)


class RowGradients:
    """The gradient of each row's own loss.

    Args:
        factors: one for each parameter, in the order of the weights' vector of P numbers.
    """

    def __init__(self, factors: Sequence[Factor]) -> None:
        self.factors = factors

    def __len__(self) -> int:
        return len(self.factors[0])

    def rows(self) -> Tensor:
        """Return the gradients themselves, shape (rows, P)."""
        return torch.cat([factor.rows() for factor in self.factors], 1)

    def add_squares(self, total: Tensor) -> None:
        """Add Σ gᵢ² over the rows to a vector of shape (P,)."""
        for factor, part in self._parts(total):
            factor.add(torch.square, part)

    def add_magnitudes(self, total: Tensor) -> None:
        """Add Σ |gᵢ| over the rows to a vector of shape (P,)."""
        for factor, part in self._parts(total):
            factor.add(torch.abs, part)

    def add_combined(self, weights: Tensor, total: Tensor) -> None:
        """Add Σ wᵢ gᵢ to a vector of shape (P,), with weights of shape (rows,)."""
        for factor, part in self._parts(total):
            factor.add_combined(weights, part)

    def norms(self) -> Tensor:
        """Return ‖gᵢ‖, shape (rows,)."""
        return torch.stack([factor.squared_norms() for factor in self.factors]).sum(0).sqrt()

    def times(self, vector: Tensor) -> Tensor:
        """Return the product of each row with a vector of shape (P,), shape (rows,)."""
        return torch.stack([factor.times(part) for factor, part in self._parts(vector)]).sum(0)

    def products(self, other: RowGradients) -> Tensor:
        """Return the products of rows with the rows of another batch, float64, shape (rows, others)."""
        pairs = zip(self.factors, other.factors, strict=True)
        return torch.stack([mine.products(others) for mine, others in pairs]).sum(0)

    def scaled(self, weights: Tensor) -> RowGradients:
        """Return wᵢ gᵢ, with weights of shape (rows,)."""
        return RowGradients([factor.scaled(weights) for factor in self.factors])

    def stored(self) -> RowGradients:
        """Return the gradients in the form with the fewest numbers, for rows that are kept."""
        return RowGradients([factor.stored() for factor in self.factors])

    def without(self, parameters: Sequence[bool]) -> RowGradients:
        """Return the gradients with 0 for some of the parameters."""
        zeros = torch.zeros(len(self)).to(self.factors[0].tensors[0])
        pairs = zip(self.factors, parameters, strict=True)
        return RowGradients([factor.scaled(zeros) if drop else factor for factor, drop in pairs])

    def chosen(self, rows: Tensor) -> RowGradients:
        """Return some of the rows, by their numbers, int64."""
        return RowGradients([factor.of(*(tensor[rows] for tensor in factor.tensors)) for factor in self.factors])

    def joined(self, other: RowGradients) -> RowGradients:
        """Return these rows and then the rows of another batch."""
        return RowGradients([mine.joined(theirs) for mine, theirs in zip(self.factors, other.factors, strict=True)])

    def _parts(self, vector: Tensor) -> Iterator[tuple[Factor, Tensor]]:
        """Yield the factors, and the views of a vector of shape (P,) that they belong to."""
        return zip(self.factors, vector.split([factor.size for factor in self.factors]), strict=True)
