"""P16: a checkpoint that was made to do harm takes no memory that the file has not, and is answered in a line."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from configs import CONFIGS, WATCHED
from lives import PACKAGE, SMALL, End, Nursery, differences, only_run

from gradinc.runs import checkpoint, torch_file

ROOM = 300_000_000
"""Bytes that a command may take more than it has when it begins: what the smallest of the files below asks for is
20 times as much."""


def file_of(value: Any) -> bytes:
    memory = io.BytesIO()
    torch.save(value, memory)
    return memory.getvalue()


def with_pickle(content: bytes, change: Callable[[bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A torch file whose pickle is changed, and whose archive is whole all the same."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(memory, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name.endswith("data.pkl") else old.read(name))
    return memory.getvalue()


def write_checkpoint(path: Path, content: bytes) -> None:
    """With the digest that makes it a whole one."""
    path.write_bytes(hashlib.sha256(content).digest() + content)


def extended(state: dict[str, Any], opcodes: bytes) -> bytes:
    """A file of a state with one more key, whose value these opcodes push."""
    key = pickle.dumps("evil", protocol=2)[2:-1]  # without its header and its end
    return with_pickle(file_of(state), lambda old: old[:-1] + key + opcodes + b"s.")


# ---- files that ask for more than they have ----


class Bytes:
    """Six gigabytes when it is unpickled: torch's own loader knows ``builtins.bytearray`` as harmless."""

    def __reduce__(self) -> Any:
        return bytearray, (6_000_000_000,)


def shared(kind: type) -> Any:
    """A container that has itself twice, forty deep: 2⁴⁰ values for whoever walks through it."""
    value: Any = kind([1])
    for _ in range(40):
        value = kind([value, value])
    return value


def first_weight(state: dict[str, Any]) -> str:
    return next(iter(state["learner"]["model"]))


def with_weight(state: dict[str, Any], weight: torch.Tensor) -> bytes:
    state["learner"]["model"][first_weight(state)] = weight
    return file_of(state)


def larger_than_its_storage(state: dict[str, Any]) -> bytes:
    """A weight of 1.5 · 10⁹ values, by its shape alone: torch's loader makes the storage as long as that."""
    state["learner"]["model"][first_weight(state)] = torch.zeros(77, 1)

    def change(old: bytes) -> bytes:
        return old.replace(b"KMK\x01\x86", b"J\x00\x00\x68\x59K\x01\x86")  # (77, 1) becomes (1 500 000 256, 1)

    return with_pickle(file_of(state), change)


def many_views(state: dict[str, Any]) -> bytes:
    """One storage of a megabyte under ten thousand names."""
    value = torch.zeros(1 << 18)
    return file_of({**state, "evil": [value] * 10_000})


EVIL: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "a bytearray": lambda state: file_of({**state, "evil": Bytes()}),
    "an expanded weight": lambda state: with_weight(state, torch.zeros(1).expand(1_500_000_000)),
    "a weight larger than its storage": larger_than_its_storage,
    "a list that shares itself": lambda state: file_of({**state, "evil": shared(list)}),
    "a tuple that shares itself": lambda state: file_of({**state, "evil": shared(tuple)}),
    "a list in itself": lambda state: extended(state, b"]q\xf0h\xf0a"),
    "a meta weight": lambda state: with_weight(state, torch.empty(1_500_000_000, device="meta")),
    "a sparse weight": lambda state: with_weight(state, torch.eye(10).to_sparse()),
    "a compressed sparse weight": lambda state: with_weight(state, torch.eye(10).to_sparse_csr()),
    "a quantized weight": lambda state: with_weight(state, torch.quantize_per_tensor(torch.eye(10), 1, 0, torch.qint8)),
    "a weight that overlaps itself": lambda state: with_weight(state, torch.zeros(11).as_strided((10, 2), (1, 1))),
    "one tensor many times": many_views,
    "a million lists": lambda state: extended(state, b"](" + b"]" * 1_000_000 + b"e"),
    "lists in one another": lambda state: extended(state, b"]" * 100_000 + b"a" * 99_999),
    "a number of a megabyte": lambda state: extended(state, b"\x8b\x00\x00\x10\x00" + b"\x7f" * (1 << 20)),
    "a text that is not there": lambda state: extended(state, b"X\xff\xff\xff\x7f"),
    "an int of a billion bytes": lambda state: file_of({**state, "evil": 1 << 4000}),
    "a compressed archive": lambda state: with_pickle(file_of(state), bytes, zipfile.ZIP_DEFLATED),
    "a compressed gigabyte": lambda state: with_pickle(
        file_of(state), lambda old: old + bytes(1_000_000_000), zipfile.ZIP_DEFLATED
    ),
}


