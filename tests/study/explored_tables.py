"""Tables of the 3SPO studies made by rule: straight lines, whose every value a test can work out."""

import numpy as np
import pandas as pd

from repro.study import tables
from repro.study.threespo import SHARE, reading_of

BUDGET, UPDATES, EVERY = 1000, 20, 5  # generations of a core arm, updates, updates between evaluations
START = 0.2
LEVELS = {"threespo_alfworld": ("valid_seen", "valid_unseen"), "threespo_webshop": ("heldout",)}
STATES = {"grpo": 200, "gigpo": 220}  # distinct observations at the end of a whole budget; others 300


def explored(study, gains=None, arms=None, tier="small", seeds=None, states=None):
    """Tables of the arms (all by default).

    Success of a run rises from START by `gains[arm]` (0.3 by default), a function of the seed or a number, in a line
    over the core budget; the second list is 0.05 below the first, temperature 0.4 is 0.1 above, the score 0.1 above.
    Distinct states rise in a line too. A core run makes UPDATES updates of equal size.
    """
    runs, curves, evals, epochs = [], [], [], []
    for name in arms or study.arms:
        arm, base = study.arms[name], reading_of(name)
        gain = (gains or {}).get(name, 0.3)
        for seed in range(arm.seeds if seeds is None else seeds):
            key, share = {"arm": name, "seed": seed}, SHARE[arm.condition]
            updates, rise = round(UPDATES * share), gain(seed) if callable(gain) else gain

            def won(update, level, temperature, rise=rise, name=name):
                value = START + rise * update / UPDATES - 0.05 * LEVELS[study.name].index(level)
                return value + 0.1 * (temperature < 1)

            last = (states or {}).get(name, STATES.get(base, 300)) * share
            for update in range(1, updates + 1):
                part = update / updates
                curves.append(
                    key | {"update": update, "generations": BUDGET * update // UPDATES, "reward": 0.5, "mixed": 0.4}
                    | {f"states_{kind}": factor * last * part for kind, factor in
                       (("observation", 1), ("goal_observation", 2), ("state", 3))}
                    | {"generated_tokens": 250 if base == "grpo" else 300, "flops_needed": 1e9, "flops": 2e9}
                    | {"seconds_generate": 1.0, "seconds_update": 0.5, "rollouts": 8, "grad_norm": 1.0, "groups": 8}
                    | {"won": START, "fault_nothing_happens": 3.0, "entropy": 1.0, "trained_tokens": 100}
                )  # fmt: skip
            for update in range(0, updates + 1, EVERY):
                for level in LEVELS[study.name]:
                    for temperature in (1.0, 0.4) if update in (0, updates) else (1.0,):
                        value = won(update, level, temperature)
                        evals.append(
                            key | {"update": update, "level": level, "queries": 10, "samples": 1, "seconds": 1.0}
                            | {"generations": BUDGET * update // UPDATES, "won": value, "turns": 9.0}
                            | {"temperature": temperature, "mean_at_k": value, "pass_at_k": value, "score": value + 0.1}
                        )  # fmt: skip
            if base not in ("grpo", "gigpo"):
                epochs += [key | epoch for epoch in _epochs(updates, 4)]
            ends = {}
            for update, prefix in ((updates, ""), (0, "start_")):
                for temperature, suffix in ((1.0, ""), (0.4, "_t0.4")):
                    values = {level: won(update, level, temperature) for level in LEVELS[study.name]}
                    for column, more in (("won", 0.0), ("score", 0.1)):
                        ends[f"{prefix}{column}{suffix}"] = float(np.mean(list(values.values()))) + more
                        ends |= {f"{prefix}{column}_{level}{suffix}": v + more for level, v in values.items()}
            runs.append(
                {"study": study.name, "tier": tier, **key, "algorithm": arm.algorithm, "condition": arm.condition}
                | {"core": arm.core, "run_id": "0" * 12, "status": "finished", "updates": updates, "collapsed": False}
                | {"mean_at_k": ends["won"], "pass_at_k": 0.5, "start_mean_at_k": ends["start_won"], "device": "cpu"}
                | {"generations": BUDGET * share, "flops_needed": updates * 1e9, "seconds": updates * 1.5 + seed}
                | {"seconds_generate": 1.0 * updates, "seconds_update": 0.5 * updates, "rollouts": 8 * updates}
                | {"flops": updates * 2e9, "groups": 8 * updates, "commit": "0" * 40}
                | {"generated_tokens": updates * (250 if base == "grpo" else 300)}
                | {"states_observation": last, "states_goal_observation": 2 * last, "states_state": 3 * last}
                | ends
            )  # fmt: skip
    runs = pd.DataFrame(runs).assign(collapse_update=pd.array([None] * len(runs), dtype="Int64"))
    return tables._typed(
        runs, pd.DataFrame(curves), pd.DataFrame(evals), pd.DataFrame(columns=list(tables.PROFILES)),
        pd.DataFrame(epochs) if epochs else None,
    )  # fmt: skip


def _epochs(updates, number):
    """Each with a quarter of the generations; the mean score falls from 0.9 to 0.6."""
    for epoch in range(1, number + 1):
        yield {
            "epoch": epoch, "update": updates * epoch // number,
            "generations": BUDGET * updates // UPDATES * epoch // number, "epoch_generations": BUDGET / number,
            "visits": 40, "high_scores": 30, "high_share": 0.75, "score_mean": 1.0 - 0.1 * epoch, "groups": 30,
            "flat": 20, "dropped": 3, "singletons": 5, "given_up": 4, "given_up_starts": epoch, "pruned_starts": epoch,
            "truncated": 5, "rounds": 10, "n_8": 30, "n_1": 5, "n_0": 5, "leaves": 10, "leaf_wins": 1,
            "rollouts": 10, "rollout_wins": 2, "deviation_mean": 0.1,
            **{f"{kind}_successors": 10 for kind in ("won", "no_op", "unseen", "pruned", "solved", "unsolved")},
            **{f"{kind}_reward": 0.1 * k for k, kind in
               enumerate(("unsolved", "no_op", "unseen", "pruned", "solved", "won"))},
            **{f"{kind}_advantage": 0.1 * k - 0.2 for k, kind in
               enumerate(("unsolved", "no_op", "unseen", "pruned", "solved", "won"))},
        }  # fmt: skip
