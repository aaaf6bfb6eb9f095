"""sGPO's plan and SMEPO's guidance as verl's data sets, over files as `rows` writes them."""

import json
from dataclasses import replace

import pandas as pd
import pytest

pytest.importorskip("verl", reason="verl is not installed: it needs an environment of its own (the extra verl)")

from omegaconf import OmegaConf  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402
from verl.utils.dataset.rl_dataset import collate_fn  # noqa: E402

from repro import environments  # noqa: E402
from repro.algorithms.allocation import History, Profile  # noqa: E402
from repro.algorithms.sgpo import SGPO  # noqa: E402
from repro.environments.query import Query  # noqa: E402
from repro.errors import ReproError  # noqa: E402
from repro.verl import data  # noqa: E402

pytestmark = pytest.mark.oracle
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} </> {% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TRACE = "Step 1: 3 boxes hold 12 pens.\nSo 4 pens each.\n"


@pytest.fixture(scope="module")
def tokenizer():
    inner = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
    made.chat_template = TEMPLATE
    return made


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write train.parquet of 40 queries; the first has no trace."""
    queries = [Query(f"q{k}", f"question {k}", str(k), "1", trace=TRACE if k else "") for k in range(40)]
    monkeypatch.setattr(environments, "train_list", lambda world, seed: queries)
    monkeypatch.setattr(environments, "heldout", lambda world: {"gsm8k": queries[:3]})

    def write(name="train", counts=None):
        place = tmp_path / f"{name}.parquet"
        pd.DataFrame(data.rows("smepo_math", 0, counts)[name]).to_parquet(place, index=False)
        return str(place)

    return write


def opened(kind, place, tokenizer, tmp_path, **settings):
    settings = {"cache_dir": str(tmp_path), "filter_overlong_prompts": False, "max_prompt_length": 400} | settings
    return kind(place, tokenizer=tokenizer, config=OmegaConf.create(settings), processor=None)


def test_rows(file, tokenizer, tmp_path):
    row = opened(data.GuidedDataset, file("heldout"), tokenizer, tmp_path)[2]
    assert [message["role"] for message in row["raw_prompt"]] == ["system", "user"]
    assert row["raw_prompt"][1]["content"] == "question 2" and row["data_source"] == "gsm8k"
    assert row["reward_model"] == {"ground_truth": "2", "style": "rule"}
    assert row["extra_info"]["check"] == "smepo" and row["extra_info"]["id"] == "q2"


@pytest.mark.parametrize("guidance", ["numerals", "full", "prefix_50"])
def test_guidance_is_ours(file, tokenizer, tmp_path, guidance):
    rows = opened(data.GuidedDataset, file(), tokenizer, tmp_path, guidance=guidance)
    chat = rows[7]["raw_prompt"]
    assert [message["role"] for message in chat] == ["system", "user", "assistant"]
    shown = data.GUIDANCE[guidance].guide(Query("q7", "", "7", "1", trace=TRACE)).shown
    assert chat[2]["content"] == "Here is an example solution:\n" + shown
    assert {"numerals": "[NUMBER] boxes", "full": "hold 12 pens", "prefix_50": "3 boxes"}[guidance] in shown
    assert [message["role"] for message in rows[0]["raw_prompt"]] == ["system", "user"]  # it has no trace


def test_how_many_rows_have_a_trace_is_said_and_none_is_refused(file, tokenizer, tmp_path, monkeypatch, capsys):
    opened(data.GuidedDataset, file(), tokenizer, tmp_path)
    assert "39 of 40 training rows have a trace to be shown (numerals)" in capsys.readouterr().out
    monkeypatch.setattr(environments, "train_list", lambda world, seed: [Query("q", "question", "1", "1", trace=" ")])
    with pytest.raises(ReproError, match="none of 1 training rows of .*train.parquet.* has a trace"):
        opened(data.GuidedDataset, file(), tokenizer, tmp_path)


def test_room_is_counted_in_the_tokens_of_the_whole_chat(tokenizer):
    """Question 1 + 2 + 1 + 1 words with its marks, intro 5; the trace's first line 7; closing </> <assistant>: 2."""
    chat = [{"role": "user", "content": "question 7"}]

    def shown(longest):
        return data.guided_messages(chat, "q7", TRACE, data.GUIDANCE["full"], tokenizer, longest)

    whole = len(
        tokenizer(tokenizer.apply_chat_template(shown(400), add_generation_prompt=True, tokenize=False)).input_ids
    )
    assert shown(400)[1]["content"].endswith(TRACE)
    assert shown(whole)[1]["content"].endswith("pens.\n") or shown(whole)[1]["content"].endswith(TRACE)
    cut = shown(whole - 2)[1]["content"]
    assert cut.endswith("12 pens.\n") and len(cut) < len(shown(400)[1]["content"])
    assert shown(6) == chat  # no room at all


def test_rows_of_episodes(monkeypatch):
    """The policy's first prompt is the world's; evaluation plays whole episodes, whatever trains."""
    queries = [Query("game-1", "put a mug on a desk", "", "simple")]
    monkeypatch.setattr(environments, "train_list", lambda world, seed: queries)
    monkeypatch.setattr(environments, "heldout", lambda world: {"valid_seen": queries})
    monkeypatch.setattr(environments, "asked", lambda world, query: replace(query, text="You see a desk."))
    made = {name: list(rows) for name, rows in data.rows("threespo_alfworld", 5).items()}
    (train,), (heldout,) = made["train"], made["heldout"]
    assert "agent_name" not in train and heldout["agent_name"] == "repro_episode"
    assert heldout["data_source"] == "valid_seen" and train["prompt"] == [
        {"role": "user", "content": "You see a desk."}
    ]
    assert train["extra_info"]["study"] == "threespo_alfworld" and train["extra_info"]["seed"] == 5


def test_unknown_guidance(file, tokenizer, tmp_path):
    with pytest.raises(ReproError, match="data.guidance is 'critical_path'; choose one of full"):
        opened(data.GuidedDataset, file(), tokenizer, tmp_path, guidance="critical_path")


def test_the_plan_is_sgpos(file, tokenizer, tmp_path):
    solved = [k % 9 for k in range(40)]
    counts = {k: data.Counts(8, s) for k, s in enumerate(solved)}
    settings = dict(shuffle=False, train_batch_size=4, seed=3)
    rows = opened(data.PlannedDataset, file(counts=counts), tokenizer, tmp_path, **settings)
    batches = SGPO(prompts=4).batches(History(40, 3, [Profile(0, 8, tuple(solved))]))
    groups = [group for batch in batches for group in batch]
    assert len(rows) == len(groups) > 40
    got = [(rows[k]["extra_info"]["index"], rows[k]["__rollout_n__"]) for k in range(len(rows))]
    assert got == groups and {size for _, size in got} == {2, 4, 8}
    batch = collate_fn([rows[k] for k in range(4)])
    assert batch["__rollout_n__"].tolist() == [size for _, size in groups[:4]]
    single = opened(data.PlannedDataset, file(counts=counts), tokenizer, tmp_path, **settings, sgpo={"sweeps": 1})
    assert 2 * len(single) == len(rows)


def test_a_file_without_profile_is_itself(file, tokenizer, tmp_path):
    rows = opened(data.PlannedDataset, file("heldout"), tokenizer, tmp_path, shuffle=False, train_batch_size=4)
    assert len(rows) == 3 and "__rollout_n__" not in rows[0]


def test_plans_that_cannot_be_kept_are_refused(file, tokenizer, tmp_path):
    counts = {k: data.Counts(8, 3) for k in range(40)}
    with pytest.raises(ReproError, match="data.shuffle=False"):
        opened(data.PlannedDataset, file(counts=counts), tokenizer, tmp_path, shuffle=True, train_batch_size=4)
    del counts[5]
    with pytest.raises(ReproError, match="1 of 40 have none"):
        opened(data.PlannedDataset, file(counts=counts), tokenizer, tmp_path, shuffle=False, train_batch_size=4)


def test_profile_from_dumps(tmp_path):
    """Two files, as two validations leave them: query 0 right in 2 of 3, query 4 in 0 of 1."""
    lines = [{"query": 0, "score": 1.0}, {"query": 0, "score": 0.0}, {"query": 4, "score": 0.0}]
    (tmp_path / "0.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "1.jsonl").write_text(json.dumps({"query": 0, "score": 1.0}) + "\n")
    assert data.profile(tmp_path) == {0: (3, 2), 4: (1, 0)}
    with pytest.raises(ReproError, match="holds no dumps"):
        data.profile(tmp_path / "empty")


def test_reward():
    about = {"check": "gsm8k", "index": 12}
    right = data.compute_score("gsm8k", "so the answer is \\boxed{42}\n#### 42", "42", about)
    assert right == {"score": 1.0, "query": 12}
    assert data.compute_score("gsm8k", "\\boxed{41}\n#### 41", "42", about)["score"] == 0.0


def test_published_worlds():
    world, system = data.published("smepo_math")
    assert world.name == "smepo" and world.prompt == "plain" and "mathematics" in system
    assert data.published("threespo_alfworld")[0].max_turns == 50
    with pytest.raises(ReproError, match="'smepo_code' has no published setting here; there are: asympo_async"):
        data.published("smepo_code")
