"""Text as data: tokens, vocabularies, files of all kinds, and what is said about wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.core.memory import Reservoir
from gradinc.core.world import World
from gradinc.data.batch import Batch
from gradinc.data.dataset import Dataset, load_dataset
from gradinc.data.padding import PAD
from gradinc.data.stream import Stream, open_stream
from gradinc.data.token_rows import TokenRows
from gradinc.runs.budget import automatic_epochs
from gradinc.runs.build import Shape
from gradinc.runs.epoch import Epoch
from gradinc.runs.prepare import prepare

CLINC = Path(__file__).parents[3].parent / "shared" / "data" / "clinc150"


def opened(*words: str) -> tuple[Dataset, Stream]:
    config = load_config(["model=linear", *words])
    dataset = load_dataset(config.data, "cpu", torch.float32)
    return dataset, open_stream(config, dataset)


def words_of(stream: Stream) -> tuple[str, ...]:
    text = stream.setting.text
    assert text is not None
    assert text.words is not None
    return text.words


def folder(path: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return path


def small_clinc(path: Path) -> Path:
    domains = {"bank": ["pay", "freeze"], "home": ["music", "light"]}
    texts = {"pay": "pay the bill", "freeze": "freeze my card", "music": "play a song", "light": "lamp on"}
    rows = [[text, intent] for intent, text in texts.items() for _ in range(4)]
    whole = {"train": rows, "val": rows[::4], "test": rows[::2], "oos_test": [["what", "oos"]]}
    path.mkdir()
    (path / "domains.json").write_text(json.dumps(domains))
    (path / "data_full.json").write_text(json.dumps(whole))
    return path


# ---- rows of similar length together ----


def test_rows_of_similar_length_meet_in_micro_batches_that_the_seed_draws(tmp_path):
    lengths = [1 + number * 7 % 40 for number in range(210)]
    folder(tmp_path, {f"{n % 2}/{n:03}.txt": "a" * length for n, length in enumerate(lengths)})
    words = ["data=text_folder", f"data.root={tmp_path}", "data.tokenizer=bytes", "data.batch_size=8"]

    def epoch(number: int, *more: str, begun: int = 0) -> list[Batch]:
        config = load_config(["model=linear", *words, *more])
        task = opened(*words)[1][0]
        return list(Epoch(task, number, 0, config.data, 0.0, World(), torch.device("cpu")).batches(begun))

    def padding(batches: list[Batch]) -> float:
        return sum(int((batch.x == PAD).sum()) for batch in batches) / sum(batch.x.numel() for batch in batches)

    grouped, shuffled = epoch(0), epoch(0, "data.group_by_length=false")
    assert padding(grouped) < 0.15 < 0.4 < padding(shuffled)
    seen = [sorted(int(n) for batch in batches for n in (batch.x != PAD).sum(1)) for batches in (grouped, shuffled)]
    assert seen[0] == seen[1], "an epoch has each row once"
    assert all(torch.equal(one.x, other.x) for one, other in zip(grouped[5:], epoch(0, begun=5), strict=True)), (
        "resumed"
    )
    widths = [[batch.x.shape[1] for batch in batches] for batches in (grouped, epoch(1))]
    assert widths[0] != widths[1], "micro-batches come in a new order in each epoch"
    assert widths[0] != sorted(widths[0])


def test_rows_of_one_length_are_not_grouped():
    with pytest.raises(UserError, match="the rows of digits have one length"):
        prepare(load_config(["model=linear", "data.group_by_length=true"]))


# ---- automatic epochs ----


def test_automatic_epochs_count_the_tokens_of_texts():
    class_rows, blocks = automatic_epochs(15_000, 1, 8.47), automatic_epochs(1_300, 1, 128.0, each=True)
    assert (class_rows, blocks) == (8, 7)
    assert automatic_epochs(15_000) == 27, "rows of numbers"
    assert (automatic_epochs(10**6, 1, 100.0), automatic_epochs(10**6, 1, 100.0, each=True)) == (5, 1)
    assert automatic_epochs(1_500, 10, 8.47) == 8, "the same for tasks"


# ---- clinc150 ----


@pytest.mark.skipif(not CLINC.is_dir(), reason="CLINC150 is not in ../shared/data")
def test_clinc150_has_its_official_parts_and_a_task_for_each_domain():
    dataset, stream = opened("data=clinc150", f"data.root={CLINC}", "stream=split", "stream.tasks=10")
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [15000, 3000, 4500]
    assert [len(task.train) for task in stream] == [1500] * 10
    first = json.loads((CLINC / "domains.json").read_text())["banking"]
    assert dataset.classes is not None
    assert [dataset.classes[label] for label in stream[0].classes or ()] == first


def test_the_vocabulary_is_of_the_first_task_unless_all_is_asked_for(tmp_path):
    """A vocabulary of all tasks is a leak."""
    root = small_clinc(tmp_path / "clinc")
    split = ("data=clinc150", f"data.root={root}", "stream=split", "stream.tasks=2")
    _, first = opened(*split)
    assert set(words_of(first)) == {"<unknown>", "pay", "the", "bill", "freeze", "my", "card"}
    (x, _) = next(first[1].train.chunks(1))
    assert (x == 0).all()  # "play a song": no word is known
    _, every = opened(*split, "data.vocabulary=all")
    assert {"song", "lamp"} < set(words_of(every))
    _, joint = opened(*split, "stream.data=joint")
    assert {"song", "lamp"} < set(words_of(joint))


def test_a_damaged_clinc150_is_refused(tmp_path):
    root = small_clinc(tmp_path / "clinc")
    (root / "data_full.json").write_text('{"train": [\n["a", ]]}')
    with pytest.raises(UserError, match=r"data_full.json, line 2, column \d+: is not JSON"):
        opened("data=clinc150", f"data.root={root}")
    (root / "data_full.json").write_text('{"train": [["a", "sing"]]}')
    with pytest.raises(UserError, match=r"train\[0\] has intent 'sing', which no domain has"):
        opened("data=clinc150", f"data.root={root}")
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        opened("data=clinc150", f"data.root={tmp_path}")


# ---- folders and files ----


def test_texts_in_folders_are_rows_without_padding(tmp_path):
    long = " ".join(f"w{number}" for number in range(10_000))
    root = folder(
        tmp_path, {f"{kind}/{n}.txt": f"{kind} {n}" for kind in "ab" for n in range(6)} | {"a/long.txt": long}
    )
    dataset, _ = opened("data=text_folder", f"data.root={root}", "data.length=300")
    assert dataset.text is not None
    assert dataset.text.cut == 1
    rows = [dataset.train, dataset.validation, dataset.test]
    assert sorted(int(n) for part in rows for n in part.lengths)[-2:] == [2, 300]
    assert dataset.shape == (300,)
    assert isinstance(dataset.train, TokenRows)
    assert len(dataset.train.values) < 400  # not 13 rows of 300


def test_a_byte_order_mark_and_line_ends_are_no_text(tmp_path):
    root = folder(tmp_path, {f"{kind}/{n}.txt": "é x\n" for kind in "ab" for n in range(4)})
    (root / "a" / "0.txt").write_bytes(b"\xef\xbb\xbf\xc3\xa9 x\r\n")
    dataset, _ = opened("data=text_folder", f"data.root={root}", "data.tokenizer=bytes")
    assert {int(n) for part in (dataset.train, dataset.test) for n in part.lengths} == {5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\nna\xefve", r"1.txt, line 2, column 3: byte 0xef is not UTF-8. Convert it: iconv -f latin1"),
        (b"", r"1.txt: is empty: it has no text"),
        (b"\xff\xfea\x00", r"1.txt: is UTF-16, not UTF-8"),
        (b"a\x00b\x00", r"1.txt, line 1, column 2: is a NUL character, as in UTF-16 .* iconv -f utf-16le"),
    ],
)
def test_wrong_files_are_named_with_line_and_column(tmp_path, content, message):
    root = folder(tmp_path, {f"{kind}/{n}.txt": "text" for kind in "ab" for n in range(4)})
    (root / "b" / "1.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        opened("data=text_folder", f"data.root={root}")


# ---- language models ----


def test_every_byte_of_a_text_but_the_first_is_a_target_once(tmp_path):
    root = folder(tmp_path, {"de/a.txt": "abcdefghij" * 7, "fr/b.txt": "éà" * 9, "fr/c.txt": "x" * 40})
    dataset, stream = opened(
        "data=text", f"data.root={root}", "data.length=8", "stream=domains", "model=decoder", "data.validation=0"
    )
    counts = sum(int(part.lengths.sum()) for part in (dataset.train, dataset.test))
    assert counts == (70 - 1) + (36 - 1) + (40 - 1)
    assert stream.tested == 2
    for x, y in stream[0].train.chunks(3):
        real = y != PAD
        assert (x[:, 1:][real[:, :-1] & (x[:, 1:] != PAD)] == y[:, :-1][real[:, :-1] & (x[:, 1:] != PAD)]).all()
    assert Shape.of(dataset, stream).outputs == 256


def test_a_language_model_needs_a_model_with_an_output_for_each_token(tmp_path):
    from gradinc.runs.build import build_model

    root = folder(tmp_path, {"a.txt": "some text" * 50})
    for model in ("mlp", "text_cnn", "encoder"):
        config = load_config(["data=text", f"data.root={root}", f"model={model}"])
        dataset = load_dataset(config.data, "cpu", torch.float32)
        with pytest.raises(UserError, match=f"model={model}: has one output for a row.* Use model=decoder, or gru"):
            build_model(config, Shape.of(dataset, open_stream(config, dataset)), torch.device("cpu"))


def test_gradinc_data_names_tokens_and_targets(tmp_path, capsys):
    root = folder(tmp_path, {"a.txt": "some text" * 50})
    assert main(["data", "text", "--root", str(root)]) == 0
    assert "text: 4 rows of up to 128 tokens, a target for each token" in capsys.readouterr().out
    root = folder(tmp_path / "of", {f"{name}/{n}.txt": "two words" for name in "ab" for n in range(4)})
    assert main(["data", "text_folder", "--root", str(root)]) == 0
    assert "text_folder: 8 rows of up to 2 tokens, 2 classes" in capsys.readouterr().out


# ---- tables ----


TABLE = "text,label\n" + "".join(f"good {n},yes\nbad {n},no\n" for n in range(10))


def test_a_table_is_the_same_as_csv_tsv_jsonl_and_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [line.split(",") for line in TABLE.splitlines()]
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "t.tsv").write_text(TABLE.replace(",", "\t"))
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]))
    table = pyarrow.table({name: [row[n] for row in rows[1:]] for n, name in enumerate(rows[0])})
    parquet.write_table(table, tmp_path / "t.parquet")
    digests = {
        opened("data=table", f"data.root={tmp_path / file}", "data.text=text")[0].digest
        for file in ("t.csv", "t.tsv", "t.jsonl", "t.parquet")
    }
    assert len(digests) == 1


def test_columns_of_numbers_are_features(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,kind\n" + "".join(f"{n},{n / 2},{n % 3}\n" for n in range(30)))
    dataset, _ = opened("data=table", f"data.root={tmp_path / 't.csv'}", "data.label=kind")
    assert (dataset.shape, dataset.classes) == ((2,), ("0", "1", "2"))
    values, _ = opened("data=table", f"data.root={tmp_path / 't.csv'}", "data.label=b", "data.features=[a]")
    assert values.classes is None


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,label\n1,x\n2\n", (), r"t.csv: line 3: Expected 2 columns, got 1"),
        ("a,label\n1,x\nz,y\n", (), r"t.csv, line 3, column a: is 'z', not a number"),
        ("a,label\n1,x\n2,\n", (), r"t.csv, line 3, column label: is missing"),
        ("a,label\n1,x\n2,y\n", ("data.text=body",), r"has no column 'body'. Give data.text=NAME, one of: a, label"),
        ("a,label\n1,x\n2,x\n", (), r"column label has one class only \(x\)"),
        ('a,label\n"1\n2",x\nz,y\n', ("data.features=[a]",), r"line 2, column a"),
        ("a,label\n", (), r"has no rows"),
        ("", (), r"is empty"),
    ],
)
def test_wrong_tables_are_named_with_line_and_column(tmp_path, content, options, message):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        opened("data=table", f"data.root={tmp_path / 't.csv'}", *options)


def test_wrong_json_lines_are_named(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": 1}\n\n{"text": "b" "label": 2}\n')
    with pytest.raises(UserError, match=r"t.jsonl, line 3, column 14: is not JSON"):
        opened("data=table", f"data.root={tmp_path / 't.jsonl'}", "data.text=text")


def test_a_folder_that_datasets_saved_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"text": [f"word {n}" for n in range(20)], "label": [n % 2 for n in range(20)]}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    part = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": part, "test": part.select(range(4))}).save_to_disk(str(tmp_path / "saved"))
    dataset, _ = opened("data=huggingface", f"data.root={tmp_path / 'saved'}")
    assert dataset.classes == ("no", "yes")
    assert len(dataset.test) == 4
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="cannot be read by datasets"):
        opened("data=huggingface", f"data.root={tmp_path / 'other'}")


def test_a_tokenizer_file_is_used_and_a_wrong_one_is_refused(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"good": 0, "bad": 1, "?": 2}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "t.csv").write_text(TABLE)
    table = ("data=table", f"data.root={tmp_path / 't.csv'}", "data.text=text")
    dataset, _ = opened(*table, f"data.tokenizer={tmp_path / 'tokenizer.json'}")
    assert dataset.text is not None
    assert dataset.text.tokens == 3
    with pytest.raises(UserError, match=r"is not a tokenizer\.json"):
        opened(*table, f"data.tokenizer={tmp_path / 't.csv'}")
    with pytest.raises(UserError, match="neither bytes nor words nor a file"):
        opened(*table, "data.tokenizer=syllables")


# ---- memories ----


def test_a_memory_stores_rows_without_padding():
    """Ten rows of 3 and one of 500: the same rows as a padded memory, in a fraction of the bytes."""
    draws = torch.Generator().manual_seed(0)
    memories = [Reservoir(), Reservoir()]
    for memory, ragged in zip(memories, (True, False), strict=True):
        memory.ragged = ragged
        memory.open(20, 1)
    for number in range(40):
        length = 500 if number == 7 else 3
        x = torch.full((1, 500), float(PAD))
        x[0, :length] = torch.randint(9, (length,), generator=draws).float()
        for memory in memories:
            memory.add(x=x, y=torch.tensor([number]), tasks=torch.zeros(1, dtype=torch.int64))
    ragged, padded = (memory.rows() for memory in memories)
    assert torch.equal(ragged["y"], padded["y"])
    width = ragged["x"].shape[1]
    assert torch.equal(ragged["x"], padded["x"][:, :width])
    assert (padded["x"][:, width:] == PAD).all()
    assert memories[0].nbytes < memories[1].nbytes / 5
    other = Reservoir()
    other.load_state_dict(memories[0].state_dict())
    assert torch.equal(other.rows()["x"], ragged["x"])
    assert other.nbytes == memories[0].nbytes


def test_digests_see_a_changed_word(tmp_path):
    digests = []
    for word in ("one", "two"):
        root = folder(tmp_path / word, {f"{kind}/{n}.txt": "same" for kind in "ab" for n in range(4)})
        (root / "a" / "0.txt").write_text(word)
        digests.append(opened("data=text_folder", f"data.root={root}")[0].digest)
    assert digests[0] != digests[1]
    assert np.unique(digests).size == 2
