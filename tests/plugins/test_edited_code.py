"""Code of another package that was edited since is edited code: nobody takes the old run for one of the new code."""

from __future__ import annotations

import json
import signal

import pytest
from lab import SMALL, Lab

from gradinc.records.seal import seal

RUN = ("model=net", "name=mine", "budget.steps=20")


def tanh(lab: Lab) -> None:
    """Edit a module that the model reaches, and not the model's own."""
    lab.edit("shared.py", "nn.ReLU()", "nn.Tanh()")


def test_a_finished_run_says_whose_code_is_another(lab: Lab) -> None:
    assert lab.train(*RUN).code == 0
    assert "by another version" not in lab.train(*RUN).out
    tanh(lab)
    end = lab.train(*RUN)
    assert end.code == 0
    assert "is finished already by another version of mylab's code; fresh=true runs it again." in end.out
    assert lab.train(*RUN, "fresh=true").code == 0
    assert "by another version" not in lab.train(*RUN).out


def test_a_run_without_its_parts_is_none_of_its_business(lab: Lab) -> None:
    words = ("model=linear", "name=plain")
    assert lab.train(*words).code == 0
    assert "plugins" not in json.loads((lab.folder / "outputs/plain/meta.json").read_text())
    tanh(lab)
    assert "by another version" not in lab.train(*words).out
    assert lab.gradinc("test", "outputs/plain").err == ""


def test_gradinc_test_warns_of_edited_code_of_theirs_and_of_ours(lab: Lab) -> None:
    assert lab.train(*RUN).code == 0
    before = lab.gradinc("test", "outputs/mine")
    assert (before.code, before.err) == (0, "")
    tanh(lab)
    after = lab.gradinc("test", "outputs/mine")
    assert after.code == 0
    assert after.out != before.out  # another model with the same weights
    line = "warning: outputs/mine was made by another version of {} code: its model may be another one now.\n"
    assert after.err == line.format("mylab's")
    run = lab.folder / "outputs/mine"
    (run / "meta.json").write_text(json.dumps({**json.loads((run / "meta.json").read_text()), "code": "0" * 64}))
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(seal(result, run, result["seal"]["files"])))
    assert lab.gradinc("test", "outputs/mine").err == line.format("gradinc's and mylab's")
    tanh_again = lab.package / "shared.py"
    tanh_again.write_text(tanh_again.read_text().replace("nn.Tanh()", "nn.ReLU()"))
    assert lab.gradinc("test", "outputs/mine").err == line.format("gradinc's")


@pytest.mark.parametrize("strict", [False, True])
def test_a_resumed_run_says_so_or_is_refused(lab: Lab, strict: bool) -> None:
    words = (*RUN, "budget.steps=400", "checkpoint.seconds=0", "progress=plain")
    life = lab.start("train", *lab.config_dir, *SMALL, *words)
    while not list(lab.folder.glob("outputs/mine/ckpt/*")):
        assert not life.is_over()
    life.kill(signal.SIGTERM)
    assert life.end().code == 128 + signal.SIGTERM
    tanh(lab)
    end = lab.train(*words, *(["strict=true"] if strict else []))
    printed = end.out + end.err
    assert "ran with plugins mylab " in printed
    assert end.code == (2 if strict else 0), printed
    meta = json.loads((lab.folder / "outputs/mine/meta.json").read_text())
    versions = [segment["plugins"] for segment in meta["segments"]]
    assert len(set(versions)) == len(versions) == (1 if strict else 2)


def test_a_sweep_says_how_many_of_its_finished_runs_are_of_other_code(lab: Lab) -> None:
    words = ("-m", "model=net,linear", "seed=0,1")
    assert lab.train(*words).code == 0
    tanh(lab)
    end = lab.train(*words)
    assert "2 of the runs that are finished already were made by another version of mylab's code;" in end.out


def test_verify_and_report_and_diff_name_the_other_code(lab: Lab) -> None:
    assert lab.train(*RUN).code == 0
    tanh(lab)
    assert lab.train("model=net", "name=other", "budget.steps=20").code == 0
    verified = lab.gradinc("verify", "outputs/mine")
    assert verified.code == 1
    assert "plugins was mylab " in verified.out + verified.err
    compared = lab.gradinc("diff", "outputs/mine", "outputs/other")
    assert "plugins.mylab" in compared.out
    assert lab.gradinc("report", "outputs", "--out", "page.html").code == 0
    assert "The runs were made with 2 versions of mylab's code." in (lab.folder / "page.md").read_text()


def test_a_worker_refuses_a_job_of_other_code(lab: Lab) -> None:
    """The code is edited between the sweep's first look and the worker's start."""
    late = "import mylab.shared\nfrom pathlib import Path\nshared = Path(mylab.shared.__file__)\n"
    late += "shared.write_text(shared.read_text() + '# edited')\n"
    lab.edit("clusters/inline.py", "        for shipment", "        exec(LATE)\n        for shipment")
    lab.edit("clusters/inline.py", "class Inline", f"LATE = {late!r}\n\n\nclass Inline")
    end = lab.train("-m", "model=net,linear", "cluster=inline")
    assert end.code == 1
    assert "composed with other code of mylab (digest " in end.out
    results = [json.loads(path.read_text()) for path in lab.folder.glob("outputs/*/result.json")]
    assert [result["status"] for result in results] == ["finished"]  # that without a part of theirs
