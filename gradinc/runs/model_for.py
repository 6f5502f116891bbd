"""The model of a config, for rows of numbers or of tokens."""

from __future__ import annotations

import inspect
from collections import OrderedDict

from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.config.schema import Config
from gradinc.data.text import Tokens
from gradinc.models.sequences import Counts, check_labels


def model_for(config: Config, inputs: tuple[int, ...], outputs: int, text: Tokens | None) -> nn.Module:
    """Return the model, which reads tokens if its function has an argument `text`, else the counts of tokens.

    Args:
        inputs: shape of a row.
        text: the tokens of rows of text; None for other rows.

    Raises:
        UserError: the model cannot read the rows, or has no output for each token.
    """
    make, options = load_part("model", config.model.name), config.model.options
    takes = inspect.signature(make).parameters.get("text")
    if text is None:
        if takes is not None and takes.default is inspect.Parameter.empty:
            what = f"reads text, and a row of data={config.data.name} has numbers"
            raise UserError(f"model={config.model.name}", what, "Use data=clinc150, table, text or text_folder")
        model: nn.Module = make(inputs, outputs, **options)
    elif takes is not None:
        model = make(inputs, outputs, text, **options)
    else:
        check_labels(config.model.name, text)
        model = nn.Sequential(OrderedDict(counts=Counts(text.tokens), model=make((text.tokens,), outputs, **options)))
    return model
