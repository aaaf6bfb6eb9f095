"""What each paper trained, and on what, value by value; `paper_tier` makes configs of it.

Sections, tables and equations are the paper's own. `OPEN` marks what a paper leaves open: what follows says where the
value is from instead.
"""

from __future__ import annotations

from repro.environments.alfworld.data import DatasetConfig
from repro.environments.alfworld.world import AlfworldConfig
from repro.environments.maths_world import BenchmarkedMathsConfig, MathsConfig
from repro.environments.search import SearchConfig
from repro.environments.webshop.data import DataConfig
from repro.environments.webshop.world import WebShopConfig
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
    passes=3,  # section 5: "the equivalent of 3 epochs"; 375 updates
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

# SMEPO (arXiv 2605.25198), mathematics ------------------------------------------------------------------------------

_RELEASE = "released scripts"
_SMEPO_DEPARTURES = (  # in all three domains
    "the learning rate is constant: the released schedule warms up over 10 % of the run and falls to 0 by a cosine",
    "the four updates of a step are on samples of 0 to 3 updates before, drawn, and not of one common policy",
    "the trace stands in the user's message: the release writes it as an earlier turn of the assistant",
)
_SMEPO = PaperTier(
    model=Setting("policy.checkpoint", "Qwen/Qwen3-8B-Base", "main table, first row; released scripts"),
    other_models=("Qwen/Qwen2.5-7B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"),
    world=BenchmarkedMathsConfig(),
    settings=(
        Setting("policy.template", "chat", _RELEASE),
        Setting(
            "policy.system",
            "You are an expert in mathematics. Solve the problem step by step, in English, and end with exactly one "
            "line that holds the final answer in \\boxed{}.",
            _RELEASE + ": a system prompt of that content; the wording is ours",
        ),
        Setting("policy.context", 4096 + 12288, _RELEASE + ": prompt with trace 4,096; paper: response 12k"),
        Setting("world.name", "smepo", "released data, its maths questions with an expert's traces"),
        Setting("world.train_queries", 0, "released data: all of them"),
        Setting("world.prompt", "plain", _RELEASE + ": the question alone"),
        Setting(
            "world.benchmarks", ("gsm8k", "math500", "aime25", "aime26"),
            "main table: those, AMC and OlympiadBench; the last two are read by nothing here",
        ),
        Setting("recipe.allocation.prompts", 8, _RELEASE + ": mini-batches of 8 prompts, four to a step of 32"),
        Setting("recipe.allocation.group_size", 8, "paper and released scripts"),
        Setting("recipe.guidance.intro", "\nHere is an example solution:\n", _RELEASE),
        Setting("recipe.guidance.tail", "\n", OPEN + "released: the end of the assistant's turn; see the departures"),
        Setting("recipe.guidance.max_prompt", 4096, _RELEASE),
        Setting(
            "recipe.guidance.masker.like", {"kind": "Numerals", "defects": False},
            OPEN + "the mask that a random one is matched to; real traces have no solution graph",
        ),
        Setting("training.learning_rate", 1e-6, "paper and released scripts"),
        Setting("training.betas", (0.9, 0.999), _RELEASE),
        Setting("training.weight_decay", 0.1, _RELEASE),
        Setting("training.clip_norm", 1.0, _RELEASE),
        Setting("training.temperature", 0.8, _RELEASE),
        Setting("training.max_new_tokens", 12288, "paper and released scripts"),
        *_evaluation(200, 8, OPEN + "how many samples, and at what temperature", 1319),
        *_ENGINE,
    ),
    arms=("grpo@wide", "full@wide", "numerals@wide", "defects@wide", "random@wide", "prefix25@wide", "prefix50@wide",
          "prefix75@wide", "full_cut@wide"),
    seeds=1,  # not determined
    data=("smepo", "gsm8k", "math500", "aime25", "aime26"),
    queries=10_000,  # 1K to 10K rows in all, maths and code
    updates=4 * 400,  # paper: 400 steps (released scripts: 500), four mini-batches each
    prompt_tokens=1200,
    response_tokens=2500,
    lengths="assumed: the sources give longest lengths only; traces have up to 10.7k characters",
    hardware="8 x H100, one node",
    evaluated=1319 + 500 + 30 + 30,
    departures=(
        *_SMEPO_DEPARTURES,
        "masks are the released rule (arm numerals; with its defects: defects); the critical path that the paper "
        "speaks of needs a solution graph, which real traces do not have, so there is no arm smepo@wide here",
        "answers are compared by value: the release compares normalised text",
    ),
)  # fmt: skip

# SMEPO, code and agentic search: plans, for what cannot be run --------------------------------------------------------

