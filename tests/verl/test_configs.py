"""The configs compose with verl's own, name only fields that verl has, and what they name exists."""

from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed: it needs an environment of its own (the extra verl)")

import verl  # noqa: E402
from hydra import compose, initialize_config_dir  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry  # noqa: E402
from verl.trainer.ppo import core_algos  # noqa: E402
from verl.utils.import_utils import load_extern_type  # noqa: E402

import repro.verl  # noqa: E402
from repro.algorithms.threespo import reading  # noqa: E402
from repro.study.paper_settings import PAPER  # noqa: E402
from repro.verl.data import GUIDANCE  # noqa: E402

pytestmark = pytest.mark.oracle
OURS = Path(repro.verl.__file__).parent
THEIRS = Path(verl.__file__).parent / "trainer" / "config"
PAPERS = "asympo", "sgpo", "smepo", "threespo"
# What is not in verl's config: read by this project, or passed on by verl.
NEW = {"study", "folder", "data.guidance", "threespo.reading", "threespo.pieces"}


def composed(name, folder=OURS):
    """As `python -m verl.trainer.main_ppo --config-path FOLDER --config-name NAME` does."""
    with initialize_config_dir(str(folder), version_base=None):
        return compose(name)


@pytest.fixture(scope="module")
def theirs():
    return composed("ppo_trainer", THEIRS)


def leaves(node, path=""):
    for key, value in node.items():
        where = f"{path}.{key}" if path else key
        yield from leaves(value, where) if isinstance(value, dict) and value else [where]


@pytest.mark.parametrize("name", PAPERS)
def test_config(name, theirs):
    config = composed(name)
    known = set(leaves(OmegaConf.to_container(theirs, resolve=False)))
    for file in (name, "shared"):
        written = OmegaConf.to_container(OmegaConf.load(OURS / f"{file}.yaml"), resolve=False)
        written = {key: value for key, value in written.items() if key not in ("defaults", "hydra")}
        unknown = {where for where in leaves(written) if where not in known | NEW and "env_vars" not in where}
        assert not unknown
        for where in leaves(written):
            assert file == "shared" or OmegaConf.select(config, where) == OmegaConf.select(written_config(file), where)
    OmegaConf.resolve(config)
    assert config.data.train_files == f"data/verl/{config.study}/train.parquet" and config.study in PAPER
    assert config.algorithm.adv_estimator in core_algos.ADV_ESTIMATOR_REGISTRY
    assert config.actor_rollout_ref.actor.policy_loss.loss_mode in core_algos.POLICY_LOSS_REGISTRY
    assert config.data.get("guidance", "full") in GUIDANCE
    for named in (config.data.custom_cls, config.reward.custom_reward_function):
        assert named.path is None or load_extern_type(named.path, named.name).__module__ == "repro.verl.data"
    agent = config.actor_rollout_ref.rollout.agent
    assert agent.default_agent_loop in _agent_loop_registry or agent.default_agent_loop == "single_turn_agent"
    assert config.ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES == "repro.verl"


def written_config(file):
    merged = OmegaConf.load(OURS / f"{file}.yaml")
    return OmegaConf.merge(OmegaConf.load(OURS / "shared.yaml"), merged)


def test_asynchronous_batches_fit_together():
    """verl's asynchronous trainer asks for this, and for an engine that sends weights between machines."""
    config = composed("asympo")
    updates = config.trainer.v1.separate_async.parameter_sync_step
    assert config.data.train_batch_size == updates * config.actor_rollout_ref.actor.ppo_mini_batch_size
    assert config.actor_rollout_ref.rollout.checkpoint_engine.backend != "naive"


def test_a_step_of_3spo_fits_one_update():
    config = composed("threespo")
    chosen = reading(config.threespo.reading)
    assert chosen.update_every is None
    branches = config.data.train_batch_size * chosen.rollouts * chosen.nodes * chosen.g_max
    assert config.actor_rollout_ref.actor.ppo_mini_batch_size * config.actor_rollout_ref.rollout.n >= branches
