"""The data set of a run, as its model takes the rows."""

from __future__ import annotations

import sys

import torch

from gradinc.config.catalog import load_part
from gradinc.config.schema import Config, DataSection
from gradinc.data.dataset import Dataset, load_dataset
from gradinc.data.encoding import Encoding
from gradinc.runs.device import storage_dtype


def load_rows(config: Config, device: torch.device, section: DataSection) -> Dataset:
    """Read, split and normalise a data set, and convert its rows if the model's module has an `encoding`.

    Args:
        config: the run's config.
        section: its data section, or another one.

    Raises:
        UserError: see `load_dataset`.
    """
    encoding = encoding_of(config)  # first: a wrong folder is found in less time than the data are read
    dataset = load_dataset(section, device, storage_dtype(config.dtype))
    return dataset if encoding is None else encoding.applied(dataset)


def encoding_of(config: Config) -> Encoding | None:
    """Return the files and the conversion of the config's model, or None.

    The module of a model can have a function ``encoding`` of the model's options that returns an `Encoding`.
    """
    model = load_part("model", config.model.name)
    make = getattr(sys.modules.get(getattr(model, "__module__", "")), "encoding", None)
    if make is None:
        return None
    found: Encoding = make(**config.model.options)
    return found
