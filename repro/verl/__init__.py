"""The four methods inside verl, for one large model over many GPUs. README, "Large models: verl".

verl trains; this package gives it advantages and losses by name (`registered`), data sets that allocate and guide
(`data`), and 3SPO's exploration as an agent loop (`explore`), all of them thin wrappers around `repro.algorithms`.
Importing it registers everything; the configs beside it make verl import it in each of its processes.

verl needs an environment of its own: it wants other versions of torch and transformers than the extra `train` has.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata

from repro.errors import ReproError

VERSION = "0.9.1"  # tested; the extra `verl` pins it

if importlib.util.find_spec("verl") is None:
    raise ReproError(
        f"repro.verl needs verl {VERSION}, which is not installed: pip install '.[verl]' in an environment of its own"
    )
if metadata.version("verl") != VERSION:
    raise ReproError(
        f"repro.verl is tested with verl {VERSION} and found {metadata.version('verl')}, whose interfaces may differ: "
        "pip install '.[verl]' in an environment of its own"
    )

from repro.verl import explore, registered  # noqa: E402, F401
