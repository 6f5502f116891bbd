"""Training, validation and test rows from the configuration's data section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.config.schema import DataSection
from gradinc.data.available_memory import fits
from gradinc.data.digest import content_digest
from gradinc.data.file_rows import FileRows
from gradinc.data.raw import RawValues
from gradinc.data.rows import OutlinedRows, Rows, Standardize, TensorRows
from gradinc.data.source import DATA_PARTS, REFERENCE, TEST, TRAIN, VALIDATION, RowFiles, Source
from gradinc.data.split import split_rows
from gradinc.data.statistics import moments
from gradinc.data.survey import Survey
from gradinc.data.text import Sequences, Tokens
from gradinc.data.token_rows import TokenRows


@dataclass(frozen=True)
class Groups:
    """A division of the rows besides their classes, e.g. by speaker.

    Attributes:
        names: the groups' names, by number.
        of_rows: for each part the group of each row, int64, on the CPU.
    """

    names: tuple[str, ...]
    of_rows: Mapping[str, Tensor]


@dataclass(frozen=True)
class Dataset:
    """A data set, split and normalised. Test data are in `test` and nowhere else.

    Attributes:
        name: the set's name.
        classes: the classes' names, by label; None for regression.
        shape: shape of one row.
        outputs: number of classes, or of targets.
        train, validation, test: the parts; validation may be empty.
        mean, std: subtracted from input units, and divisor, per channel or feature.
        target_mean, target_std: the same for regression targets; None for targets that are not standardised.
        digest: sha256 over raw rows, targets and split.
        origin: source of the rows.
        raw: values of the rows before normalisation; None in an outline.
        groups: the group of each row; None if the set has no groups.
        law: `Source.law`.
        text: the tokens of rows of text; None for other rows.
    """

    name: str
    classes: tuple[str, ...] | None
    shape: tuple[int, ...]
    outputs: int
    train: Rows
    validation: Rows
    test: Rows
    mean: tuple[float, ...]
    std: tuple[float, ...]
    target_mean: tuple[float, ...] | None
    target_std: tuple[float, ...] | None
    digest: str
    origin: str
    raw: RawValues | None = None
    groups: Groups | None = None
    law: Callable[[np.ndarray], np.ndarray] | None = None
    text: Tokens | None = None

    @property
    def fill(self) -> Tensor:
        """The normalised value of black (0 in input units), per channel: `augment` pads images with it."""
        black = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return torch.tensor(black, device=self.train.y.device)

    def record(self) -> dict[str, Any]:
        """Return a run's record of its data: plain numbers, text and lists."""
        record: dict[str, Any] = {"name": self.name, "origin": self.origin, "digest": self.digest}
        record["rows"] = {part: len(getattr(self, part)) for part in DATA_PARTS}
        record |= {"shape": list(self.shape), "outputs": self.outputs}
        record["classes"] = None if self.classes is None else list(self.classes)
        record |= {"mean": list(self.mean), "std": list(self.std)}
        if self.target_mean is not None and self.target_std is not None:
            record |= {"target_mean": list(self.target_mean), "target_std": list(self.target_std)}
        if self.text is not None:
            record["text"] = self.text.record()
        return record if self.raw is None else {**record, "raw": self.raw.record()}


def load_dataset(config: DataSection, device: torch.device | str, dtype: torch.dtype) -> Dataset:
    """Read, split and normalise the data set that a configuration names.

    Statistics are computed from training rows only, in float64, and do not depend on the order
    of rows or on whether images are streamed.

    Args:
        config: the configuration's data section.
        device: device of the batches, and of the rows if they are stored in memory.
        dtype: the dtype of inputs and of regression targets, float32 or float64.

    Raises:
        UserError: the set is not here, a file is damaged, or the options do not fit the set.
    """
    source = padded(open_source(config.name, config.root, config.options), config.pad, config.name)
    return prepare_dataset(config, source, torch.device(device), dtype)


