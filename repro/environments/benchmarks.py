"""The published maths benchmarks that policies are evaluated on, from where `repro data` says that they lie."""

from __future__ import annotations

import hashlib

from repro.environments.maths_data import load_queries, local_rows
from repro.environments.query import Query
from repro.errors import ReproError
from repro.places import external

# Rows of a text `problem` and an `answer`, which is text or, in some files, an integer; GSM8K has its own schema.
CONTESTS = ("math500", "aime24", "aime25", "aime26", "hmmt25", "hmmt26")
BENCHMARKS = ("gsm8k", *CONTESTS)


def load_benchmark(name: str) -> list[Query]:
    """All problems of a benchmark. Their level is the benchmark's name.

    Raises ReproError if it is not there, or a row has no problem or no answer.
    """
    place = external(name)
    if not place.is_dir():
        raise ReproError(f"the benchmark {name!r} is not in {place}; `repro data list` says how to download it")
    if name == "gsm8k":
        return [Query(query.id, query.text, query.answer, name) for query in load_queries(name, place, "test").queries]
    queries = []
    for where, row in local_rows(place):
        problem, answer = (row.get(field) if isinstance(row, dict) else None for field in ("problem", "answer"))
        if not isinstance(problem, str) or isinstance(answer, bool) or not isinstance(answer, str | int):
            raise ReproError(f"{where}: a problem and its answer were expected; `repro data check {name}` says more")
        digest = hashlib.sha256(problem.strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]
        queries.append(Query(f"{name}/{digest}", problem.strip(), str(answer).strip(), name))
    return queries
