"""3SPO's exploration on graphs walked by hand: order, rewards, records, bounds, and every way a branch can end."""

import copy
import json
import math
from dataclasses import replace

import pytest

from repro.algorithms.threespo import READINGS, StateTable, ThreeSPO
from repro.algorithms.threespo_nodes import Proposal
from repro.algorithms.threespo_tree import Epoch
from repro.errors import ReproError
from tests.algorithms.toy_world import BINARY, WALK, Leaky, cycling, rewards, run, task

# lambda = 1 and two branches: numbers that can be checked by hand.
CONFIG = ThreeSPO(alpha=1.0, clock="constant", g_max=2, turns=3)


def expanded(events):
    return [event["observation"] for event in events if event["event"] == "expanded"]


def test_a_walk_by_hand():
    """s1 -> s2 (s4 wins), backtrack to s5 (two time-outs), backtrack to s3, down to s8, back to s2 once more."""
    table = StateTable()
    epoch, updates, events = run(CONFIG, [task(WALK, wins={"s4"})], cycling("l", "r"), table)
    assert expanded(events) == ["s1", "s2", "s5", "s3", "s8", "s2"]
    by_round = [event for event in events if event["event"] == "expanded"]
    # Weight of novelty 0.5 at a state without visits, so of the score difference 0.
    assert rewards(by_round[0]) == {"l": 0.5, "r": 0.5}  # both new
    assert rewards(by_round[1]) == {"l": 1.0, "r": 0.5}  # won and new; new
    assert rewards(by_round[2]) == {"l": 0.5, "r": 0.5}
    assert rewards(by_round[3]) == {"l": 0.5, "r": 0.0}  # s2 has been met
    assert rewards(by_round[4]) == {"l": 0.5, "r": 0.0}  # "l" changes nothing, but its text is new; s1 has been met
    # s2 again, three visits and one win: omega 0.5 exp(-0.3), S = exp(-1/3); s4 has p_hat 1, s5 has 0.
    omega, s = 0.5 * math.exp(-0.3), math.exp(-1 / 3.000001)
    won = (0.5 - omega) * (s - math.exp(-1 / 1.000001)) + 0.5
    assert rewards(by_round[5]) == {"l": won, "r": (0.5 - omega) * (s - 1)}
    advantages = [[round(b["advantage"], 6) for b in event["branches"]] for event in by_round]
    assert advantages[:5] == [[0, 0], [0.25, -0.25], [0, 0], [0.25, -0.25], [0.25, -0.25]]
    # Every distinct state once a path: seven paths, of which two won.
    expected = {"s1": [7, 2], "s2": [5, 2], "s3": [4, 1], "s4": [2, 2], "s5": [3, 0], "s6": [1, 0], "s7": [1, 0]}
    expected |= {"s8": [2, 0], "Nothing happens.": [1, 0]}
    assert table.counts == expected and table.trajectories == 7
    assert [len(groups) for groups in updates] == [1] * 6  # an update after every step
    count = epoch.tally.count
    assert (count["generations"], count["rounds"], count["leaves"], count["leaf_wins"]) == (12, 6, 7, 2)
    assert (count["groups"], count["flat"], count["pending"], table.generations) == (6, 2, 0, 12)


def test_events_are_plain_and_tell_the_tree():
    _, _, events = run(CONFIG, [task(WALK, wins={"s4"})], cycling("l", "r"))
    assert json.loads(json.dumps(events)) == events
    first, second = [event for event in events if event["event"] == "expanded"][:2]
    assert (first["parent"], first["turn"], second["parent"]) == (None, 0, first["node"])
    assert second["node"] == first["branches"][0]["child"]
    leaf = next(event for event in events if event["event"] == "leaf")
    assert leaf["node"] == second["branches"][0]["child"] and leaf["won"]


