"""Configs: JSON and back, the hash that names a run, and strict overrides."""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

import pytest

from repro.algorithms.asympo import SPO, ASymPO, Naive
from repro.config import check_type, config_hash, from_dict, override, to_dict
from repro.environments.arithmetic import ArithmeticConfig
from repro.errors import ReproError
from repro.policy.pretrained import CheckpointConfig, LoRA
from repro.study import STUDIES
from repro.study.asympo_async import ASYMPO_ASYNC
from repro.training.config import Asynchronous, Lagged, RunConfig

CONFIG = ASYMPO_ASYNC.config("spo@ref", 3, "small")


@dataclass(frozen=True)
class Small:
    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Other:
    rate: float = 0.5
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Knobs:
    count: int = 1
    flag: bool = False
    name: str = "a"
    mode: Literal["slow", "fast"] = "slow"
    bound: float | None = None
    pair: tuple[int, str] = (1, "x")
    inner: Small | Other = Small()
    maybe: Small | None = None


@pytest.mark.parametrize("tier", ["smoke", "small"])
def test_every_arm_of_every_study_survives_json(tier):
    for study in STUDIES.values():
        for arm in study.arms:
            config = study.config(arm, 1, tier)
            back = from_dict(RunConfig, json.loads(json.dumps(to_dict(config), allow_nan=False)))
            assert back == config
            assert type(back.recipe.objective) is type(config.recipe.objective)
            assert config_hash(back) == config_hash(config)


def test_the_hash_is_that_of_the_canonical_json():
    text = '{"kind":"Small","rate":0.5,"sizes":[1,2]}'
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "d79701fab632"
    assert config_hash(Small()) == "d79701fab632"  # a change of this number orphans every run on disk
    assert config_hash(to_dict(Small())) == "d79701fab632"


def test_the_hash_sees_every_value_and_the_kind():
    variants = [Small(), Small(rate=0.25), Small(sizes=(2, 1)), Small(sizes=(1, 2, 2)), Other()]
    assert len({config_hash(v) for v in variants}) == len(variants)
    settings = {
        "arm": "x", "tier": "x", "seed": 4, "device": "cuda", "recipe.objective.alpha": 0.3, "recipe.credit.eps": 1e-5,
        "schedule.low": 7, "world.names": 11, "world.levels": [["all", 1, 6]], "policy.dtype": "bfloat16",
        "warmstart.slip": 0.2, "training.betas": [0.9, 0.99], "evaluation.every": 49,
    }  # fmt: skip
    hashes = {config_hash(override(CONFIG, {key: value})) for key, value in settings.items()}
    assert len(hashes | {config_hash(CONFIG)}) == len(settings) + 1


def test_overrides_read_text_as_json_where_it_is_json():
    new = override(
        CONFIG,
        ["training.updates=10", "training.learning_rate=1", "world.style=english", "recipe.objective.p_low=0.5",
         "training.betas=[0, 0.5]", " arm = spo"],
    )  # fmt: skip
    assert new.training.updates == 10 and new.world.style == "english" and new.recipe.objective.p_low == 0.5
    assert type(new.training.learning_rate) is float and new.training.learning_rate == 1.0
    assert new.training.betas == (0.0, 0.5) and all(type(b) is float for b in new.training.betas)
    assert new.arm == " spo"  # a value is taken as it is written
    assert new == override(
        CONFIG,
        {"training.updates": 10, "training.learning_rate": 1, "world.style": "english", "recipe.objective.p_low": 0.5,
         "training.betas": (0, 0.5), "arm": " spo"},
    )  # fmt: skip
    assert CONFIG == ASYMPO_ASYNC.config("spo@ref", 3, "small")  # a copy: the original is as it was


def test_an_int_that_stands_for_a_float_hashes_like_the_float():
    assert config_hash(override(CONFIG, ["training.clip_norm=1"])) == config_hash(CONFIG)


def test_values_may_hold_equal_signs_and_text_may_be_quoted():
    assert override(CONFIG, ["arm=a=b"]).arm == "a=b"
    assert override(CONFIG, ['arm="10"']).arm == "10"


def test_none_only_where_it_is_allowed():
    stable = override(CONFIG, {"recipe.objective": ASymPO(p_low=0.02)})
    assert override(stable, ["recipe.objective.p_low=null"]).recipe.objective == ASymPO()
    assert override(Knobs(), {"bound": 2}).bound == 2.0
    with pytest.raises(ReproError, match="training.updates: None is not of type int"):
        override(CONFIG, ["training.updates=null"])
    assert from_dict(Knobs, to_dict(Knobs())).maybe is None
    assert from_dict(Knobs, to_dict(Knobs(maybe=Small(2.0)))).maybe == Small(2.0)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("count", True, "int"),
        ("count", 1.0, "int"),
        ("count", "1", "int"),
        ("flag", 1, "bool"),
        ("name", 3, "str"),
        ("bound", True, "float | None"),
        ("bound", "1", "float | None"),
        ("mode", "medium", "Literal"),
        ("pair", [1], "tuple"),
        ("pair", [1, "x", 2], "tuple"),
        ("pair", 1, "tuple"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key, value, expected):
    with pytest.raises(ReproError) as raised:
        override(Knobs(), {key: value})
    assert str(raised.value).startswith(f"{key}: {value!r} is not of type ")
    assert expected in str(raised.value)


