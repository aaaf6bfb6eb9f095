"""The studies that exist."""

from __future__ import annotations

from repro.errors import ReproError
from repro.study.asympo_async import ASYMPO_ASYNC
from repro.study.definition import Study
from repro.study.sgpo_math import SGPO_MATH
from repro.study.smepo_code import SMEPO_CODE
from repro.study.smepo_math import SMEPO_MATH
from repro.study.smepo_search import SMEPO_SEARCH
from repro.study.threespo_alfworld import THREESPO_ALFWORLD
from repro.study.threespo_webshop import THREESPO_WEBSHOP

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        ASYMPO_ASYNC, SGPO_MATH, SMEPO_MATH, SMEPO_CODE, SMEPO_SEARCH, THREESPO_ALFWORLD, THREESPO_WEBSHOP
    )
}  # fmt: skip


def study_named(name: str) -> Study:
    """The study of that name; ReproError, naming those that exist, if there is none."""
    if name not in STUDIES:
        raise ReproError(f"there is no study {name!r}; there are: {', '.join(STUDIES)}")
    return STUDIES[name]
