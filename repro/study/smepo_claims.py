"""The claims of SMEPO (arXiv 2605.25198, v1) in its three domains, and the controls that its mechanism needs.

The paper's body was not at hand: its numbers are those of a third party's reading note, checked against the abstract
("up to 3.2 points", "4.2 times less training time"). It has one run a cell, no seeds and no measurement of copying. All
studies have the same arms, so that one list of claims serves them; an arm that a study does not plan makes its claims
untestable there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from repro.study.definition import Study
from repro.study.evidence import Claim, Rule
from repro.study.rules import BEATS
from repro.study.smepo_code import SMEPO_CODE
from repro.study.smepo_math import SMEPO_MATH
from repro.study.smepo_rules import (
    COPIES,
    COPYING_RISES,
    COPYING_STAYS,
    HURTS_AND_COPIES,
    NEARER,
    SOONER_HOURS,
    SOONER_TOKENS,
    SOONER_UPDATES,
    WIDER_GAP,
)
from repro.study.smepo_search import SMEPO_SEARCH

OWN = "not in the paper: own control"
NOTE = "reading note of section 4"
ABLATIONS = f"{NOTE}, ablations"
DIRECTION_ALONE = "direction only, no number"
NOT_PLANNED = Rule("Not judged: this study has no such arm.", BEATS.metric, "points")
NOT_AT_THIS_SCALE = Rule("Not judged: it needs the paper's models and test sets.", "accuracy", "points")
DOMAINS = {"math": "maths"}
TARGET = "Changed after five seeds: the target had been measured on other questions than the way to it"
CLOCK = ". Hours of small batches on a busy machine, arms at different times: context rather than a verdict"


LAST_LINE = "Only the last line is cut: the answer stands in the line before it, and on code the program stays whole"
RARELY = (
    "A question is helped at its next visit and is visited 2.5 times, so that few prompts carry a hint (on maths and "
    "code about a tenth): this is mostly GRPO. Masked traces are shown whole at once, which the warm start has read; "
    "GHPO alone begins with a quarter, and hardly ever shows more"
)


@dataclass(frozen=True)
class Published:
    """The paper's accuracies in a domain, %: one value a model or test set, in the order of `where`."""

    where: tuple[str, ...]
    grpo: tuple[float, ...]
    full: tuple[float, ...]
    smepo: tuple[float, ...]
    remark: str = ""

    def gain(self, better: str, worse: str) -> dict:
        """The differences in words, and as their mean."""
        gains = [a - b for a, b in zip(getattr(self, better), getattr(self, worse), strict=True)]
        words = ", ".join(f"{gain:+.1f}" for gain in gains)
        value = f"{words} points ({', '.join(self.where)})"
        return {"paper_value": value, "paper_number": round(sum(gains) / len(gains), 4), "source": NOTE}


MATHS = Published(
    ("Qwen3-8B-Base", "Qwen2.5-7B", "R1-Distill-7B"), (47.6, 42.4, 61.8), (41.0, 38.6, 60.4), (50.3, 44.5, 62.6)
)
CODE = Published(("mean of 3 sets",), (56.5,), (55.7,), (59.0,))
SEARCH = Published(("Bamboogle",), (45.6,), (23.2,), (48.8,), "The paper's 3.2 points are 4 of 125 questions")


