"""SMEPO's released data (hub id mit-han-lab/SMEPO): questions with a ground truth and an expert's trace.

    question      text
    reward_model  {"ground_truth": ...} or the ground truth itself: an answer (maths), tests (code), names (search)
    teacher_ds    the expert's trace, text; empty or absent where there is none

Maths, code and search rows share the schema. The prepared form of the release keeps the trace in
extra_info.teacher_ds; both places are read. The released preparation of code data reads only the second while the
published rows have only the first, so that every trace comes out empty and guided training is silently unguided: here
rows without a trace are counted, and a set without any is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from repro.environments.query import Query
from repro.errors import ReproError

HUB_ID = "mit-han-lab/SMEPO"
SUFFIXES = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class LoadedTraces:
    """Queries in the order of their source; what was left out, by file and row; rows merged; rows without a trace."""

    queries: tuple[Query, ...]
    malformed: tuple[str, ...]
    duplicates: int
    without_trace: int

    @property
    def summary(self) -> str:
        """One line for a log or a notebook."""
        return (
            f"{len(self.queries)} queries, {self.without_trace} of them without a trace; {self.duplicates} repeated "
            f"rows merged, {len(self.malformed)} malformed rows left out"
        )


class _Problem(str):
    """What kept a row from being read, in place of the row."""


def load_traces(
    source: str | Path, level: str = "", skip_malformed: bool = True, limit: int | None = None
) -> LoadedTraces:
    """Load rows of the released schema from a file, or from all files of a folder, of json, jsonl or parquet.

    `level` names what the rows are (maths, code, search): the release has no difficulty. A ground truth that is not
    text is kept as JSON. Rows that do not have the schema are left out and named in `malformed`; with
    `skip_malformed=False` they are an error. Rows with equal questions are merged, the first trace that is not empty
    is kept; where their ground truths differ all of them are malformed. `limit` reads that many rows from the
    start and no more.

    Raises ReproError for a source that is missing, unreadable, without one usable row, or without one trace.
    """
    path = Path(source).expanduser()
    queries: dict[str, Query] = {}
    first_seen: dict[str, str] = {}
    contradicted: dict[str, str] = {}
    malformed: list[str] = []
    duplicates = 0
    for where, row in islice(_rows(path), limit):
        query = _query(row, level)
        if isinstance(query, Query):
            known = queries.setdefault(query.text, query)
            if known is query:
                first_seen[query.text] = where
            elif known.answer != query.answer:
                contradicted.setdefault(query.text, where)
                query = _Problem(f"{first_seen[query.text]} asks the same and has another ground truth")
            else:
                duplicates += 1
                queries[query.text] = known if known.trace else query
        if isinstance(query, _Problem):
            if not skip_malformed:
                raise ReproError(f"{where}: {query}")
            malformed.append(f"{where}: {query}")
    for text, other in contradicted.items():
        malformed.append(f"{first_seen[text]}: its question has another ground truth in {other}")
        del queries[text]
    if not queries:
        reason = f"the first of {len(malformed)} problems: {malformed[0]}" if malformed else "it has no rows"
        raise ReproError(f"no query could be read from {path}; {reason}")
    without_trace = sum(not query.trace.strip() for query in queries.values())
    if without_trace == len(queries):
        raise ReproError(
            f"none of the {without_trace} rows of {path} has a trace in teacher_ds or extra_info.teacher_ds: guided "
            "methods would be unguided. For training without guidance, load the questions as another set"
        )
    return LoadedTraces(tuple(queries.values()), tuple(malformed), duplicates, without_trace)


def _query(row: object, level: str) -> Query | _Problem:
    if isinstance(row, _Problem):
        return row
    if not isinstance(row, dict):
        return _Problem(f"a row must be an object with named fields, not {type(row).__name__}")
    question, reward = row.get("question"), row.get("reward_model")
    if not isinstance(question, str) or not question.strip():
        return _Problem("field 'question' is missing or no text")
    truth = reward.get("ground_truth") if isinstance(reward, dict) else reward
    if truth is None or truth in ("", [], {}):
        return _Problem("field 'reward_model' holds no ground truth")
    extra = row.get("extra_info")
    nested = extra.get("teacher_ds") if isinstance(extra, dict) else None
    trace = row.get("teacher_ds") or nested or ""
    if not isinstance(trace, str):
        return _Problem(f"field 'teacher_ds' must be text, not {type(trace).__name__}")
    text = question.strip()
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    answer = truth.strip() if isinstance(truth, str) else json.dumps(truth, ensure_ascii=False)
    return Query(id=f"smepo/{digest}", text=text, answer=answer, level=level, trace=trace)


def _rows(path: Path) -> Iterator[tuple[str, object]]:
    """(file and row number, row) of a file or folder; a row that cannot be parsed is its problem."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        files = [file for file in files if not any(part[0] == "." for part in file.relative_to(path).parts)]
    else:
        files = [path] if path.is_file() else []
    if not files or files[0].suffix not in SUFFIXES:
        raise ReproError(
            f"{path}: expected a file, or a folder of files, that end in {', '.join(SUFFIXES)}. The released data "
            f"downloads with: hf download {HUB_ID} --repo-type dataset --local-dir <folder>"
        )
    for file in files:
        for number, row in enumerate(_parquet(file) if file.suffix == ".parquet" else _json(file), 1):
            yield f"{file}, row {number}", row


def _json(file: Path) -> Iterable[object]:
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    if file.suffix == ".jsonl":
        return [_parsed(line) for line in text.split("\n") if line.strip()]
    content = _parsed(text)
    return content if isinstance(content, list) else [content]


def _parsed(text: str) -> object:
    try:
        text.encode()  # bytes that were not UTF-8 have become lone surrogates
        return json.loads(text)
    except UnicodeEncodeError:
        return _Problem("not UTF-8")
    except (ValueError, RecursionError) as problem:  # ValueError: also an integer of thousands of digits
        return _Problem(f"not JSON: {problem}")


def _parquet(file: Path) -> Iterator[object]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1000):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as problem:
        raise ReproError(f"{file}: not a readable parquet file ({problem}); download it again") from None
