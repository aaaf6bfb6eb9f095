"""The engine gives what the reference gave: committed transcripts, character for character."""

import pytest

from repro.environments.alfworld.engine import Environment
from repro.environments.alfworld.problem import TASK_TYPES, Game, parse_pddl
from tests.environments.alfworld.golden import FOLDER, transcripts, turns

GAMES = {
    f"{path.stem} {i}": game for path in sorted(FOLDER.glob("*.json")) for i, game in enumerate(transcripts(path.stem))
}


@pytest.mark.parametrize("name", GAMES)
def test_every_text_list_and_flag(name):
    game = GAMES[name]
    world = Environment(Game(parse_pddl(game["problem"]), game["task"]))
    for command, observation, won, admissible in turns(game):
        said = world.reset() if command is None else world.step(command)[0]
        assert (said, world.won, world.admissible()) == (observation, won, admissible), command


def test_the_transcripts_cover_the_world():
    assert {parse_pddl(game["problem"]).goal.task_type for game in GAMES.values()} == set(TASK_TYPES)
    valid = {
        command.strip().split(" ")[0]
        for game in GAMES.values()
        for command, observation, *_ in turns(game)
        if command is not None and observation != "Nothing happens."
    }
    verbs = "look inventory help go open close take move examine use clean heat cool slice"
    assert valid == set(verbs.split())
    assert any(won for game in GAMES.values() for _, _, won, _ in turns(game))
