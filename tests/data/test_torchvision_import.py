"""torchvision is imported also beside a torch that it was not built for, and left alone otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REGISTER = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets
"""
"""What torchvision does when it is imported; without the compiled operator it raises a RuntimeError."""

DEFINE = """
import torch
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
"""What a torchvision that was built for this torch does before."""

PROGRAM = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from gradinc.data.torchvision_import import import_torchvision
    first, second, part = import_torchvision(), import_torchvision(), import_torchvision("datasets")
ours = [str(w.message) for w in caught if "gradinc" in str(w.message)]
print(first is second, part.__name__, len(ours))
"""


def run(folder: Path, init: str) -> subprocess.CompletedProcess[str]:
    """Run the program beside a package called torchvision that does what real ones do."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(init)
    (package / "datasets.py").write_text("")
    root = str(Path(__file__).resolve().parents[2])
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {root!r}]\n{PROGRAM}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("init", "warnings"), [(REGISTER, 1), (DEFINE + REGISTER, 0)], ids=["for another torch", "for this torch"]
)
def test_both_kinds_of_torchvision_are_imported_with_one_warning_where_needed(
    tmp_path: Path, init: str, warnings: int
) -> None:
    done = run(tmp_path, init)
    assert done.stdout == f"True torchvision.datasets {warnings}\n", done.stderr


def test_other_errors_are_not_hidden(tmp_path: Path) -> None:
    done = run(tmp_path, 'raise RuntimeError("something else")')
    assert done.returncode == 1
    assert "RuntimeError: something else" in done.stderr


def test_the_installed_torchvision_gives_models_and_data_sets() -> None:
    from gradinc.data.torchvision_import import import_torchvision

    assert import_torchvision("datasets").CIFAR10.base_folder == "cifar-10-batches-py"
    assert import_torchvision("models").VisionTransformer is not None
