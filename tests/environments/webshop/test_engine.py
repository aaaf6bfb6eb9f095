"""The shop as its original behaves: pages in both text modes, clicks, searches, purchases, snapshots."""

import random

import pytest

from repro.environments.webshop.catalogue import CatalogueConfig, generate, open_shop
from repro.environments.webshop.engine import SEARCH_OFFER, ShopConfig, State, WebShop, parse_action
from repro.environments.webshop.goals import Goal
from repro.errors import ReproError
from tests.environments.webshop import shelves

LAMP = Goal(
    asin="B0LAMP0001",
    category="garden",
    query="lamps",
    title="Brass Desk Lamp",
    product_category="Home › Lighting › Lamps",
    instruction="i need a lamp",
    attributes=("easy clean",),
    options=("red",),
    price_limit=30.0,
)


@pytest.fixture(scope="module")
def plain():
    return shelves.shop()


@pytest.fixture(scope="module")
def rich():
    return shelves.shop(mode="text_rich")


def episode(shop, *actions, goal=LAMP):
    """The episode after the actions, and the last observation."""
    env = WebShop(shop, goal)
    seen = env.reset()
    for action in actions:
        seen, _, _ = env.step(action)
    return env, seen


ITEM = ("search[brass desk lamp]", "click[b0lamp0001]")


def test_the_search_page(plain, rich):
    env, seen = episode(plain)
    assert seen == "WebShop [SEP] Instruction: [SEP] i need a lamp [SEP] Search"
    assert env.clickables() == ["search"]
    assert env.admissible() == [SEARCH_OFFER, "click[search]"]
    assert episode(rich)[1] == "WebShop\nInstruction: \ni need a lamp\n[button] Search [button_]\n"


def test_the_results_page(plain, rich):
    env, seen = episode(plain, "search[Brass desk lamp]")
    assert seen == (
        "Instruction: [SEP] i need a lamp [SEP] Back to Search [SEP] Page 1 (Total results: 3) [SEP] Next > [SEP] "
        "B0LAMP0001 [SEP] Brass Desk Lamp [SEP] $20.0 [SEP] B0LAMP0002 [SEP] Glass Lamp Café [SEP] $10.0 to $30.0 "
        "[SEP] B0LAMP0003 [SEP] Paper Lamp [SEP] $100.0"  # both have five words, one of them sought: by identifier
    )
    assert env.clickables() == ["back to search", "next >", "b0lamp0001", "b0lamp0002", "b0lamp0003"]
    assert env.admissible() == [f"click[{label}]" for label in env.clickables()]
    assert episode(rich, *ITEM, "click[< Prev]")[1] == (
        "Instruction:\ni need a lamp\n[button] Back to Search [button_]\nPage 1 (Total results: 3)\n"
        "[button] Next > [button_]\n\n[clicked button] B0LAMP0001 [clicked button_]\nBrass Desk Lamp\n$20.0\n"
        "\n[button] B0LAMP0002 [button_]\nGlass Lamp Café\n$10.0 to $30.0\n"
        "\n[button] B0LAMP0003 [button_]\nPaper Lamp\n$100.0\n"
    )