def test_a_wrong_item_is_named_by_its_place():
    with pytest.raises(ReproError, match=r"pair\[1\]: 2 is not of type str"):
        override(Knobs(), {"pair": [1, 2]})
    with pytest.raises(ReproError, match=r"world.levels\[0\]\[1\]: 'one' is not of type int"):
        override(CONFIG, {"world.levels": [["easy", "one", 2]]})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(ReproError, match="^training.learning_rate: -?(nan|inf|10+) is not a finite number"):
        override(CONFIG, [f"training.learning_rate={value}"])


def test_an_unknown_setting_names_the_known_ones():
    with pytest.raises(ReproError) as raised:
        override(CONFIG, ["schedule.lag=3"])
    assert str(raised.value) == "unknown setting 'schedule.lag': Lagged has no field 'lag' (fields: low, high)"
    with pytest.raises(ReproError, match=r"RunConfig has no field 'trainig' \(fields: study, arm, tier, seed, recipe"):
        override(CONFIG, ["trainig.updates=3"])
    with pytest.raises(ReproError, match=r"int has no field 'x' \(fields: none: it is a plain value\)"):
        override(CONFIG, ["seed.x=3"])


@pytest.mark.parametrize("text", ["training.updates", "=3", " =3", ""])
def test_a_malformed_assignment_says_how_to_write_it(text):
    with pytest.raises(ReproError, match="write it as key=value, for example training.updates=10"):
        override(CONFIG, [text])


def test_a_union_takes_any_of_its_classes_and_nothing_else():
    new = override(CONFIG, {"schedule": Asynchronous(sync_every=4)})
    assert new.schedule == Asynchronous(sync_every=4)
    assert override(new, ['schedule={"kind": "Lagged", "low": 1, "high": 2}']).schedule == Lagged(1, 2)
    assert override(CONFIG, {"recipe.objective": Naive()}).recipe.objective == Naive()
    assert override(CONFIG, {"world": ArithmeticConfig(names=10)}).world.names == 10
    for value in ("lag0", 3, None, {"low": 1}):
        with pytest.raises(ReproError, match="schedule: expected an object with a 'kind'"):
            override(CONFIG, {"schedule": value})
    with pytest.raises(ReproError, match="schedule: unknown kind 'Never'; choose from Asynchronous, Lagged"):
        override(CONFIG, {"schedule": {"kind": "Never"}})


def test_json_of_another_version_of_the_code_is_refused():
    data = to_dict(CONFIG)
    data["training"]["momentum"] = data["training"].pop("betas")
    with pytest.raises(ReproError) as raised:
        from_dict(RunConfig, data)
    assert str(raised.value) == (
        "config.training: TrainingConfig has unknown fields ['momentum'] and lacks ['betas']; "
        "it was written by another version of the code"
    )
    with pytest.raises(ReproError, match="config.seed: '3' is not of type int"):
        from_dict(RunConfig, {**to_dict(CONFIG), "seed": "3"})


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("recipe.objective.alpha=2", "recipe.objective.alpha.*SPO.alpha is 2.0; choose a value in"),
        ('recipe.objective={"kind": "SPO", "aggregation": "token", "p_low": null, "p_high": null, "alpha": -1}',
         "recipe.objective.*SPO.alpha is -1.0"),
        ("world.modulus=1", "modulus 1 describe no problem"),
    ],
)  # fmt: skip
def test_a_value_that_its_class_refuses_is_bad_input(assignment, message):
    with pytest.raises(ReproError, match=message):
        override(CONFIG, [assignment])


def test_check_type_leaves_a_value_that_fits_as_it_is():
    assert check_type(tuple[int, ...], [], "x") == ()
    assert check_type(dict, {"a": 1}, "x") == {"a": 1}
    assert to_dict(replace(CONFIG, recipe=replace(CONFIG.recipe, objective=SPO()))) == to_dict(CONFIG)


def test_another_kind_has_its_own_defaults_and_what_is_set_beside_it():
    changed = override(CONFIG, ["policy.checkpoint=a/b", "policy.template=plain", "policy.kind=CheckpointConfig"])
    assert changed.policy == CheckpointConfig(checkpoint="a/b", template="plain")
    adapted = override(changed, ["policy.lora.kind=LoRA", "policy.lora.rank=3", "policy.lora.alpha=6"])
    assert adapted.policy.lora == LoRA(rank=3, alpha=6.0) and adapted.policy.template == "plain"
    assert override(adapted, ["policy.kind=CheckpointConfig", "policy.lora.kind=LoRA"]) == adapted  # the same kinds
    assert override(Knobs(inner=Small(rate=0.1)), ["inner.kind=Other"]).inner == Other()


@pytest.mark.parametrize(
    "setting, message",
    [
        ("policy.template=plain", r"has no field 'template' \(fields: checkpoint, .*\); CheckpointConfig has it: set "
                                  "policy.kind=CheckpointConfig as well"),
        ("policy.kind=CheckpointConfig", "policy.checkpoint is empty; name a folder or a hub id"),
        ("policy.kind=Checkpoint", "choose from PolicyConfig, ServedConfig, CheckpointConfig"),
        ("policy.shape=3", r"has no field 'shape' \(fields: [a-z_, ]*\)$"),
        ("training.kind=[1]", "choose from TrainingConfig, BudgetedTraining"),
        ("device.kind=GPU", "str has no field 'kind'"),
    ],
)  # fmt: skip
def test_a_field_of_another_kind_is_refused_with_the_remedy(setting, message):
    with pytest.raises(ReproError, match=message):
        override(CONFIG, [setting])
