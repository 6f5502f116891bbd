"""A pretrained transformer from a folder, with an output layer for classes."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Decay
from gradinc.data.encoding import Encoding
from gradinc.data.padding import PAD
from gradinc.data.text import Tokens
from gradinc.models.layers import chain
from gradinc.models.pretrained_files import (
    SpecialTokens,
    files_digest,
    import_transformers,
    load_encoder,
    model_folder,
    special_tokens,
)
from gradinc.models.sequences import check_labels

Pooling = Literal["mean", "first", "last"]


def pretrained(
    shape: tuple[int, ...],
    outputs: int,
    text: Tokens | None = None,
    *,
    root: str | None = None,
    train: Literal["head", "lora", "all"] = "head",
    pooling: Literal["mean", "first", "last"] = "mean",
    dropout: Decay = 0.0,
    rank: Count = 8,
    alpha: Count = 16,
    targets: list[str] | None = None,
    cache: bool = False,
) -> nn.Module:
    """A transformer of the library transformers, from a local folder

    Paper: Hu et al. 2022, arXiv 2106.09685
    Title: LoRA: Low-Rank Adaptation of Large Language Models
    Authors: Edward J. Hu, Yelong Shen, Phillip Wallis, Zeyuan Allen-Zhu, Yuanzhi Li, Shean Wang, Lu Wang, Weizhu Chen

    model.root=DIR contains config.json, model.safetensors and tokenizer.json. Rows must have the tokens of
    this folder, data.tokenizer=DIR/tokenizer.json, without special tokens, which the model adds. An output
    layer for the classes is added. Nothing is downloaded.

    Args:
        root: the folder.
        train: head trains the output layer, lora also low-rank additions to some layers, all everything.
        pooling: input of the output layer: the mean of the states of all tokens of a row, the first or the last one.
        dropout: probability of every dropout in the transformer; a frozen transformer has none.
        rank: for train=lora, the rank of each addition.
        alpha: for train=lora, an addition is multiplied by alpha / rank.
        targets: for train=lora, last words of the changed layers' names, e.g. [query,value]; null uses those of peft.
        cache: for train=head, compute the input of the output layer once for every row, before the training.

    Raises:
        UserError: the folder has no such model, a package is missing, or the options contradict each other.
    """
    _check_cache(cache, train)
    folder = model_folder(root)
    if len(shape) != 1:
        size = "x".join(str(length) for length in shape)
        what = f"needs rows of tokens, but a row of this data has shape {size}"
        raise UserError("model=pretrained", what, "Use data=clinc150 or data=text_folder, or another model")
    check_labels("pretrained", text)
    if cache:  # the rows are no tokens any more: see `encoding`
        return chain(output=nn.Linear(shape[0], outputs))
    encoder = load_encoder(folder)
    head = nn.Linear(_width(encoder), outputs)
    if train == "lora":
        _add_lora(encoder, rank, alpha, targets)
    return PretrainedClassifier(encoder, head, special_tokens(folder), pooling, dropout, frozen=train == "head")


def encoding(
    *, root: str | None = None, train: str = "head", pooling: Pooling = "mean", cache: bool = False, **others: Any
) -> Encoding:
    """Return what a run has to know of a folder before it builds the model: its digest, and with cache the function
    that computes the states of all rows.

    Args:
        root, train, pooling, cache: as for `pretrained`.
        others: its other options.
    """
    _check_cache(cache, train)
    folder = model_folder(root)
    if not cache:
        return Encoding(files_digest(folder), tokenizer=folder / "tokenizer.json")
    with torch.device("meta"):
        width = _width(load_encoder(folder))
    digest = f"{files_digest(folder)}-{pooling}"
    return Encoding(digest, (width,), lambda: _frozen(folder, pooling), folder / "tokenizer.json")


def _frozen(folder: Path, pooling: Pooling) -> PretrainedClassifier:
    """Return the transformer with its states as outputs."""
    model = PretrainedClassifier(
        load_encoder(folder), nn.Identity(), special_tokens(folder), pooling, dropout=0, frozen=True
    )
    return model.eval()


class PretrainedClassifier(nn.Module):
    """A transformer, the pooling of its states, and an output layer.

    Args:
        encoder: from token numbers and the mask of the tokens that count to states.
        head: from a state to the outputs.
        special: tokens that are added before and after every row.
        pooling: see `pretrained`.
        dropout: probability of every dropout in the encoder.
        frozen: whether the encoder is not trained; it is then always in evaluation mode.
    """

    rowwise = True
    rowwise_inside = True

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        special: SpecialTokens,
        pooling: Pooling,
        dropout: float,
        *,
        frozen: bool,
    ) -> None:
        super().__init__()
        self.encoder, self.output = encoder, head
        self.special, self.pooling, self.frozen = special, pooling, frozen
        config: Any = encoder.config
        self.longest = getattr(config, "max_position_embeddings", None)
        self.tokens = int(config.vocab_size)
        if frozen:
            encoder.requires_grad_(False)
        else:
            _leave_out_unused(encoder)
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout

    def train(self, mode: bool = True) -> PretrainedClassifier:
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        tokens = self._with_special(x.round().long())
        counts = tokens != PAD
        with torch.no_grad() if self.frozen else nullcontext():
            states = self.encoder(input_ids=tokens.clamp(min=0), attention_mask=counts.long()).last_hidden_state
        out: Tensor = self.output(self._pooled(states, counts))
        return out

    def _with_special(self, tokens: Tensor) -> Tensor:
        """Return the tokens of each row between the special tokens, cut to the model's longest row."""
        before, after = (tokens.new_tensor(some) for some in self.special)
        if self.longest is not None:
            tokens = tokens[:, : max(1, self.longest - len(before) - len(after))]
        rows, length = tokens.shape
        whole = tokens.new_full((rows, length + len(before) + len(after)), PAD)
        whole[:, : len(before)] = before
        whole[:, len(before) : len(before) + length] = tokens
        ends = (tokens != PAD).sum(1, keepdim=True) + len(before)
        places = ends + torch.arange(len(after), device=tokens.device)
        return whole.scatter(1, places, after.expand(rows, -1))

    def _pooled(self, states: Tensor, counts: Tensor) -> Tensor:
        if self.pooling == "first":
            return states[:, 0]
        if self.pooling == "last":
            last = (counts.sum(1) - 1).clamp(min=0)
            return states.gather(1, last.view(-1, 1, 1).expand(-1, 1, states.shape[2])).squeeze(1)
        weight = counts.to(states.dtype).unsqueeze(2)
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1)


