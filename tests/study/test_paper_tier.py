"""The papers' own settings: each with its source, none of them in the way of the tiers that have results."""

import re
from dataclasses import fields

import pandas as pd
import pytest

from repro import doctor
from repro.config import config_hash, from_dict, to_dict
from repro.errors import ReproError
from repro.places import REPOSITORY
from repro.study import STUDIES
from repro.study.paper_settings import PAPER
from repro.study.paper_tier import OPEN, PAPER_TIERS, Setting, applies
from repro.study.plan import check, missing
from repro.training.config import EvaluationConfig, RunConfig, TrainingConfig

ENTRIES = [(study, tier) for study in PAPER for tier in PAPER[study]]
# Fields that no paper speaks of and no size changes.
ENGINE = {"training.updates", "training.gradient_split_every", "training.threads"}


def reached(config, key):
    for name in key.split("."):
        config = getattr(config, name)
    return config


def test_runs_with_results_are_who_they_were():
    committed = sorted((REPOSITORY / "data" / "results").glob("*/*/runs.parquet"))
    checked = 0
    for path in committed:
        study, tier = path.parts[-3:-1]
        for row in pd.read_parquet(path).itertuples():
            if row.arm in STUDIES[study].arms:
                assert row.run_id == config_hash(STUDIES[study].config(row.arm, row.seed, tier)), (study, row.arm)
                checked += 1
    assert checked > 400


@pytest.mark.parametrize(("study", "tier"), ENTRIES)
def test_every_arm_gets_every_setting(study, tier):
    entry = PAPER[study][tier]
    assert tier in STUDIES[study].tiers and set(entry.arms) <= set(STUDIES[study].arms)
    for arm in entry.arms:
        config = STUDIES[study].config(arm, 0, tier)
        assert from_dict(RunConfig, to_dict(config)) == config
        assert (config.study, config.arm, config.tier, config.device) == (study, arm, tier, "cuda")
        small = STUDIES[study].config(arm, 0, "small")
        for setting in entry.values():
            if applies(setting, small):
                assert to_dict(reached(config, setting.key)) == to_dict(setting.value), (arm, setting.key)
        assert config.recipe.objective == small.recipe.objective and config.schedule == small.schedule
        assert config.recipe.credit == small.recipe.credit
        assert type(config.recipe.guidance) is type(small.recipe.guidance)


@pytest.mark.parametrize(("study", "tier"), ENTRIES)
def test_no_setting_is_for_nobody(study, tier):
    entry = PAPER[study][tier]
    small = [STUDIES[study].config(arm, 0, "small") for arm in entry.arms]
    for setting in entry.values():
        assert any(applies(setting, config) for config in small), setting.key


@pytest.mark.parametrize(("study", "tier"), ENTRIES)
def test_every_value_has_a_source_and_none_is_left_to_the_small_tier(study, tier):
    entry = PAPER[study][tier]
    keys = [setting.key for setting in entry.values()]
    assert len(keys) == len(set(keys))
    assert all(setting.source.strip() not in ("", OPEN.strip()) for setting in entry.values())
    wanted = {f"training.{f.name}" for f in fields(TrainingConfig)}
    wanted |= {f"evaluation.{f.name}" for f in fields(EvaluationConfig)}
    assert wanted - ENGINE <= set(keys)
    assert {"policy.checkpoint", "policy.template", "policy.context"} <= set(keys)


def test_asympo_trains_as_long_as_its_paper():
    config = STUDIES["asympo_async"].config("asympo@ref", 0, "paper")
    assert config.training.updates == 375  # 3 epochs of 4,000 questions, 32 an update
    assert (config.recipe.allocation.prompts, config.recipe.allocation.group_size) == (32, 8)
    assert (config.training.learning_rate, config.training.max_new_tokens) == (2e-6, 4096)
    assert (config.schedule.low, config.schedule.high) == (8, 23)
    assert config.policy.checkpoint == "Qwen/Qwen3-1.7B-Base" and config.policy.dtype == "bfloat16"
    spo = STUDIES["asympo_async"].config("spo@ref", 0, "paper")
    assert spo.recipe.objective.alpha == 0.2 and spo.training == config.training


