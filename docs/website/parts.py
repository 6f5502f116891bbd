"""A page for each part, from its source, its YAML file and the measured costs and results."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Sequence

from gradinc.cli.list import WRITTEN
from gradinc.config import catalog, groups
from gradinc.config.catalog import PACKAGE, PLURALS, Part
from gradinc.config.check import described
from gradinc.config.groups import Choice
from gradinc.config.names import shown
from gradinc.config.signature import REQUIRED
from gradinc.core.method import Method
from website import Incomplete, measured
from website.markdown import block, code, leaf, page, table
from website.papers import LINES, bibtex, linked, values

ROOT = PACKAGE.parent

KINDS = ("method", "rule", "due", "model", "data", "stream", "optimizer", "schedule", "criterion", "metric")
KINDS += ("augmentation", "tracker", "cluster")

ABOUT = {
    "method": "One idea from a paper each: it changes the gradient, the batch, the loss or the update.",
    "rule": "How the gradients of a window's micro-batches become one gradient.",
    "due": "When a window is complete and an update is made.",
    "model": "Networks by name. Your own: [bring your own](/own_parts.md).",
    "data": "Data sets by name. Your own: [bring your own](/own_parts.md).",
    "stream": "How a data set becomes a sequence of tasks: [learning task after task](/incremental.md).",
    "optimizer": "PyTorch's optimizers, on all weights as one vector.",
    "schedule": "The learning rate over the updates of a task.",
    "criterion": "The loss.",
    "metric": "Further measures of validation and test rows.",
    "augmentation": "Random changes of training images.",
    "tracker": "Other programs that the numbers of a run are sent to.",
    "cluster": "Where the jobs of a sweep run.",
}

WITH = {
    "model=cnn1d": "data=mnist1d",
    "model=gru": "data=mnist1d",
    "model=decoder": "data=modular",
    "model=encoder": "data=clinc150 data.root=DIR",
    "model=text_cnn": "data=clinc150 data.root=DIR",
    "model=tc_resnet8": "data=fsdd data.root=DIR",
    "model=pretrained": "model.root=FOLDER data=clinc150 data.root=DIR",
    "data=bit_flipping": "model=mlp",
    "data=diabetes": "model=linear",
    "data=mnist1d": "model=cnn1d",
    "data=modular": "model=decoder",
    "data=image_folder": "data.root=DIR",
    "data=audio_folder": "data.root=DIR model=tc_resnet8",
    "data=fsdd": "data.root=DIR model=tc_resnet8",
    "data=clinc150": "data.root=DIR model=text_cnn",
    "data=text_folder": "data.root=DIR model=text_cnn",
    "data=text": "data.root=DIR model=decoder",
    "data=npz": "data.root=FILE.npz model=mlp",
    "data=table": "data.root=FILE.csv model=mlp",
    "data=huggingface": "data.root=FOLDER model=text_cnn",
    "stream=slowly_changing": "data=bit_flipping model=mlp",
    "stream=relabelled": "model=mlp",
    "stream=domains": "data=image_folder stream.roots=[DIR,DIR]",
    "optimizer=pytorch_optimizer": "optimizer.algorithm=lion",
    "cluster=slurm": "-m seed=0,1,2 partition=short",
    "cluster=ray": "-m seed=0,1,2 address=HOST:6379",
    "cluster=local": "-m seed=0,1,2 n_jobs=2",
}
"""What a choice needs beside it."""

PYTHON = {
    "model=module": 'gradinc.train(model=net, data=(x, y), strategy=["accumulate", "clip"])',
    "data=arrays": "gradinc.train(data=(x, y))",
    "stream=given": "gradinc.train(stream=[(x1, y1), (x2, y2)])",
    "criterion=function": "gradinc.train(criterion=loss)",
}
"""Choices that only a Python program makes."""


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each page, of each kind's list, and of the list of kinds."""
    for kind in KINDS:
        folder, found = PLURALS[kind], catalog.parts(kind)
        yield f"reference/{folder}/index", page(f"# {heading(kind)}", ABOUT[kind], *listed(found))
        for part in found:
            yield f"reference/{folder}/{part.name}", part_page(part)
    yield from strategies()


def listed(found: Sequence[Part | Choice]) -> Iterator[str]:
    """Yield the table of some parts or strategies, or one table for each purpose if they have several."""
    purposes = {choice.name: choice.purpose for choice in groups.choices("strategy")}
    of = {
        each.name: purposes.get(each.name, "") if isinstance(each, Choice) or each.kind == "method" else ""
        for each in found
    }
    for purpose in sorted(set(of.values())):
        if len(set(of.values())) > 1:
            yield "## For " + (purpose.replace(", ", ": ") or "any data")
        rows = [
            [f"[{each.name}]({each.name}.md)", each.summary, linked(each.paper or "–")]
            for each in found
            if of[each.name] == purpose
        ]
        yield table(["name", "", "paper"], rows)


def heading(kind: str) -> str:
    """Return the title of a kind's list."""
    return "Data sets" if kind == "data" else PLURALS[kind].capitalize()