def smepo_claims(study: Study, paper: Published) -> tuple[Claim, ...]:
    """The six claims of the paper in a domain, as rows of the ledger, with their controls."""
    claim = _of(study)
    hours = {"paper_value": "up to 4.2 times, on maths", "source": "abstract"}
    if study is SMEPO_MATH:
        hours = {"paper_value": "4.2 times (9.90 h against 2.37 h)", "paper_number": 4.18, "source": NOTE}
    beats = partial(claim, figure="accuracy", rule=BEATS)
    own = {"paper_value": "none", "source": OWN}
    return (
        # 1. SMEPO above GRPO
        beats(
            "smepo-beats-grpo", "SMEPO ends above GRPO at equal steps", ("smepo@wide", "grpo@wide"),
            **paper.gain("smepo", "grpo"), remark=paper.remark,
        ),
        beats(
            "smepo-beats-full", "SMEPO ends above training with the full trace", ("smepo@wide", "full@wide"),
            **paper.gain("smepo", "full"),
        ),
        *(
            beats(
                f"smepo-{name}-beats-grpo", f"SMEPO with {words} ends above GRPO at equal steps",
                (f"{name}@wide", "grpo@wide"),
                **paper.gain("smepo", "grpo") | {"source": f"{NOTE}; {doubt}"},
            )
            for name, words, doubt in (
                ("numerals", "the released masker, its defects repaired,", "which masker was run is unknown"),
                ("found", "only found entities hidden", "which entities are masked is unknown"),
            )
            if f"{name}@wide" in study.arms
        ),
        beats(
            "smepo-beats-grpo-usual-clip", "SMEPO ends above GRPO under the usual clip as well",
            ("smepo@usual", "grpo@usual"), **own, figure="clip",
        ),
        *(
            beats(
                f"smepo-beats-{other}-sparse",
                f"Where plain questions are hardly ever solved, SMEPO ends above {words}",
                ("smepo@sparse", f"{other}@sparse"), **own, figure="sparse",
            )
            for other, words in (
                ("grpo", "GRPO"), ("full", "training with the full trace"), ("random", "a random mask"),
            )
            if f"{other}@sparse" in study.arms
        ),
        *(
            beats(
                f"smepo-{name}-learns-{condition}",
                f"Training with {words} raises success on plain questions{where}",
                (f"{name}@{condition}", f"start@{condition}"), **own,
                remark="Posed after these arms had been run, with the rule of all comparisons",
            )
            for condition, where in (("wide", ""), ("sparse", " that were hardly ever solved"))
            for name, words in (("full", "full traces"), ("smepo", "masked traces"))
            if f"start@{condition}" in study.arms
        ),
        # 2. The full trace below GRPO
        claim(
            "full-trace-hurts", "Training with the full trace ends below GRPO, and its policy gives planted answers",
            ("grpo@wide", "full@wide"), rule=HURTS_AND_COPIES, figure="accuracy", **paper.gain("grpo", "full"),
            remark="The sign is that of GRPO minus the full trace. Changed after the core arms had been run: copying "
            "had not been asked for. Whether the loss comes from copying is the next row",
        ),
        claim(
            "masking-regains", "Hiding what is rewarded takes back most of what the full trace loses against GRPO",
            ("smepo@wide", "full@wide", "grpo@wide"), rule=NEARER, figure="accuracy", **own,
            remark="Posed after these arms had been run: were the loss due to copying, a mask would take it back",
        ),
        beats(
            "full-trace-hurts-cut", "Training with the full trace without its last line, as released, ends below GRPO",
            ("grpo@wide", "full_cut@wide"), **own, remark=LAST_LINE,
        ),
        # 3. The full trace is copied, a masked one is not
        claim(
            "full-trace-is-copied",
            "A policy trained with full traces copies their answers, one trained with masked traces does less so",
            ("full@wide", "smepo@wide"), rule=COPIES, figure="copying",
            paper_value="argued from accuracy, no number", source="abstract",
            remark="How far the warm start copies by itself is in the figure",
        ),
        claim(
            "full-trace-teaches-copying", "Training with full traces makes a policy copy more than its warm start did",
            ("full@wide",), rule=COPYING_RISES, figure="copying", **own,
        ),
        claim(
            "smepo-teaches-no-copying",
            "Training with masked traces does not make a policy copy more than its warm start did",
            ("smepo@wide",), rule=COPYING_STAYS, figure="copying", **own,
        ),
        claim(
            "random-teaches-copying", "Training with random masks makes a policy copy more than its warm start did",
            ("random@wide",), rule=COPYING_RISES, figure="copying", **own,
            remark="Posed after these arms had been run",
        ),
        claim(
            "full-trace-inflates-reward",
            "Training reward overstates what was learned by more with full traces than with masked ones",
            ("full@wide", "smepo@wide"), rule=WIDER_GAP, figure="convergence",
            paper_value="argued from accuracy, no number", source="abstract",
        ),
        # The same after a warm start that learned something else about hints
        *(
            claim(
                f"{name}-{condition}", f"After a warm start that {learned}, {statement}", arms,
                rule=rule, figure="doubt", **own,
            )
            for condition, learned in (("trusting", "trusts its hints"), ("doubting", "doubts its hints"))
            if f"full@{condition}" in study.arms
            for name, statement, arms, rule in (
                ("smepo-beats-grpo", "SMEPO ends above GRPO", (f"smepo@{condition}", f"grpo@{condition}"), BEATS),
                ("smepo-beats-full", "SMEPO ends above training with the full trace",
                 (f"smepo@{condition}", f"full@{condition}"), BEATS),
                ("full-trace-teaches-copying", "training with full traces makes a policy copy more",
                 (f"full@{condition}",), COPYING_RISES),
                ("smepo-teaches-no-copying", "training with masked traces does not make a policy copy more",
                 (f"smepo@{condition}",), COPYING_STAYS),
            )
        ),
        # 4. Sooner
        *(
            claim(
                f"smepo-sooner-{axis}",
                f"SMEPO reaches GRPO's final accuracy in less training, counted in {words}",
                ("smepo@wide", "grpo@wide"), rule=rule, figure="time_to_target", remark=TARGET + clock, **fields,
            )
            for axis, words, rule, fields, clock in (
                ("hours", "hours", SOONER_HOURS, hours, CLOCK),
                ("updates", "updates", SOONER_UPDATES, own, ""),
                ("tokens", "generated tokens", SOONER_TOKENS, own, ""),
            )
        ),
        # 5. What is hidden matters
        *(
            beats(
                f"semantic-beats-{control}", f"Hiding what is rewarded ends above {words}",
                ("smepo@wide", f"{control}@wide"), paper_value=DIRECTION_ALONE, source=ABLATIONS,
            )
            for control, words in (
                ("random", "a random mask of the same share and profile"),
                ("words", "as many random words hidden one by one"),
                ("prefix25", "showing the first quarter"),
                ("prefix50", "showing the first half"),
                ("prefix75", "showing the first three quarters"),
            )
        ),
        # 6. Together with GHPO; and the other baselines
        *(
            beats(
                f"ghpo-smepo-beats-{other}", f"GHPO with masked traces ends above {words} alone",
                ("ghpo_smepo@wide", f"{other}@wide"), paper_value=DIRECTION_ALONE, source=ABLATIONS, remark=RARELY,
            )
            for other, words in (("ghpo", "GHPO"), ("smepo", "SMEPO"))
        ),
        *(
            beats(
                f"smepo-beats-{other}", f"SMEPO ends above {words}", ("smepo@wide", f"{other}@wide"),
                paper_value="a baseline of its tables, number unseen", source=NOTE,
            )
            for other, words in (
                ("sft", "supervised learning from the traces"),
                ("sft_rl", "supervised learning, then GRPO"),
                ("luffy", "LUFFY"),
            )
        ),
        claim(
            "smepo-absolute-accuracy", f"Accuracies of 7B to 8B models ({', '.join(paper.where)})", (),
            rule=NOT_AT_THIS_SCALE, figure=None,
            paper_value=f"SMEPO {', '.join(f'{value:g}' for value in paper.smepo)} %", source=NOTE,
            remark="Levels do not carry over to a policy of 0.5 M parameters",
        ),
    )  # fmt: skip


def _of(study: Study) -> Callable[..., Claim]:
    """Claims of a study: they name its domain, and what it has no arms for is not judged."""
    domain = study.name.removeprefix("smepo_")

    def claim(id: str, statement: str, arms: tuple[str, ...], *, rule: Rule, figure: str | None, **fields) -> Claim:
        planned = set(arms) <= set(study.arms)
        return Claim(
            id=f"{id}-{domain}",
            paper="smepo",
            study=study.name,
            statement=f"{statement} ({DOMAINS.get(domain, domain)})",
            rule=rule if planned else NOT_PLANNED,
            arms=arms if planned else (),
            figure=f"figures/{study.name}/{figure}.png" if figure else None,
            **fields,
        )

    return claim


SMEPO_CLAIMS: tuple[Claim, ...] = (
    *smepo_claims(SMEPO_MATH, MATHS),
    *smepo_claims(SMEPO_CODE, CODE),
    *smepo_claims(SMEPO_SEARCH, SEARCH),
)
