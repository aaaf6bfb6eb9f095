"""WebShop as the loop plays it: goals as queries, turns, faults, snapshots, prompts, and states relative to a goal."""

import itertools
import random
import subprocess
import sys
import typing
from dataclasses import replace

import pytest

from repro import environments
from repro.config import from_dict, to_dict
from repro.environments.webshop import abstraction, agent, engine, expert
from repro.environments.webshop.catalogue import CatalogueConfig, generate, write
from repro.environments.webshop.compact import CompactConfig
from repro.environments.webshop.data import DataConfig
from repro.environments.webshop.world import (
    Faults,
    ShopEpisode,
    WebShopConfig,
    heldout,
    searched,
    shop_of,
    stream,
    train_list,
    vocabulary,
)
from repro.errors import ReproError
from repro.training.config import RunConfig
from tests.environments.webshop import shelves

CONFIG = WebShopConfig(CompactConfig(products=24, kinds=4, goals=240), heldout_goals=40)
PAPER = WebShopConfig(CatalogueConfig(products=60), max_turns=30, heldout_goals=20)


def begun(config=CONFIG, at=0, **changes):
    config = replace(config, **changes)
    episode = ShopEpisode(config, train_list(config, 0)[at])
    episode.reset()
    return episode


def wanting(options):
    """An episode whose goal asks for so many options."""
    return next(e for e in map(lambda at: begun(at=at), range(50)) if len(e.shop.goal.options) == options)


def play(episode, actions):
    return [episode.step(action) for action in actions]


def finish(episode):
    while not episode.done:
        episode.step(expert.next_action(episode.shop))
    return episode


def test_held_out_goals_are_the_first_and_never_trained_on():
    held, trained = heldout(CONFIG)["heldout"], train_list(CONFIG, 0)
    assert (len(held), len(trained)) == (40, 200)
    assert [q.id for q in held] == [f"goal/{n}" for n in range(40)]
    assert [q.text for q in held] == [goal.instruction for goal in shop_of(CONFIG.source).goals[:40]]
    assert not {q.text for q in held} & {q.text for q in trained}
    drawn = list(itertools.islice(stream(CONFIG, 3), 400))
    assert set(drawn[:200]) == set(drawn[200:]) == set(trained) and drawn[:200] != drawn[200:] != trained
    assert drawn == list(itertools.islice(stream(CONFIG, 3), 400)) != list(itertools.islice(stream(CONFIG, 4), 400))


def test_a_seed_may_draw_its_own_training_goals():
    some = replace(CONFIG, train_queries=30)
    mine, yours = train_list(some, 1), train_list(some, 2)
    assert len(set(mine)) == len(set(yours)) == 30 and set(mine) != set(yours)
    assert set(mine) | set(yours) <= set(train_list(CONFIG, 0)) and heldout(some) == heldout(CONFIG)
    with pytest.raises(ReproError, match="201 training goals are asked for, the shop has 200"):
        train_list(replace(CONFIG, train_queries=201), 0)


def test_the_expert_wins_every_goal():
    for query in heldout(CONFIG)["heldout"] + train_list(CONFIG, 0):
        episode = ShopEpisode(CONFIG, query)
        episode.reset()
        assert finish(episode).won and episode.score == 1.0 and episode.faults == Faults()


def test_every_word_of_many_episodes_is_in_the_vocabulary():
    words, rng = vocabulary(CONFIG), random.Random("walks")
    known, turns = set(words), 0
    assert len(words) == len(known) < 100
    for query in train_list(CONFIG, 0):
        episode = ShopEpisode(replace(CONFIG, history=rng.choice((0, 1, 2, None))), query)
        texts, done = [episode.reset()], False
        while not done:
            actions = episode.admissible()
            texts += [episode.prompt(), *actions]
            observation, _, done = episode.step(rng.choice(actions))
            texts.append(observation)
            turns += 1
        assert set(" ".join(texts).split()) <= known
    assert turns > 1000 and len(vocabulary(WebShopConfig())) < 150
    with pytest.raises(ReproError, match="CatalogueConfig have no short list of words"):
        vocabulary(PAPER)


