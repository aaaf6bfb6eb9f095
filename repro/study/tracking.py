"""TensorBoard and Weights & Biases as mirrors of a run's metrics.jsonl, which stays the truth.

A sink is handed every record that is appended to the log, after it is on disk, and is never read. It is no part of a
run's config or hash: the environment variable REPRO_TRACK names the sinks, separated by commas, so that the workers of
a grid and the kernels of notebooks inherit it (`repro run --track` sets it). A sink that fails says so once and is left
alone from then on; the run goes on.

    tensorboard   event files in `<run>/tensorboard`; `tensorboard --logdir data/runs` shows all runs
    wandb         a run of the project WANDB_PROJECT (default "repro") under the id of the config's hash; what else it
                  does (WANDB_MODE=offline, WANDB_ENTITY, the key) is by W&B's own variables
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from repro.config import config_hash, to_dict
from repro.errors import ReproError

VARIABLE = "REPRO_TRACK"


class Sink(Protocol):
    """Where records go. A sink may raise anything: `Mirror` stands between it and the run."""

    def write(self, record: dict) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files beside the log, written anew at each start: after a resume they hold what the log holds."""

    def __init__(self, config: Any, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        place = Path(folder) / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self._writer = SummaryWriter(str(place))

    def write(self, record: dict) -> None:
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record["update"])

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run under the hash's id. A resumed run goes on where W&B's copy ends: what it has is not sent twice."""

    def __init__(self, config: Any, folder: Path):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "repro",
            id=config_hash(config),
            resume="allow",
            name=f"{config.arm} seed {config.seed}",
            group=f"{config.study}/{config.tier}/{config.arm}",
            config=to_dict(config),
            dir=str(folder),
            settings=wandb.Settings(console="off"),  # metrics are mirrored, not what is printed
        )
        self._sent = self._run.starting_step

    def write(self, record: dict) -> None:
        if record["update"] >= self._sent:
            self._run.log(scalars(record), step=record["update"])

    def close(self) -> None:
        self._run.finish()


SINKS: dict[str, Callable[[Any, Path], Sink]] = {"tensorboard": TensorBoard, "wandb": WandB}


@dataclass
class Mirror:
    """The sinks of one run, by name. Whatever one of them raises is warned of once and ends that sink alone."""

    config: Any
    folder: Path
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self._sinks: dict[str, Sink] = {}

    def start(self, records: Iterable[dict]) -> None:
        """Open the sinks and hand them what the log holds already: a resumed run's records, else none."""
        self.close()
        for name in self.names:
            self._attempt(name, lambda name=name: self._sinks.update({name: SINKS[name](self.config, self.folder)}))
        for record in records:
            self.write(record)

    def write(self, record: dict) -> None:
        """Hand a record to every sink that still works; records without an update are of no curve."""
        if "update" in record:
            for name in tuple(self._sinks):
                self._attempt(name, lambda name=name: self._sinks[name].write(record))

    def close(self) -> None:
        for name in tuple(self._sinks):
            self._attempt(name, lambda name=name: self._sinks[name].close())
        self._sinks.clear()

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # the network, an account, a full disk: none is worth a run
            self._sinks.pop(name, None)
            told = f"{type(error).__name__}: {error}"
            warnings.warn(f"{self.folder}: tracking with {name} ended ({told}); the run goes on", stacklevel=2)


def mirror(config: Any, folder: Path) -> Mirror:
    """The mirror that REPRO_TRACK asks for, not started; one without sinks where it is unset. Raises as `chosen`."""
    return Mirror(config, Path(folder), chosen(os.environ.get(VARIABLE, "")))


def chosen(text: str) -> tuple[str, ...]:
    """The sinks that a text names, separated by commas.

    Raises ReproError for a name that is none, or a sink whose package is not installed.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in SINKS:
            raise ReproError(f"{VARIABLE}: there is no tracking with {name!r}; there are: {', '.join(SINKS)}")
        if not _installed(name):
            raise ReproError(f"tracking with {name} needs the package {name!r}: pip install '.[track]'")
    return names


def _installed(package: str) -> bool:
    """By its metadata: a folder `wandb/`, which that package leaves where it works, would pass for a module."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def scalars(record: dict) -> dict[str, float]:
    """The numbers of a record by "kind/metric", of an evaluation by "kind/level/metric".

    The probe, its format and the temperature ("t0.4") are parts too where a record has them: an update may be
    followed by several of each. Lists, texts and flags are left out; NaN and infinities stay what they are.
    """
    parts = [str(record[key]) for key in ("kind", "probe", "format", "level") if record.get(key, "") != ""]
    if "temperature" in record:
        parts.append(f"t{record['temperature']:g}")
    head = "/".join(parts)
    numbers = {
        key: value for key, value in record.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    named = ("update", "level", "temperature")
    return {f"{head}/{key}": float(value) for key, value in numbers.items() if key not in named}
