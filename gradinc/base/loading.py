"""The import of torch and of all that needs it, without the collector of garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import modules inside; nothing changes if torch is imported already.

    Modules live as long as the process. The collector would look through them again and again, which takes a tenth of
    the import, and after it more time than a small job.
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
