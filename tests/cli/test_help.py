"""Help and listings come from the sources, and come before torch does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradinc import __version__
from gradinc.config import catalog, groups

HEAVY = ("torch", "torchvision", "hydra", "pydantic", "numpy", "sklearn")


@pytest.fixture
def imported(empty: Path, environment: dict[str, str]) -> Callable[..., set[str]]:
    """The heavy packages that a command imports, in a process of its own."""
    script = (
        "import sys; from gradinc.cli.main import main; code = main(sys.argv[1:]); "
        f"print(code, *(m for m in {HEAVY} if m in sys.modules), file=sys.stderr)"
    )

    def run(*arguments: str) -> set[str]:
        words = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(words, capture_output=True, text=True, cwd=empty, env=environment)
        code, *found = done.stderr.splitlines()[-1].split()
        assert code in ("0", "2"), done.stderr
        return set(found)

    return run


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--version"], ["nonsense"]])
def test_the_overview_imports_nothing_heavy(imported: Any, arguments: list[str]) -> None:
    assert imported(*arguments) == set()


@pytest.mark.parametrize(
    "arguments", [["train", "--help"], ["list"], ["list", "strategies", "--json"], ["list", "tables"]]
)
def test_help_and_listings_import_neither_torch_nor_hydra(imported: Any, arguments: list[str]) -> None:
    assert imported(*arguments) == set()


@pytest.mark.parametrize("arguments", [["train", "--cfg", "job"], ["train", "lr=1"], ["train", "-m", "seed=1,-2"]])
def test_checking_a_command_imports_no_torch(imported: Any, arguments: list[str]) -> None:
    assert not {"torch", "torchvision", "numpy"} & imported(*arguments)


def test_the_overview_names_every_command(gradinc: Any) -> None:
    outcome = gradinc("--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert all(f"\n  {name} " in outcome.out for name in ("train", "test", "list", "data", "bench"))
    assert outcome.out == gradinc().out
    assert gradinc("--version").out == gradinc("train", "--version").out == f"gradinc {__version__}\n"


def test_the_help_of_train_shows_examples_then_groups_then_keys(gradinc: Any) -> None:
    page = gradinc("train", "--help").out
    titles = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert [title.split()[0] for title in titles[:3]] == ["Examples:", "Groups,", "Keys:"]
    for group in groups.GROUPS:
        for name in groups.names(group):
            assert name in page, f"{group}={name}"
    assert "  model.width=32 " in page
    assert "[cnn]" in page
    assert "  optimizer.momentum=0.9 " in page, "the default is the file's, not the signature's"
    assert max(map(len, page.splitlines())) <= 160


def test_the_help_of_train_goes_with_what_is_chosen(gradinc: Any) -> None:
    page = gradinc("train", "model=vit", "strategy=clip", "--help").out
    assert all(f"  model.{name}=" in page for name in catalog.part("model", "vit").parameters)
    assert all(f"  strategy.methods.clip.{name}=" in page for name in catalog.part("method", "clip").parameters)
    assert "model.norm" not in page
    titles = [line for line in page.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[:5] == [
        "About model vit:",
        "Options of model=vit:",
        "About method clip:",
        "Options of strategy=clip:",
        "Examples:",
    ], "what is asked for comes first"


def test_the_help_of_a_strategy_has_the_formula_that_its_constants_stand_in(gradinc: Any) -> None:
    page = gradinc("train", "strategy=[accumulate,ewc]", "--help").out
    about, _, rest = page.partition("Options of strategy=ewc:")
    assert "The penalty is λ/2 Σ F (w − w*)²." in about
    assert "Args:" not in page
    assert "  strategy.methods.ewc.strength=1.0  " in rest
    assert "About" not in gradinc("train", "--help").out


@pytest.mark.parametrize("command", ["test", "list", "data"])
def test_every_command_has_a_help_of_its_own(gradinc: Any, command: str) -> None:
    with pytest.raises(SystemExit) as done:
        gradinc(command, "--help")
    assert done.value.code == 0


@pytest.mark.parametrize("kind", ["models", "data", "optimizers", "schedules", "strategies", "experiments", "tables"])
def test_a_listing_is_json_with_name_summary_and_paper(gradinc: Any, kind: str) -> None:
    outcome = gradinc("list", kind, "--json")
    listed = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert all(set(entry) == {"name", "summary", "paper"} for entry in listed)
    group = next(group for group, plural in catalog.PLURALS.items() if plural == kind)
    assert [entry["name"] for entry in listed] == groups.names(group)
    text = gradinc("list", kind).out
    assert all(entry["name"] in text and entry["summary"] in text for entry in listed)


def test_all_listings_are_one_json_document(gradinc: Any) -> None:
    everything = json.loads(gradinc("list", "--json").out)
    assert everything["models"] == json.loads(gradinc("list", "models", "--json").out)
    assert "strategies (strategy=…)" in gradinc("list").out


def test_a_listing_holds_the_user_s_own_files_and_shows_no_raw_escapes(gradinc: Any, tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "own.yaml").write_text("# [red]Mine[/] \x1b[31m\x07\nname: cnn\n")
    text = gradinc("list", "models", "--config-dir", str(tmp_path / "mine")).out
    assert "own " in text
    assert "[red]Mine[/] \\x1b[31m\\x07" in text
    assert "\x1b" not in text
    (entry,) = [e for e in json.loads(gradinc("list", "models", "--json", "-cd", str(tmp_path / "mine")).out)
                if e["name"] == "own"]  # fmt: skip
    assert entry["summary"].startswith("[red]Mine[/]")


def test_the_data_sets_are_listed_with_where_they_are(gradinc: Any) -> None:
    listed = {entry["name"]: entry for entry in json.loads(gradinc("data", "--json").out)}
    assert set(listed) == set(groups.names("data"))
    assert listed["digits"]["here"] is True
    assert listed["image_folder"]["here"] is False
    assert gradinc("data", "list").out == gradinc("data").out


def test_a_data_set_is_read_and_described(gradinc: Any, empty: Path) -> None:
    outcome = gradinc("data", "digits", "--json")
    prepared = json.loads(outcome.out)
    assert (outcome.code, outcome.err, prepared["rows"], prepared["shape"]) == (0, "", 1797, [1, 8, 8])
    assert "next: gradinc train data=diabetes" in gradinc("data", "diabetes").out
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("command", ["gradinc list models", "gradinc train --help", "gradinc --help"])
def test_output_that_nobody_reads_ends_quietly(empty: Path, environment: dict[str, str], command: str) -> None:
    run = command.replace("gradinc", f"{sys.executable} -m gradinc")
    script = f"set -o pipefail; {run} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=empty, env=environment)
    assert (done.stdout, done.stderr) == ("0\n", "")
    closed = subprocess.run(["bash", "-c", f"{run} >&-"], capture_output=True, text=True, cwd=empty, env=environment)
    assert (closed.returncode, closed.stderr) == (0, "")