def newest(run: Path) -> Path:
    return run / "ckpt" / str(checkpoint.marks(run / "ckpt")[0])


@pytest.mark.parametrize("make", EVIL.values(), ids=EVIL)
def test_the_one_before_is_used_in_little_memory(
    nursery: Nursery, half: Path, folder: Path, wanted: dict[str, Any], make: Callable[[dict[str, Any]], bytes]
) -> None:
    run = only_run(shutil.copytree(half, folder, dirs_exist_ok=True))
    path, before = newest(run), checkpoint.marks(run / "ckpt")[1]
    write_checkpoint(path, make(checkpoint.read(path, None)))
    end = nursery.run(folder, "outputs/mine", command="verify", memory=ROOM)
    assert (end.code, end.err) == (1, ""), end.err
    assert f"ckpt/{path.name} is damaged (not a checkpoint" in end.out
    end = nursery.run(folder, *SMALL, memory=ROOM)
    assert (end.code, end.err) == (0, ""), end.err
    (warning,) = [line for line in end.out.splitlines() if line.startswith("warning: ")]
    assert warning.startswith(f"warning: outputs/mine/ckpt/{path.name} is damaged (not a checkpoint")
    assert warning.endswith(f"). Resuming from step {before.updates}.")
    assert differences(run, wanted) == []


def test_weights_that_are_asked_for_are_read_through_the_same_door(nursery: Nursery, half: Path, folder: Path) -> None:
    run = only_run(shutil.copytree(half, folder, dirs_exist_ok=True))
    assert nursery.run(folder, *SMALL).code == 0
    best = run / "ckpt" / checkpoint.BEST
    state = checkpoint.read(best, None)
    write_checkpoint(best, file_of({**state, "model": {"weight": torch.zeros(1).expand(1_500_000_000)}}))
    end = nursery.run(folder, "outputs/mine", "--best", command="test", memory=ROOM)
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
    assert end.err.startswith("outputs/mine/ckpt/best: is damaged (not a checkpoint: "), end.err
    for path in (run / "ckpt").glob("[0-9]*"):
        write_checkpoint(path, file_of({**checkpoint.read(path, None), "evil": Bytes()}))
    for command, words in (("test", ("outputs/mine",)), ("train", (*SMALL, "name=other", "init=outputs/mine"))):
        end = nursery.run(folder, *words, command=command, memory=ROOM)
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
        assert "is damaged (not a checkpoint: it names __builtin__.bytearray)" in end.err