def test_best_child_first_and_equals_as_sampled():
    # From s1: a leads back to s1 (nothing new: 0), b and c to new states (0.5 each): b, c, a.
    edges = {"s1": {"a": "s1", "b": "s2", "c": "s3"}}
    _, _, events = run(replace(CONFIG, g_max=3, turns=2), [task(edges)], cycling("a", "b", "c"))
    assert expanded(events) == ["s1", "s2", "s3", "s1"]


@pytest.mark.parametrize(
    "backtrack, order",
    [
        ("deepest", "n1 n2 n4 n8 n9 n5 n10 n11 n3 n6 n12 n13 n7 n14 n15"),
        # Down to a leaf each time, then the waiting state nearest to the start, the last found first.
        ("shallowest", "n1 n2 n4 n8 n3 n6 n12 n7 n14 n5 n10 n11 n15 n13 n9"),
        ("none", "n1 n2 n4 n8"),
    ],
)
def test_where_it_goes_after_a_leaf(backtrack, order):
    config = replace(CONFIG, turns=4, backtrack=backtrack, leaves=None)
    epoch, _, events = run(config, [task(BINARY, "n1")], cycling("l", "r"))
    assert expanded(events) == order.split()
    assert epoch.tally.count["leaves"] == (16 if backtrack != "none" else 2)


