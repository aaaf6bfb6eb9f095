"""Episodes of several turns: played in step, scored once each, trained turn by turn, the same again after a kill."""

import collections
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from repro import environments
from repro.algorithms import Recipe
from repro.algorithms.adaptive import DynamicSampling, ReinforceAda
from repro.algorithms.allocation import Uniform
from repro.algorithms.asympo import Naive
from repro.algorithms.credit import EpisodeCredit, GroupCredit
from repro.algorithms.gigpo import GiGPO
from repro.algorithms.grpo import GRPO
from repro.algorithms.smepo import HINTS
from repro.environments.arithmetic import NAMES
from repro.environments.search import SearchConfig
from repro.errors import ReproError
from repro.policy.model import PolicyConfig, parameter_count
from repro.policy.warmstart import DemonstrationConfig
from repro.study.runs import read_metrics
from repro.training import episodes, evaluation, loop
from repro.training.accounting import Cost, cost, forward_flops, update_flops
from repro.training.asynchronous import GeneratorPolicy
from repro.training.config import EvaluationConfig, Lagged, RunConfig, TrainingConfig
from repro.training.episodes import Outcome, Played, Start, Turn, play, summary
from repro.training.evaluation import evaluate
from repro.training.learner import Learner
from repro.training.loop import train
from repro.training.profiling import take_profile
from repro.training.rollouts import Group, Rollouts, batch, draw, request_seed
from repro.training.sampling import Sampler
from tests.training.toy_world import Toy, ToyConfig, install, queries, toy_policy

CONFIG = RunConfig(
    study="test", arm="grpo", tier="smoke", seed=1,
    recipe=Recipe(GRPO(), GroupCredit("std"), allocation=Uniform(prompts=3, group_size=4)), schedule=Lagged(0, 0),
    world=ToyConfig(),
    training=TrainingConfig(max_new_tokens=8, learning_rate=1e-2, clip_norm=1e9, gradient_split_every=0),
)  # fmt: skip


@pytest.fixture(autouse=True)
def toy_world(monkeypatch, tmp_path):
    monkeypatch.setenv("REPRO_DATA", str(tmp_path))
    install(monkeypatch)


@pytest.fixture(scope="module")
def policy():
    return toy_policy()


def on(world=None, **training):
    config = replace(CONFIG, training=replace(CONFIG.training, **training))
    return replace(config, world=replace(config.world, **world)) if world else config


def starts_of(policy, config, members=8):
    """Episodes of every query, with seeds of their own."""
    return [
        Start(query, policy.encode(query.text), lambda turn, q=q, k=k: request_seed(7, 0, q, k, turn))
        for q, query in enumerate(queries(config.world))
        for k in range(members)
    ]


def played_by(policy, config, **kwargs):
    starts = starts_of(policy, config, **kwargs)
    return starts, play(policy.decoder(), policy, starts, config)


def replayed(policy, config, start, one):
    """(prompts, reward, episode) of the same actions in a fresh episode, with the whole history shown."""
    world = Toy(config.world, start.query)
    prompt, reward, done = policy.encode(world.reset()), 0.0, False
    prompts = []
    for turn in one.turns:
        assert not done
        prompts.append(prompt)
        completion = turn.completion
        observation, earned, done = world.step(policy.decode(completion.tokens) if completion.finished else "")
        reward += earned
        closing = [] if completion.finished else [policy.end_token]
        prompt = prompt + completion.tokens + closing + policy.encode(observation)
    return prompts, reward, world, done


def test_transcripts_grow_by_what_was_sampled_and_what_came_back(policy):
    config = on({"wage": 0.25})
    starts, played = played_by(policy, config)
    assert {len(one.turns) for one in played} == {1, 2, 3}
    for start, one in zip(starts, played, strict=True):
        prompts, reward, world, done = replayed(policy, config, start, one)
        assert done and [turn.prompt for turn in one.turns] == prompts
        assert (one.reward, one.won) == (pytest.approx(reward), world.won)
        unfinished = sum(not turn.completion.finished for turn in one.turns)
        assert one.faults == {"unfinished": unfinished, "overflow": 0, **world.faults._asdict()}
    assert any(one.faults["unfinished"] for one in played) and any(one.faults["out_of_turns"] for one in played)
    assert any(one.reward not in (0.0, 1.0) for one in played)  # rewards of turns add up