def _check_cache(cache: bool, train: str) -> None:
    if cache and train != "head":
        what = f"needs a transformer that is not trained, and model.train={train}"
        raise UserError("model.cache=true", what, "Use model.cache=false, or model.train=head")


def _width(encoder: nn.Module) -> int:
    config: Any = encoder.config
    return int(config.hidden_size)


def _leave_out_unused(encoder: nn.Module) -> None:
    """Do not train a pooler, whose output is not used: it would be weights without gradients."""
    pooler = getattr(encoder, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.requires_grad_(False)


def _add_lora(encoder: nn.Module, rank: int, alpha: int, targets: list[str] | None) -> None:
    """Add low-rank matrices to layers of an encoder; only these matrices are trainable afterwards."""
    import_transformers()
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        what = f"needs peft, which cannot be imported ({error})"
        raise UserError("model.train=lora", what, "pip install gradinc[pretrained]") from None
    config: Any = encoder.config
    chosen = targets
    if chosen is None:
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as known

        usual = known.get(config.model_type)
        if usual is None:
            what = f"peft has no usual layers for models of the kind {config.model_type}"
            raise UserError("model.targets", what, f"Name them, e.g. [{_linear_names(encoder)[0]}]")
        chosen = list(usual)
    linear = _linear_names(encoder)
    for name in chosen:
        if name not in linear:
            what = f"the model has no linear layer {name}"
            raise UserError(f"model.targets=[{','.join(chosen)}]", what, f"Choose from: {', '.join(linear)}")
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen), encoder)


def _linear_names(encoder: nn.Module) -> list[str]:
    """Return the last words of the names of all linear layers."""
    kinds = (nn.Linear,)
    found = [name.rpartition(".")[2] for name, module in encoder.named_modules() if isinstance(module, kinds)]
    return list(dict.fromkeys(found)) or ["none"]
