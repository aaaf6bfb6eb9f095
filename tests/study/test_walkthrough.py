"""The walk-through: scenes by the code that trains, in words, on disk and drawn; and a purchase with its bill."""

import json

import pytest

from repro.environments.webshop.world import WebShopConfig
from repro.errors import ReproError
from repro.figures import trees
from repro.policy.model import build
from repro.policy.warmstart import vocabulary
from repro.study import shopping, summary, walkthrough
from repro.study.threespo_alfworld import THREESPO_ALFWORLD


def branch(child, command, reward, advantage, kind="unseen", terminal=False, won=False, score=1.0):
    return {"child": child, "command": command, "observation": "o", "kind": kind, "score": score, "reward": reward,
            "advantage": advantage, "terminal": terminal, "won": won}  # fmt: skip


def expanded(node, parent, turn, branches):
    about = {"event": "expanded", "node": node, "parent": parent, "task": "t", "turn": turn}
    return about | {"observation": f"you | see {node}", "score": 0.5, "branches": branches}


# Two branches alike lead to nothing; of the others one wins below, one is given up, and the tree goes back for it.
SCENE = {
    "goal": "put a <mug> in a shelf",
    "events": [
        expanded(0, None, 0, [
            branch(1, "go", 0.5, 0.3), branch(1, "go", 0.5, 0.3), branch(2, "look", 0.1, -0.1),
            branch(3, "eh", 0.0, -0.2, "no_op"), branch(4, "oh", 0.0, -0.2, "no_op"),
        ]),
        expanded(1, 0, 1, [
            branch(5, "take", 1.0, 0.5, "won", True, True), branch(6, "drop", 0.0, -0.5, terminal=True),
        ]),
        {"event": "leaf", "node": 5, "task": "t", "won": True},
        {"event": "truncated", "node": 2, "task": "t"},
    ],
}  # fmt: skip


def test_branches_are_counted_and_ranked():
    assert [(b["command"], n) for b, n in walkthrough.distinct(SCENE["events"][0])] == [
        ("go", 2), ("look", 1), ("eh", 1), ("oh", 1)
    ]  # fmt: skip


def test_a_scene_in_words():
    text = walkthrough.told(SCENE)
    assert "put a &lt;mug&gt; in a shelf" in text and "you &#124; see 0" in text
    assert "<code>go</code> (2), unseen, 1.00, +0.50, +0.30<br><code>look</code> (1)" in text
    assert "won, **won**, 1.00, +1.00, +0.50" in text and "unseen, over, 1.00, +0.00, -0.50" in text
    assert "and 1 more." in walkthrough.told(SCENE, most=1)
    assert "given up: n = 0" in walkthrough.told({"goal": "g", "events": [{"event": "truncated", "node": 0}]})


def test_a_tree_is_laid_out_best_branch_first():
    places, groups = trees.layout(SCENE["events"])
    # Lines downwards: take, drop, look, and the two that do nothing as one.
    assert places == {5: (2, -1.0), 6: (2, -2.0), 1: (1, -1.0), 2: (1, -3.0), 3: (1, -4.0), 0: (0, -1.0)}
    assert [entry.words for entry in groups[0][1]] == ["go ×2", "look", "2 do nothing"]


def test_a_tree_is_drawn():
    figure = trees.tree([SCENE, {"goal": "g", "events": []}], ["early", "late"])
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels.count("won") == 1 and labels.count("given up") == 1 and labels.count("ended") == 1
    assert figure.axes[1].texts[0].get_text().startswith("the start was")


@pytest.fixture
def config(monkeypatch):
    """A policy that has learned nothing: what is tested is how its tree is recorded."""
    monkeypatch.setattr(
        "repro.policy.warmstart.warm_start", lambda key, *rest: build(key.policy, vocabulary(key), key.seed)
    )
    return THREESPO_ALFWORLD.config("literal", 0, "smoke")


def test_scenes_are_recorded_and_read_again(config, tmp_path):
    path = walkthrough.record(config, (0, 50), tmp_path)
    kept = walkthrough.load(config.study, config.tier, tmp_path)
    first, second = kept["scenes"]
    assert (first["generations"], first["updates"], first["keys"]) == (0, 0, 0)
    assert second["generations"] >= 50 and second["updates"] > 0 and second["keys"] > 0
    assert first["task"] == second["task"] and kept["arm"] == "literal"
    root = first["events"][0]
    assert (root["event"], root["turn"], len(root["branches"])) == ("expanded", 0, 8)
    assert json.loads(path.read_text()) == kept


def test_what_grows_no_tree_and_what_is_not_there(config, tmp_path):
    with pytest.raises(ReproError, match="'table' grows no trees"):
        walkthrough.scenes(THREESPO_ALFWORLD.config("table", 0, "smoke"), (0,))
    with pytest.raises(ReproError, match="small.json is missing; run the notebook"):
        walkthrough.load("threespo_alfworld", "small", tmp_path)
    where = walkthrough.path("threespo_alfworld", "small", tmp_path)
    where.parent.mkdir(parents=True)
    where.write_text("{")
    with pytest.raises(ReproError, match="is damaged"):
        walkthrough.load("threespo_alfworld", "small", tmp_path)
    where.write_text("{}")
    with pytest.raises(ReproError, match="holds no scenes"):
        walkthrough.load("threespo_alfworld", "small", tmp_path)


def test_a_purchase_and_how_its_reward_was_made_up():
    right = shopping.shopped(WebShopConfig(), 3)
    assert right.receipt.total == 1 and right.turns[-1][1] == "click buy" and "**yes**" in shopping.told(right)
    wrong = shopping.shopped(WebShopConfig(), 3, careless=0.6)
    receipt = wrong.receipt
    assert wrong.instruction == right.instruction and 0 < receipt.total < 1
    met = receipt.attributes_met + receipt.options_met + receipt.price_met
    asked = receipt.attributes + receipt.options + 1
    assert f"{met} of {asked} times {receipt.type_factor:g} = **{receipt.total:.2f}**" in shopping.bill(receipt)
    assert "no**: it takes the full score" in shopping.bill(receipt)
    assert "Nothing was bought" in shopping.bill(None)


def test_prices_and_bars_are_neither_formulas_nor_cells():
    shown = summary.code("shoes $8.0 | bag $14.0")
    assert shown == "<code>shoes &#36;8.0 &#124; bag &#36;14.0</code>"