def test_only_live_episodes_are_sampled_and_equal_prompts_once(policy, monkeypatch):
    calls, real = [], episodes.sample

    def spy(dec, prompts, prompt_B, seeds, *rest):
        calls.append((prompts, prompt_B))
        return real(dec, prompts, prompt_B, seeds, *rest)

    monkeypatch.setattr(episodes, "sample", spy)
    _, played = played_by(policy, CONFIG)
    lengths = [len(one.turns) for one in played]
    assert [len(prompt_B) for _, prompt_B in calls] == [sum(n > t for n in lengths) for t in range(3)]
    assert len(calls[0][0]) == 6  # 48 episodes of six queries
    for t, (prompts, _) in enumerate(calls):
        assert sorted(prompts) == sorted({tuple(one.turns[t].prompt) for one in played if len(one.turns) > t})


def test_a_draw_depends_on_its_seeds_alone(policy):
    starts, played = played_by(policy, CONFIG)
    some = [11, 3, 40]
    alone = play(policy.decoder(), policy, [starts[i] for i in some], CONFIG)
    for i, one in zip(some, alone, strict=True):
        assert [t.completion.tokens for t in one.turns] == [t.completion.tokens for t in played[i].turns]
    places = [(s, u, g, m, t) for s in (0, 1) for u in (-1, 2) for g in (0, 3) for m in (0, 1) for t in (None, 0, 1)]
    assert len({request_seed(*place) for place in places}) == len(places)
    assert request_seed(1, 2, 3, 4) == 16446723335258433036  # single-turn runs draw what they always drew


def test_a_response_that_does_not_end_does_nothing(policy):
    config = on(max_new_tokens=1)  # so only an immediate end is in time, and it has no word
    starts, played = played_by(policy, config)
    for one in played:
        assert len(one.turns) == 3 and one.reward == 0 and not one.won
        assert one.faults["empty"] == 3 and one.faults["out_of_turns"] == 1
        for before, after in zip(one.turns, one.turns[1:], strict=False):
            kept = len(before.prompt) + len(before.completion.tokens)
            assert after.prompt[:kept] == before.prompt + before.completion.tokens
            closed = after.prompt[kept : kept + 1] == [policy.end_token]
            assert closed != before.completion.finished  # the end token stands behind every action once
    assert {one.faults["unfinished"] for one in played} >= {3}


def test_an_episode_ends_where_the_context_would_overflow(policy, monkeypatch):
    starts, whole = played_by(policy, on({"wage": 0.25}))
    limit = 20
    monkeypatch.setattr(policy.model.config, "max_position_embeddings", limit)
    cut = play(policy.decoder(), policy, starts, on({"wage": 0.25}))
    overflowed = 0
    for one, other in zip(cut, whole, strict=True):
        fitting = [turn for turn in other.turns if len(turn.prompt) + 8 <= limit]
        assert [t.completion.tokens for t in one.turns] == [t.completion.tokens for t in fitting]
        assert one.faults["overflow"] == (len(fitting) < len(other.turns))
        if one.faults["overflow"]:
            overflowed += 1
            words = sum(t.completion.finished and policy.decode(t.completion.tokens) != "" for t in fitting)
            assert one.reward == 0.25 * words and not one.won  # what it earned until then
    assert 0 < overflowed < len(cut)


def test_a_short_history_shows_the_task_and_the_last_turns(policy):
    config = on({"history": 1})
    _, played = played_by(policy, config, members=16)
    three = [one for one in played if len(one.turns) == 3 and all(t.completion.finished for t in one.turns)]
    assert three
    for one in three:
        first, second, third = one.turns
        (question, *_), said = first, [t.completion.tokens for t in one.turns]
        seen = second.prompt[len(question) + len(said[0]) :]
        assert third.prompt[: len(question) + len(seen) + len(said[1])] == question + seen + said[1]


