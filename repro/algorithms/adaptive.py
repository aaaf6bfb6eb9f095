"""Allocations that adapt to what the policy solves while it trains: the methods sGPO is compared with.

| class | what adapts | source |
|---|---|---|
| DynamicSampling | how many queries an update looks at | DAPO, arXiv 2503.14476; verl, recipe/dapo |
| GRESO | which queries are sampled at all | arXiv 2506.02177; Infini-AI-Lab/GRESO |
| Knapsack | rollouts per query, from its last visits | arXiv 2509.25849; liziniu/KnapsackRL |
| ReinforceAda | rollouts per query, from those just drawn | arXiv 2510.04996; RLHFlow/Reinforce-Ada |

All walk through the list in the order of `Uniform` and are over after `epochs` passes, whether a query was trained on,
discarded or passed over: passes are what arms have in common. An epoch's last batch is filled from the next epoch. If a
query then comes up twice in an update, its groups are joined (Knapsack, ReinforceAda), or the update ends before it
(DynamicSampling, GRESO, whose place in the passes is thus the number of visits). Rewards are binary.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from repro.algorithms.allocation import Allocation, Drawn, History, Visit, order


def informative(rewards: Sequence[float]) -> bool:
    """Whether a group has rewards that differ: all others have an advantage of zero, groups of one included."""
    return len(set(rewards)) > 1


def rest_of_passes(history: History, epochs: int, place: int) -> Iterator[int]:
    """Queries from a place on, counted through all `epochs` passes over the shuffled list."""
    for epoch in range(place // history.queries, epochs):
        yield from order(history.queries, history.seed, epoch)[max(0, place - epoch * history.queries) :]


def until_repeated(queries: Iterator[int], drawn: list[Drawn]) -> Iterator[int]:
    """The queries up to the first that an update has drawn already, or that comes twice."""
    looked = {group.query for group in drawn}
    for query in queries:
        if query in looked:
            return
        looked.add(query)
        yield query


def first_informative(drawn: list[Drawn], limit: int) -> list[list[int]]:
    """All rollouts of the first `limit` informative groups, none of the others."""
    kept, left = [], limit
    for group in drawn:
        takes = left > 0 and informative(group.rewards)
        kept.append(list(range(len(group.rewards))) if takes else [])
        left -= takes
    return kept


def at_least(config: object, **least: float) -> None:
    """ValueError naming the first field of a config that is below its least value."""
    for name, value in least.items():
        if getattr(config, name) < value:
            raise ValueError(f"{type(config).__name__}: {name} is {getattr(config, name)}; give {value} or more")


@dataclass(frozen=True)
class DynamicSampling(Allocation):
    """DAPO's dynamic sampling: groups whose rewards are all equal are discarded, and others drawn in their place.

    As in verl, a round draws a whole batch, and informative groups beyond `prompts` are cut off. Departures: at the cap
    verl ends the run with an error, here the update takes what there is; verl keeps a group of one rollout, which has
    no advantage here. `refill=False` discards without replacing, so that batches differ in size.
    """

    prompts: int = 8  # informative groups an update wants, and queries of a round
    group_size: int = 8
    epochs: int = 2
    refill: bool = True
    max_rounds: int = 10  # verl docs/algo/dapo.md, max_num_gen_batches; includes the first round

    def __post_init__(self) -> None:
        at_least(self, prompts=1, group_size=2, epochs=1, max_rounds=1)

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        rounds = math.ceil(len(drawn) / self.prompts)
        enough = sum(informative(group.rewards) for group in drawn) >= self.prompts
        if rounds and (enough or not self.refill or rounds >= self.max_rounds):
            return []
        queries = rest_of_passes(history, self.epochs, len(history.visits) + len(drawn))
        return [(query, self.group_size) for query in islice(until_repeated(queries, drawn), self.prompts)]

    def keep(self, update: int, history: History, drawn: list[Drawn]) -> list[list[int]]:
        return first_informative(drawn, self.prompts)


@dataclass(frozen=True)
class GRESO(Allocation):
    """Dynamic sampling that passes over queries likely to be uninformative, before anything is sampled of them.

    A query whose last z sampled groups were all right (or all wrong) is sampled with probability max(p^z, `floor`).
    There is a p for easy and one for hard queries; once the first pass is over, each moves by `step` after an update,
    down if at least its target share of the update's groups was all right (all wrong), else up. A round after the
    first draws the missing groups, divided by the last round's informative share, times `margin`; if that is no more
    than a first round, it is the update's last.

    Source: Infini-AI-Lab/GRESO, verl/trainer/ttis/presampling_selector.py (passing over), verl/trainer/ppo/
    ray_trainer.py (p, rounds), train-scripts/math_qwen_7b_dm_greso.sh (sizes: 384 and at least 64 queries a round for
    a batch of 256). Departures: rounds have their exact size, there they are made of batches of 32 that lost some
    queries; after a round without an informative group a full one follows, there it divides by zero; "all wrong"
    there means with a format reward. z counts groups of the same kind, as in the code.
    """

    prompts: int = 8  # informative groups an update wants
    group_size: int = 8
    epochs: int = 2
    chance: float = 0.5  # p of both kinds at the start
    target_easy: float = 0.25 / 3
    target_hard: float = 0.25 * 2 / 3
    step: float = 0.01
    lowest: float = 0.05
    highest: float = 0.95
    floor: float = 0.01
    oversampling: float = 1.5  # queries of a first round for each of `prompts`
    margin: float = 1.25

    def __post_init__(self) -> None:
        at_least(self, prompts=1, group_size=2, epochs=1, oversampling=1)
        if not 0 < self.floor <= 1 or not 0 <= self.lowest <= self.chance <= self.highest <= 1:
            raise ValueError(
                f"GRESO: floor {self.floor} must lie in (0, 1], and lowest {self.lowest} <= chance {self.chance} <= "
                f"highest {self.highest} in [0, 1]"
            )

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        groups = [group.rewards for group in drawn if group.rewards]  # the others were passed over
        wanted, sampled, chosen, looked = self.next_round(groups), bool(groups), [], {group.query for group in drawn}
        for query, size in self.looks(history, len(drawn)):
            # However short the list, an update samples something.
            if not wanted or (sampled and query in looked):
                break
            chosen.append((query, size))
            looked.add(query)
            wanted -= size > 0
            sampled |= size > 0
        return chosen if sampled else []

    def keep(self, update: int, history: History, drawn: list[Drawn]) -> list[list[int]]:
        return first_informative(drawn, self.prompts)

    def next_round(self, groups: Sequence[Sequence[float]]) -> int:
        """How many more groups an update samples after those it has, in order of drawing; 0: it has enough."""
        full = size = math.ceil(self.oversampling * self.prompts)
        start, last = 0, False
        while start < len(groups):
            latest, start = groups[start : start + size], start + size
            missing = self.prompts - sum(map(informative, groups[:start]))
            if missing <= 0 or last:
                return 0
            share = sum(map(informative, latest)) / len(latest)
            estimate = int(self.margin * missing / share) if share else math.inf
            last = estimate <= full
            size = max(min(estimate, full), self.prompts // 4, 1)
        return size

    def looks(self, history: History, drawn: int = 0) -> Iterator[tuple[int, int]]:
        """(query, group size) after `drawn` looks of this update, to the end of the last pass; size 0: passed over.

        Whether it is passed over depends on the run's seed, on the place in the passes and on the history.
        """
        start = len(history.visits) + drawn
        chances, runs = self.chances(history), self.runs(history)
        for place, query in enumerate(rest_of_passes(history, self.epochs, start), start):
            kind, length = runs.get(query, ("mixed", 0))
            explore = max(chances[kind] ** length, self.floor) if kind in chances else 1.0
            passed = random.Random(f"greso:{history.seed}:{place}").random() >= explore
            yield query, 0 if passed else self.group_size

    def chances(self, history: History) -> dict[str, float]:
        """p of either kind, after the history's updates."""
        chances, place = {"easy": self.chance, "hard": self.chance}, 0
        targets = {"easy": self.target_easy, "hard": self.target_hard}
        for _, visits in groupby(history.visits, key=lambda visit: visit.update):
            seen = list(visits)
            place += len(seen)
            kinds = Counter(kind_of(visit) for visit in seen if visit.size)
            if place > history.queries and kinds:
                for kind, target in targets.items():
                    step = -self.step if kinds[kind] / kinds.total() >= target else self.step
                    chances[kind] = min(max(chances[kind] + step, self.lowest), self.highest)
        return chances

    def runs(self, history: History) -> dict[int, tuple[str, int]]:
        """Kind of each query's last sampled group, and how many of its last groups were of that kind."""
        runs: dict[int, tuple[str, int]] = {}
        for visit in history.visits:
            if visit.size:
                kind, (last, length) = kind_of(visit), runs.get(visit.query, ("", 0))
                runs[visit.query] = (kind, length + 1 if kind == last else 1)
        return runs


