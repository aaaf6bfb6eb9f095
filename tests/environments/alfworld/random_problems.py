"""Small random households, far odder than ALFWorld's own, to find where two engines differ."""

import random

from repro.environments.alfworld.problem import (
    ABILITIES,
    CONDITIONS,
    REQUIRED,
    TASK_TYPES,
    Game,
    Goal,
    Object,
    Problem,
    Receptacle,
)
from repro.environments.alfworld.winning import check_reachable
from repro.errors import ReproError

PLACES = ("Fridge", "SinkBasin", "Microwave", "CounterTop", "Cabinet", "Drawer", "Shelf")
THINGS = ("Mug", "Apple", "Knife", "ButterKnife", "Plate", "DeskLamp", "Bread", "Book")
SENTENCE = {
    "pick_and_place_simple": "put some {o} on {r}",
    "look_at_obj_in_light": "look at {o} under the {t}",
    "pick_clean_then_place_in_recep": "clean some {o} and put it in {r}",
    "pick_heat_then_place_in_recep": "put a hot {o} in {r}",
    "pick_cool_then_place_in_recep": "cool some {o} and put it in {r}",
    "pick_two_obj_and_place": "find two {o} and put them in {r}",
}


def random_problem(rng: random.Random, task_type: str, odd: bool) -> Problem:
    """`odd` allows what ALFWorld's files never or rarely say: shared places, preset states, displaced things, ..."""

    def mark(kind: str, suffix: str = "") -> str:
        x, y, z = (rng.choice(("_plus_", "_minus_")) + f"0{rng.randrange(4)}_dot_{rng.randrange(100)}" for _ in "xyz")
        return f"{kind}_bar_{x}_bar_{y}_bar_{z}{suffix}"

    chance = (lambda share: rng.random() < share) if odd else (lambda share: False)
    kinds = [*PLACES[: rng.randint(3, 5)], *rng.choices(PLACES[3:], k=rng.randint(1, 4))]
    spots = [f"loc_bar_{i}_bar_{rng.randrange(9)}" for i in range(len(kinds) + 2)]
    receptacles = []
    for i, kind in enumerate(kinds):
        location = rng.choice(receptacles).location if receptacles and chance(0.25) else spots[i]
        openable = kind in ("Fridge", "Microwave", "Cabinet", "Drawer") or chance(0.05)
        name = mark("Sink", "_bar_SinkBasin") if kind == "SinkBasin" else mark(kind)
        receptacles.append(
            Receptacle(
                kind if chance(0.04) and kind not in {r.id for r in receptacles} else name,
                kind if not chance(0.04) else None,
                location if not chance(0.04) else None,
                openable,
                opened=(openable and rng.random() < 0.2) or chance(0.05),
            )
        )
    objects: list[Object] = []
    wanted = rng.choice(("Mug", "Apple", "Plate", "Book", "Knife") if odd else ("Mug", "Apple", "Plate"))
    for kind in [wanted, wanted, "DeskLamp", *rng.choices(THINGS, k=rng.randint(1, 5))]:
        home = rng.choice(receptacles)
        homes = tuple({r.id: r for r in (home, rng.choice(receptacles))}.values()) if chance(0.1) else (home,)
        where = tuple(dict.fromkeys(r.location for r in homes if r.location))
        if chance(0.12):
            where = rng.choice(((), (rng.choice(spots),), (*where, rng.choice(spots))))
        abilities = {"DeskLamp": {"toggleable"}}.get(kind, {"pickupable", "moveable"})
        if kind in ("Mug", "Apple", "Plate", "Bread"):
            abilities = abilities | {"cleanable", "heatable", "coolable"}
        if kind in ("Apple", "Bread"):
            abilities = abilities | {"sliceable"}
        abilities = abilities | {a for a in ABILITIES if chance(0.06)}
        objects.append(
            Object(
                mark(kind),
                kind if not chance(0.03) else None,
                tuple(dict.fromkeys(where)),
                tuple(r.id for r in homes) if not chance(0.04) else (),
                containers=(rng.choice(objects).id,) if objects and chance(0.08) else (),
                is_receptacle=kind in ("Mug", "Plate") and rng.random() < 0.6,
                abilities=frozenset(abilities),
                conditions=frozenset(c for c in CONDITIONS if chance(0.08)),
            )
        )
    objects = list({o.id.lower(): o for o in objects}.values())
    holding = rng.choice(objects).id if chance(0.15) else None
    lamp = "DeskLamp" if task_type == "look_at_obj_in_light" else None
    goal = Goal(task_type, wanted, receptacle=None if lamp else rng.choice(kinds), toggle=lamp)
    pairs = {(place, thing) for place in PLACES for thing in THINGS if rng.random() < 0.75}
    start = rng.choice([r.location for r in receptacles if r.location]) if chance(0.3) else spots[-1]
    rng.shuffle(objects)
    return Problem(
        name=f"random_{rng.randrange(10**6)}",
        receptacles=tuple(receptacles),
        objects=tuple(objects),
        locations=tuple(spots),
        start=start,
        can_contain=frozenset(pairs),
        goal=goal,
        holding=holding,
    )


def random_game(name: str, task_type: str, odd: bool = True) -> Game:
    """The first reachable household of this name."""
    rng = random.Random(f"random problem {name} {task_type} {odd}")
    while True:
        problem = random_problem(rng, task_type, odd)
        try:
            check_reachable(problem)
        except ReproError:
            continue
        goal = problem.goal
        words = {"o": goal.object.lower(), "r": (goal.receptacle or "").lower(), "t": (goal.toggle or "").lower()}
        return Game(problem, SENTENCE[task_type].format(**words), id=name)


def random_games(number: int, odd: bool = True) -> list[Game]:
    """`number` households, the six task types in turn."""
    return [random_game(str(i), TASK_TYPES[i % len(TASK_TYPES)], odd) for i in range(number)]


assert set(REQUIRED) < set(SENTENCE) == set(TASK_TYPES)
