"""A run is recorded as the protocol that it really follows, and keys that contradict each other are refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from learners import config, digits, stream
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.config.protocol import CHOICES, recorded_protocol
from gradinc.config.validation import validate
from gradinc.data.batch import Batch
from gradinc.data.stream import Stream, open_stream
from gradinc.records.recorded import RecordedRun

KEYS = ("scenario", "stream.heads", "stream.train_logits", "stream.test_logits")

REFUSED = {
    "scenario=class stream.heads=multi": "Use scenario=task, or leave stream.heads out",
    "scenario=class stream.heads=masked": "Use scenario=task, or leave stream.heads out",
    "scenario=class stream.test_logits=task": "Use scenario=task with stream.heads=single",
    "scenario=task stream.heads=single": "Use scenario=class, or stream.test_logits=task",
    "scenario=task stream.test_logits=seen": "Use scenario=class, or stream.test_logits=task",
    "scenario=task stream.heads=masked stream.test_logits=all": "Use scenario=class, or stream.test_logits=task",
    "scenario=task stream.train_logits=all": "Use stream.heads=masked, or stream.train_logits=task",
    "scenario=domain stream.heads=masked": "Use scenario=task",
    "scenario=domain stream.train_logits=seen": "leave stream.train_logits out",
    "scenario=domain stream.test_logits=task": "leave stream.test_logits out",
}

VARIANTS = {
    "": "class-incremental",
    "scenario=class": "class-incremental",
    "scenario=class stream.train_logits=all stream.test_logits=all": "class-incremental",
    "scenario=class stream.train_logits=task": "class-incremental (train_logits=task)",  # masked training
    "scenario=class stream.train_logits=seen": "class-incremental (train_logits=seen)",  # hsu_split
    "scenario=class stream.test_logits=seen": "class-incremental (test_logits=seen)",
    "scenario=task": "task-incremental (heads=multi)",
    "stream.heads=multi": "task-incremental (heads=multi)",
    "scenario=task stream.heads=masked": "task-incremental (heads=masked)",
    # Buzzega et al. 2020: all logits in training, the others masked in testing only.
    "scenario=task stream.heads=single stream.test_logits=task": "task-incremental (heads=single, train_logits=all)",
    "stream.test_logits=task": "task-incremental (heads=single, train_logits=all)",
    "scenario=domain": "domain-incremental",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_contradiction_is_refused_with_the_way_out_before_any_data_are_read(words: str) -> None:
    with pytest.raises(UserError, match=REFUSED[words]):
        load_config(["stream=split", *words.split()])


@pytest.mark.parametrize("words", VARIANTS)
def test_a_variant_has_a_name_of_its_own(words: str) -> None:
    assert str(stream("stream=split", *words.split()).protocol) == VARIANTS[words]


@pytest.mark.parametrize("key", KEYS)
def test_a_stream_of_one_task_has_no_protocol(key: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}=\w+: stream=iid has one task only"):
        load_config([f"{key}={CHOICES[key.rpartition('.')[2]][0]}"])
    assert stream("stream=iid").protocol is None


@pytest.mark.parametrize("kind", ["split", "permuted"])
def test_every_combination_is_refused_or_recorded_as_what_its_outputs_do(kind: str) -> None:
    accepted, document = 0, config(f"stream={kind}", "stream.tasks=5").document
    choices = [(None, *CHOICES[key.rpartition(".")[2]]) for key in KEYS]
    for values in itertools.product(*choices):
        words = dict(zip(KEYS, values, strict=True))
        section = {**document["stream"], **{key.rpartition(".")[2]: words[key] for key in KEYS[1:]}}
        try:
            chosen = validate({**document, "scenario": values[0], "stream": section})
            tasks = open_stream(chosen, digits())
        except UserError:
            continue
        accepted += 1
        assert tasks.protocol is not None
        assert tasks.protocol.scenario == (values[0] or observed(tasks)) == observed(tasks), words
        for name, seen in (("train_logits", in_training(tasks)), ("test_logits", in_testing(tasks))):
            assert seen == getattr(tasks.protocol, name), (words, name)
            assert words[f"stream.{name}"] in (None, seen), words
    # By hand, class + task + domain, and without scenario those of class or domain with the variants of task.
    assert accepted == {"split": 24 + 20 + 8 + 44, "permuted": 24 + 20 + 8 + 8}[kind]


def observed(tasks: Stream) -> str:
    """The scenario, by what the outputs do: shared, masked by a test row's task, or neither."""
    assert tasks.labels is not None
    if len(set(tasks.labels.of_task)) < tasks.tested:
        return "domain"
    return "task" if in_testing(tasks) == "task" else "class"


def in_testing(tasks: Stream) -> str:
    """The outputs that count for a row of task 1 after the training on task 2."""
    out = torch.zeros(1, tasks.setting.outputs)
    return counting(tasks, out if tasks.outputs is None else tasks.outputs.tested(out, 1, 2))


def in_training(tasks: Stream) -> str:
    """The outputs that count for a replayed row of task 1 in the training on task 2."""
    out = torch.zeros(1, tasks.setting.outputs)
    batch = Batch(out, torch.zeros(1, dtype=torch.int64), 2, 1.0, tasks=torch.tensor([1]))
    return counting(tasks, out if tasks.outputs is None else tasks.outputs.trained(batch, out))


def counting(tasks: Stream, logits: Tensor) -> str:
    assert tasks.labels is not None
    own = tasks.labels.of_task
    counts = set(logits[0].isfinite().nonzero().flatten().tolist())
    if counts == set(range(tasks.setting.outputs)):
        return "all"
    return {frozenset(own[1]): "task", frozenset(own[0] + own[1] + own[2]): "seen"}[frozenset(counts)]


def test_masks_tell_tasks_with_the_same_classes_apart() -> None:
    masked = stream("stream=permuted", "stream.tasks=3", "scenario=task", "stream.heads=masked")
    assert masked.outputs is not None
    assert masked.setting.outputs == 30
    assert [int(row.isfinite().sum()) for row in masked.outputs.of_task] == [10, 10, 10]


@pytest.mark.parametrize(
    ("words", "said"),
    [("scenario=class stream.train_logits=task", "class"), ("stream.heads=multi", "task")],
)
def test_the_record_and_the_first_line_say_which_protocol_was_run(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("stream=split", "stream.samples_per_task=40", "model=mlp", "budget.epochs=1", "device=cpu", "threads=1")
    assert main(["train", *small, *words.split(), f"output={tmp_path}", "name=run"]) == 0
    name = VARIANTS[words]
    assert name.startswith(said)
    assert name in capsys.readouterr().out.splitlines()[0]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())
    assert result["protocol"] == meta["data"]["protocol"]
    assert str(recorded_protocol(result["protocol"])) == RecordedRun.open(tmp_path / "run").protocol == name
    assert main(["runs", "--output", str(tmp_path)]) == 0
    assert name in capsys.readouterr().out
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html")]) == 0
    assert name in (tmp_path / "page.html").read_text()
    assert name in (tmp_path / "page.md").read_text().replace("\\", "")


def test_a_damaged_protocol_is_none() -> None:
    assert recorded_protocol({"scenario": "class", "heads": "single", "train_logits": "all", "test_logits": 3}) is None
    assert recorded_protocol("class") is None
