"""One task, one tree, before training and later in it: what 3SPO's exploration did there, event by event.

    scenes = walkthrough.scenes(config, after=(0, 10_000))  # trains a policy by the very code that trains
    walkthrough.record(config, (0, 10_000))                 # the same, kept in data/walkthrough/<study>/<tier>.json
    walkthrough.load("threespo_alfworld", "small")

A scene is plain data. The tree is grown on a task that training never meets, with few turns and leaves so that it can
be drawn whole; the table is a copy of the run's, so that looking changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.study import runs
from repro.study.summary import code

TURNS, LEAVES = 8, 10  # of a tree that is drawn


def scenes(config: Any, after: Sequence[int], turns: int = TURNS, leaves: int = LEAVES) -> list[dict[str, Any]]:
    """A scene each time that training has sampled so many generations; 0 is the warm start.

    `config` is a RunConfig of a reading that grows trees. The task is the first of the first held-out list. ReproError
    for another reading.
    """
    import torch

    from repro import environments
    from repro.policy.warmstart import WarmStartKey, warm_start
    from repro.training.learner import Learner
    from repro.training.trees import TreeSource

    if getattr(config.recipe.exploration, "branching", None) != "depth_first":
        raise ReproError(
            f"arm {config.arm!r} grows no trees: choose the literal reading, or one with a depth-first tree"
        )
    torch.set_num_threads(config.training.threads)
    key = WarmStartKey(config.world, config.policy, config.warmstart, config.seed)
    policy = warm_start(key, runs.data_folder() / "cache", config.device)
    learner = Learner(policy, config.recipe, config.training)
    source = TreeSource(config, policy, environments.train_list(config.world, config.seed))
    query = next(iter(environments.heldout(config.world).values()))[0]
    found, update, over = [], 0, False
    for target in after:
        while source.table.generations < target and not over:
            supply = source.next(update)
            if over := supply is None:
                break
            learner.update(supply[0])
            source.updated(update)
            update += 1
        about = {"generations": source.table.generations, "updates": update, "keys": len(source.table.counts)}
        found.append(about | _tree(config, source, policy, query, turns, leaves))
    return found


def _tree(config: Any, source: Any, policy: Any, query: Any, turns: int, leaves: int) -> dict[str, Any]:
    """One tree on one task under the policy as it is, with the table as it is."""
    import torch

    from repro.algorithms.threespo import StateTable
    from repro.algorithms.threespo_tree import Epoch
    from repro.training.trees import Proposer

    proposer, events = Proposer(config, policy), []
    task = proposer.task(query)
    exploration = replace(config.recipe.exploration, tasks=1, turns=turns, leaves=leaves, update_every=None)
    table = StateTable.from_dict(source.table.to_dict(), source.table.identity)
    epoch = Epoch(exploration, table, [task], proposer, config.seed, trace=events.append)
    proposer.start(table.epoch + 1)
    with torch.no_grad():
        for _ in epoch.explore():
            pass
    return {"task": query.id, "goal": query.text, "events": events, "metrics": epoch.tally.metrics()}


# On disk --------------------------------------------------------------------------------------------------------------


def path(study: str, tier: str, root: Path | None = None) -> Path:
    return Path(root or runs.data_folder()) / "walkthrough" / study / f"{tier}.json"


def record(config: Any, after: Sequence[int], root: Path | None = None) -> Path:
    """Make the scenes and keep them."""
    origin = {name: getattr(config, name) for name in ("study", "tier", "arm", "seed")}
    content = origin | {"commit": runs.provenance()["commit"], "scenes": scenes(config, after)}
    where = path(config.study, config.tier, root)
    where.parent.mkdir(parents=True, exist_ok=True)
    runs.atomic_write(where, json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")
    return where


def load(study: str, tier: str, root: Path | None = None) -> dict[str, Any]:
    """What `record` kept; ReproError if it is not there or damaged."""
    where = path(study, tier, root)
    if not where.exists():
        raise ReproError(f"{where} is missing; run the notebook {study}.ipynb with run=True at tier {tier}")
    content = runs.read_json(where)
    if "scenes" not in content:
        raise ReproError(f"{where} holds no scenes; restore it with git checkout -- {where}")
    return content


# In words -------------------------------------------------------------------------------------------------------------


def told(scene: dict[str, Any], most: int = 6) -> str:
    """The first expansions of a scene as Markdown: the state, its score and n, and each distinct branch with Eq. 2."""
    lines = [f"Task: {code(scene['goal'])}", ""]
    lines += [
        "| | turn | what is seen, S(s), n | branches: command (how many), to what, S(s'), R, A |",
        "|---|---|---|---|",
    ]
    expanded = [event for event in scene["events"] if event["event"] == "expanded"]
    for number, event in enumerate(expanded[:most], start=1):
        parts = []
        for branch, count in distinct(event):
            end = ", **won**" if branch["won"] else ", over" if branch["terminal"] else ""
            numbers = f"{branch['score']:.2f}, {branch['reward']:+.2f}, {branch['advantage']:+.2f}"
            kind = branch["kind"].replace("_", "-")
            parts.append(f"{code(branch['command'])} ({count}), {kind}{end}, {numbers}")
        seen = f"{code(_short(event['observation']))}, {event['score']:.2f}, {len(event['branches'])}"
        lines.append(f"| {number} | {event['turn']} | {seen} | {'<br>'.join(parts)} |")
    if not expanded:
        lines.append("| - | 0 | the start was given up: n = 0 | none |")
    rest = len(expanded) - most
    return "\n".join(lines) + (f"\n\nand {rest} more.\n" if rest > 0 else "\n")


def distinct(event: dict[str, Any]) -> list[tuple[dict[str, Any], int]]:
    """A group's branches, one for each command, with how many were alike; best reward first."""
    alike: dict[str, list[dict[str, Any]]] = {}
    for branch in event["branches"]:
        alike.setdefault(branch["command"], []).append(branch)
    ranked = sorted(alike.values(), key=lambda same: -same[0]["reward"])
    return [(same[0], len(same)) for same in ranked]


def _short(text: str, most: int = 150) -> str:
    line = " / ".join(part for part in text.splitlines() if part.strip())
    return line if len(line) <= most else f"{line[: most - 1]}…"