def strategies() -> Iterator[tuple[str, str]]:
    """Yield the pages of the strategies that are more, or less, than one method or rule, and their list."""
    own = {part.name for kind in ("method", "rule") for part in catalog.parts(kind)}
    found = [choice for choice in groups.choices("strategy") if choice.name not in own]
    about = "Files that set a window, several methods, or how a stream is trained. Every [method](../methods/index.md) "
    about += "and every [rule](../rules/index.md) is a strategy of the same name, too."
    yield "reference/strategies/index", page("# Strategies", about, *listed(found))
    for choice in found:
        path = groups.file("strategy", choice.name)
        assert path is not None
        text = path.read_text(encoding="utf-8")
        header = "".join(f"{line[2:]}\n" for line in text.splitlines() if re.match(r"#( |$)", line))
        rest = [line for line in LINES.sub("", header).splitlines() if line.rstrip(".") != choice.summary]
        yield (
            f"reference/strategies/{choice.name}",
            leaf(
                "[Strategies](index.md)",
                f"# {choice.name}",
                f"{choice.summary}.",
                paper(choice.paper, header),
                "\n".join(line for line in rest if not line.startswith(("@", "For:"))).strip(),
                command("strategy", choice.name),
                cost(choice.name),
                results(choice.name, header),
                citation(f"conf/strategy/{choice.name}.yaml", choice.paper, header),
                f"## The file\n\n`conf/strategy/{choice.name}.yaml`\n\n{block('yaml', text)}",
            ),
        )


def part_page(part: Part) -> str:
    """Return the page of one part.

    Raises:
        Incomplete: its docstring lacks something that the page needs.
    """
    tree = ast.parse(part.path.read_text(encoding="utf-8"))
    node = next(node for node in tree.body if getattr(node, "name", None) == part.symbol)
    text = ast.get_docstring(node) or ""
    if not part.summary:
        raise Incomplete(f"{part.path}: {part.name} has no docstring")
    one_file = part.kind in catalog.FILE_ROOMS
    source = part.path.read_text(encoding="utf-8") if one_file else segment(part, node)
    return leaf(
        f"[{heading(part.kind)}](index.md)",
        f"# {part.name}",
        f"{part.summary}.",
        paper(part.paper, text),
        formula(part, ast.get_docstring(tree) or "") if part.kind in ("method", "rule", "due") else "",
        body(text),
        command(part.kind, part.name),
        options(part),
        character(part),
        cost(part.name) if part.kind in ("method", "rule") else "",
        results(part.name, text) if part.kind in ("method", "rule") else "",
        citation(str(part.path.relative_to(ROOT)), part.paper, text),
        f"## The {'file' if one_file else 'function'}\n\n`{part.path.relative_to(ROOT)}`\n\n{block('python', source)}",
        preset(part),
    )


def segment(part: Part, node: ast.AST) -> str:
    """Return the source of one function of a module."""
    return ast.get_source_segment(part.path.read_text(encoding="utf-8"), node) or ""


def formula(part: Part, text: str) -> str:
    """Return the formula: the first line of the module's docstring, and the LaTeX between its ``$$``.

    Raises:
        Incomplete: there is no formula.
    """
    plain, _, rest = text.partition("\n")
    found = re.search(r"\$\$(.+?)\$\$", rest, re.DOTALL)
    if found is None:
        raise Incomplete(f"{part.path}: the docstring of the module has no formula in LaTeX, between $$ and $$")
    return f"$$\n{found[1].strip()}\n$$\n\nIn one line: {plain}"


SECTIONS = re.compile(r"^(Args|Raises|Returns|Attributes|Yields):$")


def body(text: str) -> str:
    """Return a docstring without its summary, its named lines and its sections."""
    kept: list[str] = []
    inside = False
    for line in LINES.sub("", text).splitlines()[1:]:
        if SECTIONS.match(line):
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        if not inside:
            kept.append(line)
    return re.sub(r"(?<!`)``(?!`)", "`", "\n".join(kept)).strip()


def words(kind: str, name: str) -> str:
    """Return the arguments of ``gradinc train`` that use a part."""
    if kind == "rule" and name not in groups.names("strategy"):
        return f"strategy.window.rule={name} strategy.window.size=8"
    if kind in ("method", "rule", "strategy"):
        purposes = {choice.name: choice.purpose for choice in groups.choices("strategy")}
        stream = "stream=split " if purposes.get(name, "").startswith("tasks") else ""
        return f"{stream}strategy={name}"
    choice = {"metric": f"metrics=[{name}]", "augmentation": f"data.augment=[{name}]"}.get(kind)
    choice = choice or f"{WRITTEN.get(kind, kind)}={name}"
    return f"{choice} {WITH.get(choice, '')}".strip()


def command(kind: str, name: str) -> str:
    """Return the section with the command; a test composes it."""
    if (choice := f"{kind}={name}") in PYTHON:
        return f"## Command\n\n{block('python', PYTHON[choice])}"
    return f"## Command\n\n{block('console', f'$ gradinc train {words(kind, name)}')}"


