"""Rows that a fixed function converts once, before the training: the states of a frozen model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gradinc.base.errors import StorageError, UserError
from gradinc.base.files import write_whole
from gradinc.data.dataset import Dataset
from gradinc.data.locations import cache_folder
from gradinc.data.rows import OutlinedRows, Rows, TensorRows
from gradinc.data.source import DATA_PARTS
from gradinc.data.tokenizing import file_digest

_TOGETHER = 64
"""Rows that are converted at once."""


@dataclass(frozen=True)
class Encoding:
    """Files that a model is made of, and perhaps a conversion of all rows by a part of it that is not trained.

    Attributes:
        digest: identifies the files, and the conversion.
        shape: shape of a converted row; None if rows are not converted.
        model: returns the model that converts rows.
        tokenizer: the ``tokenizer.json`` that rows of text must have their tokens from; None for any tokens.
    """

    digest: str
    shape: tuple[int, ...] | None = None
    model: Callable[[], nn.Module] | None = None
    tokenizer: Path | None = None

    def applied(self, dataset: Dataset) -> Dataset:
        """Return a data set with converted rows, whose digest includes this one's.

        Converted rows are stored in the user's cache, so that another run reads them.

        Raises:
            UserError: the rows have other tokens.
        """
        if self.tokenizer is not None and dataset.text is not None and dataset.text.file != file_digest(self.tokenizer):
            what = "the rows have other tokens than the model, whose numbers mean other words"
            raise UserError("data.tokenizer", what, f"Give data.tokenizer={self.tokenizer}")
        digest = hashlib.sha256(f"{dataset.digest} {self.digest}".encode()).hexdigest() if dataset.digest else ""
        if self.shape is None:
            return replace(dataset, digest=digest)
        parts = {name: getattr(dataset, name) for name in DATA_PARTS}
        if any(isinstance(rows, OutlinedRows) for rows in parts.values()):
            converted: dict[str, Rows] = {name: OutlinedRows(rows.y, self.shape) for name, rows in parts.items()}
        else:
            values = self._values(parts, digest)
            converted = {name: TensorRows(values[name], rows.y) for name, rows in parts.items()}
        zeros, ones = (0.0,) * self.shape[0], (1.0,) * self.shape[0]
        changed = replace(dataset, shape=self.shape, mean=zeros, std=ones, raw=None, digest=digest, text=None)
        return replace(changed, **converted)  # type: ignore[arg-type]

    def _values(self, parts: dict[str, Rows], digest: str) -> dict[str, Tensor]:
        """Return the converted rows of each part, from the cache if they are there."""
        assert self.shape is not None
        device = parts["train"].y.device
        dtype = next(iter(parts["train"].chunks(1)))[0].dtype
        sizes = {name: len(rows) for name, rows in parts.items()}
        path = cache_folder("states") / f"{digest}-{str(dtype).removeprefix('torch.')}"
        kind = np.dtype(str(dtype).removeprefix("torch."))
        expected = sum(sizes.values()) * self.shape[0] * kind.itemsize
        with suppress(OSError):
            content = path.read_bytes()
            if len(content) == expected + 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]:
                whole = torch.from_numpy(np.frombuffer(content, kind, expected // kind.itemsize).copy())
                split = whole.view(-1, *self.shape).to(device).split(list(sizes.values()))
                return dict(zip(sizes, split, strict=True))
        assert self.model is not None
        model = self.model().to(device=device, dtype=dtype)
        found = {name: self._converted(model, rows, dtype) for name, rows in parts.items()}
        body = b"".join(found[name].cpu().numpy().tobytes() for name in sizes)
        with suppress(OSError, StorageError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, body + hashlib.sha256(body).digest())
        return found

    def _converted(self, model: nn.Module, rows: Rows, dtype: torch.dtype) -> Tensor:
        assert self.shape is not None
        count = len(rows)
        # Rows of about one length go together, which leaves little padding.
        order = torch.arange(count) if rows.lengths is None else rows.lengths.argsort(stable=True)
        found = torch.empty(count, *self.shape, dtype=dtype, device=rows.y.device)
        place = 0
        with torch.no_grad():
            for x, _ in rows.batches(order, _TOGETHER):
                found[order[place : place + len(x)].to(found.device)] = model(x)
                place += len(x)
        return found
