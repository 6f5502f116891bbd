"""The digest of the settings of a run, by which a table finds its numbers on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradinc.config.identity import document_digest
from gradinc.data.locations import DOWNLOADABLE


def settings_digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the keys that a run's numbers depend on, in hexadecimal.

    It differs from the run's identity in one point: where the files of a set with known contents are, does not count.
    For another set, such as a folder of images, ``data.root`` says which data they are.

    Args:
        document: the run's config.
    """
    data = document.get("data")
    if isinstance(data, Mapping) and data.get("name") in DOWNLOADABLE:
        document = {**document, "data": {**data, "root": None}}
    return document_digest(document)
