"""Strictness of the notebook runner, on notebooks of a few lines; and what the committed notebooks must be."""

import ast
import dataclasses
import json
import re
import sys
import tokenize
from io import StringIO

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from repro.errors import ReproError
from repro.study import STUDIES, notebooks, runs
from repro.study.asympo_async import ASYMPO_ASYNC

PARAMETERS = (
    'n: int = 1  # a number\nname: str = "a"  # a word\nrate: float = 0.5  # per second\nmany: int | None = None'
)
SOURCES = sorted(notebooks.NOTEBOOKS.glob("*.ipynb"))


def write(path, *sources, parameters=PARAMETERS, tags=("parameters",)):
    """A notebook: a heading, the parameters cell, then a code cell for each source."""
    head = [new_markdown_cell("# heading"), new_code_cell(parameters, metadata={"tags": list(tags)})]
    nbformat.write(new_notebook(cells=[*head, *map(new_code_cell, sources)]), path)
    return path


def outputs(path):
    """The text of each code cell's outputs."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return ["".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in c.outputs) for c in cells]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"m": 2}, "has no parameter 'm'; it has: n, name, rate, many"),
        ({"n": "2"}, "parameter n: '2' is not of type int"),
        ({"n": True}, "parameter n: True is not of type int"),
        ({"n": 2.5}, "parameter n: 2.5 is not of type int"),
        ({"n": None}, "parameter n: None is not of type int"),
        ({"name": 3}, "parameter name: 3 is not of type str"),
        ({"many": "3"}, "parameter many: '3' is not of type"),
    ],
)
def test_parameters_that_do_not_fit_stop_before_anything_runs(tmp_path, given, message):
    notebook = write(tmp_path / "a.ipynb", "1 / 0")
    with pytest.raises(ReproError, match=re.escape(message)):
        notebooks.execute(notebook, given, tmp_path / "out" / "a.ipynb")
    assert not (tmp_path / "out").exists()


def test_parameters_that_fit(tmp_path):
    node = notebooks.read(write(tmp_path / "a.ipynb", parameters=PARAMETERS + "\narms: tuple[str, ...] | None = None"))
    for given in ({}, {"rate": 1}, {"many": 3}, {"many": None}, {"arms": ["a", "b"]}, {"arms": ("a",)}):
        defaults = notebooks.check(node, given, tmp_path / "a.ipynb")
        assert defaults == {"n": 1, "name": "a", "rate": 0.5, "many": None, "arms": None}


@pytest.mark.parametrize(
    "cell, message",
    [
        ({"tags": ()}, "has 0 cells tagged 'parameters'"),
        ({"parameters": "seeds = None"}, "parameter seeds = None needs a type"),
        ({"parameters": "n: int = 'one'"}, "default of n: 'one' is not of type int"),
        ({"parameters": "n: Path = 1"}, "must hold only lines like"),
        ({"parameters": "n = open('x')"}, "must hold only lines like"),
        ({"parameters": "import os"}, "must hold only lines like"),
        ({"parameters": "n = "}, "must hold only lines like"),
    ],
)
def test_malformed_parameters_cell(tmp_path, cell, message):
    notebook = write(tmp_path / "a.ipynb", "1 / 0", **cell)
    with pytest.raises(ReproError, match=re.escape(message)):
        notebooks.execute(notebook, {}, tmp_path / "out.ipynb")


def test_two_parameters_cells(tmp_path):
    node = nbformat.read(write(tmp_path / "a.ipynb"), 4)
    node.cells.append(new_code_cell("k = 1", metadata={"tags": ["parameters"]}))
    with pytest.raises(ReproError, match="has 2 cells tagged 'parameters'"):
        notebooks.check(node, {}, tmp_path / "a.ipynb")


def test_missing_or_broken_notebook(tmp_path):
    with pytest.raises(ReproError, match="there is no notebook .*gone.ipynb"):
        notebooks.execute(tmp_path / "gone.ipynb", {}, tmp_path / "out.ipynb")
    (tmp_path / "broken.ipynb").write_text('{"cells": [')
    with pytest.raises(ReproError, match="broken.ipynb is not a valid notebook"):
        notebooks.execute(tmp_path / "broken.ipynb", {}, tmp_path / "out.ipynb")


@pytest.mark.parametrize(
    "given, message",
    [
        ({"tier": "tiny"}, "there is no tier 'tiny'; there are: smoke, small, paper"),
        ({"tier": "paper", "only": ["asympo_async"]}, "this run cannot start here, it lacks:"),
        ({"only": ["asympo"]}, "there is no study 'asympo'; there are: asympo_async"),
        ({"seeds": 0}, "seeds=0: give a whole number of 1 or more"),
        ({"seeds": True}, "seeds=True"),
        ({"jobs": -1}, "jobs=-1"),
        ({"jobs": "2"}, "jobs='2'"),
    ],
)
def test_reproduce_refuses_before_anything_runs(tmp_path, monkeypatch, given, message):
    monkeypatch.setattr(notebooks, "execute", lambda *_: pytest.fail("something ran"))
    with pytest.raises(ReproError, match=re.escape(message)):
        notebooks.reproduce(**given, root=tmp_path, quiet=True)


def test_reproduce_reports_a_failing_notebook_and_goes_on(tmp_path, monkeypatch):
    """Three kernels: parameters, kernel, data folder and metadata of a good notebook, and the report of a bad one."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    study = dataclasses.replace(ASYMPO_ASYNC, notebook="bad.ipynb")
    monkeypatch.setattr(notebooks, "STUDIES", {study.name: study})
    monkeypatch.setattr(notebooks, "study_named", {study.name: study}.__getitem__)
    monkeypatch.setattr(notebooks, "AFTER_STUDIES", ("claims", "explore"))
    (tmp_path / "notebooks").mkdir()
    bad = 'tier: str = "?"  # tier\nseeds: int | None = None  # seeds\njobs: int = 9  # jobs\nrun: bool = False  # run'
    write(tmp_path / "notebooks/bad.ipynb", "ok = 3", "print('before')\nassert ok == 4, 'three'", "1", parameters=bad)
    where = "import os, sys, repro\nprint(os.getcwd(), sys.executable, os.environ['REPRO_DATA'])"
    write(tmp_path / "notebooks/claims.ipynb", where, parameters="paper: str = 'all'  # paper")
    explore = "tier: str = 'small'  # tier\ndemo_run: bool = False  # demo"
    write(tmp_path / "notebooks/explore.ipynb", "print(tier, demo_run)", parameters=explore)

    report = notebooks.reproduce("smoke", seeds=2, jobs=1, root=tmp_path / "data", quiet=True)

    failed, claims, explore = report.executions
    folder = tmp_path / "data" / "executed" / "smoke"
    assert not report.ok and claims.failure is None and explore.failure is None
    assert failed.failure.cell == 4 and failed.failure.source == "print('before')\nassert ok == 4, 'three'"
    assert failed.failure.traceback.endswith("AssertionError: three") and "\x1b" not in failed.failure.traceback
    assert failed.log == folder / "bad.log"
    log = failed.log.read_text()
    assert log.startswith("before\n") and "cell 4 failed" in log and "AssertionError: three" in log
    for part in ("bad.ipynb: FAILED in cell 4", str(failed.log), "assert ok == 4", "AssertionError: three"):
        assert part in report.summary()
    meta = nbformat.read(failed.out, 4).metadata.repro
    assert meta.parameters == {"tier": "smoke", "seeds": 2, "jobs": 1, "run": True}
    assert meta.status == "failed" and meta.failure.cell == 4
    expected = f"{tmp_path}/notebooks {sys.executable} {tmp_path}/data\n"
    assert outputs(folder / "claims.ipynb")[-1] == expected == claims.log.read_text()
    assert outputs(folder / "explore.ipynb")[-1] == "smoke True\n"
    meta = nbformat.read(claims.out, 4).metadata.repro
    assert meta.parameters == {"paper": "all"} and meta.status == "done" and "failure" not in meta
    assert (meta.commit, meta.dirty) == (runs.provenance()["commit"], runs.provenance()["dirty"])
    assert meta.versions.keys() >= {"python", "numpy", "papermill", "ipykernel"}
    assert 0 < meta.duration == pytest.approx(claims.seconds, abs=0.01) and meta.started.endswith("+00:00")
    assert len(meta.source_sha256) == 64