def test_partial_credit_comes_with_the_purchase():
    """A goal with two options: a product that meets all else, and both, one or none of them."""
    episode = wanting(2)
    goal, shop = episode.shop.goal, episode.shop.shop
    product = shop.products[expert.target(shop, goal)]
    asked = len(goal.attributes) + 3  # with two options and the price
    colour, size = goal.values
    for chosen, met in (([colour, size], 0), ([colour], 1), ([], 2)):
        episode.reset()
        ways = [f"search {product.title}", f"click {product.asin}", *(f"click {value}" for value in chosen)]
        assert {(reward, done) for _, reward, done in play(episode, ways)} == {(0.0, False)}
        observation, reward, done = episode.step("click buy")
        assert (observation, done) == (f"bought {product.asin}", True)
        assert reward == episode.score == pytest.approx((asked - met) / asked)
        assert episode.won == (met == 0) and episode.faults == Faults(incomplete=int(met > 0))
        assert episode.receipt.options_met == 2 - met
        with pytest.raises(ReproError, match="the episode is over"):
            episode.step("click back")


def test_success_alone_may_be_rewarded():
    episode = finish(begun(reward="success"))
    assert episode.won
    lost = begun(reward="success", at=3)
    product = lost.shop.shop.products[expert.target(lost.shop.shop, lost.shop.goal)]
    *_, (_, reward, done) = play(lost, [f"search {product.title}", f"click {product.asin}", "click buy"])
    assert (reward, done, lost.won) == (0.0, True, False) and 0 < lost.score < 1
    again = begun(reward="success")
    rewards = []
    while not again.done:
        rewards.append(again.step(expert.next_action(again.shop))[1])
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


def test_what_goes_wrong_is_counted_and_changes_nothing():
    episode = begun()
    start = episode.state_key()
    for action in ("", "hello", "buy", "click", "search", "click buy", "click search"):
        assert episode.step(action) == ("shop : search", 0.0, False)
    assert episode.state_key() == start
    assert episode.faults == Faults(malformed=5, absent=2)
    assert episode.step("search zzz")[0] == "results : none"
    assert episode.faults == Faults(malformed=5, absent=2, no_hits=1)


def test_the_last_turn_ends_an_episode_that_bought_nothing():
    episode = begun(max_turns=3)
    assert [done for _, _, done in play(episode, ["click x", "click x", "click x"])] == [False, False, True]
    assert episode.done and not episode.won and episode.score == 0.0 and episode.admissible() == []
    assert episode.faults == Faults(absent=3, out_of_turns=1)
    in_time = begun(max_turns=3)
    first = in_time.shop.shop.products[0]
    *_, (_, _, done) = play(in_time, [f"search {first.title}", f"click {first.asin}", "click buy"])
    assert done and in_time.faults.out_of_turns == 0


def test_a_snapshot_restores_all_that_play_depends_on():
    rng = random.Random("snapshots")
    for at in range(12):
        episode, other = begun(at=at), begun(at=at)
        for _ in range(rng.randrange(6)):
            if not episode.done:
                episode.step(rng.choice(episode.admissible()))
        saved, prompt, keys = episode.snapshot(), episode.prompt(), (episode.state_key(), episode.abstract_key())
        assert hash(saved) == hash(episode.snapshot())
        rest = []
        while not episode.done:
            rest.append((action := rng.choice(episode.admissible()), episode.step(action)))
        end = episode.snapshot()
        for back in (episode, other):  # the same episode, and another of the same goal
            back.restore(saved)
            assert (back.prompt(), (back.state_key(), back.abstract_key())) == (prompt, keys)
            assert [(action, back.step(action)) for action, _ in rest] == rest and back.snapshot() == end


def test_prompts_say_the_instruction_once_and_the_last_turns():
    episode = begun(history=2)
    head, (shop, results) = f"task : {episode.query.text} |", ("shop : search", "results : none")
    assert episode.prompt() == f"{head} {shop}" == environments.asked(CONFIG, episode.query).text
    episode.step("search zzz")
    assert episode.prompt() == f"{head} {shop} search zzz {results}"
    play(episode, ["click m", "click back"])
    assert episode.prompt() == f"{head} {results} click m {results} click back {shop}"
    for kept, past in ((0, ""), (1, f" {results} click back")):
        short = begun(history=kept)
        play(short, ["search zzz", "click m", "click back"])
        assert short.prompt() == f"{head}{past} {shop}"
    whole = begun(history=None)
    play(whole, ["search zzz", "click m", "click back"])
    assert whole.prompt() == f"{head} {shop} search zzz {results} click m {results} click back {shop}"


