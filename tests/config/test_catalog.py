"""Parts are found by name and read from source, without importing what they are written in."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Interval

from gradinc.base.errors import UserError
from gradinc.config import catalog, groups
from gradinc.config.catalog import Part
from gradinc.config.signature import REQUIRED
from gradinc.config.values import Count, Positive


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_every_part_is_what_python_sees_when_it_is_imported(kind: str) -> None:
    found = catalog.parts(kind)
    assert found, f"no {kind} at all"
    for part in found:
        loaded = catalog.load_part(kind, part.name)
        target = loaded.__init__ if inspect.isclass(loaded) else loaded
        named = {
            name: REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
            for name, parameter in inspect.signature(target).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        assert {name: parameter.default for name, parameter in part.parameters.items()} == named
        assert part.summary == inspect.getdoc(loaded).partition("\n")[0].rstrip(".")  # type: ignore[union-attr]


def test_every_part_says_what_it_is_and_what_its_options_do() -> None:
    parts = [(kind, part) for kind in catalog.KINDS for part in catalog.parts(kind)]
    assert {(kind, part.name): part.summary for kind, part in parts if not 0 < len(part.summary) <= 72} == {}
    options = [(kind, part.name, key, option.help) for kind, part in parts for key, option in part.parameters.items()]
    assert [(kind, part, key) for kind, part, key, text in options if not text] == []


def test_no_option_of_a_part_has_the_name_of_a_key_that_all_of_its_kind_have() -> None:
    from gradinc.config.schema import PARTS, common_keys

    for kind, section in PARTS.items():
        for part in catalog.parts(kind):
            assert not set(common_keys(section)) & set(part.parameters), part.name


def test_helpers_beside_the_parts_of_a_module_are_no_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = "def sgd(weights, *, lr: Positive): ...\ndef stepper(optimizer): ...\ndef _slices(weights): ...\n"
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "optimizers.py").write_text(functions)
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path)
    assert [part.name for part in catalog.parts("optimizer")] == ["sgd"]


def test_an_unknown_name_gets_the_choices_nearest_first() -> None:
    with pytest.raises(UserError, match=r"^model=mpl: unknown\. Did you mean mlp\? Choose from: mlp, "):
        catalog.part("model", "mpl")
    assert catalog.part("model", "mlp").name == "mlp"


PART = '''
"""A module."""
from somewhere_that_does_not_exist import nothing
Choice = Literal["a", "b"]


def helper(x): ...


class GoodIdea(Base):
    """The summary.

    Paper: Author 2020, arXiv 1234.56789

    Args:
        size: how many,
            on two lines.
        choice: which.
    """

    def __init__(self, *, size: Count = 3, choice: Choice = "a", pair: tuple[float, float] = (0.9, -1.0),
                 limit: Positive | None = None, high: Annotated[int, Interval(ge=1, le=4)] = 2,
                 names: Optional[list[str]] = None, far: float = math.inf, must: values.Count) -> None: ...
'''


Define = Callable[[str, str, str], Part]


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Define:
    """Return a function that writes a part's file into an empty package and reads the part."""

    def part(kind: str, name: str, text: str) -> Part:
        path = tmp_path / catalog.FILE_ROOMS[kind] / f"{name}.py"
        path.parent.mkdir()
        path.write_text(text)
        monkeypatch.setattr(catalog, "PACKAGE", tmp_path)
        return catalog.part(kind, name)

    return part


def test_a_signature_is_read_with_its_types_defaults_and_help(define: Define) -> None:
    part = define("method", "good_idea", PART)
    assert part.symbol == "GoodIdea"
    assert (part.summary, part.paper) == ("The summary", "Author 2020, arXiv 1234.56789")
    expected: dict[str, tuple[Any, Any]] = {
        "size": (Count, 3),
        "choice": (Literal["a", "b"], "a"),
        "pair": (tuple[float, float], (0.9, -1.0)),
        "limit": (Positive | None, None),
        "high": (Annotated[int, Interval(ge=1, le=4)], 2),
        "names": (list[str] | None, None),
        "far": (float, float("inf")),
        "must": (Annotated[int, Ge(1)], REQUIRED),
    }
    assert {name: (p.annotation, p.default) for name, p in part.parameters.items()} == expected
    assert (part.parameters["size"].help, part.parameters["choice"].help) == ("how many, on two lines", "which")


@pytest.mark.parametrize("default", ["open('x')", "[i for i in y]", "__import__('os')", "math.sin(1)", "unknown"])
def test_a_default_that_would_have_to_be_run_is_refused_with_its_place(define: Define, default: str) -> None:
    with pytest.raises(UserError, match=r"bad\.py:1: option x uses .*cannot be read without running"):
        define("model", "bad", f"def bad(*, x: int = {default}): ...\n")


@pytest.mark.parametrize("annotation", ["int[3]", "typing.nothing", "Literal[open('x')]", "str()", "Nothing | int"])
def test_a_type_that_is_none_is_refused_with_its_place(define: Define, annotation: str) -> None:
    with pytest.raises(UserError, match=r"bad\.py:1: option x uses"):
        define("model", "bad", f"def bad(*, x: {annotation} = 1): ...\n")


def test_a_type_that_is_defined_by_itself_is_refused(define: Define) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        define("model", "loop", "A = B\nB = A\ndef loop(*, x: A = 1): ...\n")


def test_a_part_of_another_package_is_found_and_read_without_running_it(tmp_path: Path) -> None:
    package = tmp_path / "elsewhere"
    package.mkdir()
    ran = tmp_path / "ran"
    code = f'open({str(ran)!r}, "w")\n'
    (package / "__init__.py").write_text(code)
    (package / "mine.py").write_text(
        code + 'class Mine(dict):\n    """Mine"""\n    def __init__(self, *, k: int = 1): ...\n'
    )
    info = tmp_path / "elsewhere-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gradinc.methods]\nmine = elsewhere.mine\n")
    look = "from gradinc.config import catalog; p = catalog.part('method', 'mine'); print(p.summary, *p.parameters)"
    load = look + "; print(catalog.load_part('method', 'mine').__name__)"

    def run(script: str) -> str:
        path = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        return subprocess.run([sys.executable, "-c", path + script], capture_output=True, text=True, check=True).stdout

    assert run(look) == "Mine k\n"
    assert not ran.exists()
    assert run(load) == "Mine k\nMine\n"
    assert ran.exists()


def test_a_strategy_takes_its_summary_from_the_header_else_from_its_only_method(tmp_path: Path) -> None:
    folder = tmp_path / "strategy"
    folder.mkdir()
    method = catalog.parts("method")[0]
    (folder / "named.yaml").write_text(f"# Mine.\n# Paper: Me\nmethods: {{{method.name}: {{}}}}\n")
    (folder / "unnamed.yaml").write_text(f"methods: {{{method.name}: {{}}}}\n")
    (folder / "empty.yaml").write_text("window: {}\n")
    found = {choice.name: (choice.summary, choice.paper) for choice in groups.choices("strategy", [tmp_path])}
    assert found["named"] == ("Mine", "Me")
    assert found["unnamed"] == (method.summary, method.paper)
    assert found["empty"] == ("", None)
    assert found["sgd"][0]
