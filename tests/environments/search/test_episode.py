"""Episodes: the answers of the world to every kind of action, counters, snapshots and state keys."""

import random
import sys
from dataclasses import replace

import pytest

from repro.environments.search import Faults, SearchConfig, SearchEpisode, base_of, heldout, train_list, vocabulary
from repro.errors import ReproError

WORLD = SearchConfig(knowledge_bases=2, heldout_queries=8)
QUERY = heldout(WORLD)["2 hops"][0]
FIRST, SECOND = QUERY.graph


def begun(config=WORLD, query=QUERY):
    episode = SearchEpisode(config, query)
    episode.reset()
    return episode


def test_an_episode_that_wins():
    episode = SearchEpisode(WORLD, QUERY)
    assert episode.reset() == QUERY.text
    observation, reward, done = episode.step(f"search {FIRST.subject} {FIRST.relation}")
    assert observation.splitlines()[0] == FIRST.sentence and len(observation.splitlines()) == 3
    assert (reward, done, episode.won) == (0.0, False, False)
    observation, reward, done = episode.step(f"search {SECOND.subject} {SECOND.relation}")
    assert observation.splitlines()[0] == SECOND.sentence and (reward, done) == (0.0, False)
    assert episode.step(f"answer {QUERY.answer}") == ("", 1.0, True)
    assert episode.won and episode.done and episode.answer == QUERY.answer and episode.faults == Faults()
    assert episode.admissible() == []


def test_the_example_of_the_package():
    config = SearchConfig()
    episode = SearchEpisode(config, train_list(config, 0)[4])
    assert episode.reset() == "what is the river of the ship kutav ?"
    assert episode.step("search kutav captain")[0] == (
        "the captain of kutav is kusol .\nthe builder of kutav is kubor .\nthe flagship of godan is kutav ."
    )
    assert episode.step("search kusol birthplace")[0].startswith("the birthplace of kusol is bamar .\nthe employer")
    assert episode.step("search bamar river")[0].startswith("the river of bamar is figim .\nthe mayor")
    assert episode.step("answer figim") == ("", 1.0, True)


def test_a_wrong_answer_ends_the_episode_too():
    episode = begun()
    assert episode.step(f"answer {FIRST.subject}") == ("", 0.0, True)
    assert not episode.won and episode.done and episode.answer == FIRST.subject


def test_an_answer_is_normalised():
    assert begun().step(f"answer The {QUERY.answer.upper()} .") == ("", 1.0, True)
    assert begun().step(f"  answer   {QUERY.answer}\n") == ("", 1.0, True)


def test_order_case_and_punctuation_of_a_query_do_not_matter():
    plain = begun().step(f"search {FIRST.subject} {FIRST.relation}")
    assert begun().step(f"search\n{FIRST.subject}\t{FIRST.relation}") == plain
    assert begun().step(f"Search: the {FIRST.relation.upper()} of {FIRST.subject} ?") == plain


@pytest.mark.parametrize("action", ["", " ", "find it", "searchx y", "answer", "answer   ", "answer the .", "\n"])
def test_malformed(action):
    episode = begun()
    assert episode.step(action) == ("no such action .", 0.0, False)
    assert episode.faults == Faults(malformed=1) and not episode.done and episode.state.turn == 1


@pytest.mark.parametrize("action", ["search", "Search:", "search  ", "search .", "search the of", "search ?!,"])
def test_empty_query(action):
    episode = begun()
    assert episode.step(action) == ("no query .", 0.0, False)
    assert episode.faults == Faults(empty=1) and episode.state.seen == ()


def test_over_long_query():
    episode = begun()
    words = [FIRST.subject] * WORLD.max_query_words
    assert episode.step("search " + " ".join(words))[0] != "query too long ."
    assert episode.step("search " + " ".join([*words, FIRST.subject])) == ("query too long .", 0.0, False)
    assert episode.faults == Faults(overlong=1)
    assert begun().step("search " + "x " * 10**5) == ("query too long .", 0.0, False)
    assert begun().step("search " + "x" * 10**5)[0] == "no results ."


def test_unknown_words():
    episode = begun()
    assert episode.step("search unheard") == ("no results .", 0.0, False)
    assert episode.faults == Faults(unknown=1)
    known = episode.step(f"search {FIRST.subject} {FIRST.relation}")
    assert episode.step(f"search {FIRST.subject} {FIRST.relation} unheard of") == known
    assert episode.faults == Faults(unknown=2)


