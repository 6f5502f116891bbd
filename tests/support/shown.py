"""Printed texts, compared apart from their numbers."""

from __future__ import annotations

import re

COLOUR, DIGEST, NUMBER = r"\x1b\[[\d;]*m", r"\b[0-9a-f]{8,}\b", r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"


def without_numbers(text: str) -> str:
    """The text without colours, with # for every digest and number, and without spaces, which align numbers."""
    for pattern, instead in ((COLOUR, ""), (DIGEST, "#"), (NUMBER, "#"), (r"\s", "")):
        text = re.sub(pattern, instead, text)
    return text
