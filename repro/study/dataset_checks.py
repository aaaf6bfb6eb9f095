"""Whether a published data set that lies on disk is whole: `repro data check`.

Files are looked for by the published layouts, rows counted, and a few of every file read by the loader that training
uses (for sets that nothing loads yet, by their fields). Nothing is downloaded and nothing is written.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from repro.errors import ReproError
from repro.study.datasets import DATASETS, DataSet, Part, command, dataset_named, folder

SAMPLE = 20  # rows read of each file, unless all are
STATUSES = ("whole", "missing", "damaged", "unchecked")  # unchecked: a package that reads it is not installed


@dataclass(frozen=True)
class Report:
    """A set on disk: what was found, what is wrong with it (empty if whole) and what to do about that."""

    name: str
    folder: str
    status: str
    found: tuple[str, ...]
    problems: tuple[str, ...]
    advice: str

    def as_dict(self) -> dict:
        return asdict(self)


class _Findings:
    """Facts and problems, gathered while a set is looked through."""

    def __init__(self, place: Path, sample: int | None):
        self.place, self.sample = place, sample
        self.found: list[str] = []
        self.problems: list[str] = []

    def count(self, part: Part, rows: int, unit: str = "rows") -> None:
        self.found.append(f"{part.name}: {rows:,} {unit}")
        if part.rows is not None and rows != part.rows:
            self.problems.append(f"{part.name} has {rows:,} {unit}, published are {part.rows:,}")


def check(name: str, full: bool = False) -> Report:
    """Look through what lies in a set's folder; with `full` every row is read, not only the first of each file.

    Raises ReproError for an unknown name. What is wrong with the data is in the report, not raised.
    """
    dataset, place = dataset_named(name), folder(name)
    findings = _Findings(place, None if full else SAMPLE)
    try:
        there = CHECKS[dataset.rows](dataset, findings)
    except ModuleNotFoundError as error:
        findings.problems.append(f"reading it needs the package {error.name!r}, see `repro doctor`")
        return _report(name, "unchecked", findings, "install the package, then check again")
    if not there:
        return _report(name, "missing", findings, f"download it: {command(name)}")
    if findings.problems:
        return _report(name, "damaged", findings, f"download again what is named: {command(name)}")
    return _report(name, "whole", findings, "")


def check_all(names: list[str], full: bool = False) -> tuple[list[Report], bool]:
    """The reports of the named sets (none: of all), and whether all is well.

    Named sets must be whole. With none named, absent sets are only told: nobody has them all.
    """
    reports = [check(name, full) for name in dict.fromkeys(names or DATASETS)]
    accepted = ("whole",) if names else ("whole", "missing", "unchecked")
    return reports, all(report.status in accepted for report in reports)


def render(reports: list[Report], named: bool = True) -> str:
    """The text of reports: a line a set, then what is wrong and what to do; not for absent sets nobody `named`."""
    lines = []
    for report in reports:
        lines.append(f"{report.name:13} {report.status:9} {report.folder}")
        if named or report.status != "missing":
            lines += [f"    {fact}" for fact in report.found]
            lines += [f"    ! {problem}" for problem in report.problems]
            lines += [f"    -> {report.advice}"] if report.advice else []
    return "\n".join(lines)


def _report(name: str, status: str, findings: _Findings, advice: str) -> Report:
    return Report(name, str(findings.place), status, tuple(findings.found), tuple(findings.problems), advice)


# Checks return whether anything of the set lies there.


def _tables(dataset: DataSet, findings: _Findings, read: Callable[[Path, int | None], str]) -> bool:
    """Sets of rows in json, jsonl or parquet files: all parts there, their rows counted, some of each file read."""
    files = {part: _matching(findings.place, part) for part in dataset.parts}
    if not any(files.values()):
        findings.problems.append(f"no file of it: expected {dataset.parts[0].patterns[0]}, ...")
        return False
    for part, paths in files.items():
        if not paths:
            findings.problems.append(f"{part.name}: no file {' or '.join(part.patterns)}")
            continue
        try:
            findings.count(part, sum(map(count_rows, paths)))
            # A folder of one problem a file has thousands: the first ones stand for all.
            for path in paths[: findings.sample]:
                if remark := read(path, findings.sample):
                    findings.found.append(f"{path.relative_to(findings.place)}: {remark}")
        except ReproError as error:
            findings.problems.append(str(error))
    return True


def _matching(place: Path, part: Part) -> list[Path]:
    """Files of the first layout that is there. The hub client's own `.cache` beside them is none of the data."""
    for pattern in part.patterns:
        paths = [path for path in sorted(place.glob(pattern)) if path.is_file()]
        if paths := [path for path in paths if not any(p[0] == "." for p in path.relative_to(place).parts)]:
            return paths
    return []


