"""Models of tokens: padding changes nothing, packed rows are separate rows, and transformers computes the same loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from learners import distance
from tokens import TEXT, TOKENS, batches, built, network, rows, task, trained

from gradinc.base.errors import UserError
from gradinc.core.next_token import NextToken
from gradinc.core.row_layers import RowLayers
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch
from gradinc.data.padding import PAD
from gradinc.data.task import Task
from gradinc.data.text import Tokens
from gradinc.data.token_rows import TokenRows
from gradinc.data.tokenizing import blocks_of_tokens
from gradinc.data.torchvision_import import import_torchvision
from gradinc.models.decoder import decoder
from gradinc.models.encoder import encoder
from gradinc.models.gru import gru
from gradinc.models.sequences import Counts
from gradinc.models.text_cnn import text_cnn

LABELLED = Tokens(TOKENS)
MODELS = {
    "text_cnn": lambda: text_cnn((9,), 4, LABELLED, width=8, maps=5),
    "encoder": lambda: encoder((9,), 4, LABELLED, width=8, depth=2, heads=2),
    "decoder": lambda: decoder((9,), 4, LABELLED, width=8, depth=2, heads=2),
    "gru": lambda: gru((9,), 4, LABELLED, width=5),
    "gru, forward": lambda: gru((9,), 4, LABELLED, width=5, bidirectional=False),
    "counts": lambda: torch.nn.Sequential(Counts(TOKENS), torch.nn.Linear(TOKENS, 4)),
    "language model": lambda: decoder((9,), TOKENS, TEXT, width=8, depth=2, heads=2),
    "recurrent language model": lambda: gru((9,), TOKENS, TEXT, width=5, bidirectional=False),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_row_has_the_same_outputs_next_to_longer_rows(name):
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    (batch,) = batches(16)
    together = model(batch.x)
    for row, x in enumerate(batch.x):
        length = max(1, int((x != PAD).sum()))
        alone = model(x[None, :length])
        mine = together[row : row + 1, :length] if together.dim() == 3 else together[row : row + 1]
        assert torch.allclose(alone, mine, atol=1e-12), row
    other = batch.x.clone()
    other[0, 3] = (other[0, 3] + 1) % TOKENS
    assert not torch.allclose(model(other)[0], together[0], atol=1e-6)  # a token, unlike padding, is read


@pytest.mark.parametrize("name", ["text_cnn", "counts"])
def test_gradients_of_rows_have_a_factored_form(name):
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    weights = Weights(model)
    assert RowLayers(model, weights).factored(evaluated=True)
    (batch,) = batches(16)
    y = torch.arange(16) % 4
    layers = RowLayers(model, weights)
    with layers.recorded() as calls:
        loss = F.cross_entropy(model(batch.x), y, reduction="none")
    norms = layers.gradients(loss.sum(), calls, 16).norms()
    for row in (0, 2, 4):
        one = F.cross_entropy(model(batch.x[row : row + 1]), y[row : row + 1])
        by_hand = weights.flatten(list(torch.autograd.grad(one, list(model.parameters()), materialize_grads=True)))
        assert torch.allclose(norms[row], by_hand.norm(), rtol=1e-9)


def test_a_model_that_cannot_predict_each_token_is_refused():
    with pytest.raises(UserError, match="reads a row as one sequence"):
        gru((9,), TOKENS, Tokens(TOKENS, each=True, packed=True), bidirectional=False)
    with pytest.raises(UserError, match="would read the tokens that a language model predicts"):
        gru((9,), TOKENS, TEXT)


# ---- packing ----


TEXTS = ("the cat sat", "on", "a mat and", "it", "was warm", "so it slept there")


def packed(pack: bool) -> Task:
    found, _ = blocks_of_tokens(TEXTS, "bytes", "all", 24, pack)
    values = torch.from_numpy(found.values)
    starts, lengths = torch.from_numpy(found.starts), torch.from_numpy(found.lengths)
    own = TokenRows(values, starts, lengths, None, found.length, torch.float64)
    return task(own)


def language_model(packed: bool) -> torch.nn.Module:
    torch.manual_seed(0)
    return decoder((24,), 256, Tokens(256, each=True, packed=packed), width=8, depth=2, heads=2).double()


def test_packed_rows_have_the_gradient_of_separate_rows():
    """Attention never crosses a boundary, and each text begins at the first position."""
    joined, apart = packed(True), packed(False)
    assert len(joined.train) < len(apart.train)
    one = trained(built(model=language_model(True)), 8, 1, joined)
    other = trained(built(model=language_model(False)), 8, 1, apart)
    assert distance(one, other) < 1e-12
    crossing = trained(built(model=language_model(False)), 8, 1, joined)  # attention that ignores the boundaries
    assert distance(crossing, other) > 1e-6


def test_packed_rows_hold_every_target_once():
    counts = [sum(batch.items for batch in packed(pack).batches(8)) for pack in (True, False)]
    assert counts[0] == counts[1] == sum(len(text) - 1 for text in TEXTS)


# ---- against transformers ----


@pytest.fixture(scope="module")
def gpt2():
    import_torchvision()  # transformers imports it, and fails on a build for another torch
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=TOKENS, n_positions=16, n_embd=8, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(config).eval()


class Logits(torch.nn.Module):
    """A model of transformers as gradinc reads models: padded tokens in, logits out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(input_ids=x.clamp(min=0).long(), attention_mask=(x >= 0).long()).logits


