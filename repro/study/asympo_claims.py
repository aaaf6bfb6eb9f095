"""The claims of ASymPO/SPO (arXiv 2606.03070, v1), and the controls that could falsify its mechanism.

The paper has one run per cell, no seeds, no definition of collapse, no ablation and no staleness sweep. `ref` is its
set-up (lag 8-23), `lag0` the synchronous control it lacks. Which form of ASymPO it ran, plain or stabilised (Appendix
C), is unknown: both have rows.
"""

from __future__ import annotations

from functools import partial

from repro.study.evidence import Claim, Rule
from repro.study.rules import (
    AGREES,
    BEATS,
    COLLAPSES,
    FALLS_WITH_LAG,
    IMBALANCE_RISES,
    LATE_COLLAPSE,
    NEEDS_BALANCE,
    PARITY,
    PARITY_PASS,
    STABLE_BUT_WEAK,
    STAYS_STABLE,
)

# Figures, by file stem.
CONVERGENCE, SURVIVAL, ABLATION, LAG_SWEEP, MECHANISM = (
    f"figures/asympo_async/{name}.png" for name in ("convergence", "survival", "ablation", "lag_sweep", "mechanism")
)

COLLAPSE_SOURCE = "Figure 1, Tables 2-4"
NO_NUMBER = "not in the paper: own control"
MODELS = ("1.7B", "3B", "4B", "1.7B-DAPO")  # the paper's four settings, in the order of Tables 2-4

# Averages over the six test sets, % (Tables 2 and 4; 3 and 4).
MEAN_AT_8 = {
    "grpo": (37.45, 30.84, 45.52, 37.18),
    "spo": (36.41, 29.61, 45.45, 38.13),
    "asympo": (36.98, 31.70, 45.07, 38.66),
}
PASS_AT_8 = {
    "grpo": (54.56, 46.09, 60.90, 54.70),
    "spo": (53.92, 45.25, 58.06, 57.53),
    "asympo": (53.17, 49.19, 58.87, 56.83),
}

LONGER = "Added after the first runs: five seeds of the naive loss had fallen in 150 updates without a collapse"
POSED_LATER = "Posed after the runs, whose arm was planned before them, with the rule of the other controls"

NOT_AT_THIS_SCALE = Rule("Not judged: it needs the paper's models and test sets.", "mean@8 and pass@8", "points")
BY_CONSTRUCTION = Rule("Not judged: the paper measures nothing, and here it holds by construction.", "interface", "")

_claim = partial(Claim, paper="asympo", study="asympo_async")


def _published(table: dict[str, tuple[float, ...]], arm: str, other: str) -> dict:
    """The paper's differences over its four settings, in words and as their mean."""
    gains = [a - b for a, b in zip(table[arm], table[other], strict=True)]
    mean = sum(gains) / len(gains)
    words = ", ".join(f"{gain:+.2f}" for gain in gains)
    return {"paper_value": f"{words} points ({', '.join(MODELS)}); mean {mean:+.1f}", "paper_number": round(mean, 4)}


def _collapse(method: str, label: str, **fields: str) -> Claim:
    return _claim(
        id=f"{method}-collapses",
        statement=f"{label} collapses under asynchronous training",
        paper_value="collapsed in 4 of 4 settings",
        paper_number=1.0,
        source=COLLAPSE_SOURCE,
        rule=COLLAPSES,
        arms=(f"{method}@ref", f"{method}@lag0"),
        figure=SURVIVAL,
        **fields,
    )


def _stable(method: str, label: str, source: str = COLLAPSE_SOURCE, **fields: str) -> Claim:
    return _claim(
        id=f"{method.replace('_stable', '-stabilised')}-stable",
        statement=f"{label} stays stable to the end under asynchronous training",
        paper_value="collapsed in 0 of 4 settings",
        paper_number=0.0,
        source=source,
        rule=STAYS_STABLE,
        arms=(f"{method}@ref", "naive@ref"),
        figure=SURVIVAL,
        **fields,
    )


