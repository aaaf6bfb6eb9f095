"""Advantages and losses against TRL's trainer itself, run on a tiny model (optional)."""

import pytest
import torch

pytest.importorskip("trl", reason="trl is not installed (extra 'bench')")
datasets = pytest.importorskip("datasets", reason="datasets is not installed")

import transformers  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

from repro.algorithms.batch import aggregate  # noqa: E402
from repro.algorithms.credit import GroupCredit  # noqa: E402
from repro.algorithms.grpo import GRPO  # noqa: E402
from repro.algorithms.offpolicy import CISPO, GSPO, SequenceMaskedGRPO  # noqa: E402
from tests.algorithms.batches import random_batch  # noqa: E402

pytestmark = pytest.mark.oracle

WORDS = ["<pad>", "<eos>", "one", "two", "three", "four"]
REWARDS = [1.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 1.0]  # two groups of four, the second without contrast


class Recording(GRPOTrainer):
    """Keeps what TRL hands to its loss."""

    def _compute_loss(self, model, inputs):
        self.seen.append(inputs)
        return super()._compute_loss(model, inputs)


class GivenLogp(GRPOTrainer):
    """TRL's loss on log-probs that are given, not computed: everything after the forward pass is TRL's."""

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        return self.given, torch.zeros_like(self.given), None


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    shape |= dict(num_key_value_heads=1, vocab_size=len(WORDS), max_position_embeddings=32, pad_token_id=0)

    def build(trainer, reward=lambda completions, **_: [0.0] * len(completions), **settings):
        torch.manual_seed(0)
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**shape, eos_token_id=1, bos_token_id=None))
        defaults = dict(use_cpu=True, bf16=False, report_to=[], disable_tqdm=True, save_strategy="no", max_steps=1)
        defaults |= dict(per_device_train_batch_size=8, num_generations=4, max_completion_length=6)
        defaults |= dict(gradient_checkpointing=False, output_dir=str(tmp_path_factory.mktemp("trl")))
        return trainer(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(**defaults | settings),
            train_dataset=datasets.Dataset.from_dict({"prompt": ["one two", "three"] * 4}),
            processing_class=tokenizer,
        )

    return build


@pytest.mark.parametrize("scale", ["none", "std"])
def test_advantages_of_a_real_update(build, scale):
    """One update that TRL generates, scores and trains by itself."""
    trainer = build(
        Recording,
        reward=lambda completions, **_: REWARDS,
        scale_rewards={"none": "none", "std": "group"}[scale],
        loss_type="grpo",
    )
    trainer.seen = []
    trainer.train()
    inputs, *_ = trainer.seen
    reward_B, group_B = torch.tensor(REWARDS), torch.arange(8) // 4
    # TRL shuffles whole responses before the update; the advantages tell which is which up to equal rewards.
    ours_B = GroupCredit(scale=scale, eps=1e-4).advantage_B(reward_B, group_B)
    torch.testing.assert_close(inputs["advantages"].sort().values, ours_B.sort().values, rtol=1e-5, atol=1e-6)
    assert ours_B.abs().max() > 0.1


CASES = {
    "grpo": (GRPO(dual_clip=None), "response", dict(loss_type="grpo")),
    "dual clip": (GRPO(dual_clip=1.5), "response", dict(loss_type="grpo", delta=1.5)),
    "asymmetric": (GRPO(eps_low=0.1, eps_high=0.3, dual_clip=None), "response",
                   dict(loss_type="grpo", epsilon=0.1, epsilon_high=0.3)),
    "token mean": (GRPO(dual_clip=None), "token", dict(loss_type="bnpo")),
    "cispo": (CISPO(weight_high=1.3), "token", dict(loss_type="cispo", epsilon_high=1.3)),
    "gspo": (GSPO(eps_low=0.1, eps_high=0.2), "response",
             dict(loss_type="grpo", importance_sampling_level="sequence", epsilon=0.1, epsilon_high=0.2)),
    "sequence mask": (SequenceMaskedGRPO(dual_clip=None, delta=0.1), "response",
                      dict(loss_type="grpo", off_policy_mask_threshold=0.1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(build, name):
    ours, aggregation, settings = CASES[name]
    trainer = build(GivenLogp, **settings)
    trainer.current_gradient_accumulation_steps = 1
    for seed in range(4):
        batch = random_batch(seed, drift=0.8)
        mask_BT = batch.mask_BT.long()
        trainer.given = batch.logp_BT
        theirs = trainer._compute_loss(
            trainer.model,
            {
                "prompt_ids": torch.zeros_like(mask_BT[:, :1]),
                "prompt_mask": torch.ones_like(mask_BT[:, :1]),
                "completion_ids": torch.zeros_like(mask_BT),
                "completion_mask": mask_BT,
                "advantages": batch.advantage_B,
                "old_per_token_logps": batch.behaviour_logp_BT,
                "num_items_in_batch": mask_BT.sum(),
            },
        )
        value = aggregate(ours.loss_BT(batch), batch.mask_BT, aggregation)
        assert value.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-7), f"seed {seed}"
        slopes = [torch.autograd.grad(loss, batch.logp_BT)[0] for loss in (value, theirs)]
        torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)
        assert slopes[0].abs().max() > 1e-3