def hand_made():
    """One group: an episode of three turns that won, one of a single turn that lost; another whose rewards agree."""

    def turn(prompt, token):
        return Turn(prompt, episodes.Completion([token, 1], [-1.0, -2.0], True))

    long = Played([turn([2], 3), turn([2, 3, 1, 9], 4), turn([2, 3, 1, 9, 4, 1, 9], 5)], 1.0, True, {"empty": 0})
    twin = Played([turn([2], 3), turn([2, 3, 1, 9], 6)], 0.0, False, {"empty": 3})
    other = Played([turn([7], 3)], 0.0, False, {"empty": 0})
    query = queries(ToyConfig())[0]
    return [Group(0, 4, query, [2], [long, twin]), Group(1, 5, query, [7], [other, other])]


def made_batch(kept=((0, 1), (0, 1))):
    dec = toy_policy().decoder()
    return batch(dec, hand_made(), list(map(list, kept)), config=CONFIG, update=0, version=0, seconds=0.0)


class Narrated(Toy):
    """A toy world that shows the number of the turn, and nothing else; what it says has words that no policy knows."""

    def step(self, action: str) -> tuple[str, float, bool]:
        return "unheard of", *super().step(action)[1:]

    def prompt(self) -> str:
        return f"{NAMES[self.turn]} ?"


def test_a_world_may_word_its_own_prompts(policy, monkeypatch):
    monkeypatch.setitem(environments.EPISODES, ToyConfig, Narrated)
    starts = [replace_prompt(start, policy) for start in starts_of(policy, CONFIG)]
    played = play(policy.decoder(), policy, starts, CONFIG)
    assert {len(one.turns) for one in played} == {1, 2, 3}
    for start, one in zip(starts, played, strict=True):
        later = [policy.encode(f"{NAMES[t]} ?") for t in range(1, len(one.turns))]
        assert [turn.prompt for turn in one.turns] == [start.prompt, *later]
    query = queries(ToyConfig())[4]
    assert environments.asked(ToyConfig(), query).text == f"{NAMES[0]} ?"


def replace_prompt(start, policy):
    """With a first prompt that nothing else would give: it stays, for guidance may stand in it."""
    return start._replace(prompt=policy.encode("= = ?"))


def test_turns_are_rows_and_share_their_groups_prompts():
    rollouts = made_batch()
    assert rollouts.prompts == [[2], [2, 3, 1, 9], [2, 3, 1, 9, 4, 1, 9], [7]]
    assert rollouts.prompt_B == [0, 0, 1, 1, 2, 3, 3]
    assert rollouts.turn_B == [0, 0, 1, 1, 2, 0, 0] and rollouts.group_B == [0] * 5 + [1] * 2
    assert rollouts.episode_B == [0, 1, 0, 1, 0, 2, 3]
    assert [r[0] for r in rollouts.responses] == [3, 3, 4, 6, 5, 3, 3]
    assert rollouts.reward_B == [1, 0, 1, 0, 1, 0, 0] and rollouts.unused == []
    assert rollouts.episodes[0] == Outcome(0, 1.0, True, 3, {"empty": 0})
    assert rollouts.compared() == ([1, 0, 0, 0], [0, 0, 1, 1], rollouts.episode_B)
    again = Rollouts.from_json(json.loads(json.dumps(rollouts.to_json())))
    assert again == rollouts and isinstance(again.episodes[0], Outcome)


def test_the_score_is_logged_where_a_world_has_one():
    assert summary([Outcome(0, 1.0, True, 3, {}, 1.0), Outcome(0, 0.0, False, 1, {}, 0.5)]) == {
        "won": 0.5, "turns": 2.0, "score": 0.75
    }  # fmt: skip
    assert "score" not in summary([Outcome(0, 1.0, True, 3, {})])


def test_rollouts_saved_before_there_were_episodes_can_be_read():
    old = {k: v for k, v in made_batch().to_json().items() if k not in ("episodes", "episode_B", "turn_B")}
    rollouts = Rollouts.from_json(json.loads(json.dumps(old)))
    assert rollouts.compared() == (rollouts.reward_B, rollouts.group_B, range(7))