PEAK = """
import resource, sys
from gradinc.runs import checkpoint
from pathlib import Path
from contextlib import suppress
with suppress(checkpoint.Damaged):
    checkpoint.read(Path(sys.argv[1]), None)  # of a run as it is, so that all is imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    with suppress(checkpoint.Damaged):
        checkpoint.read(Path(path), None)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_reading_takes_a_small_multiple_of_the_file(half: Path, tmp_path: Path) -> None:
    whole = newest(only_run(half))
    state = checkpoint.read(whole, None)
    paths = [tmp_path / str(number) for number in range(len(EVIL))]
    for path, make in zip(paths, EVIL.values(), strict=True):
        write_checkpoint(path, make(pickle.loads(pickle.dumps(state))))
    largest = max(path.stat().st_size for path in paths)
    words = [sys.executable, "-c", PEAK, str(whole), *map(str, paths)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(PACKAGE.parent)})
    assert largest < 3_000_000
    assert int(done.stdout) < 60_000_000, done.stdout


# ---- what is read is what torch reads ----


def every_kind() -> dict[str, Any]:
    """A value of every kind that a checkpoint holds."""
    base = torch.arange(24.0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    dtypes = [kind for kind in torch_file.DTYPES.values() if not kind.is_complex]
    return {
        "dtypes": {str(kind): torch.tensor([[0, 1], [1, 0], [1, 1]]).to(kind) for kind in dtypes},
        "complex": torch.tensor([1 + 2j, 3], dtype=torch.complex64),
        "views": [base[3:9].view(2, 3), base.view(4, 6).t(), base[::2], base.view(2, 3, 4)[:, 1]],
        "images": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "empty": [torch.empty(0), torch.empty(0, 5), torch.empty(3, 0, 2), {}, [], (), ""],
        "scalar": [torch.tensor(2.5), torch.tensor(True)],
        "numbers": [0, -1, 255, 256, 65536, -(2**31), 2**62, -(2**63), 0.1, float("inf"), -0.0, True, False, None],
        "text": ["é", "a" * 300, {1: "one", "two": 2}],
        "model": model.state_dict(),
    }


def test_what_is_read_is_what_torch_reads() -> None:
    value = every_kind()
    content = file_of(torch_file.plain(value, "value"))
    ours, theirs = torch_file.load_file(io.BytesIO(content)), torch.load(io.BytesIO(content), weights_only=True)
    for mine, other, was in zip(leaves(ours), leaves(theirs), leaves(value), strict=True):
        assert mine[0] == other[0] == was[0]
        assert type(mine[1]) is type(other[1])
        if isinstance(mine[1], torch.Tensor):
            assert (mine[1].dtype, mine[1].stride()) == (other[1].dtype, other[1].stride())
            assert torch.equal(mine[1], other[1])
            assert torch.equal(mine[1], was[1])
        else:
            assert repr(mine[1]) == repr(other[1]) == repr(was[1])
    assert ours["model"]._metadata == theirs["model"]._metadata
    assert ours["views"][0].untyped_storage().data_ptr() == ours["views"][1].untyped_storage().data_ptr()


def test_what_would_not_be_read_again_is_not_written() -> None:
    expanded = torch.zeros(1, 3).expand(5, 3)
    assert torch_file.plain({"mask": expanded}, "state")["mask"].is_contiguous()
    for value, what in (
        ({1, 2}, "state.a.0 is a set"),
        (torch.eye(2).to_sparse(), "state.a.0 is a tensor of torch.float32 \\(torch.sparse_coo, cpu\\)"),
        (torch.empty(2, device="meta"), "state.a.0 is a tensor of "),
    ):
        with pytest.raises(torch_file.Refused, match=f"^{what}"):
            torch_file.plain({"a": [value]}, "state")


def leaves(node: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All values in a state that hold no others, with the way to each."""
    if isinstance(node, dict | list | tuple) and node:
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(item, (*where, key))
    else:
        yield where, node


# ---- files with random damage ----


def mutated(content: bytes, seed: int) -> bytes:
    """A torch file whose pickle has other bytes in a place, in an archive that is whole."""
    draw = random.Random(seed)

    def change(old: bytes) -> bytes:
        place, kind = draw.randrange(len(old)), draw.randrange(6)
        if kind == 0:  # some are gone
            return old[:place] + old[place + draw.randint(1, 20) :]
        if kind == 1:  # some are there twice
            return old[:place] + old[max(0, place - draw.randint(1, 40)) :]
        if kind == 2:  # some are written elsewhere
            source = draw.randrange(len(old))
            piece = old[source : source + draw.randint(1, 30)]
            return old[:place] + piece + old[place + len(piece) :]
        return old[:place] + bytes([draw.randrange(256)]) + old[place + 1 :]

    return with_pickle(content, change)


def test_three_hundred_mutations_are_read_or_damaged(
    nursery: Nursery, half: Path, folder: Path, tmp_path: Path
) -> None:
    """Those that can be read are gone on with, or refused in a line."""
    content = newest(only_run(half)).read_bytes()[32:]
    readable = []
    for seed in range(300):
        write_checkpoint(tmp_path / "1", mutated(content, seed))
        with suppress(checkpoint.Damaged):
            assert isinstance(checkpoint.read(tmp_path / "1", None), dict)
            readable.append(seed)
    assert 10 < len(readable) < 150
    for seed in readable[:10]:
        run = only_run(shutil.copytree(half, folder / str(seed)))
        write_checkpoint(newest(run), mutated(content, seed))
        answered(nursery.run(folder / str(seed), *SMALL), f"mutation {seed}")


# ---- states that are none of this run ----

OPEN = {
    "rereads": "sam, grokfast, noise, lookahead over a window",
    "keeps gradients apart": "gradients kept apart, regression",
    "tasks": "a stream of tasks, importances",
}


