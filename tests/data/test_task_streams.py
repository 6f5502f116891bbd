"""Tasks hold the rows that they should, changed as they should be, under the labels that they should have."""

from __future__ import annotations

import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import config, digits, stream
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.dataset import load_dataset
from gradinc.data.joined_rows import JoinedRows
from gradinc.data.rows import Change, Rows, TensorRows
from gradinc.data.stream import open_stream
from gradinc.data.streams.permuted import permutation
from gradinc.data.streams.rotated import rotation
from gradinc.data.torchvision_import import import_torchvision


def inputs(rows: Rows) -> Tensor:
    """Return the inputs of all rows."""
    return next(rows.chunks(len(rows)))[0]


# ---- split ----


def test_split_tasks_have_disjoint_classes_and_all_rows_once() -> None:
    tasks = stream("stream=split")
    assert [task.classes for task in tasks] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    whole = digits()
    for part in ("train", "validation", "test"):
        rows = [getattr(tasks[index], part) for index in range(5)]
        assert sum(len(each) for each in rows) == len(getattr(whole, part))
        for index, each in enumerate(rows):
            assert set(each.y.tolist()) == {2 * index, 2 * index + 1}
    x = torch.cat([inputs(tasks[index].train) for index in range(5)])
    assert sorted(map(tuple, x.flatten(1).tolist())) == sorted(map(tuple, whole.train.x.flatten(1).tolist()))


def test_classes_that_cannot_be_dealt_out_evenly_and_one_class_for_each_task() -> None:
    assert [len(task.classes or ()) for task in stream("stream=split", "stream.tasks=3")] == [4, 3, 3]
    assert [task.classes for task in stream("stream=split", "stream.tasks=10")] == [(label,) for label in range(10)]


@pytest.mark.parametrize("name", ["split", "blurry"])
def test_tasks_of_different_sizes(name: str) -> None:
    """A larger first task, as in most published tables of class-incremental learning."""
    tasks = stream(f"stream={name}", "stream.tasks=[5,1,1,1,1,1]")
    assert [task.classes for task in tasks] == [tuple(range(5)), *((label,) for label in range(5, 10))]
    assert sum(tasks.lengths) == len(digits().train)
    given = stream(f"stream={name}", "stream.tasks=[1,9]", "stream.order=[9,8,7,6,5,4,3,2,1,0]")
    assert [task.classes for task in given] == [(9,), tuple(range(9))]
    with pytest.raises(UserError, match=r"stream\.tasks=\[5,4\]: adds up to 9 classes\. Use numbers that add up to 10"):
        stream(f"stream={name}", "stream.tasks=[5,4]")


def test_three_classes_in_two_tasks(tmp_path: Path) -> None:
    y = np.arange(60) % 3
    np.savez(tmp_path / "three.npz", x=np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32), y=y)
    chosen = config("data=npz", f"data.root={tmp_path}/three.npz", "stream=split", "stream.tasks=2")
    tasks = open_stream(chosen, load_dataset(chosen.data, "cpu", torch.float64))
    assert [task.classes for task in tasks] == [(0, 1), (2,)]


