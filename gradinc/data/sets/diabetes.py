"""A regression with ten inputs."""

from __future__ import annotations

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data.installed import installed_folder, read_numbers
from gradinc.data.source import Source


def diabetes(root: str | None, *, standardize_target: bool = True) -> Source:
    """442 patients, 10 measurements: regression, installed with scikit-learn

    The target is a measure of the disease's progression after a year, 25 to 346. The inputs are
    age, sex, body mass index, blood pressure and six blood values, in their own units.

    Paper: Efron et al. 2004, arXiv math/0406456
    Title: Least Angle Regression
    Authors: Bradley Efron, Trevor Hastie, Iain Johnstone, Robert Tibshirani

    Args:
        standardize_target: subtract the training targets' mean and divide by their deviation; both are recorded.
    """
    folder = installed_folder("diabetes", root)
    x = read_numbers(folder / "diabetes_data_raw.csv.gz", 10, None)
    y = read_numbers(folder / "diabetes_target.csv.gz", 1, None)
    if len(x) != len(y):
        raise UserError(str(folder), f"{len(x)} rows of inputs, {len(y)} targets", "Reinstall scikit-learn")
    return Source(x.astype(np.float32), y.astype(np.float32), None, None, 1.0, str(folder), standardize_target)