def test_a_cell_that_hangs_and_a_kernel_that_dies_are_failures_of_their_cell(tmp_path):
    hanging = write(tmp_path / "hang{0}.ipynb", "import time", "time.sleep(300)", "1")  # papermill fills in braces
    execution = notebooks.execute(hanging, {"n": 2}, tmp_path / "o{u}t.ipynb", timeout=8)
    assert execution.failure.cell == 4 and execution.failure.traceback.startswith("CellTimeoutError")
    assert nbformat.read(tmp_path / "o{u}t.ipynb", 4).metadata.repro.parameters["n"] == 2
    dying = write(tmp_path / "die.ipynb", "import os; os._exit(1)", "1")
    execution = notebooks.execute(dying, {}, tmp_path / "died.ipynb")
    assert execution.failure.cell == 3 and execution.failure.traceback.startswith("DeadKernelError")


# The committed notebooks ------------------------------------------------------------------------------------


def test_there_is_a_notebook_for_every_study_and_for_what_follows():
    assert {path.stem for path in SOURCES} == {s.notebook.removesuffix(".ipynb") for s in STUDIES.values()} | set(
        notebooks.AFTER_STUDIES
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_sources_are_plain(path):
    """No outputs or traces of a person's session, ids that do not change, and one parameters cell."""
    raw = json.loads(path.read_text())
    code = [cell for cell in raw["cells"] if cell["cell_type"] == "code"]
    assert not [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None]
    assert {key for cell in raw["cells"] for key in cell["metadata"]} <= {"tags"}
    assert set(raw["metadata"]) == {"kernelspec", "language_info"}
    ids = [cell["id"] for cell in raw["cells"]]
    assert len(set(ids)) == len(ids)
    assert [cell["id"] for cell in code if "parameters" in cell["metadata"].get("tags", [])] == ["parameters"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_knob_is_explained(path):
    node = notebooks.read(path)
    (source,) = (cell.source for cell in node.cells if cell.id == "parameters")
    comments = {t.start[0] for t in tokenize.generate_tokens(StringIO(source).readline) if t.type == tokenize.COMMENT}
    assert {statement.lineno for statement in ast.parse(source).body} <= comments
    assert notebooks.declared_parameters(node, path)


@pytest.mark.parametrize("tier", ["smoke", "small"])
def test_sources_take_what_reproduce_gives_them(tier):
    for name in [*STUDIES, *notebooks.AFTER_STUDIES]:
        for missing in (False, True):
            path, parameters = notebooks._planned(name, tier, 3, 2, missing, None)
            notebooks.check(notebooks.read(path), parameters, path)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_notebooks_are_thin(path):
    """Logic lives in the package, where it is tested: no function, class or loop nest here."""
    for cell in notebooks.read(path).cells:
        if cell.cell_type == "code":
            source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
            kinds = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.Try, ast.While)
            assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)], cell.id
            assert len(source.splitlines()) <= 12, cell.id


def test_papermill_has_one_way_in():
    users = [path for path in (runs.REPOSITORY / "repro").rglob("*.py") if "import papermill" in path.read_text()]
    assert [path.name for path in users] == ["notebooks.py"]
