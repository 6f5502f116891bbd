"""A folder of parts: what is wrong in it is one line with file and line, and no code is run without ``--with``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command import Command, in_process
from lab import SMALL, SOURCES, Lab
from lives import Nursery

import gradinc

NET = SOURCES["model/net"].replace("from mylab.shared import activation\n", "activation = nn.ReLU\n")

WRONG = {
    "syntax": ("models/net.py", NET.replace("(shape:", "shape:"), "mylab/models/net.py:6: is not valid Python ("),
    "no function of its name": (
        "models/net.py",
        NET.replace("def net", "def network"),
        "mylab/models/net.py: has no function or class net, which model=net asks for. Give one of its",
    ),
    "an option before the star": (
        "models/net.py",
        NET.replace("*, width", "width"),
        "mylab/models/net.py:6: net takes (shape, outputs, width) before its options, and a model takes (shape, out",
    ),
    "an unreadable default": (
        "models/net.py",
        NET.replace("width: Count = 8", "width: Count = len('abc')"),
        "mylab/models/net.py:6: option width uses len, which cannot be read without running the file.",
    ),
    "an error in its module": (
        "models/net.py",
        NET + "\n\nraise ValueError('no network')\n",
        "mylab/models/net.py:14: cannot be imported for model=net (ValueError: no network). Correct the file.",
    ),
    "an unknown import": (
        "models/net.py",
        "import nothing_of_this_name\n" + NET,
        "mylab/models/net.py:1: cannot be imported for model=net (ModuleNotFoundError: No module named 'nothing_of",
    ),
    "a name of gradinc's": (
        "models/cnn.py",
        NET.replace("def net", "def cnn"),
        "mylab/models/cnn.py:6: gradinc has a model of the name cnn. Give it another name.",
    ),
    "a method that is a function": (
        "methods/halve.py",
        "def halve(g):\n    return g / 2\n",
        "mylab/methods/halve.py:1: a method is a class, and halve is a function.",
    ),
    "a method without its base class": (
        "methods/halve.py",
        "class Halve:\n    pass\n",
        "mylab/methods/halve.py:1: Halve is not a subclass of gradinc.core.method.Method.",
    ),
    "a YAML file without its part": (
        "conf/model/net.yaml",
        "# A network\nname: net\n",
        "mylab/conf/model/net.yaml:2: asks for model net, which is in no file of mylab. Write mylab/models/net.py.",
    ),
    "a YAML file with a name of gradinc's": (
        "conf/strategy/clip.yaml",
        "methods:\n  clip: {}\n",
        "mylab/conf/strategy/clip.yaml: gradinc has strategy=clip, too. Give the file another name.",
    ),
}
"""A file of a folder, its content, and the beginning of the line."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    return in_process(capsys)