def options(part: Part) -> str:
    """Return the table of a part's options."""
    if not part.parameters:
        return ""
    section = {"method": f"strategy.methods.{part.name}.", "rule": f"strategy.window.{part.name}."}
    section |= {"due": f"strategy.window.{part.name}.", "cluster": ""}
    before = section.get(part.kind, f"{part.kind}.")
    content = groups.content(part.kind, part.name) if part.kind in groups.GROUPS else {}
    rows = []
    for name, parameter in part.parameters.items():
        if not parameter.help:
            raise Incomplete(f"{part.path}: the option {name} has no line under Args")
        default = content.get(name, parameter.default)
        value = "required" if default in (REQUIRED, "???") else code(shown(default))
        rows.append([f"`{name}`", described(parameter.annotation), value, parameter.help])
    first = next(iter(part.parameters))
    about = f"Each is written with `{before}` before it, such as `{before}{first}=…`." if before else ""
    return f"## Options\n\n{about}\n\n{table(['key', 'values', 'default', 'meaning'], rows)}"


ROLES = dict(re.findall(r"^- ``(\w+)``: (.+)$", inspect.getsource(inspect.getmodule(Method)), re.MULTILINE))


def character(part: Part) -> str:
    """Return what a method or a rule declares about itself."""
    if part.kind not in ("method", "rule"):
        return ""
    made = catalog.load_part(part.kind, part.name)
    kept = ", ".join(f"`{name}`" for name in made.state)
    lines = [f"- A checkpoint contains its {kept}." if kept else "- It stores nothing from one window to the next."]
    if part.kind == "method":
        role = ROLES[made.role].replace("``", "`").rstrip(".;")
        lines.append(f"- Role in a chain: *{made.role}*" + (f": {role}." if made.role != "free" else "."))
        facts = {
            "rereads": "It reads the window's batches again, so they are stored until the update.",
            "needs_past": "It acts from the second task on: on one task a run trains without it.",
            "reads_task": "It reads the rows of a task when the task begins or ends.",
        }
        lines += [f"- {line}" for name, line in facts.items() if getattr(made, name)]
    return "## What it keeps\n\n" + "\n".join(lines)


def cost(name: str) -> str:
    """Return the measured cost of a strategy."""
    row = measured.costs().get(name)
    if row is None:
        return ""
    lines = [f"- Rows through the model for each row of the stream: {row['rows']}."]
    if "memory" in row:
        lines.append(f"- Peak memory beyond plain accumulation, in vectors of all weights: {row['memory']}.")
        page_of = "[strategies for one stream](/strategies.md)"
    else:
        lines.append(f"- Stored about earlier tasks: {row['kept']}.")
        page_of = "[learning task after task](/incremental.md)"
    return "## Cost\n\n" + "\n".join(lines) + f"\n\nHow this was measured: {page_of}."


def results(name: str, text: str) -> str:
    """Return what a strategy needs and where it fails, and what was measured with it.

    Args:
        text: its docstring, or the header of its file.
    """
    pieces = [*values("Limits", text)]
    if rows := list(measured.streams(name)):
        heads = ["stream", "ACC %", "BWT %", "finetune", "best", "joint"]
        note = "ACC of `finetune` is the lower bound, of `joint` the upper bound; *best* is without `joint`. "
        note += "How it was measured: [learning task after task](/incremental.md#results)."
        pieces.append(table(heads, [[row[head] for head in heads] for row in rows]) + f"\n\n{note}")
    if rows := list(measured.of_tables(name)):
        heads = ["table", "row", "quantity", "ours", "without", "best", "published", "verdict"]
        cells = [[f"[{row['table']}](/results/{row['table']}.md)", *(row[head] for head in heads[1:])] for row in rows]
        note = "*Without* is the table's row without a method, *best* its best row except joint training."
        pieces.append(table(heads, cells) + f"\n\n{note}")
    if not rows and not list(measured.streams(name)):
        pieces.append("No run of it is among [our results](/results/index.md).")
    return "## Where it works and where it fails\n\n" + "\n\n".join(pieces)


def paper(reference: str | None, text: str) -> str:
    """Return the line with the paper of a part.

    Args:
        text: the docstring or header with the line.
    """
    titles = ", ".join(f"*{title}*" for title in values("Title", text))
    return f"Paper: {linked(reference)}" + (f": {titles}" if titles else "") if reference else ""


def citation(where: str, reference: str | None, text: str) -> str:
    """Return the BibTeX of a paper.

    Args:
        where: the part's file, for messages.
        text: the docstring or header with the line of the paper.
    """
    entries = bibtex(where, reference, text) if reference else ""
    return f"## BibTeX\n\n{block('bibtex', entries)}" if entries else ""


def preset(part: Part) -> str:
    """Return the YAML file of a part."""
    group = "strategy" if part.kind in ("method", "rule") else part.kind
    path = groups.file(group, part.name) if group in groups.GROUPS else None
    if path is None:
        return ""
    return f"`conf/{group}/{part.name}.yaml`\n\n{block('yaml', path.read_text(encoding='utf-8'))}"
