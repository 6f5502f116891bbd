"""Our ResNet-18 against torchvision's with the same stem."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradinc.data.torchvision_import import import_torchvision
from gradinc.models.resnet18 import resnet18

torch.set_num_threads(1)


def torchvisions(channels: int) -> nn.Module:
    resnet = import_torchvision("models.resnet")
    network = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2], num_classes=10)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_torchvisions_basic_block_resnet_with_a_small_stem(channels: int) -> None:
    torch.manual_seed(0)
    theirs, ours = torchvisions(channels), resnet18((channels, 16, 16), 10)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert len(state) == len(expected)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    # Both list their tensors in the order in which an image meets them.
    ours.load_state_dict(dict(zip(state, expected.values(), strict=True)))

    x, y = torch.randn(4, channels, 16, 16), torch.tensor([0, 1, 2, 3])
    for network in (ours, theirs):
        functional.cross_entropy(network(x), y).backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))
    assert float(ours(x).detach().std()) > 0


def test_a_narrow_one_has_fewer_channels_everywhere() -> None:
    narrow = resnet18((3, 8, 8), 10, width=8)
    assert [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)][-1] == 64
    assert narrow.output.in_features == 64