def test_the_bill_by_hand():
    # Prompts of 1, 4, 7 and 1 tokens, each computed once; seven responses of two tokens; all but the last two train.
    # Responses: inputs 7 * 1; pairs 2 (1 + 1), 2 (4 + 1), 7 + 1, 2 (1 + 1); logits 14.
    unit = Cost(per_token=100, per_pair=10, per_logits=1000, parameters=50)
    forward = 100 * (13 + 7) + 10 * (1 + 10 + 28 + 1 + 4 + 10 + 8 + 4) + 1000 * 14
    trained = forward - 100 * (1 + 2) - 10 * (1 + 4) - 1000 * 4
    assert update_flops(unit, made_batch(), [True] * 5 + [False] * 2) == {
        "rollouts": 4,
        "prompt_tokens": 13,
        "generated_tokens": 14,
        "flops": 2 * forward + 2 * trained,
        "flops_needed": forward + 3 * trained,
        "flops_2p6p": 8 * 50 * (1 + 1 + 4 + 4 + 7 + 1 + 1 + 14),
    }


def test_the_log_counts_every_episode_once():
    unit = Cost(1, 1, 1, 1)
    line = loop.record(made_batch(), {"trained_B": [True] * 7, "reward": 0.4, "mixed": 0.9}, unit)
    assert line["reward"] == 1 / 4 and line["mixed"] == 1 / 2 and line["won"] == 1 / 4  # of rows it would be 3 / 7
    assert (line["rollouts"], line["turns"], line["fault_empty"]) == (4, 7 / 4, 3 / 4)
    assert line["informative_tokens"] == 10


# Two episodes, of three turns and of two, with rewards 1 and 0: their mean is 1/2, though that of the rows is 3/5.
BY_HAND = {
    GroupCredit(): [1 / 2, -1 / 2, 1 / 2, -1 / 2, 1 / 2, 0, 0],
    # Four episodes of 7 turns: times (7/4) / 3 and (7/4) / 2.
    EpisodeCredit(): [7 / 24, -7 / 16, 7 / 24, -7 / 16, 7 / 24, 0, 0],
}


@pytest.mark.parametrize("credit", BY_HAND, ids=lambda credit: type(credit).__name__)
def test_advantages_by_hand(credit):
    learner = Learner(toy_policy(), Recipe(Naive(), credit), CONFIG.training)
    batch_of, _ = learner._score(made_batch())
    assert batch_of.advantage_B.tolist() == pytest.approx(BY_HAND[credit])
    # The episode that lost is not trained on: it stays in the baseline, and its two turns leave the mean.
    part, _ = learner._score(made_batch(kept=((0,), ())))
    assert part.advantage_B.tolist() == pytest.approx([1 / 2] * 3)


def gigpo_batch(kept=((0, 1), (0, 1))):
    """The same, with the reward of each turn and the state it began in: `b` is met once by each episode."""
    groups = hand_made()
    states = [["a", "b", "c"], ["b", "d"]]
    for one, seen in zip(groups[0].played, states, strict=True):
        earned = [0.0] * (len(seen) - 1) + [one.reward]
        one.turns = [t._replace(reward=r, state=s) for t, r, s in zip(one.turns, earned, seen, strict=True)]
    config = replace(CONFIG, recipe=Recipe(Naive(), GiGPO(gamma=0.5, step_weight=2.0)))
    options = {"config": config, "update": 0, "version": 0, "seconds": 0.0}
    return config, batch(toy_policy().decoder(), groups, list(map(list, kept)), **options)


def test_gigpo_by_hand():
    """Rewards 1 and 0: 1/2 and -1/2 for the episodes. R_t of the first: 1/4, 1/2, 1; of the second: 0, 0. In `b` that
    is 1/2 against 0, so 1/4 and -1/4, twice; all other states are met once."""
    config, rollouts = gigpo_batch()
    assert rollouts.turn_reward_B == [0, 0, 0, 0, 1, 0, 0] and rollouts.state_B == ["a", "b", "b", "d", "c", "", ""]
    learner = Learner(toy_policy(), config.recipe, config.training)
    seen, _ = learner._score(Rollouts.from_json(json.loads(json.dumps(rollouts.to_json()))))
    assert seen.advantage_B.tolist() == [1 / 2, -1, 1, -1 / 2, 1 / 2, 0, 0]
    metrics, _ = learner.update(rollouts)
    assert metrics["trained_B"] == [True] * 5 + [False] * 2


