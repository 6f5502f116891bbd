"""``gradinc runs``, ``compare`` and ``diff`` say what is in the run directories, and survive what is wrong there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from written_runs import write_run

ONE_RUN = "gradinc compare: needs two runs or more, and a is 1. Give others; gradinc runs lists them."


def listed(outcome: Any) -> list[str]:
    assert (outcome.code, outcome.err) == (0, "")
    return [run["run"] for run in json.loads(outcome.out)]


def test_conditions_choose_by_config_and_by_result(gradinc: Any, written: Any) -> None:
    written("cnn-a", sealed=True, model__name="cnn", test=0.8)
    written("cnn-b", sealed=True, model__name="cnn", test=0.9, optimizer__lr=0.01)
    written("mlp-c", status="unfinished")
    assert set(listed(gradinc("runs", "--json"))) == {"cnn-a", "cnn-b", "mlp-c"}
    assert set(listed(gradinc("runs", "--json", "model=cnn"))) == {"cnn-a", "cnn-b"}
    assert listed(gradinc("runs", "--json", "model.name!=cnn")) == ["mlp-c"]
    assert listed(gradinc("runs", "--json", "optimizer.lr<0.1")) == ["cnn-b"]
    assert set(listed(gradinc("runs", "--json", "optimizer.lr=0.10,0.01", "model.name=cnn"))) == {"cnn-a", "cnn-b"}
    assert listed(gradinc("runs", "--json", "status=unfinished")) == ["mlp-c"]
    assert listed(gradinc("runs", "--json", "test>=0.85")) == ["cnn-b"]  # and a run without a score is not chosen
    nothing = gradinc("runs", "model.name=vit")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "none of 3 runs meets this\n")


def test_sorting_goes_by_size_and_puts_runs_without_the_value_last(gradinc: Any, written: Any) -> None:
    for name, rate in {"a": 10.0, "b": 9.0, "c": 0.5}.items():
        written(name, optimizer__lr=rate, sealed=True, test=0.5 + rate / 100)
    written("d", status="unfinished")
    assert listed(gradinc("runs", "--json", "--sort", "test")) == ["c", "b", "a", "d"]
    assert listed(gradinc("runs", "--json", "--sort", "test", "--reverse")) == ["a", "b", "c", "d"]
    assert listed(gradinc("runs", "--json", "--sort", "optimizer.lr"))[-1] == "a"  # 10 after 9, not before


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"status": 3}', '{"status": "finished", "test": "good"}'])
def test_a_damaged_result_is_listed_as_damaged(gradinc: Any, written: Any, content: str) -> None:
    (written("broken") / "result.json").write_text(content)
    written("whole")
    runs = {run["run"]: run["status"] for run in json.loads(gradinc("runs", "--json").out)}
    assert runs == {"broken": "damaged", "whole": "finished"}
    assert "damaged" in gradinc("compare", "broken", "whole").out


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.yaml", b"\xff\xfe"),
        ("config.yaml", b"[1, 2"),
        ("config.yaml", b"1: 2"),
        ("config.yaml", b"seed: 2026-01-01\nmodel: {2: 3, name: !!binary aGk=}\n"),
        ("config.yaml", b"model: 3\nstrategy: [a]\n"),
        ("config.yaml", b"a: &a [x, x]\nb: &b [*a, *a]\n" + b"c: " + b"[" * 5000),
        ("config.yaml", b"a: " + b"{a: " * 60 + b"1" + b"}" * 60),
        ("config.yaml", b"a: &a {b: *a}\n"),
        ("config.yaml", b"[" * 100_000),  # deep enough to end a process that reads it with libyaml
        ("config.yaml", b"- " * 500_000),
        ("config.yaml", ("[" * 100_000).encode("utf-16")),
        ("config.yaml", b"[" * 100_000 + b"\xff"),
        ("meta.json", b'{"data": ' + b'{"a": ' * 700 + b"1" + b"}" * 701),
        ("metrics.jsonl", b'{"a": ' * 700 + b"1" + b"}" * 700),
        ("meta.json", b"[]"),
        ("meta.json", b'{"segments": 3, "data": []}'),
        ("metrics.jsonl", b'3\n{"step": "x"}\n'),
        ("metrics.jsonl", b"\xff\xff"),
        ("result.json", b'{"status": "finished", "test": {"accuracy": "\\u001b[31m"}, "seconds": 1e999}'),
        ("result.json", b'{"status": "\\u001b]0;x", "samples": [], "steps": {}}'),
    ],
)
def test_no_file_in_a_run_can_stop_a_command_or_drive_the_terminal(
    gradinc: Any, written: Any, file: str, content: bytes
) -> None:
    (written("odd") / file).write_bytes(content)
    written("even")
    for arguments in (["runs"], ["runs", "--json"], ["compare", "odd", "even"], ["diff", "odd", "even"]):
        outcome = gradinc(*arguments)
        assert outcome.code == 0
        assert all(line.startswith("warning: ") for line in outcome.err.splitlines())
        assert "\x1b" not in outcome.out + outcome.err


def test_compare_shows_only_the_keys_that_differ(gradinc: Any, written: Any) -> None:
    written("a", seed=1)
    written("b", model={"name": "cnn", "kernel": 3}, threads=4)
    document = json.loads(gradinc("compare", "a", "b", "--json").out)
    # model.width and model.kernel follow from model.name
    assert [run["differing"] for run in document] == [
        {"seed": "1", "threads": "auto", "model.name": "mlp"},
        {"seed": "0", "threads": "4", "model.name": "cnn"},
    ]
    assert "optimizer.lr" not in gradinc("compare", "a", "b").out


def test_runs_are_found_by_path_pattern_beginning_and_end(gradinc: Any, written: Any) -> None:
    written("digits-mlp-s0-0123abcd", sealed=True)
    written("digits-mlp-s1-89abcdef", sealed=True)
    each = ["0123", "outputs/digits-mlp-s1-89abcdef"]
    for arguments in (["digits"], ["outputs"], ["outputs/digits-*"], ["*s?-*"], each):
        assert len(listed(gradinc("compare", *arguments, "--json"))) == 2
    assert gradinc("compare", "0123", "0123abcd").code == 2  # the same run twice is one


def test_diff_finds_the_first_step_at_which_the_records_part(gradinc: Any, written: Any) -> None:
    first, second = written("a"), written("b")
    lines = [f'{{"step": {n}, "train": {{"loss": {n}.5}}}}\n' for n in range(1, 9)]
    for path in (first, second):
        (path / "metrics.jsonl").write_text("".join(lines))
    same = json.loads(gradinc("diff", "a", "b", "--json").out)
    assert same["metrics"] == {"lines": [8, 8], "first_difference": None}
    assert same["same"]

    log = second / "metrics.jsonl"
    log.write_text(log.read_text().replace('{"loss": 6.5}', '{"loss": 6.500001}'))
    parting = json.loads(gradinc("diff", "a", "b", "--json").out)["metrics"]["first_difference"]
    assert parting == {"line": 6, "step": 6, "key": "train.loss", "first": "6.5", "second": "6.500001", "before": 5}
    assert "the same up to step 5; line 6, step 6" in gradinc("diff", "a", "b").out

    log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    parting = json.loads(gradinc("diff", "a", "b", "--json").out)["metrics"]["first_difference"]
    assert (parting["line"], parting["first"], parting["second"]) == (4, "goes on", "ends")


def test_diff_tells_config_code_environment_and_data_apart(gradinc: Any, written: Any) -> None:
    written("a")
    other = written("b", optimizer__lr=0.2)
    meta = json.loads((other / "meta.json").read_text())
    meta["code"], meta["data"]["digest"] = "beef", "f00d"
    meta["segments"].append({**meta["segments"][0], "threads": 4})
    (other / "meta.json").write_text(json.dumps(meta))
    document = json.loads(gradinc("diff", "a", "b", "--json").out)
    assert [each["key"] for each in document["config"]] == ["optimizer.lr"]
    assert [each["key"] for each in document["code"]] == ["code"]
    assert [each["key"] for each in document["data"]] == ["digest"]
    assert document["environment"] == [{"key": "threads", "first": "1", "second": "1 → 4"}]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["runs", "--output", "nowhere"], "nowhere: no such directory. Train something first, or give --output DIR."),
        (["runs", "modl=cnn"], "modl: no run has this key. Did you mean model?"),
        (["runs", "cnn"], "cnn: is not a condition. Write key=value, as in model.name=cnn or 'optimizer.lr<0.1'."),
        (["runs", "optimizer.lr<x"], "optimizer.lr<x: x is not a number. Write 'optimizer.lr<0.1'."),
        (["runs", "--sort", "tset"], "tset: no run has this key. Did you mean test?"),
        (["compare", "a"], ONE_RUN),
        (["compare", "a", "zz"], "zz: no such run. Choose from: a, ab."),
        (["diff", "a", ""], '"": no such run. Choose from: a, ab.'),
        (["diff", "a*", "a"], "a*: names 2 runs, a and ab among them. Give one of them."),
        (["diff", "a", "x" * 5000], "x" * 500 + " … " + "x" * 466 + ": no such run. Choose from: a, ab."),
    ],
)
def test_bad_input_is_one_line(gradinc: Any, written: Any, arguments: list[str], line: str) -> None:
    written("a")
    written("ab")
    outcome = gradinc(*arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", line + "\n")


def test_runs_of_named_sweeps_are_found_at_the_output_directory(gradinc: Any, written: Any, empty: Path) -> None:
    """Each run once, also if it was trained in two sweeps; a folder that is no sweep's is not searched."""
    from gradinc.records.schemas import SWEEP_FILE

    written("alone-s0-00000000", sealed=True, test=0.8)
    for folder, name in (("one", "a-s0-11111111"), ("one", "b-s0-22222222"), ("two", "a-s0-11111111")):
        write_run(empty / "outputs" / folder, name, sealed=True, test=0.9)
        (empty / "outputs" / folder / SWEEP_FILE).write_text("{}")
    write_run(empty / "outputs" / "kept", "c-s0-33333333", sealed=True, test=0.7)
    assert sorted(listed(gradinc("runs", "--json"))) == ["a-s0-11111111", "alone-s0-00000000", "b-s0-22222222"]
    assert listed(gradinc("runs", "--json", "--output", "outputs/kept")) == ["c-s0-33333333"]
    compared = gradinc("compare", "outputs", "--by", "run", "--json").out
    assert len(json.loads(compared)) == 3
