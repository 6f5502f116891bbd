"""The import of torch and of the modules that need it, with garbage collection off."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import modules inside; nothing changes if torch is imported already.

    Modules live as long as the process. If the collector were active, it would scan them repeatedly: this takes a tenth
    of the import time, and afterwards more time than a small job.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