def test_gigpo_needs_whole_groups():
    config, rollouts = gigpo_batch(kept=((0,), ()))
    with pytest.raises(ReproError, match="GiGPO compares .* choose recipe.allocation=Uniform, or recipe.credit"):
        Learner(toy_policy(), config.recipe, config.training).update(rollouts)
    _, rollouts = gigpo_batch(kept=((0, 1), ()))  # the other group is left out as a whole
    Learner(toy_policy(), config.recipe, config.training).update(rollouts)
    with pytest.raises(ValueError, match="GiGPO compares"):
        replace(config.recipe, allocation=ReinforceAda())


def test_states_and_rewards_of_turns_are_those_of_the_world(policy):
    config = replace(on({"wage": 0.25}), recipe=replace(CONFIG.recipe, credit=GiGPO()))
    _, played = played_by(policy, config)
    _, plain = played_by(policy, on({"wage": 0.25}))
    for one, other in zip(played, plain, strict=True):
        assert [turn.state for turn in one.turns] == [f"turn {t}, open" for t in range(len(one.turns))]
        assert sum(turn.reward for turn in one.turns) == one.reward == other.reward
        assert {turn.state for turn in other.turns} == {""}  # not asked for


def test_a_single_turn_is_an_episode():
    reward, group = torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 1, 1])
    rows = torch.arange(4)
    for credit in (GroupCredit("std"), EpisodeCredit("std")):
        advantage = credit.advantage_B(reward, group)
        assert torch.equal(credit.spread(advantage, rows), advantage)


def slow_gradient(policy, played, groups, weight):
    """Episode by episode, turn by turn, token by token: sum of weight(e) * A_e * mean of the actions' log-ratios."""
    loss = 0.0
    for e, (one, group) in enumerate(zip(played, groups, strict=True)):
        peers = torch.tensor([p.reward for p, g in zip(played, groups, strict=True) if g == group])
        if peers.min() == peers.max():
            continue
        advantage = (one.reward - peers.mean()) / (peers.std() + 1e-6)
        for turn in one.turns:
            ids = turn.prompt + turn.completion.tokens
            logp = policy.model(torch.tensor([ids])).logits[0].log_softmax(-1)
            of_turn = [logp[place - 1, ids[place]] for place in range(len(turn.prompt), len(ids))]
            ratios = [(token - token.detach()).exp() for token in of_turn]
            loss = loss - weight(e) * advantage * sum(ratios) / len(ratios)
    return torch.autograd.grad(loss, list(policy.parameters.values()))


@pytest.mark.parametrize("scheme", ["turns", "episodes"])
def test_the_gradient_is_that_of_a_slow_loop(scheme):
    policy, config = toy_policy(), CONFIG
    groups = [Group(g, g, query, policy.encode(query.text)) for g, query in enumerate(queries(config.world)[:3])]
    with torch.no_grad():
        draw(policy.decoder(), policy, groups, [4, 3, 5], config=config, update=0)
        members = [list(range(n)) for n in (4, 3, 5)]
        rollouts = batch(policy.decoder(), groups, members, config=config, update=0, version=0, seconds=0.0)
    assert rollouts.mismatch_kl < 1e-9
    played = [one for group in groups for one in group.played]
    turns = [len(one.turns) for one in played]
    weight = (lambda e: 1 / sum(turns)) if scheme == "turns" else (lambda e: 1 / (len(played) * turns[e]))
    slow = slow_gradient(policy, played, [group.number for group in groups for _ in group.played], weight)
    credit = GroupCredit("std") if scheme == "turns" else EpisodeCredit("std")
    learner = Learner(policy, Recipe(GRPO(), credit), config.training)
    metrics, seen = learner.update(rollouts)
    assert torch.allclose(seen.logp_BT[seen.mask_BT], seen.behaviour_logp_BT[seen.mask_BT], atol=1e-5)  # of every row
    assert metrics["trained_tokens"] > 0
    for (name, p), wanted in zip(policy.parameters.items(), slow, strict=True):
        rows = slice(1 if "embed" in name else 0, None)  # transformers gives the padding token's row no gradient
        assert torch.allclose(p.grad[rows], wanted[rows], atol=1e-5), name


