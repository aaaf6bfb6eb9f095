"""The claims of SMEPO (arXiv 2605.25198, v1) that the maths study tests, and the controls its mechanism needs.

The paper's body was not at hand: its numbers are those of a third party's reading note, checked against the abstract
("up to 3.2 points", "4.2 times less training time"). It has one run a cell, no seeds and no measurement of copying.
"""

from __future__ import annotations

from functools import partial

from repro.study.evidence import Claim
from repro.study.rules import BEATS
from repro.study.smepo_rules import COPIES, SOONER_SECONDS, SOONER_TOKENS, SOONER_UPDATES

CURVES, COPYING, TIMES = (f"figures/smepo_math/{name}.png" for name in ("accuracy", "copying", "time_to_target"))
NOT_MEASURED = "not in the paper: own control"
NOTE = "reading note of section 4"

# Averages over the six maths sets, % (GRPO, full trace, SMEPO) for three models.
MODELS = ("Qwen3-8B-Base", "Qwen2.5-7B", "R1-Distill-7B")
GRPO, FULL, SMEPO = (47.6, 42.4, 61.8), (41.0, 38.6, 60.4), (50.3, 44.5, 62.6)

_claim = partial(Claim, paper="smepo", study="smepo_math", figure=CURVES)


def _published(arm: tuple[float, ...], other: tuple[float, ...]) -> dict:
    """The paper's differences over its three models, in words and as their mean."""
    gains = [a - b for a, b in zip(arm, other, strict=True)]
    words = ", ".join(f"{gain:+.1f}" for gain in gains)
    return {"paper_value": f"{words} points ({', '.join(MODELS)})", "paper_number": round(sum(gains) / len(gains), 4)}


def _semantic(control: str, words: str) -> Claim:
    return _claim(
        id=f"semantic-beats-{control}",
        statement=f"Hiding what is rewarded ends above {words}",
        paper_value="direction only, no number",
        source=f"{NOTE}, ablations",
        rule=BEATS,
        arms=("smepo@wide", f"{control}@wide"),
    )


def _sooner(axis: str, rule, **fields) -> Claim:
    return _claim(
        id=f"smepo-sooner-{axis}",
        statement=f"SMEPO reaches GRPO's final accuracy in less training, counted in {axis}",
        rule=rule,
        arms=("smepo@wide", "grpo@wide"),
        figure=TIMES,
        **fields,
    )


SMEPO_MATH_CLAIMS: tuple[Claim, ...] = (
    _claim(
        id="smepo-beats-grpo",
        statement="SMEPO ends above GRPO at equal steps",
        **_published(SMEPO, GRPO),
        source=NOTE,
        rule=BEATS,
        arms=("smepo@wide", "grpo@wide"),
    ),
    _claim(
        id="smepo-numerals-beats-grpo",
        statement="SMEPO with the released masker ends above GRPO at equal steps",
        **_published(SMEPO, GRPO),
        source=f"{NOTE}; which masker was run is unknown",
        rule=BEATS,
        arms=("numerals@wide", "grpo@wide"),
    ),
    _claim(
        id="smepo-beats-grpo-usual-clip",
        statement="SMEPO ends above GRPO under the usual clip as well",
        paper_value="none",
        source=NOT_MEASURED,
        rule=BEATS,
        arms=("smepo@usual", "grpo@usual"),
    ),
    _claim(
        id="full-trace-hurts",
        statement="Training with the full trace ends below GRPO",
        **_published(GRPO, FULL),
        source=NOTE,
        rule=BEATS,
        arms=("grpo@wide", "full@wide"),
    ),
    _claim(
        id="full-trace-is-copied",
        statement="A policy trained with full traces copies their answers, one trained with masked traces does less so",
        paper_value="argued from accuracy, no number",
        source="abstract",
        rule=COPIES,
        arms=("full@wide", "smepo@wide"),
        figure=COPYING,
        remark="How far the warm start copies by itself is in the figure",
    ),
    _sooner("seconds", SOONER_SECONDS, paper_value="4.2 times (9.90 h against 2.37 h)", paper_number=4.18, source=NOTE),
    _sooner("updates", SOONER_UPDATES, paper_value="none", source=NOT_MEASURED),
    _sooner("tokens", SOONER_TOKENS, paper_value="none", source=NOT_MEASURED),
    _semantic("random", "a random mask of the same share and profile"),
    _semantic("prefix25", "showing the first quarter"),
    _semantic("prefix50", "showing the first half"),
    _semantic("prefix75", "showing the first three quarters"),
)