def test_too_many_turns():
    episode = begun()
    for _ in range(WORLD.max_turns - 1):
        assert episode.step(f"search {FIRST.subject}")[2] is False
    observation, reward, done = episode.step(f"search {FIRST.subject}")
    assert observation.endswith("\nno turns left .") and (reward, done) == (0.0, True)
    assert episode.faults == Faults(out_of_turns=1) and episode.done and not episode.won and episode.answer == ""
    late = begun()
    for _ in range(WORLD.max_turns - 1):
        late.step("nonsense")
    assert late.step(f"answer {QUERY.answer}") == ("", 1.0, True)  # the last turn may answer
    lost = begun(replace(WORLD, max_turns=4))
    assert [lost.step("nonsense")[2] for _ in range(4)] == [False, False, False, True]
    assert lost.faults == Faults(malformed=4, out_of_turns=1)


def test_every_message_is_made_of_known_words():
    episode, known = begun(), set(vocabulary(WORLD))
    actions = ["nonsense", "search", "search " + "x " * 20, "search x", f"search {FIRST.subject}"]
    assert all(set(episode.step(action)[0].split()) <= known for action in actions)
    assert episode.done


def test_use_before_reset_and_after_the_end_is_refused():
    episode = SearchEpisode(WORLD, QUERY)
    for use in (lambda: episode.step("search x"), episode.snapshot, episode.admissible, episode.state_key):
        with pytest.raises(ReproError, match="call reset"):
            use()
    with pytest.raises(ReproError, match="call reset"):
        _ = episode.won
    episode.reset()
    episode.step("answer x")
    with pytest.raises(ReproError, match="episode is over"):
        episode.step("search x")


def test_a_question_of_another_config_is_refused():
    with pytest.raises(ReproError, match="config that made it"):
        SearchEpisode(replace(WORLD, entities=7), QUERY)


def test_admissible_actions_name_what_was_read():
    episode = begun()
    relations = {relation for _, relation, _ in WORLD.schema}
    actions = episode.admissible()
    assert len(actions) == len(set(actions)) == len(relations) + 1
    assert f"answer {FIRST.subject}" in actions and f"search {FIRST.subject} {FIRST.relation}" in actions
    assert f"answer {QUERY.answer}" not in actions
    for fact in QUERY.graph:
        assert f"search {fact.subject} {fact.relation}" in episode.admissible()
        episode.step(f"search {fact.subject} {fact.relation}")
    assert f"answer {QUERY.answer}" in episode.admissible()
    for action in episode.admissible()[:50]:
        begun().step(action)


def test_a_snapshot_brings_back_everything():
    """Random play: from any snapshot, the same actions give the same observations, in any episode of the question."""
    rng = random.Random("play")
    for _ in range(30):
        episode, trail = begun(), []
        while not episode.done:
            actions = [a for a in episode.admissible() if a.startswith("search")]
            action = rng.choice([*rng.sample(actions, 6), "search", "nonsense", "search unheard"])
            before = episode.snapshot(), episode.state_key(True), episode.admissible()
            trail.append((before, action, episode.step(action), episode.snapshot()))
        other = begun()
        for (state, key, actions), action, result, after in rng.sample(trail, len(trail)):
            for player in (episode, other):
                player.restore(state)
                assert (player.state_key(True), player.admissible(), player.snapshot()) == (key, actions, state)
                assert player.step(action) == result and player.snapshot() == after


def test_snapshots_are_small_immutable_values():
    episode = begun()
    start = episode.snapshot()
    for fact in QUERY.graph:
        episode.step(f"search {fact.subject} {fact.relation}")
    assert start.turn == 0 and start.seen == () and hash(episode.snapshot()) != hash(start)
    assert sys.getsizeof(episode.snapshot()) < 200
    with pytest.raises(AttributeError):
        start.turn = 3


def test_state_keys_are_what_is_known():
    one, other = begun(), begun()
    a, b = f"search {FIRST.subject} {FIRST.relation}", f"search {SECOND.subject} {SECOND.relation}"
    assert one.state_key() == other.state_key()
    one.step(a), other.step(b)
    assert one.state_key() != other.state_key()
    one.step(b), other.step(a)
    assert one.state_key() == other.state_key()  # the same documents in another order
    other.step("nonsense")
    assert one.state_key() == other.state_key()  # a turn wasted teaches nothing
    one.step(f"answer {QUERY.answer}"), other.step("answer x")
    assert one.state_key() != other.state_key()


def test_state_keys_tell_questions_and_knowledge_bases_apart():
    queries = [q for queries in heldout(WORLD).values() for q in queries]
    episodes = [begun(query=query) for query in queries]
    assert len({e.state_key() for e in episodes}) == len({base_of(WORLD, q).name for q in queries})
    assert len({e.state_key(with_goal=True) for e in episodes}) == len(queries)


def test_episodes_share_one_knowledge_base():
    assert begun().base is begun().base is base_of(WORLD, QUERY)