def test_allocations_choose_among_episodes(policy):
    recipe = replace(CONFIG.recipe, allocation=DynamicSampling(prompts=2, group_size=2))
    sampler = Sampler(replace(CONFIG, recipe=recipe), policy)
    rollouts = sampler(0, 0)
    by_group = collections.defaultdict(list)
    for e, outcome in enumerate(rollouts.episodes):
        by_group[outcome.group].append((outcome.reward, e in rollouts.episode_B))
    assert len(by_group) > 2 and rollouts.unused  # some groups were all equal
    for members in by_group.values():
        rewards, kept = zip(*members, strict=True)
        assert len(set(kept)) == 1 and (not kept[0] or len(set(rewards)) > 1)
    rows = sum(outcome.turns for outcome in rollouts.episodes)
    assert len(rollouts.responses) + len(rollouts.unused) == rows
    assert sum(visit.size for visit in sampler.history.visits) == len(rollouts.episodes)


def test_a_profile_of_episodes_is_charged_as_computed(policy):
    config, items = CONFIG, queries(CONFIG.world)
    profile, line = take_profile(policy, items, config, 8, 0)
    starts = [
        Start(query, policy.encode(query.text), lambda turn, q=q, k=k: request_seed(config.seed, -2, q, k, turn))
        for q, query in enumerate(items)
        for k in range(8)
    ]
    played = play(policy.decoder(), policy, starts, config)
    assert profile.solved == tuple(sum(one.won for one in played[8 * q : 8 * q + 8]) for q in range(len(items)))
    assert line["generated_tokens"] == sum(len(t.completion.tokens) for one in played for t in one.turns)
    places: dict[tuple, int] = {}
    rows = [(i // 8, t, tuple(turn.prompt)) for i, one in enumerate(played) for t, turn in enumerate(one.turns)]
    prompt_B = [places.setdefault(row, len(places)) for row in rows]
    lengths = [len(turn.completion.tokens) for one in played for turn in one.turns]
    unit = cost(policy.model.config, parameter_count(policy))
    assert line["prompt_tokens"] == sum(len(prompt) for _, _, prompt in places)
    assert line["flops"] == forward_flops(unit, [len(prompt) for _, _, prompt in places], prompt_B, lengths)
    again, _ = take_profile(policy, items, config, 8, 0)
    assert again == profile  # from the file


def test_graded_rewards_have_no_profile(policy):
    with pytest.raises(ReproError, match="has no success rate"):
        take_profile(policy, queries(CONFIG.world), on({"wage": 0.25}), 8, 0)


def test_evaluation_counts_episodes_and_is_never_guided(policy, monkeypatch):
    guided = replace(CONFIG, recipe=replace(CONFIG.recipe, guidance=HINTS["full"]))
    monkeypatch.setattr(evaluation, "ROWS", 5)  # episodes of one query in two batches
    (line,) = evaluate(policy, {"toy": queries(CONFIG.world)}, guided, 4, 3, 0)
    starts = [
        Start(query, policy.encode(query.text), lambda turn, q=q, k=k: request_seed(-1, 0, q, k, turn))
        for q, query in enumerate(queries(CONFIG.world)[:4])
        for k in range(3)
    ]
    played = play(policy.decoder(), policy, starts, CONFIG)
    won = [[one.won for one in played[3 * q : 3 * q + 3]] for q in range(4)]
    assert line["mean_at_k"] == line["won"] == sum(map(sum, won)) / 12
    assert line["pass_at_k"] == sum(map(any, won)) / 4
    assert line["turns"] == sum(len(one.turns) for one in played) / 12 and "fault_out_of_turns" in line


def test_it_learns():
    """Names win one game, values the other: what to say follows from the question."""
    policy = toy_policy(hidden=32, feed_forward=64, scale=0.05)
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, allocation=Uniform(prompts=6, group_size=6)),
                     training=replace(CONFIG.training, clip_norm=1.0, learning_rate=5e-3))  # fmt: skip
    sampler, learner = Sampler(config, policy), Learner(policy, config.recipe, config.training)
    turns = []
    for update in range(24):
        rollouts = sampler(update, update)
        turns.append(episodes.summary(rollouts.episodes)["turns"])
        learner.update(rollouts)
    assert sum(turns[-4:]) / 4 < sum(turns[:4]) / 4 - 0.3  # it wins sooner