def _better(method: str, label: str) -> Claim:
    return _claim(
        id=f"{method}-beats-naive",
        statement=f"{label} ends above the naive loss",
        paper_value="no number: naive collapsed",
        source="Tables 2-4",
        rule=BEATS,
        arms=(f"{method}@ref", "naive@ref"),
        figure=ABLATION,
    )


def _balance(
    control: str, words: str, source: str = NO_NUMBER, paper: str = "argued, no number", **fields: str
) -> Claim:
    """That a control fails shows what is not enough; it does not show that the balance is what does it."""
    return _claim(
        id=f"balance-not-{control.replace('_', '-')}",
        statement=f"{words} does not do what ASymPO does",
        paper_value=paper,
        source=source,
        rule=NEEDS_BALANCE,
        arms=("asympo@ref", f"{control}@ref"),
        figure=ABLATION,
        **fields,
    )


def _queue(method: str, label: str) -> Claim:
    return _claim(
        id=f"queue-agrees-{method}",
        statement=f"{label}: a real asynchronous queue ends where the drawn lag of 8-23 does",
        paper_value="none",
        source=NO_NUMBER,
        rule=AGREES,
        arms=(f"{method}@queue", f"{method}@ref"),
        figure=ABLATION,
    )


ASYMPO_CLAIMS: tuple[Claim, ...] = (
    _collapse(
        "naive", "The naive current-policy loss", remark="SPO at alpha 1 is this loss bit for bit, which tests check"
    ),
    _collapse(
        "gpg", "GPG", remark="GPG with a group mean is the naive loss but for a batch-wide factor and a token mean"
    ),
    _stable("spo", "SPO (alpha 0.2)"),
    _stable("asympo", "ASymPO"),
    _stable("asympo_stable", "Stabilised ASymPO", source="Figure 1, Tables 2-4, if it is the form that was run"),
    _stable("grpo", "GRPO with behaviour log-probs"),
    _claim(
        id="naive-long-collapses",
        statement="In three times as many updates, the naive current-policy loss collapses under asynchronous training",
        paper_value="none: one length of training",
        source=NO_NUMBER,
        rule=COLLAPSES,
        arms=("naive-long@ref", "naive@lag0"),
        figure=SURVIVAL,
        remark=f"{LONGER}. The synchronous control has a third of its updates",
    ),
    _claim(
        id="asympo-long-stable",
        statement="In three times as many updates, ASymPO stays stable to the end under asynchronous training",
        paper_value="none: one length of training",
        source=NO_NUMBER,
        rule=STAYS_STABLE,
        arms=("asympo-long@ref", "naive-long@ref"),
        figure=SURVIVAL,
        remark=LONGER,
    ),
    _better("spo", "SPO (alpha 0.2)"),
    _better("asympo", "ASymPO"),
    _claim(
        id="asympo-parity-grpo",
        statement="ASymPO without behaviour log-probs ends level with GRPO (mean@8)",
        **_published(MEAN_AT_8, "asympo", "grpo"),
        source="Tables 2, 4 (averages)",
        rule=PARITY,
        arms=("asympo@ref", "grpo@ref"),
        figure=ABLATION,
    ),
    _claim(
        id="asympo-stabilised-parity-grpo",
        statement="Stabilised ASymPO ends level with GRPO (mean@8)",
        **_published(MEAN_AT_8, "asympo", "grpo"),
        source="Tables 2, 4 (averages), if it is the form that was run",
        rule=PARITY,
        arms=("asympo_stable@ref", "grpo@ref"),
        figure=ABLATION,
    ),
    _claim(
        id="spo-parity-grpo",
        statement="SPO (alpha 0.2) without behaviour log-probs ends level with GRPO (mean@8)",
        **_published(MEAN_AT_8, "spo", "grpo"),
        source="Tables 2, 4 (averages)",
        rule=PARITY,
        arms=("spo@ref", "grpo@ref"),
        figure=ABLATION,
    ),
    _claim(
        id="asympo-pass8-parity-grpo",
        statement="ASymPO ends level with GRPO (pass@8)",
        **_published(PASS_AT_8, "asympo", "grpo"),
        source="Tables 3, 4 (averages)",
        rule=PARITY_PASS,
        arms=("asympo@ref", "grpo@ref"),
        figure=ABLATION,
    ),
    _claim(
        id="spo-pass8-parity-grpo",
        statement="SPO (alpha 0.2) ends level with GRPO (pass@8)",
        **_published(PASS_AT_8, "spo", "grpo"),
        source="Tables 3, 4 (averages)",
        rule=PARITY_PASS,
        arms=("spo@ref", "grpo@ref"),
        figure=ABLATION,
    ),
    _claim(
        id="asympo-vs-spo",
        statement="ASymPO and SPO end close together; which is ahead depends on the model (mean@8)",
        **_published(MEAN_AT_8, "asympo", "spo"),
        source="Tables 2, 4 (averages); RQ2",
        rule=PARITY,
        arms=("asympo@ref", "spo@ref"),
        figure=ABLATION,
        remark="One model and task here: the dependence on the model is not tested",
    ),
    _claim(
        id="spo0-stable-but-weak",
        statement="SPO at alpha 0 (positives only) is stable but weaker than at alpha 0.2",
        paper_value="called weak, no number",
        source="Section 5.3",
        rule=STABLE_BUT_WEAK,
        arms=("positive_only@ref", "spo@ref"),
        figure=ABLATION,
    ),
    _claim(
        id="early-high-late-collapse",
        statement="Naive and GPG first climb as high as the others, then collapse late",
        paper_value="drawn, no number",
        source="Figure 1",
        rule=LATE_COLLAPSE,
        arms=("naive@ref", "gpg@ref", "grpo@ref"),
        figure=CONVERGENCE,
        remark="A collapse after the last update is not seen, which makes the seen ones look earlier",
    ),
    _claim(
        id="staleness-hurts-naive",
        statement="The naive loss ends lower the staler its rollouts",
        paper_value="argued (Section 3), no sweep",
        source=NO_NUMBER,
        rule=FALLS_WITH_LAG,
        arms=("naive@lag0", "naive@lag4", "naive@lag16", "naive@lag32", "naive@lag64"),
        figure=LAG_SWEEP,
    ),
    _claim(
        id="mechanism-imbalance",
        statement="Under staleness, negative responses come to dominate the naive loss",
        paper_value="argued (Eq. 13, Theorem 4), no number",
        source="Section 3",
        rule=IMBALANCE_RISES,
        arms=("naive@ref", "naive@lag0"),
        figure=MECHANISM,
        remark="Shows that the imbalance goes with staleness, not that it is the cause",
    ),
    _balance("batch_scaled", "Merely dividing the naive loss by the batch's mean S", source="Section 5, RQ3"),
    _balance("asympo_shuffled", "Giving ASymPO's coefficients to the wrong responses"),
    _balance("naive_p_low", "Merely cutting very unlikely tokens of negatives (p_low) from the naive loss"),
    _balance(
        "asympo_behaviour",
        "Dividing by the surprisal under the behaviour policy (frozen, blind to drift)",
        paper="none",
        remark=POSED_LATER,
    ),
    _balance(
        "asympo_positive",
        "Dividing positives alone by their surprisal (negatives keep weight 1)",
        paper="none",
        remark=POSED_LATER,
    ),
    _queue("naive", "Naive"),
    _queue("grpo", "GRPO"),
    _queue("spo", "SPO (alpha 0.2)"),
    _queue("asympo", "ASymPO"),
    _claim(
        id="interface",
        statement="The learner needs no behaviour log-probs, version tags or recomputation at inference precision",
        paper_value="3 of 5 quantities less than GRPO",
        source="Table 1",
        rule=BY_CONSTRUCTION,
        remark="Behaviour-free objectives get a batch without behaviour log-probs; the paper times nothing",
    ),
    _claim(
        id="absolute-accuracy",
        statement="Accuracies of the 1.7-4 B models on AIME24, AIME25, MATH500, AMC23, GSM8K and Minerva",
        paper_value="averages of 29.6-45.5 (mean@8) and 45.3-60.9 (pass@8) %",
        source="Tables 2-4",
        rule=NOT_AT_THIS_SCALE,
        remark="Needs 1.7-4 B pretrained models on GPUs; levels do not carry over to a policy of 0.5 M parameters",
    ),
)
