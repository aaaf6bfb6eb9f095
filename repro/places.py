"""Where things lie on disk."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """Where runs and results live: $REPRO_DATA, else `data/` of the repository."""
    return Path(os.environ.get("REPRO_DATA") or REPOSITORY / "data")


def external(name: str) -> Path:
    """Where a published data set of that name lies once it was downloaded; see `repro data`."""
    return data_folder() / "external" / name