def test_the_generator_process_plays_the_same(policy):
    """It has weights and tokenizer but no transformers model."""
    generator = GeneratorPolicy(
        policy.model.config.to_dict(), policy.tokenizer.backend_tokenizer.to_str(), policy.end_token, "cpu"
    )
    generator.load(safetensors.torch.save(policy.snapshot()))
    starts = starts_of(policy, CONFIG, members=2)
    assert play(generator.decoder(), generator, starts, CONFIG) == play(policy.decoder(), policy, starts, CONFIG)


# The search world, end to end -----------------------------------------------------------------------------------------

SEARCH = SearchConfig(
    schema=(("film", "director", "person"), ("person", "town", "town")), entities=8, min_hops=1, max_hops=2,
    levels=(("1 hop", 1, 1), ("2 hops", 2, 2)), warm_hops=(1, 2), knowledge_bases=2, train_queries=12,
    heldout_queries=3, results=2, max_turns=3,
)  # fmt: skip
RUN = replace(
    CONFIG, world=SEARCH, schedule=Lagged(0, 1), recipe=replace(CONFIG.recipe, guidance=HINTS["full"]),
    policy=PolicyConfig(hidden=16, layers=2, heads=2, kv_heads=2, feed_forward=32, context=80),
    warmstart=DemonstrationConfig(steps=12, flat_steps=6, noisy_steps=4, warmup_steps=4, batch=6, muon_lr=0.03,
                                  adam_lr=0.02, hints=("full", "entities")),
    training=TrainingConfig(updates=4, max_new_tokens=5, checkpoint_every=2, gradient_split_every=0),
    evaluation=EvaluationConfig(every=0, queries=3, samples=2, final_queries=3, final_samples=2),
)  # fmt: skip


def timeless(folder):
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in read_metrics(folder)]


def test_a_guided_run_on_the_search_world_goes_on_after_a_kill(tmp_path):
    pytest.importorskip("bm25s")
    result = train(RUN, tmp_path / "whole")
    assert result["status"] == "finished" and result["updates"] == 4
    lines = timeless(tmp_path / "whole")
    updates = [line for line in lines if line["kind"] == "update"]
    for line in updates:
        assert line["rollouts"] == 12 and 1 <= line["turns"] <= 3 and line["mismatch_kl"] < 1e-9
        assert {"won", "fault_unfinished", "fault_overflow", "fault_malformed", "fault_out_of_turns"} <= set(line)
    assert [(line["update"], line["level"]) for line in lines if line["kind"] == "eval"] == [
        (update, level) for update in (0, 4) for level in ("1 hop", "2 hops")
    ]

    def kill(state):
        if state.get("update") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(RUN, tmp_path / "parts", kill)
    train(RUN, tmp_path / "parts")
    assert timeless(tmp_path / "parts") == lines


def test_guidance_dresses_the_first_observation():
    pytest.importorskip("bm25s")
    query = environments.train_list(SEARCH, 0)[0]
    assert environments.asked(SEARCH, query) == query  # here the first observation is the question
    longer = replace(queries(ToyConfig())[0], trace="=3")
    shown = environments.asked(ToyConfig(), longer)
    assert HINTS["full"].prompt(shown).startswith(f"{longer.text}\n<hint>\n=3")


def test_a_first_prompt_that_leaves_no_room_is_refused_before_anything_starts(tmp_path):
    pytest.importorskip("bm25s")
    with pytest.raises(ReproError, match="does not fit the model's context of 16"):
        train(replace(RUN, policy=replace(RUN.policy, context=16)), tmp_path)


def test_worlds_need_no_library_before_they_are_used():
    blocked = "torch transformers bm25s datasets spacy rapidfuzz alfworld textworld".split()
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import repro.environments as e; " \
           "print(e.multi_turn(e.SearchConfig()), len(e.vocabulary(e.SearchConfig())))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True ")
