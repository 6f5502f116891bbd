"""Provenance of the runs: config, code, data, software and hardware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import yaml

from gradinc.base.text import counted
from gradinc.config.code import recorded_digests
from gradinc.config.documents import flat
from gradinc.config.names import shown as written
from gradinc.records.environment import ENVIRONMENT
from gradinc.records.recorded import RecordedRun
from gradinc.studies.report.document import Entry, ReportTable, Section
from gradinc.studies.report.subject import Page

_FACTS = {
    "gradinc": ("gradinc",),
    "code": ("code",),
    "plug-ins": ("plugins",),
    "commit": ("commit",),
    "data": ("data", "name"),
    "data digest": ("data", "digest"),
    "rows": ("data", "rows"),
    "shape": ("data", "shape"),
    "classes": ("data", "classes"),
    "values found on": ("search", "judged_by"),
}
_LONGEST = 160
_MOST_VALUES = 6


def config_section(page: Page) -> Section:
    """The config that all runs share, as YAML; what differs is in the tables of settings and runs."""
    readable = [run for run in page.subject.runs if run.config]
    if len(readable) == 1:
        text = yaml.safe_dump(dict(readable[0].config), sort_keys=False, allow_unicode=True, default_flow_style=False)
        return Section("Config", listings=[("config.yaml", text)])
    configs = [{key: written(value) for key, value in flat(run.config)} for run in readable]
    first = configs[0] if configs else {}
    common = {key: value for key, value in first.items() if all(config.get(key) == value for config in configs)}
    keys = {key for config in configs for key in config}
    note = f"{len(common)} of {len(keys)} keys have the same value in all {len(readable)} runs."
    listing = "".join(f"{key}={value}\n" for key, value in common.items())
    return Section("Config", [note], listings=[("keys with the same value in all runs", listing)] if common else [])


def provenance_section(page: Page) -> Section:
    """Code, data and environments, with the number of runs for each."""
    runs = page.subject.runs
    rows = []
    for name, keys in _FACTS.items():
        rows += _rows(name, [_value(run, keys) for run in runs])
    for name in ENVIRONMENT:
        rows += _rows(name, [_segments(run, name) for run in runs])
    rows += _rows("starts", [str(len(_all_segments(run))) for run in runs])
    if len(runs) == 1:
        for segment in _all_segments(runs[0]):
            rows.append(
                [Entry(f"command, from step {segment.get('from_step')}"), Entry(str(segment.get("command"))[:400])]
            )
    head = ["record", "value"] if len(runs) == 1 else ["record", "value", "runs"]
    return Section("Provenance", tables=[ReportTable("Provenance", head, rows, wrapped=True)])


def mixed(runs: Sequence[RecordedRun]) -> list[str]:
    """Return sentences about differences between runs that make a comparison doubtful."""
    sentences = []
    made = [recorded_digests(run.meta) for run in runs]
    recorded_values = {
        f"versions of {name}'s code": [each.get(name) for each in made]
        for name in dict.fromkeys(key for each in made for key in each)
    }
    recorded_values["data sets"] = [_value(run, ("data", "digest")) for run in runs]
    for words, values in recorded_values.items():
        if (count := len(set(values) - {None})) > 1:
            sentences.append(f"The runs were made with {count} {words}.")
    if len({run.part for run in runs}) > 1:
        sentences.append("Some runs were measured on validation rows, the others on test rows.")
    several = [run for run in runs if any("→" in (_segments(run, name) or "") for name in ENVIRONMENT)]
    if several:
        sentences.append(f"{counted(len(several), 'run')} resumed with other software, hardware or threads.")
    return sentences


def _rows(name: str, values: Sequence[str | None]) -> list[list[Entry]]:
    counts = Counter(value for value in values if value is not None)
    rows = []
    for value, number in counts.most_common(_MOST_VALUES):
        text = value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
        rows.append([Entry(name), Entry(text), *([Entry(str(number), number)] if len(values) > 1 else [])])
    if len(counts) > _MOST_VALUES:
        rest = sum(number for _, number in counts.most_common()[_MOST_VALUES:])
        rows.append([Entry(name), Entry(f"{len(counts) - _MOST_VALUES} other values"), Entry(str(rest), rest)])
    return rows


def _value(run: RecordedRun, keys: tuple[str, ...]) -> str | None:
    value = run.value("meta", *keys)
    return None if value is None else written(value)


def _all_segments(run: RecordedRun) -> list[Mapping[str, object]]:
    segments = run.meta.get("segments")
    return [each for each in segments if isinstance(each, Mapping)] if isinstance(segments, list) else []


def _segments(run: RecordedRun, name: str) -> str | None:
    values = dict.fromkeys(written(segment[name]) for segment in _all_segments(run) if name in segment)
    return " → ".join(values) if values else None
