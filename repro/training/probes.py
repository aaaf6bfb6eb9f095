"""What guided runs are asked besides plain held-out questions: with a hint, and with a hint that is wrong.

| probe | asked | every arm alike? |
|---|---|---|
| `guided` | held-out questions with the arm's own hint | each its own; not where there is none |
| `planted_full` | held-out questions with a full trace that leads to a planted wrong answer | yes |
| `planted_own` | the same traces under the arm's own guidance | each its own; not where there is none |
| `format` | training questions with a hint of each format, before the first update | yes: the warm start is asked |

Held-out accuracy itself is never guided, and no probe is mixed with it: their records are of a kind of their own. What
is planted depends on the query alone, so all arms and all points in time are asked the same. Where a mask hides what
was planted, the prompt is the honest one and the share of copies that of luck.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from repro.algorithms.guidance import WORDS, Measure, Unguided
from repro.algorithms.smepo import EscalatingTrace, survey
from repro.environments import asked, response_reward
from repro.environments.hinted import HINTED, Hinted
from repro.environments.query import Query
from repro.errors import ReproError
from repro.policy.demonstrations import FORMATS
from repro.policy.model import Policy
from repro.training.config import ProbedEvaluation, RunConfig
from repro.training.episodes import Played
from repro.training.rollouts import Group, draw

SEED_SPACE = -3  # in the place of the update in request seeds: neither training nor profiles see these draws
QUERIES = 32  # asked at once
FULL = "full"
ALL_FAILED = sys.maxsize  # failures in a row after which guidance that waits for them is fully open


def with_hint(query: Query, guidance: Any, measure: Measure = WORDS) -> Query:
    """The question as training asks it under `guidance`."""
    return replace(query, text=guidance.prompt(query, ALL_FAILED, measure))


def with_planted_hint(query: Query, guidance: Any, config: RunConfig, measure: Measure = WORDS) -> Query:
    """The question with a hint from a trace that leads to a wrong answer. Graph and trace are the planted ones."""
    planted = hinted(config).plant(config.world, query, random.Random(f"plant:{query.id}"))
    return with_hint(planted, guidance, measure)


def hinted(config: RunConfig) -> Hinted:
    """What the config's world knows of hints; ReproError for a world without expert traces."""
    if type(config.world) not in HINTED:
        raise ReproError(
            f"evaluation=ProbedEvaluation asks with hints, but {type(config.world).__name__} has no expert traces; "
            "choose evaluation=EvaluationConfig"
        )
    return HINTED[type(config.world)]


def opening(train: list[Query], policy: Policy, config: RunConfig) -> Iterator[dict[str, Any]]:
    """Records before the first update: the survey of a guided training list, and how the warm start reads each format.

    Raises ReproError for guidance that guides nothing, or that cannot work on the list.
    """
    guidance = config.recipe.guidance
    if not isinstance(guidance, Unguided):
        trace = guidance.trace if isinstance(guidance, EscalatingTrace) else guidance
        try:
            yield {"kind": "survey", "update": 0, **survey(trace, train, policy.measure, response_reward(config.world))}
        except ValueError as error:
            raise ReproError(f"{config.arm}: {error}") from error
    if isinstance(config.evaluation, ProbedEvaluation):
        formats = {"": Unguided(), **FORMATS[type(config.world)]}
        items = train[: config.evaluation.format_queries]
        for name in config.evaluation.formats:
            queries = [with_hint(asked(config.world, query), formats[name], policy.measure) for query in items]
            samples = config.evaluation.format_samples
            record, tried = _asked(policy, queries, samples, config, {"update": 0, "probe": "format", "format": name})
            world = hinted(config)
            kinds = [world.first_error(query, said) for query, responses in tried for said in responses]
            yield record | {f"error_{kind}": kinds.count(kind) / len(kinds) for kind in world.errors}


def asked_with_hints(
    policy: Policy, heldout: dict[str, list[Query]], config: RunConfig, update: int, end: bool
) -> Iterator[dict]:
    """The records of the probes on held-out questions; none without a `ProbedEvaluation`.

    `mean_at_k` is the share of right answers, `copied` that of planted ones. `end`: before the first update, or after
    the last.
    """
    evaluation, guidance = config.evaluation, config.recipe.guidance
    if not isinstance(evaluation, ProbedEvaluation):
        return
    count = evaluation.final_probe_queries if end else evaluation.probe_queries
    items = [asked(config.world, query) for queries in heldout.values() for query in queries[:count]]
    full, outcome = FORMATS[type(config.world)][FULL], hinted(config).outcome
    own = [] if isinstance(guidance, Unguided) else [("planted_own", guidance)]
    for name, shown in [("planted_full", full), *own]:
        queries = [with_planted_hint(query, shown, config, policy.measure) for query in items]
        record, tried = _asked(policy, queries, 1, config, {"update": update, "probe": name})
        copied = [outcome(query, said) == "copied" for query, responses in tried for said in responses]
        yield record | {"copied": sum(copied) / len(copied)}
    if own:
        queries = [with_hint(query, guidance, policy.measure) for query in items]
        yield _asked(policy, queries, 1, config, {"update": update, "probe": "guided"})[0]


def prompts(query: Query, config: RunConfig, measure: Measure = WORDS) -> list[str]:
    """Every text that a question may be shown as, in training and in the probes."""
    shown = [config.recipe.guidance.prompt(query, failures, measure) for failures in (0, ALL_FAILED)]
    if isinstance(config.evaluation, ProbedEvaluation) and hinted(config):
        shown.append(FORMATS[type(config.world)][FULL].prompt(query, measure=measure))  # no other format is longer
    return shown


Tried = list[tuple[Query, list[list[str]]]]  # each query with, of every sample, the responses of all turns


@torch.no_grad()
def _asked(
    policy: Policy, queries: list[Query], samples: int, config: RunConfig, name: dict[str, Any]
) -> tuple[dict[str, Any], Tried]:
    """A probe's record, and what was said. A response that did not end is the empty one."""
    started, dec = time.perf_counter(), policy.decoder()
    groups = [Group(i, i, query, policy.prompt(query.text)) for i, query in enumerate(queries)]
    for first in range(0, len(groups), QUERIES):
        part = groups[first : first + QUERIES]
        draw(dec, policy, part, [samples] * len(part), config=config, update=SEED_SPACE)
    rewards = [group.rewards for group in groups]
    record = {
        "kind": "probe",
        **name,
        "queries": len(queries),
        "samples": samples,
        "mean_at_k": sum(map(sum, rewards)) / (len(queries) * samples),
        "pass_at_k": sum(max(group) > 0 for group in rewards) / len(queries),
        "seconds": time.perf_counter() - started,
    }
    return record, [(group.query, [_said(policy, one) for one in group.played]) for group in groups]


def _said(policy: Policy, played: Played) -> list[str]:
    return [policy.decode(turn.completion.tokens) if turn.completion.finished else "" for turn in played.turns]
