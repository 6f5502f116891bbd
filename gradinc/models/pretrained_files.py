"""The folder of a pretrained transformer: its files, its weights, and its special tokens."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.data.torchvision_import import import_torchvision

FOLDER_FORM = "config.json, model.safetensors and tokenizer.json, as transformers saves them"


class SpecialTokens(NamedTuple):
    """The tokens that a tokenizer adds before and after every row."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def model_folder(root: str | None) -> Path:
    """Return the folder of ``model.root``, after a check that it contains a model.

    Raises:
        UserError: it does not.
    """
    if root is None:
        raise UserError("model.root", "model=pretrained needs a folder", f"Give model.root=DIR with {FOLDER_FORM}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"model.root={root}", "no such folder", f"Give model.root=DIR with {FOLDER_FORM}")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise UserError(f"model.root={root}", f"has no {name}", f"Give model.root=DIR with {FOLDER_FORM}")
    if not list(folder.glob("*.safetensors")):
        what = "has no weights in a safetensors file, and other formats can contain code"
        raise UserError(f"model.root={root}", what, f"Give model.root=DIR with {FOLDER_FORM}")
    return folder


def files_digest(folder: Path) -> str:
    """Return one sha256 over the model's configuration, weights and tokenizer, in hex."""
    whole = hashlib.sha256()
    for path in sorted((*folder.glob("*.safetensors"), folder / "config.json", folder / "tokenizer.json")):
        with path.open("rb") as file:
            whole.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def load_encoder(folder: Path) -> nn.Module:
    """Return the transformer in a folder, float32, without its output layers; on the meta device without weights.

    Raises:
        UserError: transformers is not installed, or the files are damaged or of an unknown kind of model.
    """
    transformers = import_transformers()
    where = f"model.root={folder}"
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if torch.get_default_device().type == "meta":
            encoder: nn.Module = transformers.AutoModel.from_config(config)
            return encoder
        encoder, report = transformers.AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # the library and safetensors raise errors of many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(where, f"cannot be loaded ({reason})", f"Give model.root=DIR with {FOLDER_FORM}") from None
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)  # no pooler is used
    if missing:
        what = f"has no weights for {missing[0]} and {len(missing) - 1} others"
        raise UserError(where, what, "Give the weights of the model in config.json")
    return encoder


def import_transformers() -> Any:
    """Return the module transformers.

    Raises:
        UserError: it is not installed.
    """
    with warnings.catch_warnings(action="ignore"):
        try:
            # transformers imports torchvision, which can need `import_torchvision`.
            import_torchvision("transforms")
            import transformers
        except ImportError as error:
            what = f"needs transformers, which cannot be imported ({error})"
            raise UserError("model=pretrained", what, "pip install gradinc[pretrained]") from None
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def special_tokens(folder: Path) -> SpecialTokens:
    """Return the tokens that the folder's tokenizer adds to a row, e.g. ``[CLS]`` before and ``[SEP]`` after it.

    Raises:
        UserError: tokenizers is not installed, or the file is damaged.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UserError("model=pretrained", "needs tokenizers", "pip install gradinc[pretrained]") from None
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises plain exceptions
        what = f"is not a tokenizer ({str(error).splitlines()[0]})"
        raise UserError(str(folder / "tokenizer.json"), what, "Copy the model's files again") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    count = len(plain)
    for first in range(len(whole) - count + 1):
        if whole[first : first + count] == plain:
            return SpecialTokens(tuple(whole[:first]), tuple(whole[first + count :]))
    return SpecialTokens((), ())