_HINTED = ("grpo@wide", "full@wide", "smepo@wide", "random@wide")
_SMEPO_CODE = _SMEPO.reduced(
    Setting(
        "policy.system",
        "You are an expert Python programmer. Answer with exactly one block of Python code and nothing else.",
        _RELEASE + ": a system prompt of that content; the wording is ours",
    ),
    Setting("world.name", "smepo", "released data: contest problems with an expert's traces"),
    model=Setting(
        "policy.checkpoint", "Qwen/Qwen3-8B-Base", OPEN + "scripts say Qwen3-8B, their README its base model"
    ),
    other_models=(),
    world=MathsConfig(name="smepo"),
    arms=(*_HINTED, "prefix25@wide", "prefix50@wide", "prefix75@wide", "full_cut@wide"),
    data=("smepo",),
    evaluated=164 + 164 + 400,  # HumanEval, HumanEval+, LiveCodeBench (its release and size are open)
    departures=_SMEPO_DEPARTURES,
    blocked="a sandbox: the reward runs programs that a model wrote, and none is part of this project",
).without("world.prompt", "world.benchmarks", "recipe.guidance.masker.like")
_SMEPO_SEARCH = _SMEPO.reduced(
    Setting("policy.system", "", OPEN + "none"),
    Setting("policy.context", 16384, OPEN + "room for a prompt of 4,096 tokens and some turns of 2,048"),
    Setting("world.max_turns", 5, OPEN + "as in the small world"),
    Setting("world.results", 3, OPEN + "default of the tool in the released framework"),
    Setting("world.train_queries", 10_000, OPEN + "1K to 10K rows in all domains"),
    Setting("training.learning_rate", 8e-7, "paper"),
    Setting("training.max_new_tokens", 2048, "paper: a turn"),
    model=Setting("policy.checkpoint", "Qwen/Qwen3-8B-Base", OPEN + "that of the other two domains"),
    other_models=(),
    world=SearchConfig(),
    arms=_HINTED,
    data=(),
    turns=5,
    response_tokens=300,
    evaluated=125,  # Bamboogle
    departures=_SMEPO_DEPARTURES,
    blocked="the paper's training questions, corpus, retriever and entity mask: they are not published",
).without("world.name", "world.prompt", "world.benchmarks", "recipe.guidance.masker.like")

# 3SPO (arXiv 2606.09961) ---------------------------------------------------------------------------------------------

_ITERATIONS = 400  # published, and the released scripts' default
_FEWER = 150  # the local released script
_EPISODES = 16 * 8  # of an iteration of GRPO