def kind_of(visit: Visit) -> str:
    """easy: all right; hard: all wrong; mixed: neither."""
    return "easy" if visit.solved == visit.size else "hard" if visit.solved == 0 else "mixed"


def knapsack_value(rate: float, size: int) -> float:
    """P(a group of `size` is informative) times p (1 - p)^2, the gain in success expected from one step on it."""
    return (1 - rate**size - (1 - rate) ** size) * rate * (1 - rate) ** 2


def knapsack(rates: Sequence[float], budget: int, low: int, high: int) -> list[int]:
    """Group sizes in [low, high] that maximise the sum of `knapsack_value`, of at most `budget` rollouts together.

    Rollouts go one by one to the largest gain (the earliest query on a tie). That is the exact optimum because the
    value is concave in the size: from N to N + 1 it gains c (p^N (1 - p) + (1 - p)^N p), which falls with N. Nothing is
    spent without gain, on p of 0 or 1. ValueError if the budget cannot hold `low` for each.
    """
    if low < 1 or high < low or budget < low * len(rates):
        raise ValueError(f"knapsack: {budget} rollouts for {len(rates)} queries of {low} to {high} each")
    sizes = [low] * len(rates)

    def gain(query: int) -> float:
        return knapsack_value(rates[query], sizes[query] + 1) - knapsack_value(rates[query], sizes[query])

    queue = [(-gain(query), query) for query in range(len(rates))] if low < high else []
    heapq.heapify(queue)
    for _ in range(budget - sum(sizes)):
        if not queue or queue[0][0] >= 0:
            break
        query = heapq.heappop(queue)[1]
        sizes[query] += 1
        if sizes[query] < high:
            heapq.heappush(queue, (-gain(query), query))
    return sizes


