"""Augmentations: one file for each name in ``data.augment=[…]``."""
