"""The same classes from another source in each task."""

from __future__ import annotations

from gradinc.base.errors import UserError
from gradinc.config.names import written
from gradinc.data.experience import Experience, Material


def domains(material: Material, *, sets: list[str] | None = None, roots: list[str] | None = None) -> list[Experience]:
    """Each task has the same classes, from its own source

    The run's own data are the first task. Every further set is split and normalised separately, as the first one is.
    Without further sets, a data set with groups has one task for each group, in the order of their names: data=fsdd has
    one for each speaker, and data=text one for each folder.

    Args:
        sets: names of further data sets, e.g. [mnist].
        roots: folders or files of further tasks, read as the run's own data set, e.g. [sketches,paintings].
    """
    first = material.dataset
    others = [*((name, None) for name in sets or []), *((first.name, root) for root in roots or [])]
    tokens = first.text is not None and first.text.each
    classes = () if tokens else material.classes
    if not others and first.groups is not None:
        return [Experience(first, classes, group=number) for number in range(len(first.groups.names))]
    if not others:
        raise UserError("stream=domains", "needs further sources", "Give stream.roots=[DIR,…] or stream.sets=[name,…]")
    experiences = [Experience(first, classes)]
    for name, root in others:
        dataset = material.load(name, root)
        where = written("stream.roots", root) if root else written("stream.sets", name)
        if dataset.shape != first.shape and first.text is None:
            what = f"has rows of shape {dataset.shape}, the first task {first.shape}"
            raise UserError(where, what, "Use sources of one shape; data.size=N scales images")
        if tokens and dataset.text is not None and dataset.text.each:
            experiences.append(Experience(dataset, classes))
            continue
        if dataset.classes is None or (root is not None and dataset.classes != first.classes):
            raise UserError(
                where, "has other classes than the first task", "Give the classes the same names in all sources"
            )
        if len(dataset.classes) != len(classes):
            what = f"has {len(dataset.classes)} classes, the first task {len(classes)}"
            raise UserError(where, what, "Use sources with the same classes")
        experiences.append(Experience(dataset, classes))
    return experiences
