"""The small shop: short texts of few words, distinct goals, demonstrations good and bad."""

import random
from dataclasses import replace

import pytest

from repro.environments.webshop import compact, expert
from repro.environments.webshop.compact import CompactConfig, generate, vocabulary
from repro.environments.webshop.engine import WebShop
from repro.environments.webshop.goals import split
from repro.errors import ReproError

CONFIG = CompactConfig(products=24, kinds=4, goals=240)


@pytest.fixture(scope="module")
def shop():
    return compact.shop(CONFIG)


def test_pages_as_a_small_policy_reads_them(shop):
    env = WebShop(shop, shop.goals[0])
    product = shop.products[expert.target(shop, env.goal)]
    assert env.reset() == f"task : {env.goal.instruction} | shop : search"
    assert env.admissible() == ["search"]
    seen, _, _ = env.step(f"search {product.title}")
    rows = [shop.products[at] for at in shop.hits(product.title)[:4]]
    shown = " | ".join(f"{p.asin} {p.title} {p.price_tag}" for p in rows)
    assert seen == f"task : {env.goal.instruction} | results : {shown} : next"
    assert rows[0].query == product.query
    assert env.admissible() == ["click back", "click next", *(f"click {p.asin}" for p in rows)]
    seen, _, _ = env.step(f"click {rows[0].asin}")
    (_, colours), (_, sizes) = rows[0].options
    assert seen.endswith(
        f"| item {rows[0].asin} : {rows[0].title} {rows[0].price_tag} | color {' '.join(colours)} | "
        f"size {' '.join(sizes)}"
    )
    seen, _, _ = env.step(f"click {colours[1]}")
    assert f"| color {colours[0]} * {colours[1]} {colours[2]} |" in seen
    seen, _, _ = env.step("click features")
    assert seen.endswith(f"| features : {' | '.join(rows[0].bullets)}")
    assert env.step("click prev")[0].count("*") == 1
    assert env.step("click reviews")[0].endswith("| reviews : none")
    env.step("click prev")
    seen, _, done = env.step("click buy")
    assert done and seen == f"bought {rows[0].asin}"


def test_there_is_no_page_behind_the_last_one(shop):
    env = WebShop(shop, shop.goals[0])
    env.reset()
    env.step(f"search {env.goal.query}")
    pages = 1
    while "next" in env.clickables():
        env.step("click next")
        pages += 1
    assert pages == -(-len(shop.hits(env.goal.query)) // 4) and "prev" in env.clickables()
    assert env.step("search zzz")[0].endswith("| results : none")


def test_every_text_of_every_walk_is_in_the_vocabulary(shop):
    words = vocabulary(CONFIG)
    assert len(words) == len(set(words)) < 200
    known, rng = set(words), random.Random("walks")
    longest = 0
    for goal in shop.goals[:120]:
        env = WebShop(shop, goal)
        for observation, action in expert.demonstration(env, rng, slip=0.5):
            assert set(observation.split()) <= known and set(action.split()) <= known
            longest = max(longest, len(observation.split()))
        assert set(env.observation().split()) <= known
    assert longest <= 60
    assert len(vocabulary(CompactConfig())) < 200


def test_goals_are_distinct_so_none_held_out_is_trained_on(shop):
    training, heldout = split(shop.goals, 40)
    assert (len(training), len(heldout)) == (200, 40)

    def without_price(goal):
        return goal.instruction.rpartition(" under ")[0]

    assert len({without_price(goal) for goal in shop.goals}) == 240
    assert generate(CONFIG) == generate(CONFIG) != generate(replace(CONFIG, seed=1))


def test_the_expert_meets_every_goal(shop):
    for goal in shop.goals:
        env = WebShop(shop, goal)
        trace = expert.demonstration(env)
        assert env.won and 3 <= len(trace) <= 12


def test_slips_cost_turns_or_score_and_follow_the_generator(shop):
    def play(slip):
        rng, scores, turns = random.Random("slips"), 0.0, 0
        for goal in shop.goals[:60]:
            env = WebShop(shop, goal)
            turns += len(expert.demonstration(env, rng, slip))
            scores += env.score
        return scores, turns

    assert play(0.0)[0] == 60
    scores, turns = play(0.4)
    assert scores < 60 and turns > play(0.0)[1]
    assert play(0.4) == (scores, turns)
    env = WebShop(shop, shop.goals[0])
    assert len(expert.demonstration(env, turns=2)) == 2 and not env.done


def test_the_wrong_kind_earns_nothing_and_the_right_kind_a_part(shop):
    goal = next(goal for goal in shop.goals if len(goal.options) == 2)
    scores = {}
    for at, product in enumerate(shop.products):
        env = WebShop(shop, goal)
        env.restore(env.snapshot()._replace(page="item", product=at))
        env.step("click buy")
        scores.setdefault(product.query == goal.query, []).append(env.score)
    assert set(scores[False]) == {0.0} and 0 < max(scores[True]) < 1  # without its options


def test_impossible_small_shops_are_refused():
    with pytest.raises(ReproError, match="kinds is 99"):
        CompactConfig(kinds=99)
    with pytest.raises(ReproError, match="0 goals make no compact shop"):
        CompactConfig(goals=0)
    with pytest.raises(ReproError, match="distinct instructions"):
        generate(CompactConfig(products=1, goals=140))  # 9 ways to ask for features, 15 for options: 135


def test_a_product_that_no_query_finds_is_named(shop):
    goal = replace(shop.goals[0], asin=shop.products[0].asin)
    empty = compact.shop(CONFIG)
    empty.hits = lambda query: ()
    with pytest.raises(ReproError, match="not even its title"):
        expert.query(empty, goal)
