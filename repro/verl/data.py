"""Queries for verl: files of them, sGPO's allocation and SMEPO's guidance as data sets, and the reward.

    python -m repro.verl STUDY FOLDER [--profile FOLDER_OF_DUMPS]

writes train.parquet and heldout.parquet of a study's published setting (its world in the tier "paper") in verl's form.
verl reads them as they are, or through `PlannedDataset` (sGPO) or `GuidedDataset` (SMEPO): `data.custom_cls`.

sGPO's profile is verl's own validation over the training file, N samples each, whose dumps `--profile` counts.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from verl.utils.dataset.rl_dataset import RLHFDataset

from repro import environments
from repro.algorithms.allocation import History, Profile
from repro.algorithms.guidance import Measure
from repro.algorithms.masks import Numerals, RandomMask
from repro.algorithms.sgpo import SGPO
from repro.algorithms.smepo import HINTS, ExpertTrace
from repro.config import override
from repro.environments.maths_world import SETS
from repro.environments.query import Query
from repro.errors import ReproError
from repro.policy.model import pieces
from repro.study.paper_settings import PAPER

# Released scripts: the trace stands in an earlier turn of the assistant. Real traces have no solution graph, which the
# critical path needs; the random mask is matched to the released rule.
_EARLIER_TURN = dict(intro="Here is an example solution:\n", tail="")
GUIDANCE: dict[str, ExpertTrace] = {
    name: replace(hint, **_EARLIER_TURN) for name, hint in HINTS.items() if name not in ("critical_path", "random")
} | {"random": ExpertTrace(RandomMask(Numerals()), **_EARLIER_TURN)}


class GuidedDataset(RLHFDataset):
    """Every row that has a trace is shown it, masked, in an earlier turn of the assistant (SMEPO).

    `data.guidance` is a key of GUIDANCE; `data.max_prompt_length` bounds the whole prompt, in the tokenizer's tokens.
    Held-out files have no traces: evaluation is never guided. ReproError for a training file of which no row has one:
    that would be GRPO under another name.
    """

    def __init__(self, data_files: Any, tokenizer: Any, config: Any, **others: Any):
        name = config.get("guidance", "numerals")
        if name not in GUIDANCE:
            raise ReproError(f"data.guidance is {name!r}; choose one of {', '.join(GUIDANCE)}")
        self.guidance = GUIDANCE[name]
        super().__init__(data_files, tokenizer, config, **others)
        training = [row for row in self.dataframe["extra_info"] if row.get("split") == "train"]
        traced = sum(bool((row.get("trace") or "").strip()) for row in training)
        if training and not traced:
            raise ReproError(
                f"none of {len(training)} training rows of {data_files} has a trace (extra_info.trace), so that none "
                "would be guided: write the file again from data that have them, or train without this data set"
            )
        if training:
            print(f"{traced} of {len(training)} training rows have a trace to be shown ({name})")

    def __getitem__(self, item: int) -> dict[str, Any]:
        row = super().__getitem__(item)
        about = row["extra_info"]
        row["raw_prompt"] = guided_messages(
            list(row["raw_prompt"]), about["id"], about.get("trace") or "", self.guidance, self.tokenizer,
            self.max_prompt_length,
        )  # fmt: skip
        return row


def guided_messages(
    messages: list[dict], query_id: str, trace: str, guidance: ExpertTrace, tokenizer: Any, longest: int
) -> list[dict]:
    """The chat with what of the trace is shown as a turn of the assistant; the chat as it is where there is no room."""

    def rendered(chat: list[dict]) -> str:
        return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)

    mark = "\N{BULLET}trace\N{BULLET}"  # what the template writes after a turn of the assistant counts too
    closing = rendered([*messages, {"role": "assistant", "content": mark}]).split(mark)[-1]
    query = Query(id=query_id, text=rendered(messages), answer="", level="", trace=trace)
    found = replace(guidance, tail=closing, max_prompt=longest).guide(
        query, Measure(partial(pieces, tokenizer.backend_tokenizer))
    )
    if found.status != "guided":
        return messages
    return [*messages, {"role": "assistant", "content": guidance.intro + found.shown}]


class PlannedDataset(RLHFDataset):
    """sGPO: an item is a group; its place is when it is trained on, its `__rollout_n__` (verl's name) how large it is.

    Reads `solved` and `samples` of each row's `extra_info`; the fields of `SGPO` may be given as `data.sgpo`. Both
    sweeps are one epoch of this data set. verl cuts it into steps of `data.train_batch_size` groups, so a step may hold
    the last groups of one phase and the first of the next. A file without profile (held-out) is itself.
    """

    plan: list[tuple[int, int]] | None = None  # (row, group size); asked for while the base class reads

    def __init__(self, data_files: Any, tokenizer: Any, config: Any, **others: Any):
        super().__init__(data_files, tokenizer, config, **others)
        about = self.dataframe["extra_info"]
        solved = [row.get("solved") for row in about]
        if all(count is None for count in solved):
            return
        samples = {row.get("samples") for row in about}
        if None in solved or len(samples) > 1:
            raise ReproError(
                f"sGPO needs the profile of every query, by as many samples each: {solved.count(None)} of "
                f"{len(solved)} have none, and samples are {samples}. Write the file again with --profile"
            )
        if config.get("shuffle", True):
            raise ReproError("sGPO's order is its curriculum: set data.shuffle=False")
        settings = {"samples": samples.pop(), "prompts": config["train_batch_size"]} | dict(config.get("sgpo") or {})
        self.plan = planned(solved, config.get("seed") or 0, SGPO(**settings))

    def __len__(self) -> int:
        return super().__len__() if self.plan is None else len(self.plan)

    def __getitem__(self, item: int) -> dict[str, Any]:
        if self.plan is None:
            return super().__getitem__(item)
        query, size = self.plan[item]
        return super().__getitem__(query) | {"__rollout_n__": size}


def planned(solved: Iterable[int], seed: int, allocation: SGPO) -> list[tuple[int, int]]:
    """(query, group size) of all groups in the order of training."""
    profile = Profile(0, allocation.samples, tuple(solved))
    history = History(len(profile.solved), seed, [profile])
    return [group for batch in allocation.batches(history) for group in batch]


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict, **_: Any) -> dict[str, Any]:
    """verl's reward function: 1.0 if the response states the answer, by the check of the training set."""
    return {"score": float(SETS[extra_info["check"]](solution_str, ground_truth)), "query": extra_info["index"]}


class Counts(NamedTuple):
    """Of one query: responses that verl's validation drew, and how many of them were right."""

    samples: int
    solved: int


def profile(dumps: Path) -> dict[int, Counts]:
    """Counts by query index, from the files that `trainer.validation_data_dir` names. ReproError if there are none."""
    drawn, solved = Counter(), Counter()
    for file in sorted(dumps.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            drawn[int(record["query"])] += 1
            solved[int(record["query"])] += record["score"] > 0
    if not drawn:
        raise ReproError(f"{dumps} holds no dumps (*.jsonl) of verl's validation: see trainer.validation_data_dir")
    return {query: Counts(count, solved[query]) for query, count in drawn.items()}


def published(study: str) -> tuple[Any, str]:
    """A study's world in the tier "paper", and its system prompt."""
    if study not in PAPER:
        raise ReproError(f"{study!r} has no published setting here; there are: {', '.join(PAPER)}")
    tier = PAPER[study]["paper"]
    if tier.blocked:
        raise ReproError(f"{study!r} is a plan only; it lacks {tier.blocked}")
    settings = {setting.key: setting.value for setting in tier.values()}
    changes = {key.removeprefix("world."): value for key, value in settings.items() if key.startswith("world.")}
    return override(tier.world, changes), settings.get("policy.system", "")


def rows(study: str, seed: int, counts: dict[int, Counts] | None = None) -> dict[str, Iterator[dict[str, Any]]]:
    """The rows of both files. `counts` are put beside the training queries: a query without draws has None."""
    world, system = published(study)
    episodes = environments.multi_turn(world)

    def row(index: int, query: Query, source: str, split: str) -> dict[str, Any]:
        shown = environments.asked(world, query).text
        messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": shown}]
        about = {"id": query.id, "index": index, "split": split, "study": study, "level": query.level, "seed": seed}
        if not episodes:
            about["check"] = world.name
        if split == "train":
            found = (counts or {}).get(index)
            about["trace"] = query.trace
            about["samples"], about["solved"] = found if found else (None, None)
        made = {"data_source": source, "prompt": messages, "ability": "", "extra_info": about}
        made["reward_model"] = {"style": "rule", "ground_truth": query.answer}
        # Whatever trains (`rollout.agent.default_agent_loop`), evaluation plays whole episodes.
        return made | ({"agent_name": "repro_episode"} if episodes and split == "heldout" else {})

    train = (row(k, query, study, "train") for k, query in enumerate(environments.train_list(world, seed)))
    heldout = (
        row(k, query, level, "heldout")
        for level, queries in environments.heldout(world).items()
        for k, query in enumerate(queries)
    )
    return {"train": train, "heldout": heldout}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m repro.verl", description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=[study for study in PAPER])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", type=Path, help="folder of validation dumps over the training file (sGPO)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    counts = profile(given.profile) if given.profile else None
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, made in rows(given.study, given.seed, counts).items():
        pd.DataFrame(made).to_parquet(given.folder / f"{name}.parquet", index=False)
        print(given.folder / f"{name}.parquet")