def test_random_backtracking_visits_all_and_repeats_by_seed():
    config = replace(CONFIG, turns=4, backtrack="random", leaves=None)
    orders = [expanded(run(config, [task(BINARY, "n1")], cycling("l", "r"), seed=s)[2]) for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and {len(set(order)) for order in orders} == {15}


def test_without_backtracking_a_final_best_child_ends_the_path():
    # At s2 the win (1.0) outranks s5: the path is over, though s5 is not.
    epoch, _, events = run(replace(CONFIG, backtrack="none"), [task(WALK, wins={"s4"})], cycling("l", "r"))
    assert expanded(events) == ["s1", "s2"] and epoch.tally.count["pending"] == 0


# Bounds ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", [1, 3, 4, 7])
def test_leaves_are_bounded(leaves):
    config = replace(CONFIG, turns=4, leaves=leaves)
    epoch, _, _ = run(config, [task(BINARY, "n1", id="a"), task(BINARY, "n1", id="b")], cycling("l", "r"))
    for_each = epoch.tally.count["leaves"] / 2
    assert leaves <= for_each <= leaves + config.g_max - 1 and epoch.tally.count["pending"] > 0


@pytest.mark.parametrize("bound", range(1, 33))
def test_generations_are_never_exceeded(bound):
    tasks = [task(BINARY, "n1", id=id) for id in "abc"]
    for options in ({"budget": bound}, {}):
        config = replace(CONFIG, turns=4, leaves=None, generations=None if options else bound)
        epoch, _, _ = run(config, tasks, cycling("l", "r"), **options)
        assert epoch.tally.count["generations"] == bound - bound % 2  # two at a time, as far as they fit


def test_a_budget_is_of_the_whole_run():
    table = StateTable(generations=95)
    epoch, _, _ = run(replace(CONFIG, turns=4), [task(BINARY, "n1")], cycling("l", "r"), table, budget=100)
    assert epoch.tally.count["generations"] == 4 and table.generations == 99


def test_lock_step_and_one_update_a_round():
    propose = cycling("l", "r")
    tasks = [task(WALK, wins={"s4"}, id="a"), task(BINARY, "n1", id="b")]
    _, updates, _ = run(replace(CONFIG, turns=2), tasks, propose)
    assert propose.asked[0] == [("s1", 2), ("n1", 2)] and propose.asked[1] == [("s2", 2), ("n2", 2)]
    assert [len(groups) for groups in updates] == [2, 2, 2]


@pytest.mark.parametrize("every, sizes", [(1, [1] * 6), (4, [4, 2]), (None, [6])])
def test_when_updates_are_due(every, sizes):
    _, updates, _ = run(replace(CONFIG, update_every=every), [task(WALK, wins={"s4"})], cycling("l", "r"))
    assert [len(groups) for groups in updates] == sizes


def test_sampling_waits_for_the_update():
    """The generator asks the policy for the next states only after the consumer is done with the groups."""
    propose = cycling("l", "r")
    exploration = Epoch(CONFIG, StateTable(), [task(WALK, wins={"s4"})], propose).explore()
    for rounds in range(1, 4):
        next(exploration)
        assert len(propose.asked) == rounds


# How a branch ends ----------------------------------------------------------------------------------------------------


def test_a_pruned_start_ends_its_task():
    # n1 has failed ten times: n = 0, nothing is sampled and nothing recorded, so that it can never recover.
    table = StateTable(counts={"n1": [10, 0]})
    epoch, updates, _ = run(CONFIG, [task(BINARY, "n1")], cycling("l", "r"), table)
    count = epoch.tally.count
    assert updates == [] and (count["pruned_starts"], count["truncated"], count["generations"]) == (1, 1, 0)
    assert count["given_up_starts"] == 1 and table.counts == {"n1": [10, 0]}
    protected, _, events = run(replace(CONFIG, start_visits=11), [task(BINARY, "n1")], cycling("l", "r"), table)
    assert protected.tally.count["pruned_starts"] == 0 and protected.tally.count["given_up_starts"] == 1
    assert expanded(events)[0] == "n1"


def test_a_truncated_branch_is_counted_and_not_recorded():
    for record in (False, True):
        table = StateTable(counts={"n2": [10, 0]})
        config = replace(CONFIG, turns=2, record_truncated=record)
        epoch, _, events = run(config, [task(BINARY, "n1")], cycling("l", "r"), table)
        assert expanded(events) == ["n1", "n3"] and epoch.tally.count["truncated"] == 1
        assert epoch.tally.count["pruned_starts"] == 0 and epoch.tally.branches == {2: 2, 0: 1}
        assert table.counts["n2"] == ([11, 0] if record else [10, 0])
        assert table.counts["n1"] == ([3, 0] if record else [2, 0])


def test_the_indicator_can_be_kept_out_of_the_allocation():
    table = StateTable(counts={"n1": [10, 0]})
    epoch, _, _ = run(replace(CONFIG, prune="nowhere"), [task(BINARY, "n1")], cycling("l", "r"), table)
    assert epoch.tally.count["truncated"] == 0 and epoch.tally.count["given_up"] > 0


def test_a_singleton_acts_and_goes_on_without_an_update():
    # All of s1's trajectories won: S = exp(-4) = 0.018, one branch of two; it is followed to the end.
    table = StateTable(counts={"s1": [20, 20]})
    epoch, updates, events = run(replace(CONFIG, alpha=4.0), [task(WALK, wins={"s4"})], cycling("l"), table)
    assert expanded(events) == ["s1", "s2"] and epoch.tally.count["singletons"] == 1
    assert [[group.node.observation for group in groups] for groups in updates] == [["s2"]]
    assert table.counts["s1"] == [21, 21]  # both samples at s2 took the same way: one path


def test_duplicates_stay_in_the_gradient_and_are_expanded_once():
    # Four samples of two commands; the two that change nothing lead to one world state.
    propose = cycling("l", "l", "x", "y")
    config = replace(CONFIG, g_max=4, turns=2)
    for expand, at_turn_one in (("state", 2), ("command", 3), ("all", 4)):
        world = task(BINARY, "n1")
        epoch, updates, events = run(replace(config, expand=expand), [world], propose)
        assert len(updates[0][0].branches) == 4
        assert len([event for event in events if event["event"] == "expanded"]) == 1 + at_turn_one
        assert updates[0][0].branches[0].child is updates[0][0].branches[1].child
        assert world.environment.steps == 3 * (1 + at_turn_one)  # a command is not taken twice from a state


def test_tasks_that_begin_solved_are_counted():
    epoch, updates, _ = run(CONFIG, [task(WALK, start="s4", wins={"s4"})], cycling("l"))
    assert updates == [] and epoch.tally.count["solved_at_start"] == 1 and epoch.tally.count["generations"] == 0


def test_groups_without_spread_can_be_left_out():
    epoch, updates, _ = run(replace(CONFIG, min_std=0.02), [task(WALK, wins={"s4"})], cycling("l", "r"))
    assert [group.node.observation for groups in updates for group in groups] == ["s2", "s3", "s8", "s2"]
    assert epoch.tally.count["dropped"] == epoch.tally.count["flat"] == 2


def test_kinds_of_successors():
    # From s1: a win, no change, a state never recorded, one given up, one solved before, one not solved yet.
    edges = {"s1": {k: k for k in ("won", "new", "lost", "solved", "open")}}
    table = StateTable(counts={"lost": [10, 0], "solved": [4, 2], "open": [4, 0], "new": [0, 0]})
    propose = cycling("won", "stay", "new", "lost", "solved", "open")
    epoch, updates, _ = run(replace(CONFIG, g_max=6, turns=1), [task(edges, wins={"won"})], propose, table)
    kinds = [branch.kind for branch in updates[0][0].branches]
    assert kinds == ["won", "no_op", "unseen", "pruned", "solved", "unsolved"]
    metrics = epoch.tally.metrics()
    assert metrics["pruned_successors"] == 1 and metrics["won_reward"] == pytest.approx(1.0)
    assert metrics["n_6"] == 1 and metrics["score_mean"] == 1.0 and metrics["high_share"] == 1.0
    assert sum(metrics[f"{kind}_advantage"] for kind in kinds) == pytest.approx(0)


# Readings of the reward -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "novel, expected",
    [  # from s1: s2 is new; s3 was met in training, but not on this path; "x" changes nothing but the text
        ("training", {"l": 0.5, "r": 0.0, "x": 0.5}),
        ("trajectory", {"l": 0.5, "r": 0.5, "x": 0.5}),
        ("changed", {"l": 0.5, "r": 0.5, "x": 0.5}),
        ("none", {"l": 0.0, "r": 0.0, "x": 0.0}),
    ],
)
def test_readings_of_novelty(novel, expected):
    table = StateTable(counts={"s3": [0, 0]})
    config = replace(CONFIG, novel=novel, g_max=3, turns=1)
    _, _, events = run(config, [task(WALK)], cycling("l", "r", "x"), table)
    assert rewards(events[0]) == expected
    by_world, _, events = run(replace(config, key="state"), [task(WALK)], cycling("l", "r", "x"), StateTable())
    assert rewards(events[0])["x"] == 0  # told apart by the world's state, nothing has changed


