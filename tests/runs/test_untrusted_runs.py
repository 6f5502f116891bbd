"""P16: nothing in a run's directory can write elsewhere, run code, fill the memory or drive the terminal."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lives import SMALL, End, Nursery, differences, only_run

from gradinc.records.schemas import read_meta, read_result
from gradinc.runs import checkpoint


@pytest.fixture
def run(half: Path, folder: Path) -> Path:
    """The directory of a copy of that run."""
    return only_run(shutil.copytree(half, folder, dirs_exist_ok=True))


def refused(end: End, start: str) -> None:
    """One line that says where, nothing printed, exit code 2."""
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
    assert end.err.startswith(start), end.err


# ---- writing elsewhere ----

NAMES = ["metrics.jsonl", "timing.jsonl", "meta.json", "config.yaml", "result.json", "owner.json", "error.log", ".lock"]
TEMPORARY = [".meta.json.tmp", ".result.json.tmp", ".config.yaml.tmp", "ckpt/.14.tmp", "ckpt/14", "ckpt/best"]


@pytest.mark.parametrize("name", [*NAMES, *TEMPORARY])
def test_a_link_is_not_written_through(nursery: Nursery, run: Path, folder: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (run / name).rename(elsewhere) if (run / name).exists() else elsewhere.write_text("precious")
    content = elsewhere.read_bytes()
    (run / name).symlink_to(elsewhere)
    for words in ((), ("fresh=true",)):
        refused(
            nursery.run(folder, *SMALL, *words),
            f"outputs/mine/{name}: is a link, where a run writes. Replace it ",
        )
    assert elsewhere.read_bytes() == content
    assert (run / name).is_symlink()


def test_a_folder_of_checkpoints_that_is_a_link_is_not_written_through(
    nursery: Nursery, run: Path, folder: Path, tmp_path: Path
) -> None:
    elsewhere = (run / "ckpt").rename(tmp_path / "elsewhere")
    (elsewhere / ".1.tmp").write_text("precious")
    (run / "ckpt").symlink_to(elsewhere)
    before = sorted((path.name, path.read_bytes()) for path in elsewhere.iterdir())
    refused(nursery.run(folder, *SMALL), "outputs/mine/ckpt: is a link, where a run writes. ")
    assert sorted((path.name, path.read_bytes()) for path in elsewhere.iterdir()) == before


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a directory"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json", "config.yaml", "ckpt/best"])
def test_what_is_no_file_is_not_waited_for(
    nursery: Nursery, run: Path, folder: Path, name: str, make: Callable[[Path], None]
) -> None:
    (run / name).unlink(missing_ok=True)
    make(run / name)
    life = nursery.start(folder, *SMALL)
    refused(life.end(seconds=20), f"outputs/mine/{name}: is not a plain file, where a run writes. ")


def test_a_directory_that_is_linked_to_from_outputs_is_not_entered(
    nursery: Nursery, run: Path, folder: Path, tmp_path: Path
) -> None:
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    refused(nursery.run(folder, *SMALL), "outputs/mine: leads outside the output directory. ")


# ---- records that are none ----

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CONFIGS = {
    "nested deeply": "a: " + "[" * 5000,
    "a bomb": BOMB,
    "itself": "a: &a [*a]\n",
    "not text": b"\xff\xfe\x00",
    "too large": "# " + "x" * (1 << 20),
    "a list": "- a\n",
    "code": "seed: !!python/object/apply:os.system ['touch pwned']\n",
    "a target": "model: {name: linear, _target_: os.system}\n",
    "control characters": 'name: "\\e]0;pwned\\a"\n',
}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS)
def test_a_config_that_is_none_is_refused(
    nursery: Nursery, run: Path, folder: Path, wanted: dict[str, Any], content: str | bytes
) -> None:
    whole = (run / "config.yaml").read_bytes()
    (run / "config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    end = nursery.run(folder, "outputs/mine", command="test")
    refused(end, "outputs/mine/config.yaml: ")
    assert end.err[:-1].isprintable()
    meta = (run / "meta.json").rename(folder / "meta.json")  # without it nobody can say which config it was
    refused(nursery.run(folder, *SMALL), "outputs/mine/config.yaml: ")
    meta.rename(run / "meta.json")
    refused(nursery.run(folder, *SMALL, "seed=1"), "outputs/mine/config.yaml: ")
    end = nursery.run(folder, *SMALL)
    assert (end.code, end.err) == (0, "")
    assert "warning: outputs/mine/config.yaml was damaged. It is written again.\n" in end.out
    assert (run / "config.yaml").read_bytes() == whole
    assert not (folder / "pwned").exists()
    assert differences(run, wanted) == []


def test_the_bombs_are_ones() -> None:
    assert len(BOMB) < 1000  # of 9 to the 9th values
    assert BOMB.count("\n") == 9


FINISHED = {
    "status": "finished",
    "test": {"accuracy": 1, "loss": 0.5},
    "validation": None,
    "ended_by": "epochs",
    "samples": 1,
    "steps": 1,
    "passes": 1,
    "seconds": 1,
    "peak_memory": 1,
}
NOT_RESULTS = {
    "nested deeply": "[" * 100_000,
    "nested objects": '{"a":' * 100_000,
    "a number of 5000 digits": '{"status":' + "9" * 5000 + "}",
    "a status that is a list": '{"status": ["finished"]}',
    "not text": b"\xff\xfe",
    "diverged nowhere": '{"status": "diverged", "diverged_at": "\\u001b]0;x", "tensor": "[red]x[/]"}',
    **{
        f"{key} {value!r}": json.dumps({**FINISHED, key: value})
        for key, value in [
            ("test", "x"), ("test", {"accuracy": "1"}), ("test", {"mse": 1}), ("validation", 3),
            ("samples", "\x1b]0;x"),
            ("steps", None), ("passes", {}), ("seconds", "a"), ("peak_memory", []), ("ended_by", ["[red]x[/]"]),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("content", NOT_RESULTS.values(), ids=NOT_RESULTS)
def test_a_result_that_is_none_is_not_believed(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(FINISHED))
    assert read_result(path) == FINISHED
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_result(path) is None


def test_the_run_is_made_all_the_same(nursery: Nursery, run: Path, folder: Path, wanted: dict[str, Any]) -> None:
    (run / "result.json").write_text("[" * 100_000)
    assert nursery.run(folder, *SMALL).code == 0
    assert differences(only_run(folder), wanted) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"segments": ["x"]},
        {"segments": {"a": 1}},
        {"segments": [{}]},
        {"segments": [{"threads": "\x1b]0;x"}]},
        {"segments": [{"threads": -4}]},
        {"segments": [{"threads": 10**9}]},
        {"data": {"digest": [1]}},
        {"data": {"digest": "", "shape": [-1], "outputs": 1}},
        {"data": {"digest": "", "shape": [10**9] * 9, "outputs": 1}},
        {"identity": 7},
    ],
    ids=str,
)
def test_a_record_that_is_none_is_refused(nursery: Nursery, run: Path, folder: Path, changes: dict[str, Any]) -> None:
    meta = read_meta(run / "meta.json")
    assert meta is not None
    (run / "meta.json").write_text(json.dumps({**meta, **changes}))
    refused(nursery.run(folder, *SMALL), "outputs/mine/meta.json: is missing or damaged. ")
    refused(nursery.run(folder, "outputs/mine", command="test"), "outputs/mine/meta.json: is missing or damaged. ")


# ---- checkpoints that are none ----


class Payload:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def torch_file(value: Any, **options: Any) -> bytes:
    memory = io.BytesIO()
    torch.save(value, memory, **options)
    return memory.getvalue()


def repacked(content: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A torch file with every part of its archive changed."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(memory, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return memory.getvalue()


def larger_storage(name: str, content: bytes) -> bytes:
    """The description of a tensor of 10 values with storage of 2 billion."""
    return content.replace(b"K\x0a", b"J\xff\xff\xff\x7f") if name.endswith("data.pkl") else content


def nested_lists(name: str, content: bytes) -> bytes:
    """A list in a list in a list, 100,000 deep."""
    depth = 100_000
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"." if name.endswith("data.pkl") else content


GOOD = {"run": "x", "model": {"weight": torch.zeros(10)}}
EVIL: dict[str, Callable[[], bytes]] = {
    "code": lambda: torch_file({**GOOD, "evil": Payload()}),
    "code alone": lambda: pickle.dumps(Payload()),
    "code in the old format": lambda: torch_file({**GOOD, "evil": Payload()}, _use_new_zipfile_serialization=False),
    "the old format": lambda: torch_file(GOOD, _use_new_zipfile_serialization=False),
    "a module": lambda: torch_file({**GOOD, "evil": torch.nn.Linear(1, 1)}),
    "a storage of two billion": lambda: repacked(torch_file(GOOD), larger_storage),
    "compressed": lambda: repacked(torch_file(GOOD), lambda name, content: content, zipfile.ZIP_DEFLATED),
    "a list": lambda: torch_file([1]),
    "nested deeply": lambda: repacked(torch_file(GOOD), nested_lists),
    "no archive": lambda: b"something else",
    "an empty archive": lambda: b"PK\x05\x06" + bytes(18),
}


def write_checkpoint(path: Path, content: bytes) -> None:
    """With the digest that makes it a whole one."""
    path.write_bytes(hashlib.sha256(content).digest() + content)


@pytest.mark.parametrize("make", EVIL.values(), ids=EVIL)
def test_a_checkpoint_that_is_none_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[], bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "1", torch_file(GOOD))
    assert checkpoint.read(tmp_path / "1", "x")["model"]["weight"].shape == (10,)
    write_checkpoint(tmp_path / "1", make())
    with pytest.raises(checkpoint.Damaged, match="not a checkpoint"):
        checkpoint.read(tmp_path / "1", "x")
    assert not (tmp_path / "pwned").exists()
    torch.load(io.BytesIO(torch_file({"evil": Payload()})), weights_only=False)
    assert (tmp_path / "pwned").exists(), "the payload would have run"


def test_the_run_goes_on_from_the_one_before(nursery: Nursery, run: Path, folder: Path, wanted: dict[str, Any]) -> None:
    newest = run / "ckpt" / str(checkpoint.marks(run / "ckpt")[0])
    write_checkpoint(newest, torch_file({**checkpoint.read(newest, None), "evil": Payload()}))
    end = nursery.run(folder, *SMALL)
    assert (end.code, end.err) == (0, "")
    line = f"ckpt/{newest.name} is damaged (not a checkpoint: it names posix.system). Resuming from step "
    assert line in end.out
    assert not (folder / "pwned").exists()
    assert differences(only_run(folder), wanted) == []


@pytest.mark.parametrize("name", ["007", "٣", "9" * 200, "-1", "1+", "1+0", "0x5", "3.tmp"])
def test_a_name_that_no_checkpoint_has_is_not_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "5+2").touch()
    assert checkpoint.marks(tmp_path) == [checkpoint.Mark(5, 2)]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["learner"].pop("optimizer"),
        lambda state: state["learner"]["methods"].update(unheard_of={}),
        lambda state: state["learner"]["model"].popitem(),
        lambda state: state["learner"]["window"].update(reduce=5),
        lambda state: state["position"].update(unheard_of=1),
        lambda state: state.pop("log_digest"),
    ],
    ids=["no optimizer", "one method more", "a weight less", "a state of another name", "a position", "no digest"],
)
def test_a_state_of_another_version_is_refused_and_kept(
    nursery: Nursery, run: Path, folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    newest = run / "ckpt" / str(checkpoint.marks(run / "ckpt")[0])
    state = checkpoint.read(newest, None)
    change(state)
    write_checkpoint(newest, torch_file(state))
    content = newest.read_bytes()
    refused(nursery.run(folder, *SMALL), f"outputs/mine/ckpt/{newest.name}: does not fit this version of gradinc (")
    assert newest.read_bytes() == content
    assert nursery.run(folder, *SMALL, "fresh=true").code == 0


# ---- the log ----


def test_a_log_that_was_changed_is_not_gone_on_with(nursery: Nursery, folder: Path) -> None:
    assert nursery.run(folder, *SMALL, crash="pruned:12").code == -signal.SIGKILL
    metrics = only_run(folder) / "metrics.jsonl"
    content = metrics.read_bytes()
    metrics.write_bytes(content.replace(b"1", b"2", 1))
    refused(nursery.run(folder, *SMALL), "outputs/mine/metrics.jsonl: was changed since the last checkpoint. Restore ")
    metrics.write_bytes(content + b"more\xff\n" * 100)
    assert nursery.run(folder, *SMALL).code == 0
    assert metrics.read_bytes().startswith(content)
    assert b"more" not in metrics.read_bytes()


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl", "timing.jsonl", "owner.json", "meta.json"])
def test_a_file_that_has_become_huge_does_not_fill_the_memory(
    nursery: Nursery, run: Path, folder: Path, wanted: dict[str, Any], name: str
) -> None:
    content = (run / name).read_bytes() if (run / name).exists() else b""
    with open(run / name, "ab") as file:
        file.truncate(4 << 30)  # without taking room on the disk
    for command in ("runs", "verify", "test"):
        words = () if command == "runs" else ("outputs/mine",)
        end = nursery.run(folder, *words, command=command, memory=1 << 30)
        assert end.code in (0, 2) or command == "verify", end.err
        assert end.err.count("\n") <= 1, end.err
    if name == "meta.json":
        refused(nursery.run(folder, *SMALL, memory=1 << 30), "outputs/mine/meta.json: is missing or damaged. ")
        (run / name).write_bytes(content)
    end = nursery.run(folder, *SMALL, memory=1 << 30)
    assert (end.code, end.err) == (0, "")
    assert differences(run, wanted) == []


# ---- the terminal ----


def test_what_a_run_says_of_itself_drives_no_terminal(nursery: Nursery, run: Path, folder: Path) -> None:
    text = "\x1b]0;pwned\x07[red]x[/]\x9b2J\u202e"
    (run / "result.json").write_text(json.dumps({"status": "diverged", "diverged_at": 3, "tensor": text}))
    end = nursery.run(folder, *SMALL)
    assert end.code == 1
    assert "[red]x[/]" in end.out
    assert all(letter.isprintable() or letter == "\n" for letter in end.out)
    (run / "owner.json").write_text(json.dumps({"pid": "\x1b", "since": 7}))
    assert nursery.run(folder, *SMALL, "fresh=true").code == 0
