r"""The published maths sets GSM8K, MATH and DAPO-Math-17k as queries, from local files or a hub id.

gsm8k  hub id openai/gsm8k (main): question, answer ("... #### 72"); checked with `numbers_match`
math   hub id EleutherAI/hendrycks_math (by subject): problem, level, type, solution (with ``\boxed{}``);
       checked with `maths_match`
dapo   hub id BytedTsinghua-SIA/DAPO-Math-17k: prompt (chat messages), reward_model {ground_truth, style},
       data_source, extra_info; checked with `maths_match`. "dapo_english" leaves out questions with Chinese characters

MATH also loads from the folders of its first release (``MATH/train/algebra/1.json``, one problem a file); the
hub id hendrycks/competition_math was taken down in January 2025. The published parquet file of DAPO-Math-17k
has 1.79 M rows: about 17 k questions, each repeated about 100 times by accident
(https://github.com/verl-project/verl/issues/3065), so equal questions are always merged and counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from repro.environments.maths_check import MAX_LENGTH, maths_match
from repro.environments.query import Query
from repro.environments.verifier import marked_answer, numbers_match, parse_number
from repro.errors import ReproError

HUB = {
    "gsm8k": ("openai/gsm8k", ("main",)),
    "math": (
        "EleutherAI/hendrycks_math",
        (
            "algebra",
            "counting_and_probability",
            "geometry",
            "intermediate_algebra",
            "number_theory",
            "prealgebra",
            "precalculus",
        ),
    ),
    "dapo": ("BytedTsinghua-SIA/DAPO-Math-17k", (None,)),
    "dapo_english": ("BytedTsinghua-SIA/DAPO-Math-17k", (None,)),
}
CHECKS: dict[str, Callable[[str, str], bool]] = {
    "gsm8k": numbers_match,
    "math": maths_match,
    "dapo": maths_match,
    "dapo_english": maths_match,
}

Row = tuple[str, object]  # where it is ("FILE, row 3") and its content, or what kept it from being parsed

_SUFFIXES = (".json", ".jsonl", ".parquet")
_SPLIT = re.compile(r"(train|test|validation|valid|dev)(?![A-Za-z0-9])")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K's calculator notes, "<<48/2=24>>"
# the instruction around every DAPO question, which asks for "Answer:"; `boxed_prompt` brings its own
_DAPO_BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form "
    "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n"
)
_DAPO_AFTER = '\n\nRemember to put your answer on its own line after "Answer:".'


@dataclass(frozen=True)
class LoadedQueries:
    """Queries in the order of their source; what was left out, by file and row; rows merged."""

    queries: tuple[Query, ...]
    malformed: tuple[str, ...]
    duplicates: int

    @property
    def summary(self) -> str:
        """One line for a log or a notebook."""
        left_out = f"{len(self.malformed)} malformed rows left out"
        return f"{len(self.queries)} queries; {self.duplicates} repeated rows merged, {left_out}"


class _Malformed(Exception):
    """What is wrong with one row; the loader adds where."""


def load_queries(
    name: str,
    source: str | Path | None = None,
    split: str = "train",
    skip_malformed: bool = True,
    limit: int | None = None,
) -> LoadedQueries:
    """Load the data set ``name``, a key of `HUB`.

    ``source`` is a file or folder of json, jsonl or parquet, or a hub id; None is the official hub id. Of a
    folder, hidden files and what is named after another split are not read. A row that does not have the
    published schema, or has no answer that can be checked, is left out and named in ``malformed``; with
    ``skip_malformed=False`` it is an error. Rows with equal questions are merged; where their answers differ
    all of them are malformed. `limit` reads that many rows from the start and no more.

    Raises ReproError for an unknown name, a source that is missing, unreadable or without one usable row, and
    a hub that cannot be reached.
    """
    if name not in HUB:
        raise ReproError(f"no maths data set {name!r}; there are {', '.join(HUB)}")
    path = Path(source).expanduser() if source is not None else None
    if path is not None and path.exists():
        rows, shown = local_rows(path, split), str(path)
    elif path is not None and _names_a_file(source):
        raise ReproError(
            f"no such file or folder: {path}. Give a file or folder of {', '.join(_SUFFIXES)}, "
            f"or leave the source out to load {HUB[name][0]!r} from the hub"
        )
    else:
        shown = str(source) if source is not None else HUB[name][0]
        rows = _hub_rows(name, shown, split)
    loaded = _collect(name, islice(rows, limit), shown, skip_malformed)
    if name == "dapo_english":  # sGPO, appendix: 14,116 of the 17 k questions
        loaded = replace(loaded, queries=tuple(query for query in loaded.queries if not _CHINESE.search(query.text)))
    return loaded


def random_subset(queries: tuple[Query, ...], size: int = 4_000, seed: int = 0) -> tuple[Query, ...]:
    """``size`` queries drawn without replacement (ASymPO: a random 4k of MATH train, and of DAPO-Math-17k).

    The draw depends on the seed and the ids alone, not on the order of ``queries`` or the version of Python,
    and a smaller subset of the same seed is the beginning of a larger one. Raises ReproError for too few.
    """
    if not 0 < size <= len(queries):
        raise ReproError(f"a random subset of {size} was asked of {len(queries)} queries")
    rank = {query.id: hashlib.sha256(f"{seed}/{query.id}".encode()).digest() for query in queries}
    return tuple(sorted(queries, key=lambda query: rank[query.id])[:size])


def boxed_prompt(question: str) -> str:
    """The user message that asks for a boxed answer (the wording of Qwen's maths models)."""
    return f"{question}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."


def _collect(name: str, rows: Iterator[Row], shown: str, skip_malformed: bool) -> LoadedQueries:
    """Rows to queries: parse, merge equal questions, set aside what is malformed."""
    queries: dict[str, Query] = {}
    first_seen: dict[str, str] = {}
    contradicted: dict[str, str] = {}
    malformed: list[str] = []
    duplicates = 0
    for where, row in rows:
        try:
            query = _checked(name, row)
            known = queries.setdefault(query.text, query)
            if known is not query and known.answer != query.answer:
                contradicted.setdefault(query.text, where)
                other = f"{first_seen[query.text]} asks the same and has {known.answer!r}"
                raise _Malformed(f"answer {query.answer!r}, but {other}")
        except _Malformed as problem:
            if not skip_malformed:
                raise ReproError(f"{where}: {problem}") from None
            malformed.append(f"{where}: {problem}")
            continue
        duplicates += known is not query
        first_seen.setdefault(query.text, where)
    for text, other in contradicted.items():
        malformed.append(f"{first_seen[text]}: its question has another answer in {other}")
        del queries[text]
    if not queries:
        reason = f"the first of {len(malformed)} problems: {malformed[0]}" if malformed else "it has no rows"
        raise ReproError(f"no {name} query could be read from {shown}; {reason}")
    return LoadedQueries(tuple(queries.values()), tuple(malformed), duplicates)


def _checked(name: str, row: object) -> Query:
    """One row as a query, with what all sets have in common: something asked, an answer of bounded length."""
    if isinstance(row, _Malformed):
        raise row
    if not isinstance(row, dict):
        raise _Malformed(f"a row must be an object with named fields, not {type(row).__name__}")
    kind, text, answer, level, trace = {"gsm8k": _gsm8k, "math": _math, "dapo": _dapo, "dapo_english": _dapo}[name](row)
    text, answer = text.strip(), answer.strip()
    if not text:
        raise _Malformed("the question is empty")
    if not 0 < len(answer) <= MAX_LENGTH:
        raise _Malformed(f"the answer has {len(answer)} characters, not 1 to {MAX_LENGTH}")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Query(id=f"{kind}/{digest}", text=text, answer=answer, level=level, trace=trace.strip())


def _gsm8k(row: dict) -> tuple[str, str, str, str, str]:
    solution, mark, answer = _text(row, "answer").rpartition("####")
    if not mark:
        raise _Malformed("field 'answer' has no '####' before the final number")
    answer = answer.strip()
    if parse_number(answer) is None:  # before the separators go, or "1,5" would become 15
        raise _Malformed(f"{answer[:80]!r} after '####' is not one number")
    trace = _CALCULATOR.sub("", solution)
    return "gsm8k", _text(row, "question"), answer.replace(",", ""), "grade school", trace


def _math(row: dict) -> tuple[str, str, str, str, str]:
    solution = _text(row, "solution")
    answer = marked_answer(solution.replace("####", ""))
    if answer is None:  # a few solutions have "\boxed 2"
        answer = (re.findall(r"\\boxed\s+([^\s$.,]+)", solution) or [""])[-1]
    if not answer:
        raise _Malformed("field 'solution' has no closed \\boxed{} with one answer")
    subject = re.sub(r"[^a-z0-9]+", "_", _text(row, "type").lower())
    return f"math/{subject}", _text(row, "problem"), answer, _text(row, "level"), solution


def _dapo(row: dict) -> tuple[str, str, str, str, str]:
    messages = row.get("prompt")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise _Malformed("field 'prompt' must be a list of chat messages")
    asked = [message for message in messages if message.get("role") == "user"]
    if len(asked) != 1:
        raise _Malformed(f"field 'prompt' must have one user message, not {len(asked)}")
    reward = row.get("reward_model")
    if not isinstance(reward, dict):
        raise _Malformed("field 'reward_model' must be an object with 'ground_truth'")
    text = _text(asked[0], "content").strip().removeprefix(_DAPO_BEFORE).removesuffix(_DAPO_AFTER)
    return "dapo", text, _text(reward, "ground_truth"), _text(row, "data_source"), ""


def _text(row: dict, field: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        found = "is missing" if field not in row else f"must be text, not {type(value).__name__}"
        raise _Malformed(f"field {field!r} {found}")
    return value


def _names_a_file(source: str | Path) -> bool:
    text = str(source)
    looks = text.startswith((".", "/", "~")) or text.endswith(_SUFFIXES) or text.count("/") > 1
    return looks or isinstance(source, Path)


def local_rows(path: Path, split: str | None = None) -> Iterator[Row]:
    """(file and row number, row) of a file, or of every file of a folder that is of no other split (None: any)."""
    if path.is_file():
        files = [path]
        if path.suffix not in _SUFFIXES:
            raise ReproError(f"{path}: expected a file that ends in {', '.join(_SUFFIXES)}")
    else:
        found = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        found = [file for file in found if not any(part[0] == "." for part in file.relative_to(path).parts)]
        files = [file for file in found if split is None or _split_of(file.relative_to(path)) in (None, split)]
        if not files:
            kinds = ", ".join(_SUFFIXES)
            raise ReproError(f"{path}: {len(found)} files end in {kinds}, none is for the split {split!r}")
    for file in files:
        yield from {".json": _json_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}[file.suffix](file)


def _split_of(path: Path) -> str | None:
    """The split that a file or its folder is named after ("test/algebra/1.json", "main/test-00.parquet")."""
    names = (_SPLIT.match(part) for part in path.parts)
    return next((match[1] for match in names if match), None)


def _json_rows(file: Path) -> Iterator[Row]:
    content = _parsed(file.read_bytes())
    rows = content if isinstance(content, list) else [content]
    for number, row in enumerate(rows, 1):
        yield f"{file}, row {number}", row


def _jsonl_rows(file: Path) -> Iterator[Row]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{file}, row {number}", _parsed(line)


def _parsed(content: bytes) -> object:
    """The JSON value, or what is wrong with it: a bad line must not end the reading of the others."""
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as problem:
        return _Malformed(f"not UTF-8 (byte {problem.start})")
    except (ValueError, RecursionError) as problem:  # ValueError: also an integer of thousands of digits
        return _Malformed(f"not JSON: {problem}")


def _parquet_rows(file: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}, row {number}", row
    except (pyarrow.ArrowException, OSError) as problem:
        raise ReproError(
            f"{file}: not a readable parquet file after row {number} ({problem}); download it again"
        ) from None


def _hub_rows(name: str, hub_id: str, split: str) -> Iterator[Row]:
    """Rows of a data set on the hub, through `datasets`; only the official id is read by its subsets."""
    official, subsets = HUB[name]
    advice = f"the official id of {name} is {official!r}; a copy on disk loads with source=<file or folder>"
    try:
        import datasets
    except ImportError:
        raise ReproError(
            f"loading {hub_id!r} from the hub needs the package datasets, which is not installed: "
            f"pip install datasets (or this project with its extra `data`); {advice}"
        ) from None
    for subset in subsets if hub_id == official else (None,):
        where = f"{hub_id}{f' ({subset})' if subset else ''} {split}"
        try:
            rows = datasets.load_dataset(hub_id, subset, split=split)
        except Exception as problem:  # a missing id, subset or split, no network, gated: the user's to settle
            raise ReproError(
                f"{where} could not be loaded from the hub ({type(problem).__name__}: {str(problem)[:300]}). "
                f"Check the id, the split and the network (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE); {advice}"
            ) from None
        for number, row in enumerate(rows, 1):
            yield f"{where}, row {number}", row
