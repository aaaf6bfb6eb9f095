"""GiGPO's credit by hand, against loops, and against the released rule written out independently."""

import random
import statistics

import pytest
import torch

from repro.algorithms.gigpo import GiGPO, discounted_returns, first_turns, relative, state_groups

# Task 0: episode 7 wins in two turns (a, b), episode 8 fails in three (a, b, a). Task 1: episode 9, alone, wins in one.
REWARD = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
TASK = torch.tensor([0, 0, 0, 0, 0, 1])
EPISODE = torch.tensor([7, 7, 8, 8, 8, 9])
TURN = torch.tensor([0, 1, 0, 1, 2, 0])
STATES = ["a", "b", "a", "b", "a", "a"]


def test_returns_by_hand():
    # Episode 7: 0.5 * 1, 1. Rows may stand in any order.
    returns_B = discounted_returns(REWARD, EPISODE, TURN, 0.5)
    assert returns_B.tolist() == [0.5, 1.0, 0.0, 0.0, 0.0, 1.0]
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    shuffled_B = discounted_returns(REWARD[order], EPISODE[order], TURN[order], 0.5)
    assert shuffled_B.tolist() == returns_B[order].tolist()
    three = discounted_returns(torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3), torch.tensor([0, 1, 2]), 0.5)
    assert three.tolist() == [1 + 1 + 1, 2 + 2, 4]


def test_advantage_by_hand():
    """Mean only, gamma 1/2.

    Episodes of task 0 earned 1 and 0: +-1/2; task 1 has one. State a of task 0 has returns 1/2, 0, 0, mean 1/6; b has
    1 and 0. The a of task 1 is another group.
    """
    advantage_B = GiGPO(gamma=0.5).advantage_B(REWARD, TASK, EPISODE, TURN, STATES)
    step = torch.tensor([1 / 3, 1 / 2, -1 / 6, -1 / 2, -1 / 6, 0.0], dtype=torch.float64)
    episode = torch.tensor([1 / 2, 1 / 2, -1 / 2, -1 / 2, -1 / 2, 0.0], dtype=torch.float64)
    torch.testing.assert_close(advantage_B, episode + step)
    half = GiGPO(gamma=0.5, step_weight=0.5).advantage_B(REWARD, TASK, EPISODE, TURN, STATES)
    torch.testing.assert_close(half, episode + step / 2)


def test_statistics_over_turns_weigh_long_episodes_more():
    # Outcomes by turn: 1, 1, 0, 0, 0: mean 2/5 instead of 1/2.
    none = GiGPO(count="turns", step_weight=0.0).advantage_B(REWARD, TASK, EPISODE, TURN, STATES)
    assert none.tolist() == pytest.approx([0.6, 0.6, -0.4, -0.4, -0.4, 0.0])


def test_standard_deviation_by_hand():
    # Episodes 1, 0: deviation sqrt(1/2). a: 1/2, 0, 0: deviation sqrt(1/12). b: 1, 0: sqrt(1/2).
    credit = GiGPO(gamma=0.5, scale="std", eps=0.0)
    expected = [0.5**0.5 + 1 / 3 * 12**0.5, 0.5**0.5 * 2, -(0.5**0.5) - 1 / 6 * 12**0.5]
    assert credit.advantage_B(REWARD, TASK, EPISODE, TURN, STATES)[:3].tolist() == pytest.approx(expected)


def test_no_contrast_no_credit():
    reward_B = torch.tensor([0.1] * 6)
    for scale in ("none", "std"):
        for count in ("episodes", "turns"):
            credit = GiGPO(gamma=0.0, scale=scale, count=count)
            # One turn an episode: all outcomes and all returns are 0.1.
            advantage_B = credit.advantage_B(reward_B, TASK, torch.arange(6), torch.zeros(6), ["a"] * 6)
            assert advantage_B.tolist() == [0.0] * 6


def test_groups_of_states_are_exact_and_within_a_task():
    assert state_groups(TASK, STATES).tolist() == [0, 1, 0, 1, 0, 2]
    assert state_groups(torch.tensor([3, 3]), ["a", "a "]).tolist() == [0, 1]


def test_first_turns_in_any_order():
    assert first_turns(torch.tensor([5, 5, 2, 2]), torch.tensor([1, 0, 3, 4])).tolist() == [False, True, True, False]