def count_rows(path: Path) -> int:
    """Rows of a parquet file (from its footer), lines of a jsonl file that are not empty, elements of a JSON list.

    Raises ReproError for a file that is none of these or cannot be read.
    """
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(path) as table:
                return table.metadata.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise _not_parquet(path, error) from None
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            return sum(bool(line.strip()) for line in lines)
    if path.suffix == ".json":
        content = _parsed(path.read_bytes(), path)
        return len(content) if isinstance(content, list) else 1
    raise ReproError(f"{path}: rows are counted in parquet, jsonl and json files")


def _not_parquet(path: Path, error: Exception) -> ReproError:
    return ReproError(f"{path}: not a whole parquet file ({str(error).splitlines()[0]}); download it again")


def _parsed(text: bytes, where: object) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ReproError(f"{where}: not JSON ({error}); download it again") from None


def _maths(dataset: DataSet, findings: _Findings) -> bool:
    from repro.environments.maths_data import load_queries

    def read(path: Path, limit: int | None) -> str:
        loaded = load_queries(dataset.rows, path, limit=limit)
        return loaded.summary if limit is None or loaded.malformed else ""

    return _tables(dataset, findings, read)


def _traces(dataset: DataSet, findings: _Findings) -> bool:
    from repro.environments.smepo_data import load_traces

    def read(path: Path, limit: int | None) -> str:
        loaded = load_traces(path, limit=limit)
        return loaded.summary if limit is None or loaded.malformed or loaded.without_trace else ""

    return _tables(dataset, findings, read)


def _contest(dataset: DataSet, findings: _Findings) -> bool:
    """Contest problems: a text `problem` and an `answer`, which is text or, in some files, an integer."""

    def read(path: Path, limit: int | None) -> str:
        for where, row in _rows(path, limit):
            problem, answer = row.get("problem"), row.get("answer")
            if not isinstance(problem, str) or not problem.strip():
                raise ReproError(f"{where}: field 'problem' is missing or no text")
            if isinstance(answer, bool) or not isinstance(answer, str | int) or not str(answer).strip():
                raise ReproError(f"{where}: field 'answer' must be text or an integer, it is {answer!r}")
            if dataset.rows == "aime" and not (str(answer).isdecimal() and int(answer) <= 999):
                raise ReproError(f"{where}: an AIME answer is an integer from 0 to 999, this is {answer!r}")
        return ""

    return _tables(dataset, findings, read)


def _choice(dataset: DataSet, findings: _Findings) -> bool:
    """SciKnowEval: every row read, for what is used of it (L3, multiple choice) is spread over the file."""
    used: Counter[str] = Counter()

    def read(path: Path, limit: int | None) -> str:
        for where, row in _rows(path, None):
            details, choices = row.get("details"), row.get("choices")
            level = details.get("level") if isinstance(details, dict) else None
            if not isinstance(level, str) or not isinstance(row.get("question"), str):
                raise ReproError(f"{where}: needs 'question' and 'details.level', which are texts")
            if level != "L3" or not str(row.get("type")).startswith("mcq"):
                continue
            labels = choices.get("label") if isinstance(choices, dict) else None
            if not isinstance(labels, list) or row.get("answerKey") not in labels:
                raise ReproError(f"{where}: its answerKey {row.get('answerKey')!r} is none of its choices {labels}")
            used[str(row.get("domain"))] += 1
        return ""

    there = _tables(dataset, findings, read)
    if used:
        by_domain = ", ".join(f"{domain} {count:,}" for domain, count in sorted(used.items()))
        findings.found.append(f"L3 multiple choice: {used.total():,} questions ({by_domain}); sGPO speaks of 4,335")
    elif there and not findings.problems:
        findings.problems.append("no question of level L3 in multiple choice")
    return there


