"""An expert's demonstration as an episode that was played, for what learns from the expert's own rows."""

from __future__ import annotations

from typing import Any

from repro import environments
from repro.environments.hinted import HINTED
from repro.environments.query import Query
from repro.errors import ReproError
from repro.policy.sampler import Completion
from repro.policy.transcript import Transcript
from repro.training.config import RunConfig
from repro.training.episodes import Played, Turn, followed, present
from repro.training.rollouts import reward_of


def demonstrated(policy: Any, query: Query, prompt: list[int], config: RunConfig) -> Played:
    """The expert's responses to `query`, scored by the world as the policy's are; `prompt` is the first one.

    The expert's probability of its own tokens is taken as 1, so their recorded log-probabilities are 0. Raises
    ReproError for a world without experts or a query without a trace.
    """
    world = config.world
    if type(world) not in HINTED or not query.trace:
        raise ReproError(f"{config.arm}: query {query.id} of {type(world).__name__} has no expert trace to learn from")
    actions = [_completion(policy, text) for text in HINTED[type(world)].actions(world, query)]
    if not environments.multi_turn(world):
        (only,) = actions
        return Played([Turn(prompt, only)], reward_of(world, query, policy, only), expert=True)
    episode, transcript, played = environments.episode(world, query), Transcript.start(prompt), Played(expert=True)
    episode.reset()
    for action in actions:
        shown = present(policy, episode, transcript, environments.history(world))
        observation, reward, _ = episode.step(policy.decode(action.tokens))
        played.turns.append(Turn(shown, action, reward))
        played.reward += reward
        transcript = followed(policy, episode, transcript, action, observation)
    played.won, played.faults = episode.won, {"unfinished": 0, "overflow": 0, **episode.faults._asdict()}
    return played


def _completion(policy: Any, text: str) -> Completion:
    tokens = [*policy.encode(text), policy.end_token]
    return Completion(tokens, [0.0] * len(tokens), True)
