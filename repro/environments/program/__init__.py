"""The program world: a task in words, a program as the response, hidden unit tests as the reward."""

from repro.environments.program.checking import code_block, reward, verdict
from repro.environments.program.interpreter import run
from repro.environments.program.language import LIMITS, Limits, ProgramError, parse
from repro.environments.program.tasks import (
    ProgramConfig,
    first_error,
    generate,
    heldout,
    outcome,
    path,
    plant,
    slipped,
    stream,
    train_list,
    vocabulary,
)

__all__ = [
    "LIMITS",
    "Limits",
    "ProgramConfig",
    "ProgramError",
    "code_block",
    "first_error",
    "generate",
    "heldout",
    "outcome",
    "parse",
    "path",
    "plant",
    "reward",
    "run",
    "slipped",
    "stream",
    "train_list",
    "verdict",
    "vocabulary",
]