def test_relative_counts_who_is_asked():
    # Values 1, 3, 8, of which the first two count: mean 2, deviation sqrt 2.
    value_B, group_B = torch.tensor([1.0, 3.0, 8.0]), torch.zeros(3)
    counted_B = torch.tensor([True, True, False])
    assert relative(value_B, group_B, counted_B, "none", 0.0).tolist() == [-1.0, 1.0, 6.0]
    scaled_B = relative(value_B, group_B, counted_B, "std", 0.0)
    assert scaled_B.tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5, 6 * 0.5**0.5])
    assert relative(value_B, group_B, torch.tensor([True, False, False]), "none", 0.0).tolist() == [0.0] * 3


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="the same turn twice"):
        discounted_returns(REWARD, torch.zeros(6), torch.tensor([0, 1, 2, 3, 3, 4]), 0.9)
    with pytest.raises(ValueError, match="GiGPO.scale is 'batch'; choose 'none' or 'std'"):
        GiGPO(scale="batch")
    with pytest.raises(ValueError, match="GiGPO.count is 'tokens'"):
        GiGPO(count="tokens")


# The released rule, written out again ---------------------------------------------------------------------------------


def random_turns(name):
    """Rows (task, episode, turn, reward, state) of episodes of unequal length, shuffled."""
    rng, rows = random.Random(f"gigpo:{name}"), []
    for episode in range(14):
        task, length, won = rng.choice([1, 4, 4, 4, 9, 9, 9, 9, 30]), rng.randrange(1, 7), rng.random() < 0.4
        for turn in range(length):
            reward = 10.0 * (won and turn == length - 1) - 0.1 * (rng.random() < 0.2)
            rows.append((task, episode, turn, reward, rng.choice("abcd")))
    rng.shuffle(rows)
    return rows


def released(rows, gamma, weight, std):
    """Every turn carries its episode's total; mean and deviation over the turns of a task, then of a task's state."""

    def norm(values, groups, alone):
        out = []
        for value, group in zip(values, groups, strict=True):
            peers = [v for v, g in zip(values, groups, strict=True) if g == group]
            mean, spread = (statistics.mean(peers), statistics.stdev(peers)) if len(peers) > 1 else (alone(value), 1.0)
            out.append((value - mean) / (spread + 1e-6) if std else value - mean)
        return out

    totals = [sum(r[3] for r in rows if r[1] == row[1]) for row in rows]
    returns = [sum(gamma ** (r[2] - row[2]) * r[3] for r in rows if r[1] == row[1] and r[2] >= row[2]) for row in rows]
    episode = norm(totals, [row[0] for row in rows], alone=lambda value: 0.0)
    step = norm(returns, [(row[0], row[4]) for row in rows], alone=lambda value: value)
    return [e + weight * s for e, s in zip(episode, step, strict=True)]


@pytest.mark.parametrize("std", [False, True])
@pytest.mark.parametrize("name", range(4))
def test_against_the_released_rule(name, std):
    rows = random_turns(name)
    task_B, episode_B, turn_B = (torch.tensor([row[k] for row in rows]) for k in range(3))
    reward_B, states = torch.tensor([row[3] for row in rows], dtype=torch.float64), [row[4] for row in rows]
    credit = GiGPO(gamma=0.95, step_weight=0.7, scale="std" if std else "none", count="turns")
    ours = credit.advantage_B(reward_B, task_B, episode_B, turn_B, states).tolist()
    alone = 0
    for mine, theirs, row in zip(ours, released(rows, 0.95, 0.7, std), rows, strict=True):
        if sum(other[0] == row[0] for other in rows) == 1:  # a task of one turn keeps its raw reward there
            alone += 1
            assert mine == 0
        else:
            assert mine == pytest.approx(theirs, abs=1e-9)
    assert alone < len(rows)


@pytest.mark.parametrize("name", range(4))
def test_episodes_against_a_loop(name):
    rows = random_turns(name)
    task_B, episode_B, turn_B = (torch.tensor([row[k] for row in rows]) for k in range(3))
    reward_B = torch.tensor([row[3] for row in rows], dtype=torch.float64)
    credit = GiGPO(step_weight=0.0)
    ours = credit.advantage_B(reward_B, task_B, episode_B, turn_B, [""] * len(rows)).tolist()
    totals = {row[1]: sum(r[3] for r in rows if r[1] == row[1]) for row in rows}
    for mine, row in zip(ours, rows, strict=True):
        episodes = {r[1] for r in rows if r[0] == row[0]}
        mean = statistics.mean(totals[e] for e in episodes)
        assert mine == pytest.approx(totals[row[1]] - mean if len(episodes) > 1 else 0.0, abs=1e-9)