def test_what_was_met_is_not_new_though_no_path_through_it_has_ended():
    # s3 was a sibling of s2 a round ago; for the score it is still unseen.
    edges = {"s1": {"l": "s2", "r": "s3"}, "s2": {"l": "s3", "r": "s6"}}
    table = StateTable()
    exploration = Epoch(CONFIG, table, [task(edges)], cycling("l", "r")).explore()
    next(exploration)
    assert table.counts == {"s1": [0, 0], "s2": [0, 0], "s3": [0, 0]}
    (group,) = next(exploration)
    assert [branch.reward for branch in group.branches] == [0.0, 0.5]
    assert [branch.score for branch in group.branches] == [1.0, 1.0]


def test_unseen_successors_can_be_neutral():
    # s1: 30 visits, half won. An unseen successor costs (0.5 - omega) (S - 1), or nothing.
    table = StateTable(counts={"s1": [30, 15], "s3": [4, 4]})
    weight, s = 0.5 - 0.5 * math.exp(-3), math.exp(-15 / 30.000001)
    for unseen, cost in (("one", weight * (s - 1)), ("neutral", 0.0)):
        config = replace(CONFIG, novel="none", unseen=unseen, turns=1)
        _, _, events = run(config, [task(WALK)], cycling("l", "r"), copy.deepcopy(table))
        assert rewards(events[0]) == {"l": cost, "r": weight * (s - math.exp(-4 / 4.000001))}


