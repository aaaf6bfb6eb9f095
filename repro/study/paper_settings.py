"""What each paper trained, and on what, value by value; `paper_tier` makes configs of it.

Sections, tables and equations are the paper's own. `OPEN` marks what a paper leaves open: what follows says where the
value is from instead.
"""

from __future__ import annotations

from repro.environments.maths_world import BenchmarkedMathsConfig
from repro.study.paper_tier import OPEN, PaperTier, Setting

_VERL = "defaults of verl, to which the paper refers for what it does not state"
_ONE_GPU = "reduced: one 80 GB GPU"
_ENGINE = (  # of this project's own making, in all entries
    Setting("training.checkpoint_every", 20, "none: this engine's"),
    Setting("training.microbatch_tokens", 1 << 14, "none: this engine's; changes no number beyond rounding"),
    Setting("policy.sampler.gpu_memory", 0.4, "none: this engine's share for vLLM's weights and cache"),
)
_OPTIMISER = (
    ("training.betas", (0.9, 0.999)),
    ("training.weight_decay", 0.01),
    ("training.clip_norm", 1.0),
    ("training.temperature", 1.0),
)


def _optimiser(source: str) -> tuple[Setting, ...]:
    return tuple(Setting(key, value, source) for key, value in _OPTIMISER)


def _evaluation(every: int, samples: int, source: str, whole: int) -> tuple[Setting, ...]:
    """Benchmarks with fewer than `whole` problems are taken whole; along the way, `samples` of 32 problems of each."""
    return (
        Setting("evaluation.every", every, OPEN + "about five times a run"),
        Setting("evaluation.queries", 32, OPEN + "along the way, of each benchmark"),
        Setting("evaluation.samples", 4, OPEN + "along the way"),
        Setting("evaluation.final_queries", whole, "benchmarks are taken whole"),
        Setting("evaluation.final_samples", samples, source),
    )


# ASymPO and SPO (arXiv 2606.03070) -----------------------------------------------------------------------------------

_ASYMPO = PaperTier(
    model=Setting("policy.checkpoint", "Qwen/Qwen3-1.7B-Base", "section 5 (first of three models)"),
    other_models=("Qwen/Qwen3-4B-Base", "meta-llama/Llama-3.2-3B-Instruct"),
    world=BenchmarkedMathsConfig(),
    settings=(
        Setting("policy.template", "chat", OPEN + "the tokenizer's chat template, as verl does"),
        Setting("policy.system", "", OPEN + "none"),
        Setting("policy.context", 1024 + 4096, "section 5: at most 1024 prompt and 4096 response tokens"),
        Setting("world.name", "math", "section 5: MATH's training set"),
        Setting("world.train_queries", 4000, "section 5: a random 4k (which ones is open)"),
        Setting(
            "world.benchmarks", ("math500", "gsm8k", "aime24", "aime25"),
            "section 5: those, AMC23 and Minerva; the last two are read by nothing here",
        ),
        Setting("recipe.allocation.prompts", 32, "section 5: ppo_mini_batch_size"),
        Setting("recipe.allocation.group_size", 8, "section 5: G"),
        Setting("training.learning_rate", 2e-6, "section 5"),
        *_optimiser("section 5: " + _VERL),
        Setting("training.max_new_tokens", 4096, "section 5"),
        *_evaluation(75, 8, "section 5: mean@8 and pass@8", 1319),
        *_ENGINE,
    ),
    arms=("naive@ref", "gpg@ref", "grpo@ref", "spo@ref", "asympo@ref", "asympo_stable@ref", "positive_only@ref"),
    seeds=1,  # the paper names no seeds and prints one number for each cell
    data=("math", "math500", "gsm8k", "aime24", "aime25"),
    queries=4000,
    passes=3,  # section 5: "the equivalent of 3 epochs", 375 updates
    prompt_tokens=150,
    response_tokens=1000,
    lengths="assumed: the paper gives none; a quarter of the longest response",
    hardware="not given",
    evaluated=500 + 1319 + 30 + 30,
    departures=(
        "asynchrony is a drawn lag of 8 to 23 updates in one process, as the paper's settings (512 / 32 prompts, "
        "threshold 0.5) imply for verl's fully asynchronous trainer, and not that trainer",
        "evaluation samples as training does (EvalScope's settings are not given), and AMC23 and Minerva are left out",
    ),
)  # fmt: skip