def test_the_order_of_classes_is_natural_given_or_drawn_from_the_seed() -> None:
    given = stream("stream=split", "stream.tasks=5", "stream.order=[9,8,7,6,5,4,3,2,1,0]")
    assert [task.classes for task in given] == [(8, 9), (6, 7), (4, 5), (2, 3), (0, 1)]
    drawn = [[t.classes for t in stream("stream=split", "stream.order=random", f"seed={seed}")] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(UserError, match=r"has to name each of the labels 0 to 9 once"):
        stream("stream=split", "stream.order=[0,1]")


# ---- permuted ----


def test_a_permuted_task_is_the_same_pixels_elsewhere() -> None:
    tasks = stream("stream=permuted", "stream.tasks=3", "stream.first_identity=true")
    plain, whole = inputs(tasks[0].train).flatten(1), digits().train.x.flatten(1)
    assert torch.equal(plain, whole)
    seen = [inputs(tasks[index].train).flatten(1) for index in (1, 2)]
    for x in seen:
        assert not torch.equal(x, whole)
        assert torch.equal(x.sort(dim=1).values, whole.sort(dim=1).values)
    assert not torch.equal(*seen)
    assert torch.equal(
        inputs(tasks[1].test).flatten(1).sort(dim=1).values, digits().test.x.flatten(1).sort(dim=1).values
    )


def test_all_rows_and_parts_of_a_task_have_one_permutation_and_channels_stay_together() -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    x = torch.arange(2 * 3 * 12).view(2, 3, 3, 4)
    moved = permutation(order)(x)
    for row in range(2):
        for channel in range(3):
            assert torch.equal(moved[row, channel].flatten(), x[row, channel].flatten()[order])


def test_streams_come_from_the_seed_or_from_their_own() -> None:
    def first(*words: str) -> Tensor:
        return inputs(stream("stream=permuted", "stream.tasks=2", *words)[0].train)

    assert torch.equal(first(), first())
    assert not torch.equal(first(), first("seed=1"))
    assert torch.equal(first("stream.seed=5"), first("stream.seed=5", "seed=1"))


# ---- rotated ----


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("angle", [0.0, 17.0, 90.0, 133.7, 180.0, -30.0])
@pytest.mark.parametrize("size", [8, 28, 9])
def test_a_rotation_is_torchvision_s(size: int, angle: float, interpolation: str) -> None:
    functional = import_torchvision("transforms.v2.functional")
    modes = import_torchvision("transforms").InterpolationMode
    x = torch.rand(3, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = functional.rotate(x, angle, interpolation=modes(interpolation))
    turned = rotation(angle, (1, size, size), torch.zeros(1), interpolation)(x)
    torch.testing.assert_close(turned, wanted, rtol=0, atol=1e-12)


def test_a_quarter_turn_is_exact_and_goes_counter_clockwise() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert torch.equal(rotation(90.0, (1, 4, 4), torch.zeros(1))(x), x.rot90(1, (2, 3)))


def test_what_comes_from_outside_is_black() -> None:
    x = torch.ones(1, 1, 8, 8)
    assert float(rotation(45.0, (1, 8, 8), torch.tensor([-0.5]))(x)[0, 0, 0, 0]) == -0.5


@pytest.mark.parametrize("law", ["bins", "uniform", "step", "jittered"])
def test_the_four_laws_of_angles(law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    angles: list[float] = []

    def note(angle: float, *rest: object) -> Change:
        angles.append(angle)
        return lambda x: x

    monkeypatch.setattr("gradinc.data.streams.rotated.rotation", note)
    own = ["stream.step=5.0"] if law in ("step", "jittered") else []
    tasks = stream("stream=rotated", "stream.tasks=20", f"stream.law={law}", *own)
    for task in range(20):
        inputs(tasks.part("test", task))
    if law == "bins":
        assert [math.floor(angle / 9) for angle in angles] == list(range(20))
    elif law == "step":
        assert angles == [5.0 * task for task in range(20)]
    elif law == "jittered":  # 5 (t - 1) minus a draw from 0 to 5, with t from 1
        below = [5.0 * task - angle for task, angle in enumerate(angles)]
        assert all(0 <= angle < 5 for angle in below)
        assert len(set(below)) == 20
    else:
        assert all(0 <= angle < 180 for angle in angles)
        assert angles != sorted(angles)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "stream=rotated stream.law=bins stream.step=5",
            "stream.step=5: has no effect without stream.law=step or jittered",
        ),
        ("stream=rotated stream.step=5", "stream.step=5: has no effect without stream.law=step or jittered"),
        ("stream=rotated stream.law=step stream.step=5", None),
        ("stream=rotated stream.law=jittered stream.step=5 stream.first_identity=true", None),
        ("stream=rotated stream.law=bins stream.step=10.0", None),
        (
            "stream=rotated stream.law=step stream.first_identity=true",
            "stream.first_identity=true: has no effect with stream.law=step, whose first task is not rotated",
        ),
        ("stream=rotated stream.law=bins stream.first_identity=true", None),
        ("stream=blurry stream.tasks=1 stream.overlap=0.3", "stream.overlap=0.3: has no effect with one task"),
        ("stream=blurry stream.tasks=1", None),
        ("stream=blurry stream.tasks=2 stream.overlap=0.3", None),
    ],
)
def test_an_option_that_another_one_makes_idle_is_refused(words: str, line: str | None) -> None:
    if line is None:
        assert stream(*words.split())
        return
    with pytest.raises(UserError) as refused:
        stream(*words.split())
    assert str(refused.value).startswith(f"{line}. ")


def test_rows_that_are_no_images_are_not_turned() -> None:
    chosen = config("data=digits", "stream=rotated")
    from dataclasses import replace

    flat = replace(digits(), shape=(64,))
    with pytest.raises(UserError, match="needs images"):
        open_stream(chosen, flat)


# ---- blurry ----


