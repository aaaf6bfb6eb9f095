"""An algorithm is five choices inside one loop; this is the list of those that exist.

| choice | the question it answers | GRPO's answer |
|---|---|---|
| allocation | which queries next, and how many rollouts each? | every query, shuffled, G each |
| guidance | what does the policy see besides the question? | nothing |
| exploration | how are rollouts grown, and when is an update due? | whole episodes, then one update |
| credit | what advantage does each sample get? | reward minus group mean, over the group's deviation |
| objective | what loss does the learner minimise? | clipped ratio to the behaviour policy |

Choices are frozen dataclasses and compose freely: a recipe that takes one from each of several papers is a line.
"""

from __future__ import annotations

from dataclasses import dataclass

from repro.algorithms.adaptive import GRESO, DynamicSampling, Knapsack, ReinforceAda
from repro.algorithms.allocation import Uniform
from repro.algorithms.asympo import SPO, ASymPO, BatchScaled, BehaviourASymPO, Naive, ShuffledASymPO
from repro.algorithms.credit import EpisodeCredit, GroupCredit
from repro.algorithms.exploration import Episodes
from repro.algorithms.gigpo import GiGPO
from repro.algorithms.grpo import GRPO
from repro.algorithms.guidance import Unguided
from repro.algorithms.luffy import ExpertObjective, ExpertRows
from repro.algorithms.offpolicy import CISPO, GSPO, M2PO, MIS, OPMD, TIS, TOPR, DecoupledPPO, SequenceMaskedGRPO
from repro.algorithms.reinforce import GPG, AsymRE, OPMDSimple
from repro.algorithms.sgpo import SGPO, MatchedBudget, OracleSGPO
from repro.algorithms.smepo import EscalatingTrace, ExpertTrace
from repro.algorithms.threespo import READINGS, ThreeSPO

Objective = (
    GRPO | Naive | SPO | ASymPO | BatchScaled | ShuffledASymPO | BehaviourASymPO | GPG | AsymRE | OPMDSimple
    | DecoupledPPO | TIS | MIS | CISPO | GSPO | M2PO | TOPR | OPMD | SequenceMaskedGRPO | ExpertObjective
)  # fmt: skip


Allocating = Uniform | SGPO | OracleSGPO | MatchedBudget | DynamicSampling | GRESO | Knapsack | ReinforceAda


@dataclass(frozen=True)
class Recipe:
    """The five choices."""

    objective: Objective
    credit: GroupCredit | EpisodeCredit | GiGPO = GroupCredit()
    allocation: Allocating = Uniform()
    guidance: Unguided | ExpertTrace | EscalatingTrace = Unguided()
    exploration: Episodes | ThreeSPO | ExpertRows = Episodes()

    def __post_init__(self) -> None:
        if self.objective.aggregation not in ("response", "token"):
            raise ValueError(f"objective.aggregation is {self.objective.aggregation!r}; choose 'response' or 'token'")
        if isinstance(self.exploration, ThreeSPO):  # it grows its tasks' groups itself
            if not isinstance(self.allocation, Uniform):
                raise ValueError(f"exploration=ThreeSPO needs allocation=Uniform, not {type(self.allocation).__name__}")
            if self.exploration.tasks != self.allocation.prompts:
                raise ValueError(
                    f"exploration.tasks is {self.exploration.tasks} and allocation.prompts {self.allocation.prompts}: "
                    "both are the number of tasks in an epoch; give one number"
                )
            if isinstance(self.guidance, EscalatingTrace):
                raise ValueError(
                    "guidance=EscalatingTrace opens as a query's groups fail, which exploration=ThreeSPO does not "
                    "record: choose ExpertTrace, or exploration=Episodes"
                )
        if isinstance(self.credit, GiGPO) and isinstance(self.allocation, ReinforceAda):
            raise ValueError(
                "GiGPO compares the turns of all episodes of a task, and ReinforceAda trains on some of them only: "
                "choose allocation=Uniform, or credit=EpisodeCredit"
            )


ALGORITHMS: dict[str, Recipe] = {
    "grpo": Recipe(GRPO(), GroupCredit("std")),
    "grpo_mean": Recipe(GRPO()),
    "dapo_loss": Recipe(GRPO(eps_high=0.28, dual_clip=None), GroupCredit("population")),
    "naive": Recipe(Naive()),
    "gpg": Recipe(GPG()),
    "spo": Recipe(SPO()),
    "positive_only": Recipe(SPO(alpha=0.0)),
    "asympo": Recipe(ASymPO()),
    "asympo_stable": Recipe(ASymPO(p_low=0.02, p_high=0.98, floor=0.01)),  # inside the ranges of Appendix C
    "asympo_floor": Recipe(ASymPO(floor=0.01)),
    "batch_scaled": Recipe(BatchScaled()),
    "naive_p_low": Recipe(Naive(p_low=0.02)),
    "asympo_shuffled": Recipe(ShuffledASymPO()),
    "asympo_behaviour": Recipe(BehaviourASymPO()),
    "asympo_negative": Recipe(ASymPO(only="negative")),
    "asympo_positive": Recipe(ASymPO(only="positive")),
    "asymre": Recipe(AsymRE()),
    "opmd_simple": Recipe(OPMDSimple()),
    "opmd": Recipe(OPMD()),
    "decoupled_ppo": Recipe(DecoupledPPO(), GroupCredit("std")),
    "tis": Recipe(TIS(), GroupCredit("std")),
    "mis": Recipe(MIS(), GroupCredit("std")),
    "cispo": Recipe(CISPO(), GroupCredit("std")),
    "gspo": Recipe(GSPO(), GroupCredit("std")),
    "m2po": Recipe(M2PO(), GroupCredit("std")),
    "topr": Recipe(TOPR()),
    "grpo_masked": Recipe(SequenceMaskedGRPO(), GroupCredit("std")),
    # For worlds of several turns, all with one objective. Clip, mean over tokens and 16 tasks are those of 3SPO's
    # released scripts, which also have a KL penalty (0.01) and an entropy bonus (0.001); no objective here has these.
    # GRPO's advantage is the released code's: mean and deviation over all turns of a task's episodes.
    "grpo_episodes": Recipe(GRPO("token"), GiGPO(step_weight=0.0, scale="std", count="turns"), Uniform(prompts=16)),
    "gigpo": Recipe(GRPO("token"), GiGPO(), Uniform(prompts=16)),
    **{
        f"threespo_{name}": Recipe(GRPO("token"), allocation=Uniform(prompts=16), exploration=reading)
        for name, reading in READINGS.items()
    },
    "smepo_loss": Recipe(GRPO(eps_low=0.0, eps_high=5.0), GroupCredit("std")),  # GRPO with SMEPO's clip
    "smepo": Recipe(GRPO(eps_low=0.0, eps_high=5.0), GroupCredit("std"), guidance=ExpertTrace()),
    # The same clip, with the expert's trace as a target
    "luffy": Recipe(ExpertObjective(eps_low=0.0, eps_high=5.0), GroupCredit("std"), exploration=ExpertRows()),
    "sft": Recipe(
        ExpertObjective(eps_low=0.0, eps_high=5.0, gamma=None),
        GroupCredit("std"),
        exploration=ExpertRows(mixed=0, supervised=None),
    ),
    "sft_rl": Recipe(
        ExpertObjective(eps_low=0.0, eps_high=5.0, gamma=None),
        GroupCredit("std"),
        exploration=ExpertRows(mixed=0, supervised=60),
    ),
}
