"""CONTRIBUTING's method of ten minutes works as it is written there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from command import ENVIRONMENT, Command

import gradinc as package

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def write(folder: Path) -> None:
    (method, preset, test) = (text for _, text in BLOCKS)
    for name, text in {"methods/signed.py": method, "conf/strategy/signed.yaml": preset}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    Path("test_signed.py").write_text(test.replace("gradinc.methods.signed", "mylab.methods.signed"), encoding="utf-8")


def test_the_method_of_the_page_is_listed_trains_and_passes_its_test(empty: Path, gradinc: Command) -> None:
    write(empty / "mylab")
    assert "signed" in gradinc("list", "strategies", "--with", "mylab").out
    words = re.findall(r"strategy\.methods\.signed\S+|optimizer\.lr\S+|budget\.\S+", PAGE)
    assert len(words) == 3
    end = gradinc("train", "--with", "mylab", "strategy=[accumulate,signed]", *words, "progress=quiet", "model=linear")
    assert end.code == 0, end.err
    package.use()
    path = f"{empty}:{ROOT}:{ROOT / 'tests' / 'support'}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(empty),
        "test_signed.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, "PYTHONPATH": path})
    assert done.returncode == 0, done.stdout
