"""TC-ResNet8 against its paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.core.row_layers import RowLayers
from gradinc.core.weights import Weights
from gradinc.models.tc_resnet8 import tc_resnet8

torch.set_num_threads(1)


def test_it_has_the_papers_66_thousand_numbers() -> None:
    """Table 1 of the paper: 66K for 12 classes and 40 bands at width 1, 145K at width 1.5, statistics included."""

    def size(width: float) -> int:
        model = tc_resnet8((40, 98), 12, width=width)
        return sum(v.numel() for name, v in model.state_dict().items() if "num_batches" not in name)

    assert sum(p.numel() for p in tc_resnet8((40, 98), 12).parameters()) == 65_180
    assert round(size(1.0), -3) == 66_000
    assert round(size(1.5), -3) == 145_000


def test_time_is_halved_three_times_and_the_bands_are_channels() -> None:
    model = tc_resnet8((40, 98), 12).eval()
    lengths: list[int] = []
    for name, module in model.named_children():
        if name in ("conv", "block1", "block2", "block3"):
            module.register_forward_hook(lambda module, given, out: lengths.append(out.shape[-1]))
    assert model(torch.randn(2, 40, 98)).shape == (2, 12)
    assert lengths == [98, 49, 25, 13]
    assert {type(m) for m in model.modules() if isinstance(m, nn.Conv1d | nn.Conv2d)} == {nn.Conv1d}


def test_rows_are_treated_alone_where_the_normalisation_allows_it() -> None:
    for norm, alone in (("batch", False), ("group", True)):
        model = tc_resnet8((8, 20), 3, width=0.5, norm=norm).double()  # type: ignore[arg-type]
        layers = RowLayers(model, Weights(model))
        assert layers.unknown is None
        assert layers.factored(evaluated=False) == alone


def test_other_rows_are_refused() -> None:
    with pytest.raises(UserError, match="needs spectrograms"):
        tc_resnet8((1, 28, 28), 10)