def test_blurry_tasks_deal_out_a_share_of_each_class_and_lose_no_row() -> None:
    tasks = stream("stream=blurry", "stream.overlap=0.2")
    labels = [tasks[index].train.y for index in range(5)]
    assert sum(map(len, labels)) == len(digits().train)
    for index, y in enumerate(labels):
        own = torch.isin(y, torch.tensor([2 * index, 2 * index + 1])).double().mean()
        assert 0.75 < float(own) < 0.85
        assert set(y.tolist()) == set(range(10))
        assert set(tasks[index].test.y.tolist()) == {2 * index, 2 * index + 1}
    sharp = stream("stream=blurry", "stream.overlap=0.0")
    assert torch.equal(sharp[1].train.x, stream("stream=split")[1].train.x)


# ---- domains ----


def test_domains_are_folders_with_the_same_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shift in (("day", 0.0), ("night", 3.0)):
        x = (rng.normal(size=(40, 4)) + shift).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(40) % 2)
    words = ("data=npz", f"data.root={tmp_path}/day.npz", "stream=domains", f"stream.roots=[{tmp_path}/night.npz]")
    chosen = config(*words)
    tasks = open_stream(chosen, load_dataset(chosen.data, "cpu", torch.float64))
    assert len(tasks) == 2
    assert tasks.setting.outputs == 2
    assert tasks.digest != tasks.experiences[0].dataset.digest, "all sources count"


def test_domains_of_other_shapes_are_refused_with_the_source() -> None:
    with pytest.raises(UserError, match=r"stream.sets=fashion_mnist: .*(shape|not here|found)"):
        stream("stream=domains", "stream.sets=[fashion_mnist]")
    with pytest.raises(UserError, match="needs further sources"):
        stream("stream=domains")


# ---- scenarios ----


def test_class_task_and_domain_differ_in_outputs_and_labels() -> None:
    in_class, in_task, in_domain = (stream("stream=split", f"scenario={s}") for s in ("class", "task", "domain"))
    assert [s.setting.outputs for s in (in_class, in_task, in_domain)] == [10, 10, 2]
    assert set(in_class[2].train.y.tolist()) == {4, 5}
    assert set(in_domain[2].train.y.tolist()) == {0, 1}
    assert in_domain.outputs is None
    assert in_class.outputs is not None
    assert (in_class.outputs.train, in_class.outputs.test) == ("all", "all")
    assert in_task.outputs is not None
    assert (in_task.outputs.train, in_task.outputs.test) == ("task", "task")
    assert in_task.heads == [range(2), range(2, 4), range(4, 6), range(6, 8), range(8, 10)]


def test_tasks_with_shared_classes_have_shared_outputs_own_outputs_or_own_heads() -> None:
    shared, apart, heads = (
        stream("stream=permuted", "stream.tasks=3", *words) for words in ((), ("scenario=class",), ("scenario=task",))
    )
    assert [s.setting.outputs for s in (shared, apart, heads)] == [10, 30, 30]
    assert set(apart[1].train.y.tolist()) == set(heads[1].train.y.tolist()) == set(range(10, 20))
    assert (apart.heads, len(heads.heads)) == ([], 3)


def test_logits_that_do_not_count_are_masked_in_training_and_in_testing() -> None:
    tasks = stream("stream=split", "stream.train_logits=seen", "stream.test_logits=task")
    outputs = tasks.outputs
    assert outputs is not None
    from gradinc.data.batch import Batch

    out = torch.zeros(2, 10)
    batch = Batch(out, torch.tensor([2, 3]), 1, 2.0)
    assert torch.isfinite(outputs.trained(batch, out))[0].tolist() == [True] * 4 + [False] * 6
    assert torch.isfinite(outputs.tested(out, 2, 4))[0].tolist() == [False] * 4 + [True] * 2 + [False] * 4
    in_task = stream("stream=split", "scenario=task").outputs
    assert in_task is not None
    mixed = Batch(out, torch.tensor([2, 9]), 4, 2.0, tasks=torch.tensor([1, 4]))
    seen = torch.isfinite(in_task.trained(mixed, out))
    assert [row.nonzero().flatten().tolist() for row in seen] == [[2, 3], [8, 9]]


def test_rows_of_other_tasks_classes_need_every_output() -> None:
    with pytest.raises(UserError, match="Use scenario=class"):
        stream("stream=blurry", "scenario=domain")


# ---- what a task is trained on ----


