"""Numbers that a table measures on the weights of finished runs: once, kept with the run, of these weights alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml
from command import Command
from small_table import DOCUMENT, write_table

from gradinc.cli.main import main
from gradinc.records.recorded import RecordedRun
from gradinc.studies.tables.quantities import NoValue, read_quantity

SAFE = ("table", "safe", "--config-dir", "conf", "device=cpu")
ROBUST = {"robust_accuracy": {"eps": 0.1, "steps": 3, "rows": 60}}
INVERTED = {"inversion_psnr": {"rows": 2, "steps": 5, "windows": 2}}


SAFER: dict[str, Any] = {
    **{key: value for key, value in DOCUMENT.items() if key != "claims"},
    "seeds": [0],
    "columns": {
        "robust": {"title": "robust accuracy", "quantity": ROBUST, "unit": "%"},
        "inverted": {"title": "PSNR", "quantity": INVERTED, "unit": "dB"},
    },
    "rows": {"one": {"title": "one", "overrides": ["optimizer.lr=0.1"]}},
}
"""A table of one run on images, attacked in two ways."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its run, trained and measured."""
    folder = tmp_path_factory.mktemp("safe")
    write_table(folder / "conf", SAFER, "safe")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["--quiet", *SAFE]) == 0
    return folder


@pytest.fixture
def safe(made: Path, tmp_path: Path) -> Path:
    """A copy of it, where the command line runs."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return only_run(tmp_path)


def only_run(folder: Path) -> Path:
    (found,) = (path.parent for path in (folder / "outputs").glob("*/config.yaml"))
    return found


def cells(outcome: Any) -> dict[str, Any]:
    return {cell["column"]: cell for cell in json.loads(outcome.out)["rows"][0]["cells"]}


def test_what_a_cell_asks_for_is_measured_once_and_is_what_the_commands_say(gradinc: Command, safe: Path) -> None:
    first = gradinc(*SAFE, "--collect", "--json")
    kept = {path: path.stat().st_mtime_ns for path in (safe / "measured").iterdir()}
    assert sorted(path.name.split("-")[0] for path in kept) == ["attack", "inversion"]

    attacked = json.loads(
        gradinc("attack", str(safe), "--eps", "0.1", "--steps", "3", "--rows", "60", "--device", "cpu", "--json").out
    )
    worst = next(each["accuracy"] for each in attacked if each["attack"] == "worst")
    assert 0 < worst < attacked[0]["accuracy"]
    assert cells(first)["robust"]["ours"]["mean"] == pytest.approx(100 * worst)
    inverted = [
        json.loads(gradinc("invert", str(safe), "--windows", "2", "--steps", "5", "--seed", seed, "--json").out)
        for seed in "01"
    ]
    wanted = fmean(each["psnr"] for one in inverted for each in one if each["variant"] == "cosine")
    assert cells(first)["inverted"]["ours"]["mean"] == pytest.approx(wanted)

    assert gradinc("--quiet", *SAFE, "--json").out == first.out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "measured a second time"


def test_collecting_measures_nothing_and_says_so(gradinc: Command, safe: Path, tmp_path: Path) -> None:
    (safe / "measured").rename(tmp_path / "elsewhere")
    cell = cells(gradinc(*SAFE, "--collect", "--json"))["robust"]
    assert cell["ours"] is None
    assert cell["marks"] == ["1 of 1 not measured (gradinc table without --collect does it)"]
    assert not (safe / "measured").exists()
    assert "2 measurements of the weights of finished runs to do" in gradinc(*SAFE, "--dry-run").out


def test_collecting_what_is_measured_needs_no_torch(gradinc: Command, safe: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from gradinc.cli.main import main
code = main({[*SAFE, "--collect"]!r})
sys.exit(code or "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dB (1)" in done.stdout


def spoilt(key: str, value: Any) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        for path in (run / "measured").iterdir():
            path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return spoil


def cut_short(run: Path) -> None:
    for path in (run / "measured").iterdir():
        path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize(
    "spoil",
    [
        spoilt("weights_digest", "0" * 64),
        cut_short,
        spoilt("settings", {"eps": 0.2}),
        spoilt("kind", "guess"),
        spoilt("numbers", {"worst": None, "psnr": None}),
        spoilt("numbers", [1.0]),
        spoilt("weights_digest", None),
        spoilt("numbers", {"worst": 0.5, "psnr": 9.0}),
    ],
    ids=["other weights", "cut short", "other settings", "other kind", "no number", "a list", "of no weights", "other"],
)
def test_a_measurement_counts_for_its_weights_and_settings_alone(
    gradinc: Command, safe: Path, spoil: Callable[[Path], None]
) -> None:
    assert cells(gradinc(*SAFE, "--collect", "--json"))["robust"]["ours"] is not None
    spoil(safe)
    found = cells(gradinc(*SAFE, "--collect", "--json"))
    assert [cell["ours"] for cell in found.values()] == [None, None]
    assert found["robust"]["marks"][0].startswith("1 of 1 damaged (measured/attack-")
    again = gradinc("--quiet", *SAFE, "--json")
    assert all(cell["ours"]["n"] == 1 for cell in cells(again).values()), "and is made again"


def test_a_measurement_without_a_seal_is_read_as_before(gradinc: Command, safe: Path) -> None:
    wanted = {name: cell["ours"] for name, cell in cells(gradinc(*SAFE, "--collect", "--json")).items()}
    for path in (safe / "measured").iterdir():
        record = json.loads(path.read_text())
        del record["seal"]
        path.write_text(json.dumps(record))
    assert {name: cell["ours"] for name, cell in cells(gradinc(*SAFE, "--collect", "--json")).items()} == wanted
    assert "Unsealed: 1 run." in " ".join(gradinc(*SAFE, "--collect").out.split()), "a line may end anywhere"


def test_a_run_that_starts_again_forgets_what_was_measured(gradinc: Command, safe: Path) -> None:
    stale = safe / "measured" / "attack-stale.json"
    stale.write_text("{}")
    assert gradinc("--quiet", *SAFE, "fresh=true").code == 0
    assert not stale.exists()


def test_a_link_where_measurements_go_is_refused(gradinc: Command, safe: Path, tmp_path: Path) -> None:
    folder = safe / "measured"
    folder.rename(tmp_path / "old")
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    outcome = gradinc("--quiet", *SAFE)
    assert outcome.code != 0
    assert "is a link" in outcome.err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_that_cannot_be_attacked_is_told_and_the_table_is_shown(gradinc: Command, tmp_path: Path) -> None:
    write_table(tmp_path / "conf", {**SAFER, "protocol": ["data=diabetes", *SAFER["protocol"][1:]]}, "safe")
    outcome = gradinc("--quiet", *SAFE)
    assert outcome.code == 1
    assert outcome.err.splitlines()[0] == (
        "data=diabetes: has regression targets, not images with classes. Attack a run on images."
    )
    assert "not measured" in outcome.out


def logged(folder: Path, scores: dict[int, float], corrupt: dict[str, Any]) -> RecordedRun:
    (folder / "config.yaml").write_text(yaml.safe_dump({"corrupt": corrupt}))
    (folder / "result.json").write_text(json.dumps({"status": "finished"}))
    lines = [json.dumps({"step": step, "validation": {"accuracy": score}}) for step, score in scores.items()]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return RecordedRun.open(folder)


BURST = {"prob": 0.2, "start": 20, "stop": 30}


def test_recovery_is_counted_from_the_burst_to_the_accuracy_before_it(tmp_path: Path) -> None:
    recover = read_quantity({"updates_to_recover": {"within": 0.02}}, "quantity").read
    falls = {10: 0.7, 20: 0.8, 30: 0.3, 40: 0.77, 50: 0.785, 60: 0.9}
    assert recover(logged(tmp_path, falls, BURST)) == 20, "77 % is not within 2 points of 80 %, 78.5 % is"
    unmoved = {10: 0.7, 20: 0.8, 30: 0.8, 40: 0.9}
    assert recover(logged(tmp_path, unmoved, BURST)) == 0
    for scores, corrupt, reason in (
        ({10: 0.7, 20: 0.8, 30: 0.3, 40: 0.5}, BURST, "did not return to within 2 points"),
        ({30: 0.3, 40: 0.5}, BURST, "before corrupt.start"),
        (falls, {**BURST, "stop": None}, "needs a burst"),
        (falls, {**BURST, "prob": 0.0}, "needs a burst"),
    ):
        with pytest.raises(NoValue, match=reason):
            recover(logged(tmp_path, scores, corrupt))
