"""``import gradinc`` is quick: what needs PyTorch is imported when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gradinc


def imported(code: str) -> list[str]:
    """The modules of other packages that a new process has imported after this code."""
    text = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_import_leaves_pytorch_out_and_the_first_use_imports_it():
    assert not {"torch", "numpy", "hydra"} & set(imported("import gradinc"))
    assert "torch" in imported("import gradinc; gradinc.load")


@pytest.mark.parametrize("name", [name for name in gradinc.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_listed(name):
    assert getattr(gradinc, name).__name__ == name
    assert name in dir(gradinc)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        gradinc.nothing  # noqa: B018
