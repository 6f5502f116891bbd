"""Texts of messages for a wrong name and for the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any

MOST_CHOICES = 12
"""Largest number of choices in a message; a listing command shows the rest."""

ALSO = {
    "learning_rate": "lr",
    "rate": "lr",
    "batch": "batch_size",
    "bs": "batch_size",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "iterations": "steps",
    "updates": "steps",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "random_seed": "seed",
    "methods": "strategies",
    "rules": "strategies",
}
"""Names in other programs or of smaller parts, and the name here; of a key, its last word."""

LONGEST_VALUE = 60
"""Characters of a wrong value that a message repeats."""


def choose(wrong: object, names: Sequence[str], most: int = MOST_CHOICES, section: str = "") -> str:
    """Return ``Choose from: …`` with the names nearest to the wrong one first, after the name that was probably meant.

    Args:
        most: the largest number of names.
        section: what is written before each name, with its dot.
    """
    if not names:
        return "Nothing is available"
    near = _near(wrong, names)
    ordered = [section + name for name in near + [name for name in names if name not in near]]
    meant = f"Did you mean {ordered[0]}? " if near else ""
    return f"{meant}Choose from: " + ", ".join(ordered[:most]) + (", …" if len(ordered) > most else "")


def has_near(wrong: object, names: Sequence[str]) -> bool:
    """Return whether one of the names was probably meant."""
    return bool(_near(wrong, names))


def _near(wrong: object, names: Sequence[str]) -> list[str]:
    """Return the names that were probably meant: another name of it, or else similar spellings, the nearest first."""
    also = ALSO.get(str(wrong), "")
    return [also] if also in names else get_close_matches(str(wrong), names, n=3, cutoff=0.6)


def nearest_key(wrong: str, keys: Iterable[str]) -> str | None:
    """Return the key that was probably meant: with the same last word, else with a similar spelling."""
    keys = sorted(key for key in keys if not wrong.startswith(f"{key}."))
    last = wrong.rpartition(".")[2]
    last = last if any(key.rpartition(".")[2] == last for key in keys) else ALSO.get(last, last)
    same = [key for key in keys if key.rpartition(".")[2] == last]
    if same:
        return max(same, key=lambda key: SequenceMatcher(None, wrong, key).ratio())
    if close := get_close_matches(wrong, keys, n=1, cutoff=0.7):
        return close[0]
    lasts = {key.rpartition(".")[2]: key for key in reversed(keys)}
    close = get_close_matches(last, lasts, n=1, cutoff=0.7)
    return lasts[close[0]] if close else None


def nearest_word(wrong: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant: another name of it, a similar spelling, or a longer word."""
    words = sorted(words)
    if ALSO.get(wrong) in words:
        return ALSO[wrong]
    close = get_close_matches(wrong, words, n=1, cutoff=0.7)
    return close[0] if close else next((word for word in words if word.startswith(wrong)), None)


def written(key: str, value: Any) -> str:
    """Return ``key=value`` as it was written, shortened if long."""
    text = shown(value)
    return f"{key}={text}" if len(text) <= LONGEST_VALUE else f"{key}={text[:LONGEST_VALUE]}…"


def shown(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{shown(item)}" for key, item in value.items()) + "}"
    return str(value)


def short(key: str, keys: Sequence[str]) -> str:
    """Return the last word of a key, or as many words as distinguish it from the others."""
    words = key.removesuffix(".name").split(".")
    for count in range(1, len(words)):
        name = ".".join(words[-count:])
        same = [other for other in keys if other.removesuffix(".name").endswith(f".{name}") or other == name]
        if same == [key]:
            return name
    return ".".join(words)