@pytest.fixture(scope="module", params=OPEN.values(), ids=OPEN)
def in_a_window(request: pytest.FixtureRequest, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that was killed with two of a window's micro-batches, and its command."""
    folder = tmp_path_factory.mktemp("open")
    words = (*CONFIGS[request.param], *WATCHED)
    for visit in range(5, 60):
        assert nursery.run(folder, *words, crash=f"pruned:{visit}").code == -signal.SIGKILL
        if "+2" in newest(only_run(folder)).name:
            return folder, words
        shutil.rmtree(folder)
    raise AssertionError("no window was open")


def others(value: Any) -> Iterator[Any]:
    """Values of another kind than that."""
    if isinstance(value, torch.Tensor):
        yield value.to(torch.int64 if value.is_floating_point() else torch.float64)
        yield value.double() if value.dtype == torch.float32 else value.float()
        yield torch.cat((value.reshape(-1), value.reshape(-1), value.new_zeros(1)))
        yield value.new_zeros(0, 3)
        yield None
    else:
        yield "x"
        yield [1, "x"] if not isinstance(value, list) else 7
        yield None if value is not None else {"x": 1}


def changed(state: Any, where: tuple[Any, ...], value: Any) -> Any:
    """The same state with another value in one place."""
    if not where:
        return value
    if isinstance(state, tuple):
        return tuple(changed(item, where[1:], value) if key == where[0] else item for key, item in enumerate(state))
    copy = state.copy()
    copy[where[0]] = changed(state[where[0]], where[1:], value)
    return copy


def forgeries(state: dict[str, Any]) -> list[tuple[tuple[Any, ...], Any]]:
    """All places of a state, each with all values of other kinds."""
    return [(where, other) for where, value in leaves(state) for other in others(value)]


def answered(end: End, what: str) -> None:
    """The run went on, or a line says why not."""
    assert "Traceback" not in end.err + end.out, f"{what}: {end.err}"
    assert end.err.count("\n") <= 1, f"{what}: {end.err}"
    assert end.code in (0, 1, 2), f"{what}: {end.code}"
    assert end.code != 2 or "does not fit this version of gradinc (" in end.err or "metrics.jsonl" in end.err, end.err


def test_a_window_of_other_tensors_is_refused_in_a_line(nursery: Nursery, in_a_window: Any, tmp_path: Path) -> None:
    """Tensors of an open window, in another type and in other shapes."""
    folder, words = in_a_window
    state = checkpoint.read(newest(only_run(folder)), None)
    all_of_them = [(where, other) for where, other in forgeries(state) if where[:2] == ("learner", "window")]
    tensors = [each for each in all_of_them if isinstance(each[1], torch.Tensor)]
    assert tensors
    for number, (where, value) in enumerate(random.Random(0).sample(tensors, min(4, len(tensors)))):
        place = tmp_path / str(number)
        run = only_run(shutil.copytree(folder, place))
        write_checkpoint(newest(run), file_of(changed(state, where, value)))
        what = f"{where} {value.dtype} {tuple(value.shape)}"
        answered(nursery.run(place, *words), what)


def test_a_state_of_other_kinds_is_refused_in_a_line(nursery: Nursery, in_a_window: Any, tmp_path: Path) -> None:
    folder, words = in_a_window
    state = checkpoint.read(newest(only_run(folder)), None)
    for number, (where, value) in enumerate(random.Random(1).sample(forgeries(state), 4)):
        place = tmp_path / str(number)
        run = only_run(shutil.copytree(folder, place))
        write_checkpoint(newest(run), file_of(changed(state, where, value)))
        answered(nursery.run(place, *words), f"{where} {value!r}")
        shutil.rmtree(place)


def test_the_gradient_of_a_window_is_looked_at(nursery: Nursery, in_a_window: Any, tmp_path: Path) -> None:
    folder, words = in_a_window
    state = checkpoint.read(newest(only_run(folder)), None)
    size = len(state["learner"]["window"]["inside"]["grad"])
    for number, value in enumerate((torch.ones(1), torch.ones(size, dtype=torch.int64))):  # both could be copied
        run = only_run(shutil.copytree(folder, tmp_path / str(number)))
        write_checkpoint(newest(run), file_of(changed(state, ("learner", "window", "inside", "grad"), value)))
        end = nursery.run(tmp_path / str(number), *words)
        assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
        assert "does not fit this version of gradinc (ValueError: the window's gradient has shape " in end.err


def test_the_metadata_of_a_model_is_kept() -> None:
    state = torch.nn.BatchNorm1d(3).state_dict()
    (again,) = torch_file.load_file(io.BytesIO(file_of([torch_file.plain(state, "model")])))
    assert type(again) is OrderedDict
    assert again._metadata[""]["version"] == state._metadata[""]["version"] == 2
