"""P21: what a run has ended with is sealed, and who takes a number or weights from it finds what is not the same."""

from __future__ import annotations

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from command import Command, in_process
from lives import Nursery, only_run, snapshot

from gradinc import load
from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.records.recorded import RecordedRun
from gradinc.records.schemas import read_result
from gradinc.records.seal import check_seal
from gradinc.runs import checkpoint

RUN = ("model=linear", "data.batch_size=200", "budget.epochs=2", "progress=plain", "name=mine", "device=cpu")
FILES = ("config.yaml", "meta.json", "metrics.jsonl", "timing.jsonl", "result.json", "ckpt/14", "ckpt/best", "ckpt")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run and another one of its setting."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *RUN]) == 0
        assert main(["train", *RUN[:-2], "name=other", "seed=1", "device=cpu"]) == 0
    return folder


@pytest.fixture
def gradinc(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command line in this process, beside a copy of the runs."""
    shutil.copytree(finished / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return in_process(capsys)


def digit(path: Path) -> None:
    """Another digit in the middle of a file; of a checkpoint in what it begins with."""
    content = bytearray(path.read_bytes())
    if path.parent.name == "ckpt":
        content[5] ^= 1
    else:
        place = next(i for i in range(len(content) // 2, len(content)) if chr(content[i]).isdigit())
        content[place] = ord(str((int(chr(content[place])) + 1) % 10))
    path.write_bytes(content)


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGES = {each.__name__: each for each in (digit, delete, truncate)}
CASES = [(file, name) for file in FILES for name in DAMAGES if file != "ckpt" or name == "delete"]


def named(file: str) -> str:
    return "ckpt/14" if file == "ckpt" else file


# ---- readers of records ----


def by_runs(gradinc: Command, file: str) -> None:
    listed = gradinc("runs", "--json")
    run = next(run for run in json.loads(listed.out) if run["run"] == "mine")
    assert (run["status"], run["seal"], run["test"]) == ("damaged", file, None)
    assert listed.err.startswith(f"warning: mine is damaged, its numbers are left out: {file} ")


def by_compare(gradinc: Command, file: str) -> None:
    compared = gradinc("compare", "mine", "other", "--json")
    mine, other = json.loads(compared.out)
    assert (mine["status"], mine["damage"][0], mine["result"]) == ("damaged", file, {})
    assert (other["status"], other["damage"]) == ("finished", None)
    assert f"mine is damaged, its numbers are left out: {file} " in compared.err


def by_diff(gradinc: Command, file: str) -> None:
    assert f"mine is damaged, its numbers are left out: {file} " in gradinc("diff", "mine", "other").err


def by_report(gradinc: Command, file: str) -> None:
    assert gradinc("report", "outputs", "--out", "page.html").code == 0
    for page in ("page.html", "page.md"):
        text = Path(page).read_text()
        assert f"mine is damaged, its numbers are left out: {file} " in text.replace("\\", "")
    alone = gradinc("report", "mine", "--out", "alone.html")
    assert (alone.code, alone.err.count("\n")) == (2, 1)
    assert f"in mine {file} " in alone.err


def by_export(gradinc: Command, file: str) -> None:
    if find_spec("tensorboard") is None:
        return
    exported = gradinc("export", "outputs", "--tensorboard", "events")
    assert exported.code == 1
    assert f"mine is damaged, its numbers are left out: {file} " in exported.err
    assert [path.name for path in Path("events").iterdir()] == ["other"]


def by_verify(gradinc: Command, file: str) -> None:
    verified = gradinc("verify", "outputs/mine")
    assert verified.code == (1 if verified.out else 2)
    assert file in verified.out + verified.err


RECORD_READERS = (by_runs, by_compare, by_diff, by_report, by_export, by_verify)


@pytest.mark.parametrize(("file", "damage"), CASES)
def test_who_reads_a_record_marks_the_run(gradinc: Command, file: str, damage: str) -> None:
    DAMAGES[damage](Path("outputs/mine") / file)
    if (file, damage) == ("result.json", "delete"):
        assert RecordedRun.open(Path("outputs/mine")).status == "unfinished"
        return
    for reader in RECORD_READERS:
        reader(gradinc, named(file))


# ---- readers of weights ----

ATTACK = ("--rows=20", "--steps=1", "--restarts=1", "--eps=0.1")
WEIGHT_READERS: dict[str, tuple[str, ...]] = {
    "test": ("test", "outputs/mine"),
    "test --best": ("test", "outputs/mine", "--best"),
    "sharpness": ("sharpness", "outputs/mine", "--rows=200", "--iterations=5"),
    "attack": ("attack", "outputs/mine", *ATTACK),
    "invert": ("invert", "outputs/mine", "--windows=1", "--steps=1"),
    "init=": ("train", "init=outputs/mine", *RUN[:-2], "name=third", "device=cpu"),
}


@pytest.mark.parametrize(("file", "damage"), CASES)
def test_who_reads_weights_refuses_the_run(gradinc: Command, file: str, damage: str) -> None:
    DAMAGES[damage](Path("outputs/mine") / file)
    if (file, damage) == ("result.json", "delete"):
        return  # a run that has not come to its end, whose weights are those of its newest checkpoint
    before = snapshot(Path())
    for name, words in WEIGHT_READERS.items():
        if (name == "test --best") != (file == "ckpt/best") and file.startswith("ckpt/"):
            continue  # these weights are whole
        if name == "init=" and file == "config.yaml" and damage == "delete":
            continue  # then it is no run
        end = gradinc(*words)
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), (name, end.err)
        said = ("lost its last weights", "has no checkpoint") if file in ("ckpt", "ckpt/14") else (file,)
        assert any(each in end.err for each in said), (name, end.err)
    assert snapshot(Path()) == before
    if file != "ckpt/best":
        with pytest.raises(UserError):
            load("outputs/mine")


def test_weights_that_were_changed_inside_are_found_when_they_are_read(gradinc: Command) -> None:
    for name in ("14", "best"):
        path = Path("outputs/mine/ckpt") / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert "warning" not in gradinc("runs").err, "a listing reads no weights"
    for name, words in WEIGHT_READERS.items():
        assert gradinc(*words).code == 2, name


def test_the_best_weights_of_an_earlier_validation_are_not_taken_for_the_best(gradinc: Command) -> None:
    """A whole file of the same run under the same name, but not the one that the run ended with."""
    run = Path("outputs/mine")
    identity = json.loads((run / "meta.json").read_text())["identity"]
    state = checkpoint.read(run / "ckpt/best", identity)
    del state["run"]
    checkpoint.write(run / "ckpt", "best", identity, {**state, "step": 7})
    refused = gradinc("test", "outputs/mine", "--best")
    assert (refused.code, "ckpt/best: is damaged (it was changed after it was sealed)" in refused.err) == (2, True)
    assert gradinc("test", "outputs/mine").code == 0


# ---- the whole run, the old format ----


def test_a_whole_run_is_taken_by_everyone_without_a_word(gradinc: Command) -> None:
    for words in (("runs",), ("compare", "mine", "other"), ("diff", "mine", "other"), *WEIGHT_READERS.values()):
        end = gradinc(*words)
        assert (end.code, end.err) == (0, ""), words
        assert "unsealed" not in end.out
    assert gradinc("verify", "outputs/mine").code == 0
    assert gradinc("runs", "seal=whole", "--json").out.count('"run"') == 3
    assert gradinc("report", "outputs", "--out", "page.html").code == 0
    assert "damage" not in Path("page.md").read_text()


def test_a_run_without_a_seal_is_read_as_before_and_says_so(gradinc: Command) -> None:
    file = Path("outputs/mine/result.json")
    result = json.loads(file.read_text())
    del result["seal"]
    file.write_text(json.dumps(result))
    listed = gradinc("runs", "--json")
    (run,) = (run for run in json.loads(listed.out) if run["run"] == "mine")
    assert (run["status"], run["seal"], run["test"]) == ("finished", "unsealed", result["test"]["accuracy"])
    lines = [gradinc(*words).err for words in (("runs",), ("compare", "mine", "other"), ("diff", "mine", "other"))]
    lines += [gradinc(*words).err for words in WEIGHT_READERS.values()]
    assert gradinc("report", "outputs", "--out", "page.html").code == 0
    lines += [Path("page.md").read_text(), gradinc("verify", "outputs/mine").out, gradinc("train", *RUN).out]
    assert all("unsealed" in line for line in lines), lines
    assert gradinc("train", *RUN).code == 0


# ---- the seal itself ----


def test_every_other_digit_in_a_result_is_found(gradinc: Command) -> None:
    file = Path("outputs/mine/result.json")
    text = file.read_text()
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    assert len(places) > 400
    for place in places:
        other = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
        file.write_text(other)
        try:
            same = json.loads(other) == json.loads(text)  # the last of 17 digits can make no difference
        except ValueError:  # a 9 became a leading 0
            same = False
        assert (read_result(file) is not None) == same, text[place - 30 : place + 9]
    file.write_text(json.dumps(json.loads(text)))
    assert read_result(file) is not None, "how it is laid out says nothing"


@pytest.mark.parametrize(("file", "damage"), CASES)
def test_the_same_command_fixes_what_it_can_and_refuses_the_rest(gradinc: Command, file: str, damage: str) -> None:
    DAMAGES[damage](Path("outputs/mine") / file)
    end = gradinc("train", *RUN)
    if file in ("config.yaml", "result.json"):
        assert (end.code, end.err) == (0, "")
        assert gradinc("runs", "run=mine", "--json").out.count('"whole"') == 1
    else:
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1)
        assert end.err.startswith(f"outputs/mine/{named(file)}: ")
        assert end.err.endswith("Restore it, or use fresh=true to run it again.\n")


def test_a_sweep_does_not_count_a_damaged_run_among_the_finished(gradinc: Command) -> None:
    sweep = ("train", "-m", *RUN[:-2], "seed=0,1", "device=cpu", "output=swept")
    assert gradinc(*sweep).code == 0
    assert gradinc(*sweep).code == 0
    digit(next(Path("swept").glob("*-s1-*")) / "metrics.jsonl")
    again = gradinc(*sweep)
    assert again.code == 1
    assert "metrics.jsonl: was changed after it was sealed" in again.out + again.err


def test_a_config_that_is_written_again_with_other_free_keys_is_sealed_again(gradinc: Command) -> None:
    Path("outputs/mine/config.yaml").unlink()
    assert gradinc("train", *RUN, "log.steps=7", "checkpoint.keep=5").code == 0
    assert gradinc("runs", "run=mine", "--json").out.count('"whole"') == 1
    assert gradinc("verify", "outputs/mine").code == 0


WRITING = ("before-write", "mid-write", "before-fsync", "before-replace", "after-replace")


@pytest.mark.parametrize("end", ["finished", "diverged"])
def test_a_run_that_is_killed_at_its_end_has_no_seal_or_one_that_holds(
    nursery: Nursery, tmp_path: Path, end: str
) -> None:
    words = (*RUN, "model=mlp", "optimizer.lr=1e20") if end == "diverged" else RUN
    sealed = set()
    for point in ("before-result", *WRITING, "result-written"):
        left = nursery.run(tmp_path / point, *words, crash=f"{point}:1000").left
        assert left is not None
        visits = 1000 - left
        for visit in {max(1, visits - 1), visits}:
            folder = tmp_path / f"{point}-{visit}"
            assert nursery.run(folder, *words, crash=f"{point}:{visit}").code == -9
            run = only_run(folder)
            result = read_result(run / "result.json")
            if result is not None:
                sealed.add(point)
                assert (result["status"], check_seal(result, run)) == (end, {}), point
                assert RecordedRun.open(run).status == end
            assert RecordedRun.open(run).damage is None
            assert nursery.run(folder, *words).code == (1 if end == "diverged" else 0)
            assert RecordedRun.open(run).status == end
    assert sealed == {"after-replace", "result-written"}


def test_a_run_that_goes_on_is_not_called_damaged(nursery: Nursery, tmp_path: Path) -> None:
    """The log and record of a run that was interrupted go on changing, whatever its result says."""
    life = nursery.start(tmp_path, *RUN[:2], "budget.epochs=400", *RUN[3:], "checkpoint.seconds=0")
    log = tmp_path / "outputs/mine/metrics.jsonl"
    while not log.exists() or log.stat().st_size < 2000:
        assert not life.is_over()
    life.kill(15)
    assert life.end().code == 143
    assert RecordedRun.open(tmp_path / "outputs/mine").status == "interrupted"
    again = nursery.run(tmp_path, *RUN[:2], "budget.epochs=400", *RUN[3:], "checkpoint.seconds=0", crash="pruned:5")
    assert again.code == -9
    assert RecordedRun.open(tmp_path / "outputs/mine").damage is None
    result: Any = json.loads((tmp_path / "outputs/mine/result.json").read_text())
    result["steps"] += 1
    (tmp_path / "outputs/mine/result.json").write_text(json.dumps(result))
    assert RecordedRun.open(tmp_path / "outputs/mine").status == "damaged"


def test_names_in_a_seal_lead_to_no_harm(tmp_path: Path) -> None:
    from gradinc.records.seal import seal

    files = ["../../etc/passwd", "/dev/zero", "a\0b", "x" * 5000, "."]
    record = seal({"status": "finished"}, tmp_path, files)
    assert [record["seal"]["files"][name] for name in files[1:]] == [None] * 4
    assert set(check_seal(record, tmp_path)) >= set(files[1:])
    assert re.fullmatch("[0-9a-f]{64}", record["seal"]["digest"])