def open_source(name: str, root: str | None, options: dict[str, Any]) -> Source:
    """Call the data set's function."""
    source = load_part("data", name)(root, **options)
    assert isinstance(source, Source)
    return source


def padded(source: Source, pixels: int, name: str) -> Source:
    """Return the set with black pixels added to its images on every side.

    Raises:
        UserError: its rows are not images, or are read from files one by one.
    """
    if pixels == 0:
        return source
    if len(source.shape) != 3 or not isinstance(source.x, np.ndarray):
        what = f"data={name} has no images that are read as a whole"
        raise UserError(f"data.pad={pixels}", what, "Use data.pad=0")
    sides = ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels))
    return replace(source, x=np.pad(source.x, sides))


def prepare_dataset(config: DataSection, source: Source, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Split and normalise the result of a data set's function. See `load_dataset`."""
    if isinstance(source.x, Sequences):
        return _text(config, source, source.x, device, dtype)
    part = _parts(config, source)
    in_memory = _in_memory(config, source, device, dtype)
    rows = Survey(source, part, in_memory)
    mean, std = _normalisation(config.normalize, source, rows, part)
    standardize = standardizer(mean * source.scale, std * source.scale, source.shape, device, dtype)
    y, target_mean, target_std = _targets(source, part, device, dtype)
    files = replace(source.x, digests=b"".join(rows.files or ())) if isinstance(source.x, RowFiles) else None

    def make(number: int) -> Rows:
        chosen = np.flatnonzero(part == number)
        y_part = y.index_select(0, torch.from_numpy(chosen).to(device))
        if rows.x is None:
            assert files is not None
            whole = FileRows(files, y, standardize, config.workers)
            return whole.subset(torch.from_numpy(chosen))
        return TensorRows(standardize(torch.from_numpy(rows.x[chosen])), y_part)

    return Dataset(
        name=config.name,
        classes=source.classes,
        shape=source.shape,
        outputs=_outputs(source),
        train=make(TRAIN),
        validation=make(VALIDATION),
        test=make(TEST),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        target_mean=target_mean,
        target_std=target_std,
        digest=content_digest(source, part, rows.files),
        origin=source.origin,
        raw=RawValues.of(source, config.pad),
        groups=_groups(source, part),
        law=source.law,
    )


def outline(config: DataSection) -> Dataset:
    """Return the data set without its inputs and their statistics.

    No file is decoded: shape, targets and split are enough to check a config.

    Raises:
        UserError: the set is not here, a necessary file is damaged, or the options do not fit the set.
    """
    source = padded(open_source(config.name, config.root, config.options), config.pad, config.name)
    device, dtype = torch.device("cpu"), torch.float32
    if isinstance(source.x, Sequences):
        whole = _text(config, source, source.x, device, dtype)  # texts are read as a whole
        if source.x.text.words is not None:  # the words of the first task are numbered: see `with_vocabulary`
            return whole
        outlined = {name: OutlinedRows(getattr(whole, name).y, source.shape) for name in DATA_PARTS}
        return replace(whole, **outlined)  # type: ignore[arg-type]
    part = _parts(config, source)
    _in_memory(config, source, device, dtype)
    if isinstance(source.x, RowFiles):
        source.x.check()
    y, mean, std = _targets(source, part, device, dtype)
    train, validation, test = (
        OutlinedRows(y[torch.from_numpy(part == number)], source.shape) for number in (TRAIN, VALIDATION, TEST)
    )
    zeros, ones = (0.0,) * source.shape[0], (1.0,) * source.shape[0]
    head = (config.name, source.classes, source.shape, _outputs(source))
    statistics = (zeros, ones, mean, std)
    groups = _groups(source, part)
    return Dataset(*head, train, validation, test, *statistics, "", source.origin, groups=groups, law=source.law)


def _text(config: DataSection, source: Source, rows: Sequences, device: torch.device, dtype: torch.dtype) -> Dataset:
    """Return a data set of text: its rows are split, and have no mean or deviation."""
    if config.memory == "stream":
        raise UserError("data.memory=stream", f"{config.name} is read as a whole", "Use data.memory=auto")
    part, text = _parts(config, source), rows.text
    values = torch.from_numpy(rows.values).to(device)
    starts, lengths = torch.from_numpy(rows.starts), torch.from_numpy(rows.lengths)
    y = None if text.each else torch.from_numpy(source.y).to(device)
    whole = TokenRows(values, starts, lengths, y, rows.length, dtype)
    train, validation, test = (
        whole.subset(torch.from_numpy(np.flatnonzero(part == number))) for number in (TRAIN, VALIDATION, TEST)
    )
    outputs = text.tokens if source.classes is None else len(source.classes)
    head = (config.name, source.classes, source.shape, outputs)
    digest = content_digest(source, part, None)
    return Dataset(
        *head, train, validation, test, (0.0,), (1.0,), None, None, digest, source.origin,
        groups=_groups(source, part), text=text,
    )  # fmt: skip


def _parts(config: DataSection, source: Source) -> np.ndarray:
    """Return the part of each row, after a check that the options fit the set."""
    y, labelled = source.y, source.classes is not None
    if source.groups is not None and (source.part is None or not (source.part == TEST).any()):
        # Each group has its share of each part.
        y = source.groups * len(source.classes or "1") + (source.y if labelled else 0)
        labelled = True
    part = split_rows(y, labelled, source.part, config.validation, config.test, config.split_seed)
    if config.augment and len(source.shape) != 3:
        what = f"{config.name} has rows of shape {source.shape}, not images"
        raise UserError(f"data.augment={','.join(config.augment)}", what, "Use data.augment=[]")
    return part


def _outputs(source: Source) -> int:
    return len(source.classes) if source.classes is not None else int(source.y.shape[1])


def _groups(source: Source, part: np.ndarray) -> Groups | None:
    if source.groups is None:
        return None
    of_rows = {name: torch.from_numpy(source.groups[part == number]) for number, name in enumerate(DATA_PARTS)}
    return Groups(source.group_names, of_rows)


def _in_memory(config: DataSection, source: Source, device: torch.device, dtype: torch.dtype) -> bool:
    if isinstance(source.x, np.ndarray):
        if config.memory == "stream":
            what = f"{config.name} is read as a whole and cannot stream"
            raise UserError("data.memory=stream", what, "Use data.memory=auto, or data=image_folder")
        return True
    if config.memory == "auto":
        values = len(source.x) * int(np.prod(source.x.shape))
        return fits(values * dtype.itemsize, device)
    return config.memory == "tensor"


def _normalisation(
    kind: str | tuple[float, float], source: Source, rows: Survey, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the subtracted value and the divisor, in input units, float64, one per channel or feature."""
    ones = np.ones(source.shape[0])
    if not isinstance(kind, str):
        return kind[0] * ones, kind[1] * ones
    if kind == "none":
        return 0 * ones, ones / source.scale
    if kind == "unit":
        return 0 * ones, ones
    reference = part == REFERENCE
    mean, std = rows.moments(reference if reference.any() else part == TRAIN)
    return mean / source.scale, std / source.scale


def standardizer(
    shift: np.ndarray, factor: np.ndarray, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> Standardize:
    """Return the conversion of raw rows of a shape, from the subtracted value and the divisor in raw values."""
    broadcast = (-1, *(1,) * (len(shape) - 1))
    return Standardize(
        torch.from_numpy(shift).to(device, dtype).view(broadcast),
        torch.from_numpy(factor).to(device, dtype).view(broadcast),
    )


def _targets(
    source: Source, part: np.ndarray, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, tuple[float, ...] | None, tuple[float, ...] | None]:
    y = torch.from_numpy(source.y)
    if source.classes is not None:
        return y.to(device), None, None
    if not source.standardize_target:
        return y.to(device, dtype), None, None
    mean, std = moments(source.y[part == TRAIN])
    y = (y.double() - torch.from_numpy(mean)) / torch.from_numpy(std)
    return y.to(device, dtype), tuple(mean.tolist()), tuple(std.tolist())