def test_sgpo_goes_twice_through_its_list():
    uniform, sgpo = (STUDIES["sgpo_math"].config(arm, 0, "paper") for arm in ("uniform", "sgpo"))
    assert uniform.training.updates == round(2 * 14116 / 64) == 441
    assert (uniform.recipe.allocation.group_size, uniform.world.train_queries) == (8, 0)
    assert (sgpo.recipe.allocation.prompts, sgpo.recipe.allocation.samples) == (64, 8)
    assert (sgpo.recipe.allocation.trivial, sgpo.recipe.allocation.unsolved) == (0.75, 0.10)
    assert sgpo.training.updates > 441  # it ends by itself
    assert STUDIES["sgpo_math"].config("uniform16", 0, "paper").recipe.allocation.group_size == 16
    assert STUDIES["sgpo_math"].config("uniform", 0, "paper-1gpu").training.updates == 125  # 2 x 4,000 / 64


@pytest.mark.parametrize(("study", "tier"), [entry for entry in ENTRIES if entry[1] == "paper-1gpu"])
def test_one_gpu_means_a_small_model(study, tier):
    from repro.study.shapes import SHAPES

    assert SHAPES[PAPER[study][tier].model.value].parameters < 1.75e9


def test_smepo_takes_four_updates_for_each_of_its_paper_s_steps():
    study = STUDIES["smepo_math"]
    full, numerals, random = (study.config(f"{name}@wide", 0, "paper") for name in ("full", "numerals", "random"))
    assert full.training.updates == 1600 and full.recipe.allocation.prompts == 8  # 400 steps of 4 x 8 prompts
    assert (full.training.weight_decay, full.training.temperature, full.training.max_new_tokens) == (0.1, 0.8, 12288)
    assert (full.schedule.low, full.schedule.high) == (0, 3) and full.recipe.objective.eps_high == 5.0
    assert random.recipe.guidance.masker.like == numerals.recipe.guidance.masker
    assert numerals.recipe.guidance.intro == "\nHere is an example solution:\n"
    with pytest.raises(ReproError, match="no arm 'smepo@wide' at tier paper"):
        study.config("smepo@wide", 0, "paper")


def test_cells_are_those_of_the_paper_and_seeds_can_be_asked_for():
    study = STUDIES["asympo_async"]
    assert {cell.arm for cell in study.cells("paper")} == set(PAPER["asympo_async"]["paper"].arms)
    assert [cell.seed for cell in study.cells("paper", ["asympo@ref"], seeds=3)] == [0, 1, 2]
    with pytest.raises(ReproError, match="no arm 'asympo@lag64' at tier paper; it has: naive@ref"):
        study.config("asympo@lag64", 0, "paper")


def test_a_reduced_entry_replaces_by_key_and_adds_the_rest():
    entry = PAPER["asympo_async"]["paper"]
    key = entry.settings[0].key
    smaller = entry.reduced(Setting(key, 1, "a"), Setting("new.key", 2, "b"), queries=7)
    assert [s.key for s in smaller.settings] == [*(s.key for s in entry.settings), "new.key"]
    assert smaller.settings[0].value == 1 and smaller.queries == 7 and entry.settings[0].value != 1


def test_doctor_looks_for_the_models_that_are_named():
    assert set(doctor.PAPER_MODELS) == {entry.model.value for tiers in PAPER.values() for entry in tiers.values()}


def test_every_study_has_its_paper_s_tier_and_what_cannot_run_says_so_before_it_starts():
    assert set(PAPER) == set(STUDIES)
    blocked = {name for name, tiers in PAPER.items() for entry in tiers.values() if entry.blocked}
    assert blocked == {"smepo_code", "smepo_search"}
    for name in sorted(blocked):
        entry = PAPER[name]["paper"]
        lacking = missing(STUDIES[name].config("smepo@wide", 0, "paper"), entry)
        assert lacking[0] == {"what": entry.blocked, "fix": "none: this is a plan only"}
        with pytest.raises(ReproError, match="this run cannot start here, it lacks:\n  - " + entry.blocked[:20]):
            check(STUDIES[name].config("smepo@wide", 0, "paper"))


def test_tiers_are_named_where_users_look_for_them():
    from repro.study.definition import TIERS

    assert set(PAPER_TIERS) <= set(TIERS)
    assert all(re.fullmatch(r"[a-z0-9-]+", tier) for tier in TIERS)
