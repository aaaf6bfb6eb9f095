"""Episodes of several turns, played in step: turn t of all episodes that still run is one batch of the sampler.

A response is an action; what the world answers is appended to the transcript and never trained on. Defined here:

- a response that does not end within `training.max_new_tokens` does nothing: the world gets an action without words
  (`unfinished`), and the transcript is closed with the end token in the policy's place;
- an episode ends where its next prompt and a response may not fit the model's context (`overflow`). What it earned
  until then stays;
- turn limits and invalid actions are the world's own matter, and counted as it counts them (`Episode.faults`);
- a world that words its own prompts (`Episode.prompt`) is shown in these words at every turn, each turn a prompt of
  its own: what was sampled is trained on as it was sampled, and the transcript is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from repro import environments
from repro.algorithms.gigpo import GiGPO
from repro.environments.query import Query
from repro.policy.decoder import Decoder
from repro.policy.sampler import Completion, sample
from repro.policy.transcript import Transcript
from repro.training.config import RunConfig
from repro.training.counts import Met


class Turn(NamedTuple):
    """A prompt and the policy's response to it, in tokens."""

    prompt: list[int]
    completion: Completion
    reward: float = 0.0  # of this turn
    state: str = ""  # that it began in, where credit asks for it


class Outcome(NamedTuple):
    """How an episode of an update went."""

    group: int
    reward: float
    won: bool
    turns: int
    faults: dict[str, int]
    score: float | None = None  # partial credit, in worlds that have it, whatever they reward


@dataclass
class Played:
    """All turns of an episode, and the sum of their rewards. A single-turn response is an episode of one turn."""

    turns: list[Turn] = field(default_factory=list)
    reward: float = 0.0
    won: bool = False
    faults: dict[str, int] = field(default_factory=dict)
    score: float | None = None
    expert: bool = False  # played by an expert: nothing was sampled

    def outcome(self, group: int) -> Outcome:
        return Outcome(group, self.reward, self.won, len(self.turns), self.faults, self.score)


class Start(NamedTuple):
    """An episode to be played: its query, its first prompt, and the request seed of each turn."""

    query: Query
    prompt: list[int]
    seed: Callable[[int], int]


def play(dec: Decoder, policy: Any, starts: Sequence[Start], config: RunConfig, met: Met | None = None) -> list[Played]:
    """Play an episode from each start to its end, under the weights of `dec`.

    Equal prompts of a turn are computed once. What an episode draws depends on its start alone (but for rounding, for
    the batch's shape changes as episodes end). `met`, if given, notes the state behind every observation.
    """
    training, past = config.training, environments.history(config.world)
    longest = policy.context - training.max_new_tokens
    worlds = [environments.episode(config.world, start.query) for start in starts]
    keyed = isinstance(config.recipe.credit, GiGPO)
    for world, start in zip(worlds, starts, strict=True):
        observation = world.reset()
        if met:
            met.note(world, start.query.text, observation)
    transcripts = [Transcript.start(start.prompt) for start in starts]
    played = [Played(faults={"unfinished": 0, "overflow": 0}) for _ in starts]
    live, turn = list(range(len(starts))), 0
    while live:
        prompts = {i: present(policy, worlds[i], transcripts[i], past) for i in live}
        for i in live:
            played[i].faults["overflow"] = int(len(prompts[i]) > longest)
        live = [i for i in live if len(prompts[i]) <= longest]
        places: dict[tuple[int, ...], int] = {}
        prompt_B = [places.setdefault(tuple(prompts[i]), len(places)) for i in live]
        seeds = [starts[i].seed(turn) for i in live]
        completions = sample(
            dec, list(places), prompt_B, seeds, training.max_new_tokens, policy.end_token, training.temperature
        )
        running = []
        for i, completion in zip(live, completions, strict=True):
            finished, state = completion.finished, worlds[i].state_key() if keyed else ""
            observation, reward, done = worlds[i].step(policy.decode(completion.tokens) if finished else "")
            if met:
                met.note(worlds[i], starts[i].query.text, observation)
            played[i].turns.append(Turn(prompts[i], completion, reward, state))
            played[i].reward += reward
            played[i].faults["unfinished"] += not finished
            if not done:
                transcripts[i] = followed(policy, worlds[i], transcripts[i], completion, observation)
                running.append(i)
        live, turn = running, turn + 1
    for one, world in zip(played, worlds, strict=True):
        one.won = world.won
        one.score = getattr(world, "score", None)
        one.faults |= world.faults._asdict()
    return played


def present(policy: Any, world: environments.Episode, transcript: Transcript, history: int | None) -> list[int]:
    """The prompt of the present turn, in tokens: the world's own, where it has one, else the transcript's.

    The first is always the transcript's, in which guidance may stand.
    """
    worded = getattr(world, "prompt", None)
    return policy.prompt(worded()) if worded and transcript.actions else transcript.prompt(history)


def followed(
    policy: Any, world: environments.Episode, transcript: Transcript, completion: Completion, observation: str
) -> Transcript:
    """The transcript after a turn. Observations of a world that words its own prompts are not shown, hence not kept:
    a small vocabulary need not know their words."""
    closing = [] if completion.finished else [policy.end_token]
    shown = [] if hasattr(world, "prompt") else policy.reply(observation)
    return transcript.then(completion.tokens, closing + shown)


def summary(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means over episodes, for the log: `won`, `turns`, `fault_<kind>`, and `score` where the world has one.

    A fault's mean is how often it happened in an episode.
    """
    if not outcomes:
        return {}
    count = len(outcomes)
    return {
        "won": sum(outcome.won for outcome in outcomes) / count,
        "turns": sum(outcome.turns for outcome in outcomes) / count,
        **({} if outcomes[0].score is None else {"score": sum(outcome.score for outcome in outcomes) / count}),
        **{f"fault_{kind}": sum(o.faults[kind] for o in outcomes) / count for kind in outcomes[0].faults},
    }