def whole(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The sequences before the shift, and labels as transformers takes them."""
    last = (batch.y != PAD).sum(1)
    ids = F.pad(batch.x, (0, 1), value=PAD).long()
    for row, place in enumerate(last.tolist()):
        if place:
            ids[row, place] = batch.y[row, place - 1]
    return ids.clamp(min=0), ids.masked_fill(ids < 0, -100)


def test_the_loss_and_the_gradient_are_those_of_transformers(gpt2):
    """Their own loss, with their own shift, on all rows; ours in windows of micro-batches. Their loss is in float32."""
    own = rows([7, 2, 9, 1, 4, 5, 3, 8])
    (batch,) = task(own).batches(8)
    ids, labels = whole(batch)
    theirs = gpt2(input_ids=ids, attention_mask=(labels >= 0).long(), labels=labels).loss
    assert torch.allclose(NextToken(TEXT).mean(batch, Logits(gpt2)(batch.x)).float(), theirs, rtol=1e-6)
    expected = [g.detach() for g in torch.autograd.grad(theirs, list(gpt2.parameters()))]
    learner = built(model=Logits(gpt2))
    learner.open(batch.items, 3)
    for part in task(own).batches(3):
        learner.take(part)
    assert distance(learner.weights.grad, learner.weights.flatten(expected)) < 1e-5


def test_their_mean_of_means_is_another_number(gpt2):
    own = rows([7, 2, 9, 1, 4, 5, 3, 8])
    losses = []
    for part in task(own).batches(3):
        ids, labels = whole(part)
        losses.append(gpt2(input_ids=ids, attention_mask=(labels >= 0).long(), labels=labels).loss)
    (batch,) = task(own).batches(8)
    mean = NextToken(TEXT).mean(batch, Logits(gpt2)(batch.x))
    assert abs(torch.stack(losses).mean() - mean) > 1e-4


def test_bits_per_byte_count_bytes_not_tokens():
    sizes = np.arange(TOKENS, dtype=np.float64)
    (batch,) = batches(16)
    out = network()(batch.x)
    criterion = NextToken(Tokens(TOKENS, each=True, sizes=sizes))
    found = criterion.measures(criterion.sums(batch.y, out).tolist(), 16)
    loss = float(criterion.total(batch, out))
    size = float(batch.y[batch.y >= 0].sum())
    assert found["bits_per_byte"] == pytest.approx(loss / np.log(2) / size)
    assert found["perplexity"] == pytest.approx(np.exp(loss / batch.items))
