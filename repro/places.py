"""Where things lie on disk."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from repro.errors import ReproError

REPOSITORY = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """Where runs and results live: $REPRO_DATA, else `data/` of the repository."""
    return Path(os.environ.get("REPRO_DATA") or REPOSITORY / "data")


def external(name: str) -> Path:
    """Where a published data set of that name lies once it was downloaded; see `repro data`."""
    return data_folder() / "external" / name


@contextlib.contextmanager
def whole_folder(folder: Path, refused: str) -> Iterator[Path]:
    """A folder to fill that takes its name at the end: it appears whole or not at all, and the first of several stays.

    ReproError, which says `refused`, where the disk does not let it be written.
    """
    partial = folder.with_name(f"{folder.name}.{random.SystemRandom().getrandbits(32):08x}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        with contextlib.suppress(OSError):  # another process was first; what it wrote is the same
            partial.rename(folder)
    except OSError as error:
        raise ReproError(
            f"{partial}: {refused} ({error}); free some space or set REPRO_DATA to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