def test_states_are_told_apart_by_what_can_follow():
    episode, other = wanting(2), begun(at=7)
    product = episode.shop.shop.products[expert.target(episode.shop.shop, episode.shop.goal)]
    (_, colours), (_, sizes) = product.options
    start = episode.state_key()
    assert start == other.state_key() and episode.state_key(True) != other.state_key(True)
    play(episode, [f"search {product.title}", f"click {product.asin}", f"click {colours[0]}", f"click {sizes[0]}"])
    chosen = episode.state_key()
    play(episode, ["click features"])
    assert episode.state_key() != chosen
    play(episode, ["click prev", f"click {sizes[1]}"])
    assert episode.state_key() != chosen
    play(episode, [f"click {sizes[0]}"])
    assert episode.state_key() == chosen  # three turns later: the turn is no part of it
    play(episode, ["click back"])
    assert episode.state_key() == start


def hand_made():
    """The shelves' first goal: "easy clean" and "red" for at most 40 dollars, which the first lamp meets for 20."""
    shop = shelves.shop(per_page=2)
    goal = replace(next(goal for goal in shop.goals if goal.asin == "B0LAMP0001"), price_limit=40.0)
    return shop, goal, lambda state: abstraction.abstract_key(shop, goal, state, abstraction.prospects(shop, goal))


def test_abstract_states_of_products_by_hand():
    shop, _, key = hand_made()
    item = engine.State("item", "lamp", 1, product=0)
    met = "type all attributes all price met options"
    assert key(engine.State()) == "search"
    assert key(item) == f"item {met} 0 chosen 1 open 0 absent 0 astray"
    assert key(item._replace(page="features")) == f"sub-page {met} 0 chosen 1 open 0 absent 0 astray"
    red, navy, ten = ("color", "red"), ("color", "navy blue"), ("size", '10"')
    assert key(item._replace(options=(red,))) == f"item {met} 1 chosen 0 open 0 absent 0 astray"
    assert key(item._replace(options=(navy,))) == f"item {met} 0 chosen 1 open 0 absent 1 astray"
    assert key(item._replace(options=(navy, ten))) == f"item {met} 0 chosen 1 open 0 absent 2 astray"
    assert key(item._replace(options=(red, ten))) == f"item {met} 1 chosen 0 open 0 absent 1 astray"
    # Another query and page of results lead to the same thing.
    assert key(item._replace(query="brass", number=2)) == key(item)
    # A paper lamp, unpriced and so 100 dollars, has neither attribute nor colour; shoes are of another kind.
    lacking = "attributes none price missed options 0 chosen 0 open 1 absent 0 astray"
    assert key(item._replace(product=2)) == f"item type all {lacking}"
    assert key(item._replace(product=3)) == f"item type none {lacking.replace('missed', 'met')}"
    assert [key(engine.State("done", score=score)) for score in (0.0, 1 / 3, 0.5, 1.0)] == [
        "done none", "done some", "done most", "done all",
    ]  # fmt: skip


def test_abstract_states_of_results_by_hand():
    """Two on a page: the best within reach on this page, on later ones, and on earlier ones."""
    shop, goal, key = hand_made()
    best = {at: abstraction.prospect(shop, goal, at).total for at in range(4)}
    assert best[0] == 1.0 and best[1] == pytest.approx(1 / 3) and best[2] == best[3] == 0.0
    shop.hits = {"a": (2, 1, 0), "b": (0, 3), "none": ()}.__getitem__
    assert key(engine.State("results", "a", 1)) == "results some all none"
    assert key(engine.State("results", "a", 2)) == "results all none some"
    assert key(engine.State("results", "a", 3)) == "results none none all"  # behind the last page
    assert key(engine.State("results", "b", 1)) == "results all none none"
    assert key(engine.State("results", "none", 1)) == "results none none none"


