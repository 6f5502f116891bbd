"""P16: whatever bytes stand where a checkpoint, a record, a config or an argument should, the answer is one line."""

from __future__ import annotations

import hashlib
import io
import json
import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gradinc.base.errors import UserError
from gradinc.base.text import one_line
from gradinc.config.check import value
from gradinc.config.compose import load_config
from gradinc.config.overrides import Assignment, parse
from gradinc.config.schema import Config, RunName
from gradinc.records.directory import read_config
from gradinc.records.schemas import read_meta, read_result
from gradinc.runs import checkpoint

QUICKLY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def whole() -> bytes:
    memory = io.BytesIO()
    torch.save({"run": "x", "model": {"weight": torch.arange(6.0)}, "list": [1, "two", None]}, memory)
    return memory.getvalue()


WHOLE = whole()
DAMAGE = st.tuples(st.integers(0, len(WHOLE)), st.binary(max_size=8), st.integers(0, 8))


def damaged(content: bytes, place: int, written: bytes, removed: int) -> bytes:
    """The content with some bytes taken out at a place, and others written there."""
    return content[:place] + written + content[place + removed :]


def answered(call: Callable[[], Any], kind: type) -> str:
    """The line that a call refuses with; empty if it gives something of that kind. Anything else is an error."""
    try:
        given = call()
    except UserError as error:
        return one_line(error)
    assert isinstance(given, kind)
    return ""


def read_or_damaged(path: Path) -> None:
    with suppress(checkpoint.Damaged):
        assert checkpoint.read(path, "x")["run"] == "x"


@QUICKLY
@given(st.lists(DAMAGE, min_size=1, max_size=3))
@example([(0, b"", 0)])
def test_a_checkpoint_with_other_bytes_and_a_digest_to_match(tmp_path: Path, damages: list[Any]) -> None:
    content = WHOLE
    for damage in damages:
        content = damaged(content, *damage)
    (tmp_path / "1").write_bytes(hashlib.sha256(content).digest() + content)
    read_or_damaged(tmp_path / "1")


@QUICKLY
@given(st.binary(max_size=200))
@example(b"")
@example(bytes(32))
def test_bytes_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1").write_bytes(content)
    with pytest.raises(checkpoint.Damaged):
        checkpoint.read(tmp_path / "1", "x")
    (tmp_path / "1").write_bytes(hashlib.sha256(content).digest() + content)
    with pytest.raises(checkpoint.Damaged):
        checkpoint.read(tmp_path / "1", "x")


@QUICKLY
@given(DAMAGE.filter(lambda damage: damaged(WHOLE, *damage) != WHOLE))
def test_any_change_of_a_checkpoint_is_found(tmp_path: Path, damage: tuple[int, bytes, int]) -> None:
    content = hashlib.sha256(WHOLE).digest() + WHOLE
    (tmp_path / "1").write_bytes(content)
    assert checkpoint.read(tmp_path / "1", "x")["list"] == [1, "two", None]
    (tmp_path / "1").write_bytes(damaged(content, *damage))
    if (tmp_path / "1").read_bytes() != content:
        with pytest.raises(checkpoint.Damaged, match=r"^(checksum|cut short)$"):
            checkpoint.read(tmp_path / "1", "x")


FIRST = set(string.ascii_letters + string.digits)
NAMES = st.text(max_size=120) | st.text(st.sampled_from(sorted(FIRST) + list("._=,+-/\\ \n\x00é")), max_size=110)


@settings(QUICKLY, max_examples=400)
@given(NAMES)
@example("a\n")
@example("..")
@example("a" * 100)
@example("a" * 101)
@example("a/../../b")
def test_a_run_name_is_one_folder_under_the_output(tmp_path: Path, name: str) -> None:
    right = 1 <= len(name) <= 100 and name[0] in FIRST and set(name) <= FIRST | set("._=,+-")
    if right:
        assert value(RunName, name, "name") == name
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        return
    with pytest.raises(UserError) as refusal:
        value(RunName, name, "name")
    assert one_line(refusal.value).isprintable()


ARGUMENTS = (
    st.text(max_size=40)
    | st.builds("{}={}".format, st.sampled_from(["seed", "name", "model", "data.root", "strategy", "~seed"]), st.text())
    | st.text(st.sampled_from("[]{}()'\"\\,:=~+@${}._ \n\tax1"), max_size=30).map("seed={}".format)
)


@settings(QUICKLY, max_examples=400)
@given(ARGUMENTS)
@example("seed=" + "[" * 3000)
@example("seed=" + "{a:" * 3000)
@example("seed=" + "[" * 900 + "]" * 900)
@example("seed=range(0,100000000000)")
@example("seed=shuffle(range(0,100000000000))")
@example("seed=range(0,1,1e-300)")
@example("seed=range(0,10,0)")
@example("seed=range(0,1e308)")
@example("seed=1e400")
@example("seed=" + "9" * 5000)
@example("seed=${oc.env:HOME}")
@example("seed=${" * 500)
def test_an_argument_is_read_or_refused_in_a_line(text: str) -> None:
    assert answered(lambda: parse(text), Assignment).isprintable()


WRITTEN = yaml.safe_dump(load_config(["model=linear"]).document, sort_keys=False).encode()


@settings(QUICKLY, max_examples=60)
@given(st.integers(0, len(WRITTEN)), st.binary(max_size=12) | st.text(max_size=6).map(str.encode), st.integers(0, 30))
@example(0, b"", 0)
@example(0, b"a: " + b"[" * 2000, 0)
@example(0, b"? " * 2000, 0)
@example(0, b"- " * 2000, 0)
@example(0, b"{" * 2000, 0)
def test_a_config_with_other_bytes_is_read_or_refused_in_a_line(
    tmp_path: Path, place: int, written: bytes, removed: int
) -> None:
    (tmp_path / "config.yaml").write_bytes(damaged(WRITTEN, place, written, removed))
    line = answered(lambda: read_config(tmp_path), Config)
    assert line.isprintable()
    assert line == "" or str(tmp_path) in line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["status", "test", "validation", "samples", "seconds", "data", "segments", "identity", "code", "diverged_at"]


@QUICKLY
@given(st.binary(max_size=60) | st.dictionaries(st.sampled_from(KEYS), JSON).map(lambda d: json.dumps(d).encode()))
@example(b"[" * 100_000)
@example(b'{"status": NaN}')
@example(b'{"status": "finished"}')
def test_a_record_is_one_or_none(tmp_path: Path, content: bytes) -> None:
    for name, read in (("result.json", read_result), ("meta.json", read_meta)):
        (tmp_path / name).write_bytes(content)
        found = read(tmp_path / name)
        assert found is None or isinstance(found, dict)