def write(place: str, text: str) -> None:
    path = Path("mylab", place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_one_line_with_its_place(command: Command, what: str) -> None:
    place, text, line = WRONG[what]
    write(place, text)
    end = command("train", "--with", "mylab", *SMALL, "model=net")
    assert (end.code, end.out) == (2, "")
    assert end.err.startswith(line), end.err
    assert end.err.count("\n") == 1
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("nowhere", "--with nowhere: no such folder."),
        ("file", "--with file: is not a folder."),
        ("json/models", "--with json/models: has no folder with parts."),
        ("json", "--with json: json is the name of an installed package."),
        ("torch", "--with torch: torch is the name of an installed package."),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(command: Command, folder: str, line: str) -> None:
    Path("file").write_text("")
    for name in ("json", "torch"):
        Path(name, "models").mkdir(parents=True)
        Path(name, "models", "net.py").write_text(NET)
    for words in (["list"], ["train", "model=mlp"], ["test", "outputs/mine"], ["report", "outputs"], ["runs"]):
        end = command(*words, "--with", folder)
        assert end.code == 2
        assert end.err.startswith(line)


def test_a_part_needs_no_yaml(command: Command) -> None:
    write("models/net.py", NET)
    write("methods/halve.py", SOURCES["method/halve"])
    write("rules/doubled.py", SOURCES["rule/doubled"])
    listed = command("list", "--with", "mylab").out.splitlines()
    assert any(line.split() == ["net", "A", "small", "network"] for line in listed)
    assert any(line.split()[:2] == ["halve", "Take"] for line in listed)
    shown = command("train", "--with", "mylab", "model=net", "strategy=[doubled,halve]", "--cfg", "job")
    assert shown.code == 0
    assert "rule: doubled" in shown.out
    assert "halve: {}" in shown.out
    assert command("train", "model=net").err.startswith("model=net: unknown. Choose from: ")
    assert "net" not in command("list", "models").out.split()


def test_a_preset_in_the_folder_is_a_choice(command: Command) -> None:
    write("models/net.py", NET)
    write("conf/model/wide.yaml", "# A wide one\nname: net\nwidth: 64\n")
    write("conf/experiment/mine.yaml", "# @package _global_\n# Mine\ndefaults:\n  - override /model: net\nseed: 7\n")
    assert "width: 64" in command("train", "--with", "mylab", "model=wide", "--cfg", "job").out
    shown = command("train", "--with", "mylab", "experiment=mine", "--cfg", "job").out
    assert "name: net" in shown
    assert "seed: 7" in shown


def test_folders_of_any_name_and_several_of_them(command: Command) -> None:
    write("models/net.py", NET)
    Path("lab 2.0-b").mkdir()
    shutil.copytree("mylab/models", "lab 2.0-b/models")
    two = ("--with", "mylab", "--with", "lab 2.0-b")
    assert (
        command("list", *two).err
        == "lab 2.0-b/models/net.py:6: mylab has a model of the name net. Give it another name.\n"
    )
    Path("lab 2.0-b/models/net.py").rename("lab 2.0-b/models/other.py")
    Path("lab 2.0-b/models/other.py").write_text(NET.replace("def net", "def other"))
    names = [line.split()[0] for line in command("list", "models", *two).out.splitlines()]
    assert {"net", "other"} <= set(names)
    shutil.copytree("mylab", "sub/mylab")
    assert "its package would have the name mylab" in command("list", "--with", "mylab", "--with", "sub/mylab").err


def test_a_run_of_a_folder_is_opened_with_the_folder_only(tmp_path: Path, nursery: Nursery) -> None:
    lab = Lab(tmp_path, nursery, is_installed=False)
    lab.build()
    (lab.package / "models" / "net.py").write_text(NET + "\nopen('ran', 'a').write('x')\n")
    trained = lab.train("model=net", "name=mine")
    assert trained.code == 0
    assert "next: gradinc test outputs/mine --with=mylab" in trained.out
    assert json.loads((tmp_path / "outputs/mine/meta.json").read_text())["folders"] == ["mylab"]
    (tmp_path / "ran").unlink()
    line = "outputs/mine/config.yaml: model=net is in the folder mylab of the user's own parts. Give --with mylab.\n"
    for command in ("test", "attack", "verify", "sharpness"):
        alone = lab.nursery.start(tmp_path, "outputs/mine", command=command).end()
        assert (alone.code, alone.err) == (2, line)
    for command in (("runs",), ("report", "outputs", "--out", "page.html")):
        assert lab.nursery.start(tmp_path, *command[1:], command=command[0]).end().code == 0
    assert not (tmp_path / "ran").exists()  # a run directory and its config run nothing
    for command in ("test", "verify"):
        with_folder = lab.gradinc(command, "outputs/mine")
        assert (with_folder.code, with_folder.err) == (0, "")
    assert (tmp_path / "ran").exists()
    tuned = tmp_path / "space.yaml"
    tuned.write_text("trials: 2\nspace:\n  model.width: [2, 4]\n")
    searched = lab.gradinc("tune", "space.yaml", *SMALL, "model=net")
    assert searched.code == 0, searched
    assert "next: gradinc train --with=mylab" in searched.out


def test_a_folder_is_used_from_python_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("models/net.py", NET)
    with pytest.raises(gradinc.UserError, match=r"^model=net: unknown"):
        gradinc.train(*SMALL, "model=net")
    gradinc.use("mylab")
    run = gradinc.train(*SMALL, "model=net", progress="quiet", device="cpu")
    assert sum(weight.numel() for weight in run.model.parameters()) == 64 * 8 + 8 + 8 * 10 + 10
    gradinc.use()
    with pytest.raises(gradinc.UserError, match="Give --with mylab"):
        gradinc.load(run.path)


def test_a_crashed_worker_is_replaced_by_one_with_the_folder(tmp_path: Path, nursery: Nursery) -> None:
    """The first workers are copies of the sweep; a later one is a new Python and must find the folder again."""
    lab = Lab(tmp_path, nursery, is_installed=False)
    lab.build()
    dies = NET.replace("    inputs = 1\n", "    inputs = 1\n    if width == 3 and torch.empty(0).is_cpu: os._exit(7)\n")
    (lab.package / "models" / "net.py").write_text("import os\nimport torch\n" + dies)
    end = lab.train("-m", "model=net", "model.width=3,4")
    assert "left by os._exit(7)" in end.out
    assert "1 finished · 1 exited with 7" in end.out, end.out


@pytest.fixture(autouse=True)
def no_folders() -> None:
    gradinc.use()
