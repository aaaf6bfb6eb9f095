"""WebShop in process: a shop to search, click through and buy in, rewarded by the original's rules.

`catalogue.open_shop(catalogue.generate(CatalogueConfig()))` opens a generated shop, `compact.shop(CompactConfig())` the
small one for small policies, `data.load(DataConfig(folder))` the real files. `WebShop(shop, goal)` is one episode.
`world` makes it one of the worlds that policies are trained in: turn limits, prompts, goals as queries.
"""

from __future__ import annotations

from repro.environments.webshop.catalogue import CatalogueConfig
from repro.environments.webshop.compact import CompactConfig
from repro.environments.webshop.data import DataConfig
from repro.environments.webshop.engine import Shop, ShopConfig, State, WebShop
from repro.environments.webshop.goals import Goal, split
from repro.environments.webshop.reward import Reward

__all__ = [
    "CatalogueConfig",
    "CompactConfig",
    "DataConfig",
    "Goal",
    "Reward",
    "Shop",
    "ShopConfig",
    "State",
    "WebShop",
    "split",
]