def _budget(turns: int, iterations: int, source: str) -> tuple[Setting, ...]:
    """Of all arms alike: the most generations that so many iterations of GRPO can sample."""
    most = iterations * _EPISODES * turns
    return (
        Setting("training.generations", most, f"{source}: the most that {iterations} iterations of GRPO can sample"),
        Setting("training.checkpoint_every", most // 40, "none: this engine's, in generations"),
        Setting("evaluation.every", most // 10, OPEN + "ten times a run, in generations"),
    )


def _threespo(turns: int) -> tuple[Setting, ...]:
    return (
        Setting("policy.template", "chat", "released code"),
        Setting("policy.system", "", "released code: none of its own"),
        Setting("recipe.allocation.prompts", 16, "released scripts: 16 tasks an iteration"),
        Setting("recipe.exploration.tasks", 16, OPEN + "tasks of an epoch of exploration; GRPO's 16"),
        Setting("recipe.allocation.group_size", 8, "published group size"),
        Setting("recipe.exploration.g_max", 8, "published G_max"),
        Setting("recipe.exploration.turns", turns, "the same turns as an episode has"),
        *_budget(turns, _ITERATIONS, "published: 400 epochs"),
        Setting("training.learning_rate", 1e-6, "published, constant"),
        *_optimiser("released scripts"),
        Setting("training.max_new_tokens", 512, "released scripts"),
        Setting("evaluation.queries", 500, "held-out lists are taken whole"),
        Setting("evaluation.samples", 1, OPEN + "one episode a task"),
        Setting("evaluation.final_queries", 500, "held-out lists are taken whole"),
        Setting("evaluation.final_samples", 1, OPEN + "one episode a task"),
        Setting("evaluation.also", (0.4,), "released scripts: evaluation at temperature 0.4"),
        *(setting for setting in _ENGINE if setting.key != "training.checkpoint_every"),
    )


_THREESPO_DEPARTURES = (
    "no KL penalty (0.01, k3) and no entropy bonus (0.001) in the loss",
    "one optimiser step an update: the scripts take mini-batches of 256 (ALFWorld) or 64 (WebShop) turns",
    "all arms end at the same number of generations: the paper compares after 400 epochs, whatever each samples",
)
_ALFWORLD = PaperTier(
    model=Setting("policy.checkpoint", "Qwen/Qwen2.5-1.5B-Instruct", "published (the smaller of two)"),
    other_models=("Qwen/Qwen2.5-7B-Instruct",),
    world=AlfworldConfig(DatasetConfig()),
    settings=(
        Setting("world.form", "verbose", "released prompts"),
        Setting("world.max_turns", 50, "published"),
        Setting("world.history", 2, "released code"),
        Setting("world.invalid", "penalty", "released code"),
        Setting("world.penalty", 0.01, "released code: 0.1 beside a reward of 10; winning earns 1 here"),
        Setting("policy.context", 2048 + 512, "released scripts: prompt and response"),
        *_threespo(50),
    ),
    arms=("grpo", "gigpo", "literal", "table", "continuation"),
    seeds=1,  # training seed 0 in every script
    data=("alfworld",),
    queries=3553,
    updates=_ITERATIONS,
    turns=50,
    prompt_tokens=700,
    response_tokens=100,
    lengths="assumed: the sources give longest lengths only; and every episode at its longest",
    hardware="2 GPUs for the 1.5B model (released scripts); about 60 GPU-days for all experiments (published)",
    evaluated=140 + 134,
    departures=_THREESPO_DEPARTURES,
)
_WEBSHOP = PaperTier(
    model=_ALFWORLD.model,
    other_models=_ALFWORLD.other_models,
    world=WebShopConfig(DataConfig()),
    settings=(
        Setting(
            "world.source.products", None, "published: 12,087 instructions, so the whole shop; released code: 1,000"
        ),
        Setting("world.source.human_goals", True, "published: 12,087 instructions are those that people wrote"),
        Setting("world.max_turns", 30, "published; released script: 15"),
        Setting("world.history", 2, "released code"),
        Setting("world.reward", "success", "released code: 10 for a full score, else 0"),
        Setting("world.heldout_goals", 500, "released code: the first 500 goals"),
        Setting("policy.context", 4096 + 512, "released scripts: prompt and response"),
        *_threespo(30),
    ),
    arms=_ALFWORLD.arms,
    seeds=1,
    data=("webshop",),
    queries=12087 - 500,
    updates=_ITERATIONS,
    turns=30,
    prompt_tokens=1200,
    response_tokens=100,
    lengths=_ALFWORLD.lengths,
    hardware="4 GPUs (released scripts)",
    evaluated=500,
    departures=(
        *_THREESPO_DEPARTURES,
        "no penalty for responses out of form (released code: 0.1 beside a reward of 10)",
    ),
)
_ADAPTERS = (
    Setting("policy.lora.rank", 32, _ONE_GPU + ": adapters are trained, not the weights"),
    Setting("training.learning_rate", 1e-5, _ONE_GPU + ": ten times that of the weights, as adapters want"),
)
_SMALLER = Setting("policy.checkpoint", "Qwen/Qwen3-1.7B-Base", _ONE_GPU + "; the same family")
_SHORTER = (
    Setting("policy.context", 4096 + 4096, _ONE_GPU),
    Setting("training.max_new_tokens", 4096, _ONE_GPU),
)

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
    "smepo_math": {
        "paper": _SMEPO,
        "paper-1gpu": _SMEPO.reduced(*_SHORTER, model=_SMALLER, other_models=(), response_tokens=1500),
    },
    "smepo_code": {
        "paper": _SMEPO_CODE,
        "paper-1gpu": _SMEPO_CODE.reduced(*_SHORTER, model=_SMALLER, response_tokens=1500),
    },
    "smepo_search": {
        "paper": _SMEPO_SEARCH,
        "paper-1gpu": _SMEPO_SEARCH.reduced(Setting("policy.context", 8192, _ONE_GPU), model=_SMALLER),
    },
    "threespo_alfworld": {
        "paper": _ALFWORLD,
        "paper-1gpu": _ALFWORLD.reduced(*_ADAPTERS, *_budget(50, _FEWER, _ONE_GPU), updates=_FEWER, other_models=()),
    },
    "threespo_webshop": {
        "paper": _WEBSHOP,
        "paper-1gpu": _WEBSHOP.reduced(
            *_ADAPTERS,
            Setting("world.source.products", 1000, "released code"),
            Setting("world.source.human_goals", False, "released code"),
            Setting("world.max_turns", 15, "released script"),
            Setting("recipe.exploration.turns", 15, "the same turns as an episode has"),
            *_budget(15, _FEWER, _ONE_GPU),
            updates=_FEWER,
            other_models=(),
            data=("webshop-1000",),
            turns=15,
        ),
    },
}
