"""Notebooks executed through papermill, strictly: what papermill only warns about stops here before anything runs.

A notebook has exactly one cell tagged `parameters`; each line there is `name: type = default  # meaning, unit`. A given
parameter must be one of them and of its declared type. Executed copies, with their logs beside them, go to
`<data>/executed/<tier>/` and say in `metadata.repro` what they were made with; the sources stay without outputs.

The one module that imports papermill and the Jupyter side.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import logging
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from repro.config import check_type
from repro.errors import ReproError
from repro.study import STUDIES, runs, study_named, theory_results
from repro.study.definition import TIERS
from repro.study.plan import check as check_run

NOTEBOOKS = runs.REPOSITORY / "notebooks"
AFTER_STUDIES = ("threespo_theory", "claims", "explore")  # a simulation, and what reads all results; in reading order
TIMEOUTS = {"smoke": 600}  # seconds a cell; other tiers train for hours in one
PACKAGES = ("papermill", "nbclient", "ipykernel", "pandas", "matplotlib")
TYPES = {"int": int, "float": float, "str": str, "bool": bool, "tuple": tuple, "dict": dict}
logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters that are typed `int | None` as unknown
SOCKET_PATH = 90  # characters; the system's limit for a socket's path is 104 or 108


@dataclass(frozen=True)
class Failure:
    """The cell that a notebook stopped at: its number in the source, from 1, all cells counted; 0: before any cell."""

    cell: int
    source: str
    traceback: str


@dataclass(frozen=True)
class Execution:
    """An executed notebook: where it came from, its copy, its log, wall-clock seconds, its failure if any."""

    notebook: Path
    out: Path
    log: Path
    seconds: float
    failure: Failure | None = None

    def describe(self) -> str:
        """A line; for a failure also the cell's first lines, the last of its traceback, and the log's path."""
        if self.failure is None:
            return f"{self.notebook.name}: done in {self.seconds:.0f} s, {self.out}"
        head = f"{self.notebook.name}: FAILED in cell {self.failure.cell} after {self.seconds:.0f} s, see {self.log}"
        source = [f"    | {line}" for line in self.failure.source.splitlines()[:6]]
        return "\n".join([head, *source, *(f"    {line}" for line in self.failure.traceback.splitlines()[-4:])])


@dataclass(frozen=True)
class Report:
    """What became of each notebook, in reading order."""

    executions: tuple[Execution, ...]

    @property
    def ok(self) -> bool:
        return all(execution.failure is None for execution in self.executions)

    def summary(self) -> str:
        return "\n".join(execution.describe() for execution in self.executions)


def reproduce(
    tier: str = "smoke",
    only: Sequence[str] = (),
    seeds: int | None = None,
    jobs: int | None = None,
    root: Path | None = None,
    quiet: bool = False,
    missing: bool = False,
) -> Report:
    """Execute every study's notebook at a tier, then the ledger of claims and the explorer, one after the other.

    `only` names studies (or "claims", "explore"; none: all); `seeds` caps the seeds of each arm; `jobs` is the number
    of worker processes of a grid (None: as the notebook says); `root` is the data folder; with `missing` only runs
    that the committed tables lack are trained. A notebook that fails is in
    the report and stops none of the others. Raises ReproError before anything runs for an unknown name, a tier that a
    chosen study lacks, what a paper's tier lacks on this machine, a number below 1, or a notebook that is missing or
    malformed.
    """
    if tier not in TIERS:
        raise ReproError(f"there is no tier {tier!r}; there are: {', '.join(TIERS)}")
    for name, value in (("seeds", seeds), ("jobs", jobs)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ReproError(f"{name}={value!r}: give a whole number of 1 or more")
    plan = [_planned(name, tier, seeds, jobs, missing, root) for name in _chosen(only)]
    for notebook, parameters in plan:
        check(read(notebook), parameters, notebook)
    folder, executions = Path(root or runs.data_folder()) / "executed" / tier, []
    for number, (notebook, parameters) in enumerate(plan, start=1):
        if not quiet:
            given = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
            print(f"[{number}/{len(plan)}] {notebook.name} ({given})", file=sys.stderr, flush=True)
        out = folder / notebook.name
        executions.append(execute(notebook, parameters, out, root, TIMEOUTS.get(tier), quiet))
        if not quiet:
            print(executions[-1].describe(), file=sys.stderr, flush=True)
    return Report(tuple(executions))


def execute(
    notebook: Path,
    parameters: dict[str, Any],
    out: Path,
    root: Path | None = None,
    timeout: int | None = None,
    quiet: bool = True,
) -> Execution:
    """Execute a notebook with parameters into `out`, its log beside it; a cell that fails is returned, not raised.

    The kernel is this very interpreter, whatever kernels are installed, working in the notebook's folder; `root` is its
    data folder. `timeout` is in seconds a cell. Unless `quiet`, what it writes to stderr (progress) is shown on ours.
    Raises ReproError before anything runs for a missing or malformed notebook or parameters that do not fit.
    """
    notebook, out = Path(notebook).resolve(), Path(out).resolve()
    source = read(notebook)
    declared = check(source, parameters, notebook)
    log, started, clock = out.with_suffix(".log"), datetime.now(UTC), time.monotonic()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
    except OSError as error:
        raise ReproError(f"cannot write {log}: {error.strerror}. Set REPRO_DATA to another folder") from error
    source.metadata["repro"] = _provenance(notebook, declared | parameters, started)
    failure = None
    with tempfile.TemporaryDirectory(prefix="repro-kernel-") as sockets, _Tee(log, quiet) as tee:
        try:
            papermill.execute_notebook(
                source,
                str(out).replace("{", "{{").replace("}", "}}"),  # papermill would fill them in
                parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=120,
                execution_timeout=timeout,
                kernel_manager_class=_kernel_manager(Path(sockets), Path(root or runs.data_folder()).resolve()),
                resources={"metadata": {"path": str(notebook.parent)}},  # where the kernel works
                stdout_file=tee.file,
                stderr_file=tee,
            )
        except PapermillExecutionError as error:
            failure = _failure(out, source, "\n".join(error.traceback))
        except (CellTimeoutError, DeadKernelError, RuntimeError) as error:  # RuntimeError: the kernel did not start
            failure = _failure(out, source, f"{type(error).__name__}: {str(error).splitlines()[0]}")
        if failure:
            tee.file.write(f"\ncell {failure.cell} failed:\n{failure.source}\n\n{failure.traceback}\n")
    seconds = time.monotonic() - clock
    executed = nbformat.read(out, as_version=4) if out.exists() else source
    executed.metadata["repro"] |= {"duration": round(seconds, 2), "status": "failed" if failure else "done"}
    if failure:
        executed.metadata["repro"]["failure"] = asdict(failure)
    runs.atomic_write(out, nbformat.writes(executed))
    return Execution(notebook, out, log, seconds, failure)


def read(notebook: Path) -> nbformat.NotebookNode:
    """The notebook at a path; ReproError if it is missing or not a notebook."""
    try:
        node = nbformat.read(notebook, as_version=4)
        nbformat.validate(node)
    except FileNotFoundError:
        raise ReproError(f"there is no notebook {notebook}") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError) as error:
        raise ReproError(f"{notebook} is not a valid notebook: {str(error).splitlines()[0]}") from error
    return node


def check(node: nbformat.NotebookNode, parameters: dict[str, Any], notebook: Path) -> dict[str, Any]:
    """The declared defaults, {name: value}; ReproError for a malformed cell, or an unknown or mistyped parameter."""
    declared = declared_parameters(node, notebook)
    for name, value in parameters.items():
        if name not in declared:
            raise ReproError(f"{notebook.name} has no parameter {name!r}; it has: {', '.join(declared)}")
        check_type(declared[name][0], value, f"{notebook.name}: parameter {name}")
    return {name: default for name, (_, default) in declared.items()}


def declared_parameters(node: nbformat.NotebookNode, notebook: Path) -> dict[str, tuple[Any, Any]]:
    """{name: (type, default)} of the one cell tagged `parameters`; ReproError unless it is one, of plain assignments.

    A type is the annotation's (int, float, str, bool, tuple[str, ...], unions with None), else that of the default.
    """
    tagged = [cell for cell in node.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0].cell_type != "code":
        raise ReproError(f"{notebook} has {len(tagged)} cells tagged 'parameters'; it needs exactly one, a code cell")
    declared = {}
    try:
        statements = ast.parse(tagged[0].source).body
        for statement in statements:
            if isinstance(statement, ast.AnnAssign):
                target, annotation = statement.target, eval(ast.unparse(statement.annotation), {"__builtins__": TYPES})
            else:
                (target,), annotation = statement.targets, None
            default = ast.literal_eval(statement.value)
            if annotation is None and default is None:
                raise ReproError(f"{notebook}: parameter {target.id} = None needs a type, such as int | None")
            declared[target.id] = (annotation or type(default), default)
            check_type(*declared[target.id], f"{notebook.name}: default of {target.id}")
    except (SyntaxError, ValueError, TypeError, AttributeError, NameError) as error:
        raise ReproError(
            f"{notebook}: the parameters cell must hold only lines like `seeds: int | None = None` ({error})"
        ) from error
    return declared


def _chosen(only: Sequence[str]) -> list[str]:
    everything = [*STUDIES, *AFTER_STUDIES]
    chosen = list(only) or everything
    for name in chosen:
        if name not in everything:
            raise ReproError(f"there is no study {name!r}; there are: {', '.join(everything)}")
    return sorted(set(chosen), key=everything.index)


def _planned(
    name: str, tier: str, seeds: int | None, jobs: int | None, missing: bool, root: Path | None
) -> tuple[Path, dict[str, Any]]:
    """The notebook of that name, and its parameters."""
    if name == theory_results.NAME:
        simulated = "smoke" if tier == "smoke" else "small"  # no model is trained: there is no tier above
        lost = tier == "smoke" or not theory_results.whole(simulated, root)
        return NOTEBOOKS / f"{name}.ipynb", {"tier": simulated, "run": lost}
    if name == "claims":
        return NOTEBOOKS / "claims.ipynb", {}
    if name == "explore":
        return NOTEBOOKS / "explore.ipynb", {"tier": tier, "demo_run": tier == "smoke"}
    study = study_named(name)
    study.check_tier(tier)
    if study.paper_tier(tier):
        check_run(study.cells(tier)[0])
    parameters = {"tier": tier, "seeds": seeds, "run": True} | ({} if jobs is None else {"jobs": jobs})
    return NOTEBOOKS / study.notebook, parameters | ({"missing": True} if missing else {})


def _provenance(notebook: Path, parameters: dict[str, Any], started: datetime) -> dict[str, Any]:
    here = runs.provenance()
    versions = here["versions"] | {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "source": notebook.name,
        "source_sha256": hashlib.sha256(notebook.read_bytes()).hexdigest(),
        "parameters": parameters,
        "commit": here["commit"],
        "dirty": here["dirty"],
        "versions": versions,
        "started": started.isoformat(timespec="seconds"),
    }


def _failure(out: Path, source: nbformat.NotebookNode, traceback: str) -> Failure:
    """The last cell that was started, as numbered in the source: papermill adds cells of its own to the copy."""
    ids, parameters, last = [cell.id for cell in source.cells], None, None
    for cell in nbformat.read(out, as_version=4).cells if out.exists() else ():
        if "parameters" in cell.metadata.get("tags", []):
            parameters = cell
        if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time"):
            last = cell if cell.id in ids else parameters
    plain = re.sub(r"\x1b\[[0-9;]*m", "", traceback).strip()
    return Failure(0, "", plain) if last is None else Failure(ids.index(last.id) + 1, last.source, plain)


def _kernel_manager(sockets: Path, data: Path) -> type[AsyncKernelManager]:
    """A kernel of this interpreter, on sockets in a folder of its own: ports are shared by a machine, and raced for."""
    environment = {"REPRO_DATA": str(data), "PYTHONPATH": str(runs.REPOSITORY), "IPYTHONDIR": str(sockets / "ipython")}
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
    spec = KernelSpec(argv=command, display_name="Python 3", language="python", env=environment)

    class Kernel(AsyncKernelManager):
        kernel_spec = spec

        def __init__(self, **settings: Any) -> None:
            transport = "ipc" if len(str(sockets)) < SOCKET_PATH - len("/kernel-ipc-1") else "tcp"
            super().__init__(transport=transport, connection_file=str(sockets / "kernel.json"), **settings)

    return Kernel


class _Tee:
    """The log, and what comes to stderr also shown on ours."""

    def __init__(self, log: Path, quiet: bool) -> None:
        self.file, self.quiet = open(log, "a", encoding="utf-8"), quiet  # noqa: SIM115

    def write(self, text: str) -> None:
        self.file.write(text)
        if not self.quiet:
            sys.stderr.write(text)

    def flush(self) -> None:
        self.file.flush()
        sys.stderr.flush()

    def __enter__(self) -> _Tee:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