def test_recording_before_scoring():
    # s2, second visit of the walk: the win just made counts for it, and for s4, before their scores are read.
    table = StateTable(counts={"s2": [3, 1], "s4": [1, 1]})
    config = replace(CONFIG, novel="none", score_after_recording=True, turns=1)
    _, _, events = run(config, [task(WALK, start="s2", wins={"s4"})], cycling("l", "r"), table)
    event = next(event for event in events if event["event"] == "expanded")
    omega, s = 0.5 * math.exp(-0.5), math.exp(-2 / 5.000001)  # five visits, two won
    assert rewards(event)["l"] == (0.5 - omega) * (s - math.exp(-2 / 2.000001)) + 0.5


def test_final_states_can_be_scored_by_their_outcome():
    table = StateTable(counts={"s2": [50, 10]})
    config = replace(CONFIG, terminal="outcome", omega_max=0.0, turns=1)
    _, _, events = run(config, [task(WALK, start="s2", wins={"s4"})], cycling("l", "r"), table)
    event, s = next(event for event in events if event["event"] == "expanded"), math.exp(-10 / 50.000001)
    assert rewards(event) == {"l": 0.5 * (s - math.exp(-1)) + 0.5, "r": 0.5 * (s - 1)}


def test_keys():
    expected = {"observation": "Nothing happens.", "goal_observation": "win\nNothing happens.", "state": "n1"}
    expected |= {"goal_state": "goal n1", "abstract": "not yet"}
    for key, value in expected.items():
        for bucket, suffix in ((0, ""), (2, "\nturn 1")):
            table, config = StateTable(), replace(CONFIG, key=key, turn_bucket=bucket, turns=2)
            run(config, [task(BINARY, "n1")], cycling("x"), table)
            assert value + suffix in table.counts


# Going back -----------------------------------------------------------------------------------------------------------


def test_replay_and_snapshot_give_the_same_epoch():
    results = []
    for restore in ("snapshot", "replay"):
        table, world = StateTable(), task(WALK, wins={"s4"})
        _, _, events = run(replace(CONFIG, restore=restore), [world], cycling("l", "r"), table)
        results.append((table, events))
        assert world.environment.resets == (1 if restore == "snapshot" else 13)  # the start, and before each step
    assert results[0] == results[1]


def test_an_environment_that_does_not_go_back_is_refused():
    with pytest.raises(ReproError, match="task t1, turn 0: going back by snapshot led to another state"):
        run(CONFIG, [task(WALK, world=Leaky)], cycling("l", "r"))


def test_a_policy_that_gives_the_wrong_number_is_refused():
    with pytest.raises(ReproError, match=r"asked for \[2\] proposals and gave \[1\]"):
        run(CONFIG, [task(WALK)], lambda nodes, counts: [[Proposal("l")] for _ in nodes])


def test_a_killed_run_resumes_to_the_same_numbers():
    """Three epochs in one go, and with the table through JSON after each; the second dies in its middle first."""

    def tasks():
        return [task(WALK, wins={"s4"}, id="a"), task(BINARY, "n1", id="b")]

    config = replace(READINGS["literal"], turns=4, g_max=3, backtrack="random", leaves=5)
    whole, events = StateTable("run"), []
    for _ in range(3):
        events += run(config, tasks(), cycling("l", "r", "x"), whole, budget=200)[2]
    saved, again = json.dumps(StateTable("run").to_dict()), []
    for number in range(3):
        if number == 1:
            broken = StateTable.from_dict(json.loads(saved), "run")
            next(Epoch(config, broken, tasks(), cycling("l", "r", "x"), budget=200).explore())
        table = StateTable.from_dict(json.loads(saved), "run")
        again += run(config, tasks(), cycling("l", "r", "x"), table, budget=200)[2]
        saved = json.dumps(table.to_dict())
    assert table == whole and again == events and table.epoch == 3