# sGPO (arXiv 2606.08854) ---------------------------------------------------------------------------------------------

_BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
_SGPO = PaperTier(
    model=Setting("policy.checkpoint", "Qwen/Qwen2.5-Math-7B", "Table 2 (the larger of two)"),
    other_models=("Qwen/Qwen2.5-Math-1.5B",),
    world=BenchmarkedMathsConfig(),
    settings=(
        Setting("policy.template", "chat", "as described: the chat template"),
        Setting("policy.system", _BOXED, "as described: a line of that content; the wording is Qwen's own"),
        Setting("policy.context", 4096, OPEN + "the model's own: prompt 1,536 + response 2,560 as in GRESO's script"),
        Setting("world.name", "dapo_english", "experiments: DAPO-Math-17k, English, de-duplicated"),
        Setting("world.train_queries", 0, "experiments: all of them, 14,116"),
        Setting(
            "world.benchmarks", ("aime24", "aime25", "aime26", "hmmt25", "hmmt26"),
            "experiments: AIME 2024-2026, HMMT 2025 and 2026",
        ),
        Setting("recipe.allocation.prompts", 64, OPEN + "64 fits the printed tokens a step and steps an epoch"),
        Setting("training.learning_rate", 1e-6, OPEN + "GRESO's script for the same model"),
        *_optimiser(OPEN + "verl's defaults"),
        Setting("training.max_new_tokens", 2560, OPEN + "GRESO's script for the same model"),
        *_evaluation(75, 16, "Table 2: avg@16", 33),
        *_ENGINE,
    ),
    arms=("uniform", "dapo", "greso", "knapsack", "sgpo", "filtered8", "shuffled", "unordered", "alpha0", "uniform16"),
    seeds=1,  # none are named, no error bars are printed
    data=("dapo", "aime24", "aime25", "aime26", "hmmt25", "hmmt26"),
    queries=14116,
    passes=2,  # appendix D: two sweeps
    prompt_tokens=150,
    response_tokens=1175,
    lengths="worked out from the printed tokens a step and cluster sizes (1,109 to 1,260); the prompt is assumed",
    hardware="8 x H100",
    evaluated=30 + 30 + 30 + 30 + 33,
    departures=(
        "evaluation samples at temperature 1.0 without the paper's top-p of 0.7",
        "the reference log-probabilities that the paper's DAPO is charged for are not computed: no KL penalty",
        "the science half (Qwen3-4B-Instruct-2507 on SciKnowEval L3) is not read by anything here",
    ),
)  # fmt: skip

PAPER: dict[str, dict[str, PaperTier]] = {
    "asympo_async": {
        "paper": _ASYMPO,
        "paper-1gpu": _ASYMPO.reduced(
            Setting("policy.context", 1024 + 2048, _ONE_GPU),
            Setting("training.max_new_tokens", 2048, _ONE_GPU),
            model=Setting("policy.checkpoint", "Qwen/Qwen3-0.6B-Base", _ONE_GPU + "; the same family"),
            other_models=(),
            response_tokens=700,
            lengths="assumed: a third of the longest response",
        ),
    },
    "sgpo_math": {
        "paper": _SGPO,
        "paper-1gpu": _SGPO.reduced(
            Setting("world.train_queries", 4000, _ONE_GPU + ": a random 4,000"),
            model=Setting("policy.checkpoint", "Qwen/Qwen2.5-Math-1.5B", "Table 2 (the smaller of two)"),
            other_models=(),
            queries=4000,
        ),
    },
}
