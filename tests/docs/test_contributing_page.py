"""CONTRIBUTING's method of ten minutes needs the files that it shows, and works as it is written there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = ("gradinc/methods/normalized.py", "conf/strategy/normalized.yaml", "tests/methods/test_normalized.py")
TESTS = ("tests/methods/test_normalized.py", "tests/methods/test_every_strategy.py", "tests/core/test_items.py")
MAKE_PAGE = """
import sys
sys.path.insert(0, "docs")
from gradinc.config import catalog
from website import parts
print(parts.part_page(catalog.part("method", "normalized")))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository with the files of the page."""
    for name in ("gradinc", "conf", "docs", "tests/support", "tests/methods", "tests/core", "tests/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy = shutil.copy if (ROOT / name).is_file() else shutil.copytree
        copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    blocks = re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for name, text in zip(FILES, blocks, strict=True):
        assert f"`{name}`" in PAGE
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_method_of_the_page_is_listed_trains_passes_the_tests_of_all_methods_and_has_a_page(checkout: Path) -> None:
    def printed(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=checkout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (listing, training) = re.findall(r"^gradinc (.+)$", PAGE.partition("**3. Try it.")[2].partition("**4.")[0], re.M)
    assert "\nnormalized " in printed("-m", "gradinc", *listing.split())
    words = [word.strip("'") for word in training.split()]
    printed("-m", "gradinc", *words, "model=linear", "progress=quiet")
    assert len(list(checkout.glob("outputs/*/result.json"))) == 1
    passed = printed("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "normalized", *TESTS, "-rA")
    assert len(re.findall(r"^PASSED ", passed, re.MULTILINE)) > 5
    page = printed("-c", MAKE_PAGE)
    assert "@misc{hazan2015beyond,\n  title = {Beyond Convexity: Stochastic Quasi-Convex Optimization}" in page
    assert "converges only with a falling learning rate" in page