def test_the_products_page_and_chosen_options(plain, rich):
    env, seen = episode(plain, *ITEM)
    page = (
        "Instruction: [SEP] i need a lamp [SEP] Back to Search [SEP] < Prev [SEP] color [SEP] red [SEP] navy blue "
        '[SEP] size [SEP] 10" [SEP] 12 inch | 30 cm [SEP] Brass Desk Lamp [SEP] Price: $20.0 [SEP] Rating: N.A. [SEP] '
        "Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert seen == page
    buttons = ["back to search", "< prev", "description", "features", "reviews", "buy now"]
    assert env.clickables() == [*buttons, "red", "navy blue", '10"', "12 inch | 30 cm"]
    assert episode(plain, *ITEM, "click[Red]")[1] == page  # this mode does not show what is chosen
    seen = episode(rich, *ITEM, "click[navy blue]", 'click[10"]', "click[red]")[1]
    assert seen == (
        "You have clicked red.\nInstruction:\ni need a lamp\n[button] Back to Search [button_]\n"
        "[button] < Prev [button_]\ncolor\n  [clicked button] red [clicked button_]\n"
        '  [button] navy blue [button_]\nsize\n  [button] 10" [button_]\n'  # a quote in a value hides the mark
        "  [button] 12 inch | 30 cm [button_]\nBrass Desk Lamp\nPrice: $20.0\nRating: N.A.\n"
        "[button] Description [button_]\n[button] Features [button_]\n[button] Reviews [button_]\n"
        "[button] Buy Now [button_]\n"
    )
    assert episode(rich, *ITEM, "click[red]", "click[12 inch | 30 cm]")[1].startswith(
        "You have clicked 12 inch | 30 cm.\nYou have clicked red.\nInstruction:\n"
    )
    # A quoted word of the query marks an option as well, as it stands in the page's address.
    assert "[clicked button] red [" in episode(rich, 'search["red" brass lamp]', "click[b0lamp0001]")[1]


def test_an_option_without_values_shows_its_name_and_a_null_one_nothing(plain):
    _, seen = episode(plain, "search[paper]", "click[b0lamp0003]")
    assert "< Prev [SEP] style [SEP] Paper Lamp [SEP] Price: $100.0" in seen


def test_the_sub_pages(plain, rich):
    head = "Instruction: [SEP] i need a lamp [SEP] Back to Search [SEP] < Prev"
    assert episode(plain, *ITEM, "click[description]")[1] == f"{head} [SEP] A <b>fine</b> lamp."
    assert episode(plain, *ITEM, "click[Features]")[1] == f"{head} [SEP] Dimmable light [SEP] Oak base"
    assert episode(plain, *ITEM, "click[reviews]")[1] == head  # the original loads no reviews
    assert episode(plain, "search[glass]", "click[b0lamp0002]", "click[features]")[1] == f"{head} [SEP] A single text"
    assert episode(plain, "search[glass]", "click[b0lamp0002]", "click[description]")[1] == head  # an empty text
    assert episode(rich, *ITEM, "click[features]")[1].endswith("[button_]\n Dimmable light \n Oak base \n")
    assert "attributes" not in episode(plain, *ITEM)[0].clickables()
    shown = shelves.shop(show_attributes=True)
    assert episode(shown, *ITEM, "click[attributes]")[1] == (
        f"{head} [SEP] easy clean [SEP] oak base [SEP] garden [SEP] lamps [SEP] Home › Lighting › Lamps"
    )


def test_a_purchase_ends_the_episode_with_its_score(plain, rich):
    env, _ = episode(plain, *ITEM, "click[red]")
    seen, earned, done = env.step("click[Buy Now]")
    assert (earned, done, env.won, env.score) == (1.0, True, True, 1.0)
    assert seen == (
        "Thank you for shopping with us! [SEP] Your code: [SEP] None [SEP] (Paste it in your MTurk interface.) [SEP] "
        'Purchased [SEP] asin [SEP] B0LAMP0001 [SEP] options [SEP] {"color": "red"} [SEP] attrs [SEP] None [SEP] '
        "category [SEP] None [SEP] query [SEP] None [SEP] product category [SEP] None [SEP] Target [SEP] asin [SEP] "
        "options [SEP] attrs [SEP] price upper [SEP] instuction text [SEP] category [SEP] product category [SEP] "
        "query [SEP] Goal [SEP] None [SEP] Reward [SEP] Your score (min 0.0, max 1.0) [SEP] 1.0 [SEP] Reward Details "
        "[SEP] None"
    )
    assert env.receipt.options_met == 1 and env.clickables() == [] and env.admissible() == []
    with pytest.raises(ReproError, match="over"):
        env.step("click[buy now]")
    assert episode(rich, *ITEM, "click[buy now]")[1].startswith("Thank you for shopping with us!\nYour code: \nNone\n")


def test_a_purchase_without_the_options_asked_for_earns_the_rest(plain):
    env, _ = episode(plain, *ITEM)
    assert env.receipt is None
    _, earned, done = env.step("click[buy now]")
    assert (earned, done, env.won) == (2 / 3, True, False)  # (1 attribute + 0 options + the price) / 3
    env, _ = episode(plain, *ITEM, "click[navy blue]", "click[buy now]")
    assert env.score == 2 / 3


def test_a_click_on_what_is_not_there_changes_nothing(plain):
    for action in ("click[b0lamp0001]", "click[buy now]", "click[search]", "click", "search", "search[]", "buy", "",
                   "think[lamp]", "press[search]", "search[a [b] c]", "SEARCH[lamp]"):  # fmt: skip
        env, before = episode(plain)
        state = env.state
        assert env.step(action) == (before, 0.0, False)
        assert env.state == state
    env, before = episode(plain, *ITEM)
    assert env.step("click[green]") == (before, 0.0, False)
    assert env.step("click[next >]") == (before, 0.0, False)


def test_actions_are_read_as_the_original_reads_them():
    assert parse_action("search[Red LAMP]") == ("search", "red lamp")
    assert parse_action("click[Buy Now] please") == ("click", "buy now")  # what follows is not read
    assert parse_action("I will search[lamp]") == ("I will search", "lamp")  # so the verb is none
    assert parse_action("search[a [b] c]") == ("search[a ", "b] c")  # the last bracket opens
    assert parse_action("search lamp") == ("search lamp", "")
    assert parse_action(" Search  lamp ", "compact") == ("search", "lamp")
    assert parse_action("click[B12]", "compact") == ("click", "b12")


def test_a_search_without_hits_shows_an_empty_page(plain):
    env, seen = episode(plain, "search[zzz]")
    assert seen == (
        "Instruction: [SEP] i need a lamp [SEP] Back to Search [SEP] Page 1 (Total results: 0) [SEP] Next >"
    )
    assert env.clickables() == ["back to search", "next >"]


def test_a_search_works_on_every_page_and_forgets_options(plain):
    env, _ = episode(plain, *ITEM, "click[red]", "search[shoes]")
    assert env.state == State("results", "shoes", 1, visited=frozenset({0}))


def test_pages_of_results_go_on_for_ever_and_back(plain):
    shop = shelves.shop(per_page=2)
    env, seen = episode(shop, "search[lamp]", "click[next >]")
    assert "Page 2 (Total results: 3) [SEP] < Prev [SEP] Next > [SEP] B0LAMP0003 [SEP] Paper Lamp" in seen
    assert env.clickables()[:3] == ["back to search", "< prev", "next >"]
    env, seen = episode(shop, "search[lamp]", "click[next >]", "click[next >]")
    assert seen.endswith("Page 3 (Total results: 3) [SEP] < Prev [SEP] Next >")
    env, seen = episode(shop, "search[lamp]", "click[next >]", "click[b0lamp0003]", "click[< prev]")
    assert env.state.number == 2 and "Page 2" in seen
    assert episode(shop, "search[lamp]", "click[next >]", "click[< prev]")[0].state.number == 1
    assert len(shelves.shop(results=1).hits("lamp")) == 1


def test_what_is_kept_and_what_is_forgotten(plain):
    chosen = (("color", "red"),)
    env, _ = episode(plain, *ITEM, "click[red]", "click[description]", "click[< prev]")
    assert env.state.options == chosen and env.state.page == "item"
    assert episode(plain, *ITEM, "click[red]", "click[< prev]")[0].state.options == ()
    assert episode(plain, *ITEM, "click[red]", "click[navy blue]")[0].state.options == (("color", "navy blue"),)
    assert episode(plain, *ITEM, "click[red]", "click[back to search]")[0].state == State()


def test_an_option_named_like_a_button_counts_as_the_button():
    traps = {"Color": shelves.values("Description", "Back to Search", "Search", "Next >", "Same"),
             "Style": shelves.values("Same")}  # fmt: skip
    stock = shelves.catalogue()
    stock.items.append(shelves.row("B0TRAP0001", "Trap Lamp", customization_options=traps))
    shop = open_shop(stock)
    stock.items.pop()
    page = ("search[trap]", "click[b0trap0001]")
    assert episode(shop, *page, "click[description]")[0].state.page == "description"
    assert episode(shop, *page, "click[back to search]")[0].state == State()
    assert episode(shop, *page, "click[search]")[0].state.options == ()
    assert episode(shop, *page, "click[next >]")[0].state.options == (("color", "next >"),)  # no such button here
    assert episode(shop, *page, "click[same]")[0].state.options == (("style", "same"),)  # of two names the last


def test_snapshots_restore_exactly_and_are_never_changed(plain):
    env, seen = episode(plain, *ITEM, "click[red]")
    kept = env.snapshot()
    bought = env.step("click[buy now]")
    assert env.done and env.receipt.total == 1.0
    env.restore(kept)
    assert not env.done and env.receipt is None and env.observation() == seen
    assert env.step("click[buy now]") == bought
    hash(kept)  # small and immutable: a key of a table
    other = WebShop(plain, LAMP)
    other.restore(env.snapshot())
    assert other.done and other.receipt == env.receipt
    assert other.reset() == episode(plain)[1] and other.state == State()


def test_state_keys_leave_out_the_goal_unless_asked(plain):
    other = Goal(**{**{f: getattr(LAMP, f) for f in LAMP.__dataclass_fields__}, "instruction": "another wish"})
    first, second = episode(plain, *ITEM)[0], episode(plain, *ITEM, goal=other)[0]
    assert first.state_key() == second.state_key() and "i need" not in first.state_key()
    assert first.state_key(with_goal=True) != second.state_key(with_goal=True)
    assert episode(plain)[0].state_key() == "Search"
    red = episode(plain, *ITEM, "click[red]")[0]
    assert red.state_key() == first.state_key()  # as the page's text shows no choice
    exact = shelves.shop(key="state")
    assert episode(exact, *ITEM)[0].state_key() != episode(exact, *ITEM, "click[red]")[0].state_key()
    assert (
        episode(exact, *ITEM)[0].state_key()
        == episode(exact, *ITEM, "click[red]", "click[< prev]", ITEM[1])[0].state_key()
    )


def test_the_instruction_can_be_left_off_the_pages():
    shop = shelves.shop(show_instruction=False)
    env, seen = episode(shop)
    assert seen == "Search" and env.observation(with_instruction=True).startswith("WebShop [SEP] Instruction: [SEP] i ")
    assert episode(shop, "search[lamp]")[1].startswith("Back to Search [SEP] Page 1")


@pytest.mark.parametrize("mode", ["text", "text_rich", "compact"])
def test_random_episodes_replay_to_the_same_texts_and_restore_anywhere(mode):
    shop = open_shop(generate(CatalogueConfig(products=60, seed=3)), ShopConfig(mode=mode))
    again = open_shop(generate(CatalogueConfig(products=60, seed=3)), ShopConfig(mode=mode))
    rng = random.Random(f"episodes:{mode}")
    for goal, same in zip(shop.goals[:12], again.goals[:12], strict=True):
        assert goal == same
        env, copy, branch = WebShop(shop, goal), WebShop(again, same), WebShop(shop, goal)
        assert env.reset() == copy.reset()
        for _ in range(20):
            offers = [f"search[{goal.query}]"] if rng.random() < 0.3 else env.admissible()
            action = rng.choice(offers)
            branch.restore(env.snapshot())
            result = env.step(action)
            assert copy.step(action) == result == branch.step(action)
            assert env.state_key(with_goal=True) == copy.state_key(with_goal=True)
            if result[2]:
                assert 0.0 <= result[1] <= 1.0
                break


def test_a_shop_of_no_pages_is_refused():
    with pytest.raises(ReproError, match="0 a page"):
        ShopConfig(per_page=0)
