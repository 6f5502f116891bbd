"""The only import of torchvision, on demand of models and data sets."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType

import torch

_schemas: list[torch.library.Library] = []
"""The schemas that `import_torchvision` defined, which must exist until the process ends."""


def import_torchvision(submodule: str = "") -> ModuleType:
    """Import torchvision, or one of its submodules, e.g. ``import_torchvision("datasets")``.

    A CPU-only torch with a torchvision built for CUDA cannot load torchvision's compiled
    operators, and the import ends with a RuntimeError about the operator ``nms``
    (pytorch/vision#9085). gradinc needs none of these operators, so it declares their schemas and
    imports again. Models, data sets and transforms then work; detection and image decoding do not.
    The schemas must not be declared beforehand: a working torchvision declares them itself, and a
    second declaration aborts the process.
    """
    name = f"torchvision.{submodule}" if submodule else "torchvision"
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error) or _schemas:
            raise
    for loaded in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        del sys.modules[loaded]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _schemas.append(library)
    module = importlib.import_module(name)
    warnings.warn(
        "torchvision was built for another torch; gradinc works without its compiled operators",
        stacklevel=2,
    )
    return module
