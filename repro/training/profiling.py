"""Profiling: how often does a policy solve each query of a finite list? Measured once, kept, never sampled twice.

The file of a profile is named by a hash of all that it depends on: the weights, the prompts and answers, the way of
sampling and the seed. Each line holds some draws of one query. Draw i of a query has a seed of its own, so a profile of
32 draws begins with the profile of 8, and a killed profile goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch

from repro.algorithms.allocation import Profile
from repro.config import config_hash
from repro.environments import asked, multi_turn
from repro.environments.query import Query
from repro.errors import ReproError
from repro.policy.model import parameter_count
from repro.study.runs import data_folder
from repro.training.accounting import Cost, cost, forward_flops
from repro.training.config import RunConfig
from repro.training.rollouts import attempt, request_seed

BLOCK = 8  # draws of a query at a time
ROWS = 256  # responses sampled at once
SEED_SPACE = -2  # in the place of the update in request seeds, so that training never sees these draws


def take_profile(
    policy: Any, queries: list[Query], config: RunConfig, samples: int, update: int
) -> tuple[Profile, dict[str, Any]]:
    """Draw each query `samples` times under the present weights; the profile, and the log line with its cost.

    Raises ReproError for rewards other than 0 and 1, which have no success rate, and for a damaged profile.
    """
    guidance, measure = config.recipe.guidance, policy.measure
    prompts = [policy.prompt(guidance.prompt(asked(config.world, query), measure=measure)) for query in queries]
    key = profile_key(policy, prompts, [query.answer for query in queries], config)
    path = data_folder() / "cache" / f"profile-{hashlib.sha256(_dump(key).encode()).hexdigest()[:12]}.jsonl"
    rows = _drawn(policy, queries, prompts, config, samples, path, key)
    used = [_first(blocks, samples) for blocks in rows]
    lengths = [lengths for _, lengths, _ in used]
    rewards = [rewards for rewards, _, _ in used]
    profile = Profile(update, samples, tuple(int(sum(r)) for r in rewards))
    unit = cost(policy.model.config, parameter_count(policy))
    flat = [length for group in lengths for length in group]
    prompt_B = [q for q, group in enumerate(lengths) for _ in group]
    record = {
        "kind": "profile",
        "update": update,
        "samples": samples,
        "solved": list(profile.solved),
        "prompt_tokens": sum(map(len, prompts)),
        "generated_tokens": sum(flat),
        "flops": forward_flops(unit, [len(p) for p in prompts], prompt_B, flat),
        "flops_2p6p": 2 * unit.parameters * (sum(len(prompts[q]) for q in prompt_B) + sum(flat)),
        "seconds": sum(seconds for _, _, seconds in used),
    }
    if multi_turn(config.world):
        episodes = [turns for blocks in rows for turns in [t for block in blocks for t in block["turns"]][:samples]]
        record |= _bill(unit, [turn for turns in episodes for turn in turns])
    return profile, record


def _bill(unit: Cost, turns: list[tuple[int, int, bool]]) -> dict[str, int]:
    """The cost of turns (tokens of the prompt and of the response; whether the prompt was computed for this one)."""
    prompts, lengths = [n for n, _, _ in turns], [m for _, m, _ in turns]
    computed = [n for n, _, new in turns if new]
    responses = forward_flops(unit, prompts, range(len(turns)), lengths) - forward_flops(unit, prompts, [], [])
    return {
        "prompt_tokens": sum(computed),
        "flops": forward_flops(unit, computed, [], []) + responses,
        "flops_2p6p": 2 * unit.parameters * (sum(prompts) + sum(lengths)),
    }


def profile_key(policy: Any, prompts: list[list[int]], answers: list[str], config: RunConfig) -> dict[str, Any]:
    """What a profile depends on; it stands in the first line of its file. An episode depends on the whole world."""
    weights = hashlib.sha256()
    for name, tensor in sorted(policy.tensors().items()):
        weights.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return {
        "weights": weights.hexdigest(),
        "queries": hashlib.sha256(_dump([prompts, answers]).encode()).hexdigest(),
        "temperature": config.training.temperature,
        "max_new_tokens": config.training.max_new_tokens,
        "seed": config.seed,
        **({"world": config_hash(config.world)} if multi_turn(config.world) else {}),
    }


def _drawn(policy, queries, prompts, config, samples, path: Path, key) -> list[list[dict]]:
    """The blocks of draws of every query, read from the file and completed there, under its lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115
    except OSError as error:
        raise ReproError(f"cannot write {path}: {error.strerror}. Set REPRO_DATA to another folder") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another run of the same seed waits for these draws instead of doubling them
        rows = _read(file, path, key, len(queries))
        todo = [
            (q, first)
            for first in range(0, samples, BLOCK)
            for q in range(len(queries))
            if sum(len(block["rewards"]) for block in rows[q]) <= first
        ]
        for start in range(0, len(todo), ROWS // BLOCK):
            began = time.perf_counter()
            chunk = todo[start : start + ROWS // BLOCK]
            blocks = _sample(policy, queries, prompts, config, chunk)
            seconds = (time.perf_counter() - began) / len(chunk)
            for (q, _), block in zip(chunk, blocks, strict=True):
                rows[q].append(block | {"seconds": seconds})
                file.write((_dump({"query": q} | rows[q][-1]) + "\n").encode())
            file.flush()
        return rows


@torch.no_grad()
def _sample(policy, queries, prompts, config, chunk: list[tuple[int, int]]) -> list[dict]:
    rows = [(place, q, first + i) for place, (q, first) in enumerate(chunk) for i in range(BLOCK)]
    played = attempt(
        policy.decoder(),
        policy,
        [queries[q] for q, _ in chunk],
        [prompts[q] for q, _ in chunk],
        [place for place, _, _ in rows],
        [functools.partial(request_seed, config.seed, SEED_SPACE, q, member) for _, q, member in rows],
        config,
    )
    blocks: list[dict] = [{"rewards": [], "lengths": []} for _ in chunk]
    computed: set[tuple] = set()
    several = multi_turn(config.world)
    for (place, q, _), one in zip(rows, played, strict=True):
        if several:  # a prompt that draws of one query share is computed once
            turns = []
            for number, turn in enumerate(one.turns):
                request = (place, number, tuple(turn.prompt))
                turns.append([len(turn.prompt), len(turn.completion.tokens), request not in computed])
                computed.add(request)
            blocks[place].setdefault("turns", []).append(turns)
        _enter(blocks[place], queries[q], one.reward, sum(len(turn.completion.tokens) for turn in one.turns))
    return blocks


def _enter(block: dict, query: Query, reward: float, length: int) -> None:
    if reward not in (0.0, 1.0):
        raise ReproError(
            f"query {query.id}: a reward of {reward:g} has no success rate. An allocation by success rates "
            "needs rewards of 0 or 1: choose recipe.allocation=Uniform, or another world"
        )
    block["rewards"].append(int(reward))
    block["lengths"].append(length)


def _read(file, path: Path, key: dict, queries: int) -> list[list[dict]]:
    """What the file holds so far; a last line that a kill cut short is cut off. ReproError if it is another's."""
    file.seek(0)
    whole, _, torn = file.read().rpartition(b"\n")
    if torn:
        file.truncate(len(whole) + 1 if whole else 0)
    if not whole:
        file.write((_dump(key) + "\n").encode())
        return [[] for _ in range(queries)]
    rows: list[list[dict]] = [[] for _ in range(queries)]
    try:
        first, *lines = [json.loads(line) for line in whole.split(b"\n")]
        for line in lines:
            if not (len(line["rewards"]) == len(line["lengths"]) == BLOCK and set(line["rewards"]) <= {0, 1}):
                raise ValueError
            names = ("rewards", "lengths", "seconds", *(["turns"] if "world" in first else []))
            rows[line["query"]].append({name: line[name] for name in names})
    except (ValueError, KeyError, TypeError, IndexError):
        raise ReproError(f"{path} is damaged: delete it, and the profile is drawn again") from None
    if first != key:
        changed = ", ".join(sorted(name for name in key if first.get(name) != key[name]))
        raise ReproError(f"{path} is the profile of another run ({changed} differ): delete it to draw it again")
    return rows


def _first(blocks: list[dict], samples: int) -> tuple[list[int], list[int], float]:
    """Rewards, lengths and share of the time of a query's first draws."""
    rewards = [reward for block in blocks for reward in block["rewards"]][:samples]
    lengths = [length for block in blocks for length in block["lengths"]][:samples]
    per_draw = [block["seconds"] / BLOCK for block in blocks for _ in range(BLOCK)]
    return rewards, lengths, sum(per_draw[:samples])


def _dump(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"))
