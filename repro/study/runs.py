"""A run on disk: a folder that can be left at any moment and taken up again, and that refuses to be misread.

    config.json     resolved config, its hash, commit, dirty flag, versions, device
    metrics.jsonl   one strict JSON object per line: the truth that everything else is computed from
    result.json     written last and whole; its presence says that the run is over (finished or diverged)
    error.txt       traceback of the last attempt, if that failed

Whoever trains holds a kernel lock on `.lock`, which vanishes with its process however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.config import config_hash, to_dict
from repro.errors import ReproError
from repro.places import REPOSITORY, data_folder
from repro.study import tracking

STATUSES = ("finished", "diverged")
PACKAGES = ("torch", "transformers", "numpy", "tokenizers", "safetensors")


class RunBusy(ReproError):
    """Another process is training this run at this moment."""


def run_folder(config: Any, root: Path | None = None) -> Path:
    """`<root>/runs/<study>/<tier>/<arm>/seed<seed>-<hash>`; `root` defaults to `data_folder()`."""
    folder = Path(root or data_folder()) / "runs" / config.study / config.tier / config.arm
    return folder / f"seed{config.seed}-{config_hash(config)}"


@contextlib.contextmanager
def open_run(config: Any, folder: Path, device: str = "cpu") -> Iterator[Run]:
    """Lock a run's folder, made if need be, and hand it out to train in.

    `run.finished` is the result of a run that is over, else None; then call `run.log.rewind(mark)` with the
    mark of the checkpoint (None without one), `run.log.append`, `run.log.mark`, and `run.finish` at the end.
    Raises RunBusy if another process holds the run, ReproError for damaged or foreign files or a folder that
    cannot be written.
    """
    folder = Path(folder)
    finished = finished_result(folder, config)  # needs no lock: result.json appears whole and never changes
    if finished is None:
        with locked(folder):
            finished = finished_result(folder, config)  # another process may have ended it meanwhile
            if finished is None:
                _record_config(folder, config, device)
                with _writing(folder):
                    for leftover in (folder / "error.txt", *folder.glob(".*.tmp")):
                        leftover.unlink(missing_ok=True)
                shown = tracking.mirror(config, folder)
                with contextlib.closing(MetricsLog(folder / "metrics.jsonl", shown)) as log:
                    yield Run(folder, None, log)
                return
    yield Run(folder, finished)


@dataclass
class Run:
    """An open run: its folder, its result if it is over, its log if it is not."""

    folder: Path
    finished: dict | None
    log: MetricsLog | None = None

    def finish(self, result: dict) -> dict:
        """Write result.json, which ends the run, and return its content.

        `result` needs `status` ("finished" or "diverged"); the hash, and checksums of the metrics and of the
        result itself, are added. Non-finite numbers come back from `read_result` as they were.
        """
        if result.get("status") not in STATUSES:
            raise ValueError(f"status must be one of {STATUSES}, got {result.get('status')!r}")
        end = self.log.mark()
        seal = {"metrics_bytes": end["bytes"], "metrics_sha256": end["sha256"]}
        full = {**result, "hash": read_config(self.folder)["hash"], **seal}
        stored = json.loads(_dump(_without_nonfinite(full)))  # as a reader will see it
        atomic_write(self.folder / "result.json", _dump({**stored, "checksum": _checksum(stored)}) + "\n")
        self.finished = _with_nonfinite(stored)
        return self.finished


@dataclass
class MetricsLog:
    """Append-only JSON lines, cut back to the checkpoint on resume so that no line is lost, torn or doubled.

    NaN and infinities, which JSON lacks, are written as null and named in the line's "nonfinite" entry. A `mirror` is
    shown every record once it is written.
    """

    path: Path
    mirror: tracking.Mirror | None = None
    _bytes: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        with _writing(self.path):
            # Unbuffered: a failed write leaves nothing behind that a later close would try to write again.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
            self._positioned = self.path.stat().st_size == 0

    def append(self, record: dict) -> None:
        """Write one line. Values are str, int, float, bool, None, or lists and dicts of finite ones."""
        if not self._positioned:
            raise RuntimeError(f"{self.path} holds an earlier attempt: call rewind(mark) before append")
        line = (_dump(_without_nonfinite(record)) + "\n").encode()
        with _writing(self.path):
            rest = line
            while rest:
                rest = rest[self._file.write(rest) :]
        self._bytes += len(line)
        self._sha256.update(line)
        if self.mirror:
            self.mirror.write(record)

    def mark(self) -> dict:
        """The place reached, safely on disk: {"bytes", "sha256"}, to be stored in the checkpoint."""
        with _writing(self.path):
            os.fsync(self._file.fileno())
        return {"bytes": self._bytes, "sha256": self._sha256.hexdigest()}

    def rewind(self, mark: dict | None) -> None:
        """Drop what was written after `mark` (None: everything); ReproError if what is before it changed."""
        kept = b""
        if mark is not None:
            kept = self.path.read_bytes()[: mark["bytes"]]
            if len(kept) != mark["bytes"] or hashlib.sha256(kept).hexdigest() != mark["sha256"]:
                raise _damaged(self.path, "was truncated or edited since the checkpoint")
        with _writing(self.path):
            if self.path.stat().st_size > len(kept):
                self._file.truncate(len(kept))
        self._bytes, self._sha256, self._positioned = len(kept), hashlib.sha256(kept), True
        if self.mirror:
            self.mirror.start(_with_nonfinite(json.loads(line)) for line in kept.splitlines())

    def close(self) -> None:
        self._file.close()
        if self.mirror:
            self.mirror.close()


def read_config(folder: Path) -> dict:
    """config.json of a run; ReproError if missing, not JSON, or not the config its hash was taken of."""
    path = Path(folder) / "config.json"
    stored = _read_json(path)
    if not isinstance(stored.get("config"), dict) or config_hash(stored["config"]) != stored.get("hash"):
        raise _damaged(path, "does not hold the config that its hash was taken of")
    return stored


def read_result(folder: Path) -> dict | None:
    """result.json of a run, or None if the run is not over.

    Raises ReproError, naming the file, if result.json is not JSON, was edited or belongs to another config,
    or if metrics.jsonl is not what the run wrote.
    """
    path = Path(folder) / "result.json"
    if not path.exists():
        return None
    stored = _read_json(path)
    checksum = stored.pop("checksum", None)
    if checksum != _checksum(stored) or stored.get("status") not in STATUSES:
        raise _damaged(path, "was edited: its checksum does not match")
    expected = read_config(folder)["hash"]
    if stored["hash"] != expected:
        raise _damaged(path, f"is of run {stored['hash']}, its folder's config.json of {expected}")
    metrics = _read_bytes(path.with_name("metrics.jsonl"))
    if hashlib.sha256(metrics).hexdigest() != stored["metrics_sha256"]:
        change = "truncated" if len(metrics) < stored["metrics_bytes"] else "edited"
        raise _damaged(path.with_name("metrics.jsonl"), f"was {change} after the run ended")
    return _with_nonfinite(stored)


def read_metrics(folder: Path) -> list[dict]:
    """Every line of metrics.jsonl, NaN and infinities restored; ReproError names a line that is not JSON."""
    path = Path(folder) / "metrics.jsonl"
    records = []
    for number, line in enumerate(_read_bytes(path).splitlines(), start=1):
        try:
            records.append(_with_nonfinite(json.loads(line)))
        except ValueError:
            raise _damaged(path, f"has a broken line {number}") from None
    return records


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash at any point, leaves the old content or the new, whole."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the rename itself must survive a power cut
        finally:
            os.close(directory)


def read_json(path: Path, remedy: str = "") -> dict[str, Any]:
    """A committed JSON object; ReproError if it is damaged, with what to do: without `remedy`, to restore it by git."""
    try:
        content = json.loads(Path(path).read_bytes())
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:  # ValueError: no JSON, or no UTF-8
        what, remedy = getattr(error, "strerror", None) or error, remedy or f"restore it with git checkout -- {path}"
        raise ReproError(f"{path} is damaged ({what}): {remedy}") from error
    return content


@functools.cache
def provenance() -> dict:
    """Commit and dirty flag of the code (null outside git) and the versions of what computes the numbers.

    Only `repro/` and `pyproject.toml` count as dirty: results and figures change while a campaign runs.
    """

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    status = git("status", "--porcelain", "--", "repro", "pyproject.toml")
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "versions": versions,
    }


def finished_result(folder: Path, config: Any) -> dict | None:
    """The result if the folder holds this very run and it is over; ReproError if it holds another run."""
    if not (folder / "config.json").exists():
        for name in ("result.json", "metrics.jsonl"):
            if (folder / name).exists():
                raise _damaged(folder / name, "has no config.json beside it that says which run it is of")
        return None
    stored, expected = read_config(folder)["hash"], config_hash(config)
    if stored != expected:
        raise _damaged(folder / "config.json", f"is of run {stored}, not of run {expected}")
    return read_result(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, made if need be, or raise RunBusy at once. Forked children would inherit it: spawn."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "ab")  # noqa: SIM115
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusy(f"{folder} is being run by another process; wait until it ends, or stop it") from None
        yield


def _record_config(folder: Path, config: Any, device: str) -> None:
    """Write config.json; on a resume by other code or another machine, note that beside the first."""
    path, here = folder / "config.json", {**provenance(), "device": device}
    if not path.exists():
        atomic_write(path, _dump({"config": to_dict(config), "hash": config_hash(config), **here}, indent=1) + "\n")
        return
    stored = _read_json(path)
    known = [{key: stored.get(key) for key in here}, *stored.get("resumed", [])]
    if here not in known:
        atomic_write(path, _dump({**stored, "resumed": [*known[1:], here]}, indent=1) + "\n")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReproError(
            f"cannot write {path}: {error.strerror or error}. Free space or permissions there, or set "
            "REPRO_DATA to a folder that can be written; then run the same command again"
        ) from error


def _damaged(path: Path, what: str) -> ReproError:
    return ReproError(f"{path} {what}. Delete the folder {path.parent} to compute this run again")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(_read_bytes(path))
    except ValueError:
        raise _damaged(path, "is not JSON") from None
    if not isinstance(content, dict):
        raise _damaged(path, "is not a JSON object")
    return content


def _dump(content: dict, indent: int | None = None) -> str:
    return json.dumps(content, allow_nan=False, indent=indent)


def _checksum(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _without_nonfinite(record: dict) -> dict:
    odd = {key: value for key, value in record.items() if isinstance(value, float) and not math.isfinite(value)}
    if not odd:
        return record
    return {**record, **dict.fromkeys(odd), "nonfinite": {key: repr(value) for key, value in odd.items()}}


def _with_nonfinite(record: dict) -> dict:
    odd = record.pop("nonfinite", {})
    return {**record, **{key: float(value) for key, value in odd.items()}}