def test_abstract_states_are_shared_by_goals_and_fewer_than_pages():
    keys, pages = set(), set()
    for query in train_list(CONFIG, 0)[:60]:
        episode = ShopEpisode(CONFIG, query)
        episode.reset()
        while not episode.done:
            keys.add(episode.abstract_key())
            pages.add(episode.shop.observation())
            episode.step(expert.next_action(episode.shop))
        assert episode.abstract_key() == "done all"
    assert len(keys) < 25 < 100 < len(pages)


def test_answers_of_language_models_become_actions():
    good = "<think>Cheap enough.</think>\n<action>Click[Buy Now]</action>"
    assert agent.project(good) == ("click[buy now]", True)
    assert agent.project(f"{good}<action>click[back to search]</action>") == ("click[buy now]", True)
    assert agent.project("<action>search[red lamp]</action>") == ("search[red lamp]", False)  # no thought
    assert agent.project("I would say: Click[Back to Search]") == ("lick[back to search]"[-20:], False)
    assert agent.project(good.replace("Cheap", "便宜")) == ("click[buy now]", False)
    assert agent.project("") == ("", False)


def test_language_models_are_told_what_they_can_do_now_and_only_now():
    episode = begun(PAPER)
    first = episode.prompt()
    assert episode.query.text in first and "'search[<your query>]'" in first and "<action>" in first
    assert "Page 1:" not in first and "steps so far" not in first
    words = searched(episode.shop.goal)
    assert episode.admissible() == [f"search[{words}]", "click[search]"] and "price lower than" not in words
    seen, _, _ = episode.step(f"<think>so</think><action>search[{words}]</action>")
    second = episode.prompt()
    assert f"Page 1: Search\nAction 1: search[{words}]" in second and f"The page before you: {seen}" in second
    assert "You have taken 1 steps so far." in second and "search[<your query>]" not in second
    assert all(f"'{offer}'" in second for offer in episode.offers())
    episode.step("click[item")
    assert episode.faults == Faults(malformed=1) and "Action 2: click[item" in episode.prompt()
    assert episode.faults == Faults(malformed=1)
    long = agent.prompt("a lamp", [("x" * 13_000, "click[y]")], "page", ["click[z]"], 1)
    assert "xx" not in long and "page" in long and len(long) < 1000


def test_the_expert_wins_in_the_generated_shop_and_from_files(tmp_path):
    write(generate(PAPER.source), tmp_path)
    stored = replace(PAPER, source=DataConfig(str(tmp_path)))
    for config in (PAPER, stored):
        for query in train_list(config, 0)[:8]:
            episode = ShopEpisode(config, query)
            episode.reset()
            while not episode.done:
                answer = f"<think>.</think><action>{expert.next_action(episode.shop)}</action>"
                episode.step(answer)
            assert episode.score > 0.6 and episode.faults.malformed == 0
    assert train_list(stored, 0) == train_list(PAPER, 0)


def test_configs_and_queries_that_do_not_fit_are_refused():
    query = train_list(CONFIG, 0)[0]
    for changed in (replace(query, id="goal/x"), replace(query, id="goal/9999"), replace(query, text="find a hat")):
        with pytest.raises(ReproError, match="is no goal of this config's shop"):
            ShopEpisode(CONFIG, changed)
    with pytest.raises(ReproError, match="0 turns"):
        WebShopConfig(max_turns=0)
    with pytest.raises(ReproError, match="cannot be held out"):
        train_list(replace(CONFIG, heldout_goals=240), 0)
    with pytest.raises(ReproError, match="train_queries is 0"):
        WebShopConfig(train_queries=0)
    world = typing.get_type_hints(RunConfig)["world"]
    assert [from_dict(world, to_dict(config)) for config in (CONFIG, PAPER)] == [CONFIG, PAPER]


def test_other_worlds_need_none_of_the_shops_packages():
    blocked = "sys.modules.update(dict.fromkeys(('bm25s', 'rapidfuzz', 'snowballstemmer', 'torch')))"
    code = f"import sys; {blocked}; from repro import environments; environments.WebShopConfig(); print('loaded')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "loaded", done.stderr
