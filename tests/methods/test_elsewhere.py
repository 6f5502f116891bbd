"""A strategy kept outside the repository: one file, one YAML, and an entry point."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradinc.base.errors import UserError
from gradinc.config import catalog, groups
from gradinc.config.compose import load_config
from gradinc.runs.execute import execute

METHOD = '''
"""sign(g)."""

from torch import Tensor

from gradinc.config.values import Positive
from gradinc.core.learner import Learner
from gradinc.core.method import Method


class SignDescent(Method):
    """Take the sign of the gradient, times a scale

    Paper: Bernstein et al. 2018, arXiv 1802.04434

    Args:
        scale: size of every entry.
    """

    state = ("updates",)

    def __init__(self, *, scale: Positive = 0.01) -> None:
        self.scale = scale
        self.updates = 0

    def transform(self, g: Tensor, learner: Learner) -> None:
        g.sign_().mul_(self.scale)
        self.updates += 1
'''
STRATEGY = "# Take the sign of the gradient, times a scale\nmethods:\n  sign_descent:\n    scale: 0.5\n"
SMALL = ["data=digits", "model=linear", "optimizer.momentum=0", "budget.steps=20", "progress=quiet", "threads=1"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What an installed package leaves on the path: its module, and its metadata. Returns its folder of YAML."""
    site = tmp_path / "site"
    module = site / "their_methods" / "sign_descent.py"
    module.parent.mkdir(parents=True)
    (site / "their_methods" / "__init__.py").write_text("raise RuntimeError('listing must not import this')\n")
    module.write_text(METHOD)
    metadata = site / "their_methods-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-methods\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gradinc.methods]\nsign_descent = their_methods.sign_descent\n")
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "sign_descent.yaml").write_text(STRATEGY)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf"


def test_it_is_found_and_described_without_being_imported(elsewhere):
    part = catalog.part("method", "sign_descent")
    assert part.summary == "Take the sign of the gradient, times a scale"
    assert part.paper == "Bernstein et al. 2018, arXiv 1802.04434"
    assert part.parameters["scale"].help == "size of every entry"
    assert "sign_descent" in groups.names("strategy", [elsewhere])
    assert "sign_descent" in groups.names("strategy"), "without its file it has the defaults of its signature"


def test_its_options_are_checked_like_any_other(elsewhere):
    wrong = ["strategy=sign_descent", "strategy.methods.sign_descent.scale=-1"]
    with pytest.raises(UserError, match=r"strategy\.methods\.sign_descent\.scale=-1: need a number > 0"):
        load_config(wrong, [elsewhere])


def test_it_trains_with_the_others(elsewhere):
    (elsewhere.parent / "site" / "their_methods" / "__init__.py").write_text("")

    def run(strategy):
        config = load_config(
            [*SMALL, f"strategy={strategy}", "strategy.window.size=4", f"name={strategy}"], [elsewhere]
        )
        assert execute(config) == 0
        return json.loads((Path("outputs") / strategy / "result.json").read_text())

    theirs, plain = run("sign_descent"), run("accumulate")
    assert (theirs["status"], theirs["steps"]) == ("finished", 20)
    assert theirs["test"]["accuracy"] > 0.5
    assert theirs["weights_digest"] != plain["weights_digest"]
    together = load_config([*SMALL, "strategy=[accumulate,centralize,sign_descent,clip]", "name=all"], [elsewhere])
    assert list(together.strategy.methods) == ["centralize", "sign_descent", "clip"]
    assert execute(together) == 0


def test_without_its_package_the_file_and_the_package_are_named(tmp_path):
    (tmp_path / "strategy").mkdir()
    file = tmp_path / "strategy" / "sign_descent.yaml"
    asks = r"strategy\.methods\.sign_descent: strategy/sign_descent\.yaml asks for it, and no installed package"
    for header, fix in {
        "": "Install the package that registers it in the group gradinc.methods",
        "# Take the sign\n# Package: their-methods\n": "Install their-methods",
    }.items():
        file.write_text(header + STRATEGY)
        with pytest.raises(UserError, match=asks) as caught:
            load_config(["strategy=sign_descent"], [tmp_path])
        assert caught.value.fix == fix
    assert next(each.summary for each in groups.choices("strategy", [tmp_path]) if each.name == "sign_descent")
    with pytest.raises(UserError, match=r"strategy\.methods\.signed: unknown\. Choose from: "):
        load_config(["strategy=sgd", "strategy.methods.signed.scale=1"], [tmp_path])


def test_a_package_of_which_only_the_metadata_are_left_is_named(elsewhere):
    (elsewhere.parent / "site" / "their_methods" / "sign_descent.py").unlink()
    with pytest.raises(UserError, match=r"their_methods\.sign_descent, which cannot be found\. Install their-methods"):
        load_config(["strategy=sign_descent"], [elsewhere])
