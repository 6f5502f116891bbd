"""Augmentation moves whole images, each on its own, and draws from its own generator only."""

from __future__ import annotations

import torch

from gradinc.data.augment import augment
from gradinc.data.augmentations.crop import PADDING, crop
from gradinc.data.augmentations.flip import flip

X = torch.rand(200, 3, 6, 5, generator=torch.Generator().manual_seed(0)) + 1


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_others() -> None:
    flipped = flip(X, draws())
    mirrored = [bool(torch.equal(a, b.flip(-1))) for a, b in zip(flipped, X, strict=True)]
    unchanged = [bool(torch.equal(a, b)) for a, b in zip(flipped, X, strict=True)]
    assert all(a != b for a, b in zip(mirrored, unchanged, strict=True))
    assert 70 < sum(mirrored) < 130


def test_a_crop_is_a_window_of_the_padded_image_at_any_place() -> None:
    """The slow way: pad one image, try every place."""
    cropped = crop(X, draws(), fill=0.5)
    padded = torch.nn.functional.pad(X, (PADDING,) * 4, value=0.5)
    places = set()
    for image, canvas in zip(cropped, padded, strict=True):
        places |= {
            (top, left)
            for top in range(2 * PADDING + 1)
            for left in range(2 * PADDING + 1)
            if torch.equal(image, canvas[:, top : top + 6, left : left + 5])
        }
    assert {top for top, _ in places} == {left for _, left in places} == set(range(2 * PADDING + 1))


def test_a_fill_for_each_channel_equals_padding_each_channel() -> None:
    fill = torch.tensor([-1.0, 0.0, 2.0])
    together = crop(X, draws(), fill)
    for channel in range(3):
        alone = crop(X[:, channel : channel + 1], draws(), fill[channel].item())
        assert torch.equal(together[:, channel : channel + 1], alone)


def test_the_same_generator_gives_the_same_images_and_another_others() -> None:
    names = ("flip", "crop")
    assert torch.equal(augment(X, names, draws(3)), augment(X, names, draws(3)))
    assert not torch.equal(augment(X, names, draws(3)), augment(X, names, draws(4)))


def test_names_are_applied_in_their_order_and_none_changes_nothing() -> None:
    generator = draws(5)
    assert torch.equal(augment(X, ("crop", "flip"), draws(5)), flip(crop(X, generator), generator))
    assert augment(X, (), draws()) is X


def test_the_batch_and_the_default_generator_are_left_alone() -> None:
    before, state = X.clone(), torch.get_rng_state()
    augment(X, ("flip", "crop"), draws())
    assert torch.equal(X, before)
    assert torch.equal(torch.get_rng_state(), state)