def test_joint_is_all_tasks_at_once_and_cumulative_all_so_far() -> None:
    joint = stream("stream=split", "stream.data=joint", "scenario=task")
    assert (len(joint), joint.tested) == (1, 5)
    (task,) = joint
    assert len(task.train) == len(digits().train)
    assert task.tasks is not None
    assert torch.equal(task.tasks, task.train.y // 2)
    cumulative = stream("stream=split", "stream.data=cumulative")
    assert set(cumulative[1].train.y.tolist()) == {0, 1, 2, 3}
    assert cumulative[0].tasks is None
    permuted = stream("stream=permuted", "stream.tasks=2", "stream.data=joint")
    apart = stream("stream=permuted", "stream.tasks=2")
    assert torch.equal(inputs(permuted[0].train), torch.cat((inputs(apart[0].train), inputs(apart[1].train))))


def test_a_share_of_the_rows_is_drawn_from_the_seed() -> None:
    few = stream("stream=permuted", "stream.tasks=2", "stream.samples_per_task=100")
    assert [len(task.train) for task in few] == [100, 100]
    assert not torch.equal(few[0].train.y, few[1].train.y)
    again = stream("stream=permuted", "stream.tasks=2", "stream.samples_per_task=100")
    assert torch.equal(inputs(few[0].train), inputs(again[0].train))
    assert len(few[0].test) == len(digits().test)


def test_gdumb_s_memory_is_balanced_over_the_classes_so_far() -> None:
    tasks = stream("stream=split", "strategy=gdumb", "stream.memory=60")
    for index in range(5):
        counts = tasks[index].train.y.bincount(minlength=10)[: 2 * (index + 1)]
        assert int(counts.sum()) == 60
        assert int(counts.max()) - int(counts.min()) <= 1 + (60 % (2 * (index + 1)) > 0)


def test_memory_is_counted_in_all_for_a_task_or_for_a_class() -> None:
    rooms = [stream("stream=split", f"stream.memory_unit={u}").setting.capacity(20) for u in ("total", "task", "class")]
    assert rooms == [20, 100, 200]


def test_a_task_s_rows_as_batches_for_a_method() -> None:
    task = stream("stream=permuted", "stream.tasks=2")[1]
    batches = list(task.batches(32, rows=70, random=torch.Generator().manual_seed(0)))
    assert [len(batch.y) for batch in batches] == [32, 32, 6]
    assert {batch.task for batch in batches} == {1}
    again = list(task.batches(32, rows=70, random=torch.Generator().manual_seed(0)))
    assert torch.equal(batches[0].x, again[0].x)


def test_regressions_have_no_tasks() -> None:
    chosen = config("data=diabetes", "stream=permuted")
    with pytest.raises(UserError, match="tasks are made of classes"):
        open_stream(chosen, load_dataset(chosen.data, "cpu", torch.float64))


# ---- memory ----


@pytest.mark.parametrize(("data", "kept"), [("current", 1), ("cumulative", 5)])
def test_validation_rows_of_a_task_are_kept_as_long_as_they_are_measured(data: str, kept: int) -> None:
    tasks = stream("stream=split", f"stream.data={data}")
    rows = [weakref.ref(task.validation) for task in tasks]
    assert [row() is not None for row in rows] == [False] * (5 - kept) + [True] * kept
    assert tasks.part("validation", 4) is rows[4](), "asked for again after each epoch"


@pytest.mark.parametrize("data", ["current", "cumulative", "joint"])
@pytest.mark.parametrize("name", ["permuted", "rotated"])
def test_a_task_whose_inputs_are_changed_is_a_view(name: str, data: str) -> None:
    tasks = stream(f"stream={name}", "stream.tasks=5", f"stream.data={data}", "stream.samples_per_task=8")
    whole = tasks.experiences[0].dataset
    assert inputs_stored_by(tasks[len(tasks) - 1].train) == {whole.train.x.data_ptr()}
    assert inputs_stored_by(tasks.part("test", 3)) == {whole.test.x.data_ptr()}
    split = stream("stream=split", f"stream.data={data}")
    assert inputs_stored_by(split[len(split) - 1].train).isdisjoint(inputs_stored_by(whole.train)), "a copy, for speed"


def inputs_stored_by(rows: Rows) -> set[int]:
    """Return the addresses of the inputs of rows and of the rows that they are views of."""
    if isinstance(rows, TensorRows):
        return {rows.x.data_ptr()}
    parts = rows.parts if isinstance(rows, JoinedRows) else [rows.rows]
    return {address for part in parts for address in inputs_stored_by(part)}


def test_batches_of_joined_views_are_the_rows_of_their_tasks() -> None:
    words = ("stream=rotated", "stream.tasks=3", "stream.samples_per_task=50")
    apart = [inputs(task.train) for task in stream(*words)]
    (whole,) = stream(*words, "stream.data=joint")
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    batches = list(whole.train.batches(order, 7))
    assert torch.equal(torch.cat([x for x, _ in batches]), torch.cat(apart)[order])
    assert torch.equal(torch.cat([y for _, y in batches]), whole.train.y[order])
    later = list(whole.train.batches(order, 7, 4))
    assert all(torch.equal(x, again) for (x, _), (again, _) in zip(batches[4:], later, strict=True))
