"""Objects of the calling program that a config names by their digests: a model, arrays, functions.

A config can never bring code: it has only the digest, and the object must be held by the program that runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from gradinc.base.errors import UserError


@dataclass(eq=False)
class Held:
    """One object, found by its digest as long as somebody holds this.

    Attributes:
        kind: the argument of `gradinc.train` that takes it: ``model``, ``data``, ``criterion`` or ``metric``.
        digest: its digest in the config.
        value: the object, in the form that its part uses.
    """

    kind: str
    digest: str
    value: Any

    def __post_init__(self) -> None:
        _HELD[self.kind, self.digest] = self


_HELD: WeakValueDictionary[tuple[str, str], Held] = WeakValueDictionary()


def held(kind: str, digest: str, named: str = "") -> Any:
    """Return the object with a digest.

    Args:
        named: its name, for the message.

    Raises:
        UserError: nobody in this process holds it.
    """
    found = _HELD.get((kind, digest))
    if found is not None:
        return found.value
    if not digest:
        raise UserError(kind, "is an object of a Python program", f"Give it to gradinc.train({kind}=…)")
    what = f"is an object of a Python program, and only its digest {digest} is known here"
    raise UserError(f"{kind}={named}" if named else kind, what, f"Use it from Python: gradinc.load(RUN, {kind}=…)")