def _rows(path: Path, limit: int | None) -> Iterator[tuple[str, dict]]:
    """(file and row number, row) of a parquet or jsonl file."""
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(path) as table:
                batches = (batch.to_pylist() for batch in table.iter_batches(batch_size=limit or 10_000))
                yield from _objects(itertools.islice(itertools.chain.from_iterable(batches), limit), path)
        except (pyarrow.ArrowException, OSError) as error:
            raise _not_parquet(path, error) from None
    else:
        with path.open("rb") as lines:
            kept = (line for line in lines if line.strip())
            numbered = enumerate(itertools.islice(kept, limit), 1)
            yield from _objects((_parsed(line, f"{path}, row {n}") for n, line in numbered), path)


def _objects(rows: Iterator[object], path: Path) -> Iterator[tuple[str, dict]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ReproError(f"{path}, row {number}: a row must be an object with named fields")
        yield f"{path}, row {number}", row


def _alfworld(dataset: DataSet, findings: _Findings) -> bool:
    """Games that ALFWorld's own loader would take, by split, and a few of them parsed."""
    from repro.environments.alfworld import data
    from repro.environments.alfworld.problem import read_game

    if not (findings.place / data.DATASET).is_dir():
        findings.problems.append(f"no folder {data.DATASET} in it")
        return False
    for part in dataset.parts:
        try:
            paths, passed_over = data.game_files(part.name, findings.place)
            findings.count(part, len(paths), "games")
            if passed_over:
                told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(passed_over.items()))
                findings.found.append(f"{part.name}: passed over, as ALFWorld does: {told}")
            for path in paths[: findings.sample]:
                read_game(path)
        except ReproError as error:
            findings.problems.append(str(error))
    if not (findings.place / "logic").is_dir():
        findings.found.append("no folder logic: only ALFWorld's own engine needs it")
    return True


def _webshop(dataset: DataSet, findings: _Findings) -> bool:
    """WebShop's three files; small ones are read whole, of the full list of products the beginning and the end."""
    paths = [findings.place / part.patterns[0] for part in dataset.parts]
    if not any(path.is_file() for path in paths[:2]):  # the instructions belong to both sets
        findings.problems.append(f"no {paths[0].name}, no {paths[1].name}")
        return False
    from repro.environments.webshop import data
    from repro.environments.webshop.product import BadRow, parse_product

    items, attributes, instructions = dataset.parts
    for part, path in zip(dataset.parts, paths, strict=True):
        if not path.is_file():
            findings.problems.append(f"{part.name}: no file {path.name}")
            continue
        try:
            if part is not items:
                entries = data.read_object(path)
                if part is instructions and not all(isinstance(told, list) for told in entries.values()):
                    raise ReproError(f"{path}: the instructions of a product must be a list; download it again")
                told = sum(map(len, entries.values())) if part is instructions else len(entries)
                findings.count(part, told, "instructions" if part is instructions else "products")
                continue
            limit = None if items.rows is not None else findings.sample
            sold, odd = 0, Counter()
            for row in data.rows(path, limit):
                try:
                    parse_product(row)
                    sold += 1
                except BadRow as error:
                    odd[str(error)] += 1
            if not sold:
                findings.problems.append(f"{path}: no row describes a product ({dict(odd.most_common(1))})")
            elif limit is None:
                findings.count(items, sold + odd.total())
            else:
                findings.found.append(f"products: {path.stat().st_size / 1e9:.1f} GB, the first {sold} rows read")
                _ends_as_a_list(path)
            if odd:
                findings.found.append(f"products: {odd.total():,} rows that the shop would leave out")
        except UnicodeDecodeError as error:
            findings.problems.append(f"{path}: not UTF-8 ({error.reason}); download it again")
        except ReproError as error:
            findings.problems.append(str(error))
    return True


def _ends_as_a_list(path: Path) -> None:
    """ReproError if the last character is not the one that closes a list: an interrupted download."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        if not file.read().rstrip().endswith(b"]"):
            raise ReproError(f"{path}: its end is missing; download it again")


CHECKS: dict[str, Callable[[DataSet, _Findings], bool]] = {
    "gsm8k": _maths,
    "math": _maths,
    "dapo": _maths,
    "traces": _traces,
    "contest": _contest,
    "aime": _contest,
    "choice": _choice,
    "alfworld": _alfworld,
    "webshop": _webshop,
}