@dataclass(frozen=True)
class Knapsack(Allocation):
    """Knapsack RL: a batch's budget goes where one more rollout adds most to the expected gain of a step.

    A batch has `prompts` * `group_size` rollouts. Queries without an estimate yet (the first pass) get `group_size`,
    those at 0 or 1 get `low`, the others share the rest by `knapsack`. `fallback`: what these do not need, each being
    informative with 90 %, goes in equal parts to the batch's queries at 0, or, without any, to all others.

    Source: liziniu/KnapsackRL, verl/trainer/ppo/exploration_utils.py, verl/utils/dataset/rl_dataset.py (estimate) and
    examples/knapsack_trainer/run_knapsack_grpo_7b.sh. Departures: the dynamic programme there counts `low` rollouts as
    worth nothing, here they have their value; it takes unseen queries as unsolved when it falls back; there `high`
    gives way when a budget is left over, here that budget is not spent (it needs more than `high` a query).
    """

    prompts: int = 8
    group_size: int = 8
    epochs: int = 2
    low: int = 2
    high: int = 128
    memory: int = 16  # an estimate takes in earlier visits until it has as many rollouts; 1: the last visit alone
    least: int = 8  # rollouts a query must have had in all
    fallback: bool = True
    confidence: float = 0.9  # of the fallback

    def __post_init__(self) -> None:
        at_least(self, prompts=1, epochs=1, low=1, group_size=self.low, high=self.group_size, memory=1, least=1)
        if not 0 < self.confidence < 1:
            raise ValueError(f"Knapsack: confidence is {self.confidence}; give a probability between 0 and 1")

    def updates(self, history: History) -> int:
        return math.ceil(self.epochs * history.queries / self.prompts)

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        if drawn:
            return []
        batch = list(islice(rest_of_passes(history, self.epochs, update * self.prompts), self.prompts))
        return list(zip(batch, self.sizes([self.rate(history, query) for query in batch]), strict=True))

    def rate(self, history: History, query: int) -> float | None:
        """Success rate of a query in its last rollouts; None if it has had too few.

        Of a visit that `memory` cuts through, the history does not say which rollouts were last: its mean counts.
        """
        visits = [visit for visit in history.visits if visit.query == query and visit.size]
        if sum(visit.size for visit in visits) < self.least:
            return None
        seen, solved = visits[-1].size, float(visits[-1].solved)
        for visit in reversed(visits[:-1]):
            taken = min(visit.size, max(0, self.memory - seen))
            seen, solved = seen + taken, solved + taken * visit.solved / visit.size
        return solved / seen

    def sizes(self, rates: Sequence[float | None]) -> list[int]:
        """Group sizes of a batch from the rates of its queries; None: no estimate."""
        sizes = [self.group_size if rate is None else self.low for rate in rates]
        spare = len(rates) * self.group_size - sum(sizes)
        between = [k for k, rate in enumerate(rates) if rate is not None and 0 < rate < 1]
        unsolved = [k for k, rate in enumerate(rates) if rate == 0]
        others = unsolved or [k for k in range(len(rates)) if k not in between]
        if not between and not unsolved:
            return [self.group_size] * len(rates)
        needed = sum(min(self.high, int(self.rollouts_needed(rates[k]))) for k in between)
        extra = spare if not between else max(0, spare - needed) if self.fallback and others else 0
        for turn, k in enumerate(others):
            sizes[k] = min(self.high, sizes[k] + extra // len(others) + (turn < extra % len(others)))
        shares = knapsack([rates[k] for k in between], self.low * len(between) + spare - extra, self.low, self.high)
        for k, size in zip(between, shares, strict=True):
            sizes[k] = size
        return sizes

    def rollouts_needed(self, rate: float) -> float:
        """Rollouts after which the likelier outcome has been the only one with a probability of 1 - `confidence`."""
        return math.log(1 - self.confidence) / math.log(max(rate, 1 - rate))


@dataclass(frozen=True)
class ReinforceAda(Allocation):
    """Reinforce-Ada: a query is sampled in rounds until it shows what it needs, and trained on a part of fixed size.

    balanced: until half of `kept` are right and half are wrong; positive: until one is right. Of all rollouts so drawn
    `kept` are trained on: half right and half wrong, the earliest of each, and more of one kind where the other lacks.
    Queries that never got there are trained on too; their groups may be all equal. The baseline is that of all
    rollouts drawn, as for every allocation.

    Source: RLHFlow/Reinforce-Ada, verl/trainer/ppo/ray_trainer.py (_generate_multi_round_adaptive_downsampling),
    config/algorithm.py (rounds) and scripts/run_reinforce_ada.sh: `kept`, balanced, and advantages that are centred but
    not scaled, which is the credit's choice here. An update trains on `prompts` * `kept` rollouts.
    """

    prompts: int = 8
    epochs: int = 2
    target: str = "balanced"  # or "positive"
    round_size: int = 8
    max_rounds: int = 4
    kept: int = 4

    def __post_init__(self) -> None:
        at_least(self, prompts=1, epochs=1, max_rounds=1, kept=2, round_size=self.kept)
        if self.target not in ("balanced", "positive"):
            raise ValueError(f"ReinforceAda: target is {self.target!r}; choose 'balanced' or 'positive'")

    def updates(self, history: History) -> int:
        return math.ceil(self.epochs * history.queries / self.prompts)

    def allot(self, update: int, history: History, drawn: list[Drawn]) -> list[tuple[int, int]]:
        if not drawn:
            batch = islice(rest_of_passes(history, self.epochs, update * self.prompts), self.prompts)
            return [(query, self.round_size) for query in dict.fromkeys(batch)]
        most = self.max_rounds * self.round_size
        return [(g.query, self.round_size) for g in drawn if len(g.rewards) < most and not self.finished(g.rewards)]

    def finished(self, rewards: Sequence[float]) -> bool:
        """Whether a query needs no further round."""
        right = sum(reward > 0 for reward in rewards)
        if self.target == "positive":
            return right >= 1
        return right >= self.kept // 2 and len(rewards) - right >= self.kept - self.kept // 2

    def keep(self, update: int, history: History, drawn: list[Drawn]) -> list[list[int]]:
        return [self.part(group.rewards) for group in drawn]

    def part(self, rewards: Sequence[float]) -> list[int]:
        """The rollouts of a group that are trained on, in order of drawing."""
        right = [i for i, reward in enumerate(rewards) if reward > 0]
        wrong = [i for i, reward in enumerate(rewards) if not reward > 0]
        some = max(self.kept // 2, self.kept - len(wrong))  # right ones: half, or more if wrong ones lack
        return sorted(right[:some] + wrong[: self.kept - min(some, len(right))])
