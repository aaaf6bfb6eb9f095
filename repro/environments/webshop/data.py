"""The real WebShop's files: read as a stream, stored compactly and indexed once, then opened in an instant.

A folder holds, in the original's formats,

* items_shuffle_1000.json or items_shuffle.json: a list of products (1,000, or all 1.18 million: 5 GB),
* items_ins_v2_1000.json or items_ins_v2.json: each product's attributes, and an instruction generated from them,
* items_human_ins.json: the 12,087 instructions that people wrote.

The scraped product pages are not covered by the licence of WebShop's code, so none is part of this project; its
setup.sh (github.com/princeton-nlp/WebShop) fetches them. `repro.environments.webshop.catalogue` generates files of the
same formats.

The first load writes a folder `index-<digest>` beside the files (or under `cache`): the products as lines of JSON with
their offsets, and the search index as arrays that are mapped, not read. Indexing holds the file of attributes, 4 bytes
for each word of a product and some 40 for each distinct one, never the products; afterwards only what is looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from repro.environments.webshop import goals as goal_rules
from repro.environments.webshop.engine import Shop, ShopConfig
from repro.environments.webshop.product import BadRow, Product, parse_product
from repro.environments.webshop.search import SearchIndex
from repro.errors import ReproError
from repro.places import external, whole_folder

PRODUCTS, ATTRIBUTES, HUMAN = "items_shuffle{}.json", "items_ins_v2{}.json", "items_human_ins.json"
SMALL = 1000  # products of the small files
FORMAT = 1  # of the index folder; a change makes old ones unknown
_CHUNK = 1 << 20  # characters read at once
_LONGEST_ROW = 1 << 25  # characters; the real files' longest row has some hundred thousand
_NAMED = 20  # skipped rows that a report names


@dataclass(frozen=True)
class DataConfig:
    """Which of the files to load. `products` counts rows from the start of the file; None takes all.

    `human_goals` follows the WebShop paper (and the 12,087 instructions that the 3SPO paper speaks of); the released
    3SPO code sets it to False and uses 1,000 products. `seed` draws prices within ranges and price limits.
    """

    folder: str = ""  # empty: WEBSHOP_DATA, else where `repro data` says that it must lie
    products: int | None = SMALL
    human_goals: bool = True
    seed: int = 0
    cache: str | None = None  # where the index folder goes; None: beside the files


@dataclass(frozen=True)
class Report:
    """What became of the rows: rows read, products kept, rows of an identifier seen before, and rows skipped.

    `named` says of the first skipped rows which they are and what is wrong with them.
    """

    rows: int
    products: int
    duplicates: int
    skipped: int
    named: tuple[str, ...]


class StoredProducts(Sequence[Product]):
    """Products on disk, read when looked at; the last 20,000 stay in memory."""

    def __init__(self, folder: Path):
        self._lines = (folder / "products.jsonl").open("rb")
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
        self.asins: list[str] = json.loads((folder / "asins.json").read_text("utf-8"))
        self._read = lru_cache(maxsize=20_000)(self._read)

    def __len__(self) -> int:
        return len(self.asins)

    def __getitem__(self, position: int) -> Product:
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        return self._read(position % len(self))

    def _read(self, position: int) -> Product:
        start, end = map(int, self._offsets[position : position + 2])
        # A read at a place, not a seek and a read: processes that were forked share the file's position.
        return _from_line(os.pread(self._lines.fileno(), end - start, start))


def _from_line(line: bytes) -> Product:
    *texts, bullets, attributes, options, price, tag = json.loads(line)
    options = tuple((name, tuple(values)) for name, values in options)
    return Product(*texts, tuple(bullets), tuple(attributes), options, price, tag)


def load(config: DataConfig, shop: ShopConfig | None = None) -> tuple[Shop, Report]:
    """The shop of the files in a folder, and what became of their rows. Indexes on the first call.

    Raises ReproError for absent or damaged files.
    """
    paths = find_files(config)
    folder = Path(config.cache or paths["products"].parent) / f"index-{_digest(config, paths)}"
    if not (folder / "report.json").exists():
        with whole_folder(folder, "the products could not be indexed") as partial:
            _build(config, paths, partial)
    if not (folder / "report.json").exists():
        raise ReproError(f"{folder} is damaged: delete it, and the products are indexed again")
    report = json.loads((folder / "report.json").read_text("utf-8"))
    report = Report(**{**report, "named": tuple(report["named"])})
    products = StoredProducts(folder)
    return Shop(products, SearchIndex.load(folder), _goals(config, paths, products), shop), report


def find_files(config: DataConfig) -> dict[str, Path]:
    """The files to read: the small ones where they are there and hold enough, else the full ones.

    Raises ReproError that names every absent file and where it comes from.
    """
    folder = Path(config.folder or os.environ.get("WEBSHOP_DATA") or external("webshop")).expanduser()
    endings = ("_1000", "") if config.products is not None and config.products <= SMALL else ("",)
    wanted = {"products": [PRODUCTS.format(e) for e in endings], "attributes": [ATTRIBUTES.format(e) for e in endings]}
    if config.human_goals:
        wanted["human"] = [HUMAN]
    found = {key: next((folder / n for n in names if (folder / n).is_file()), None) for key, names in wanted.items()}
    absent = [" or ".join(names) for key, names in wanted.items() if found[key] is None]
    if absent:
        raise ReproError(
            f"WebShop: {folder} holds no {', no '.join(absent)}. "
            "setup.sh of github.com/princeton-nlp/WebShop fetches them (-d small or -d all); "
            "repro.environments.webshop.catalogue.write generates a catalogue of the same format."
        )
    return found


def _digest(config: DataConfig, paths: dict[str, Path]) -> str:
    files = [(paths[key].name, paths[key].stat().st_size, paths[key].stat().st_mtime_ns) for key in _INDEXED]
    return hashlib.sha256(repr((FORMAT, config.products, config.seed, files)).encode()).hexdigest()[:16]


_INDEXED = ("products", "attributes")  # the instructions of people are read at every load; they are few


def _build(config: DataConfig, paths: dict[str, Path], partial: Path) -> None:
    """Read, store and index."""
    attributes = read_object(paths["attributes"])
    asins: list[str] = []
    counts = {"rows": 0, "duplicates": 0, "skipped": 0}
    named: list[str] = []
    offsets = [0]

    def documents() -> Iterator[str]:
        with (partial / "products.jsonl").open("wb") as lines:
            for product in parse_rows(rows(paths["products"], config.products), attributes, config.seed, counts, named):
                asins.append(product.asin)
                offsets.append(offsets[-1] + lines.write(json.dumps(astuple(product)).encode() + b"\n"))
                yield product.document
        if not asins:
            first = f" First: {'; '.join(named[:3])}" if named else ""
            raise ReproError(f"WebShop: no row of {paths['products']} describes a product.{first}")

    index = SearchIndex.build(documents(), asins)
    index.save(partial)
    np.save(partial / "offsets.npy", np.array(offsets, dtype=np.int64), allow_pickle=False)
    (partial / "asins.json").write_text(json.dumps(asins), "utf-8")
    report = {**counts, "products": len(asins), "named": named}
    (partial / "report.json").write_text(json.dumps(report), "utf-8")


def parse_rows(
    items: Iterator[Any], attributes: dict[str, Any], seed: int, counts: dict[str, int], named: list[str]
) -> Iterator[Product]:
    """The products of an items file's rows, the first of each identifier. Counts rows and names those skipped."""
    seen: set[str] = set()
    for number, row in enumerate(items):
        counts["rows"] += 1
        try:
            entry = attributes.get(row["asin"]) if isinstance(row, dict) and isinstance(row.get("asin"), str) else None
            own = entry.get("attributes") if isinstance(entry, dict) else None
            # The original's stand-in where the file of attributes does not know the product.
            product = parse_product(row, tuple(own) if own is not None else ("DUMMY_ATTR",), seed)
        except BadRow as error:
            counts["skipped"] += 1
            if len(named) < _NAMED:
                named.append(f"row {number} {error}")
            continue
        if product.asin in seen:
            counts["duplicates"] += 1
            continue
        seen.add(product.asin)
        yield product


def _goals(config: DataConfig, paths: dict[str, Path], products: StoredProducts) -> list[goal_rules.Goal]:
    instructions = read_object(paths["human" if config.human_goals else "attributes"])
    told = (products[at] for at, asin in enumerate(products.asins) if asin in instructions)
    rule = goal_rules.human_goals if config.human_goals else goal_rules.synthetic_goals
    return goal_rules.shuffled(rule(told, instructions, config.seed, goal_rules.PRICE_CLAUSE))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object. Raises ReproError where it does not."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ReproError(f"WebShop: {path} is no JSON file ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise ReproError(f"WebShop: {path} holds {type(content).__name__}, not an object by product; fetch it again")
    return content


def rows(path: Path, count: int | None = None) -> Iterator[Any]:
    """The first `count` elements of a JSON file that holds a list, read as a stream, one in memory at a time.

    Raises ReproError where the file is no list, or is cut off or damaged at some row.
    """
    decode = json.JSONDecoder().raw_decode
    with path.open(encoding="utf-8") as file:
        buffer, at, number, wanted = file.read(_CHUNK).lstrip(), 1, 0, _CHUNK
        if not buffer.startswith("["):
            raise ReproError(f"WebShop: {path} starts with {buffer[:20]!r}, not with a list of products")
        while count is None or number < count:
            while at < len(buffer) and buffer[at] in " \t\r\n,":
                at += 1
            if buffer.startswith("]", at):
                return
            try:
                row, end = decode(buffer, at)
            except ValueError:
                end = len(buffer)
            if end < len(buffer):
                yield row
                at, number, wanted = end, number + 1, _CHUNK
                continue
            # The row goes on behind what was read (or is damaged: then no amount of reading completes it).
            more = file.read(wanted)
            if not more or len(buffer) - at > _LONGEST_ROW:
                raise ReproError(f"WebShop: {path} is cut off or damaged at row {number}; fetch it again")
            buffer, at, wanted = buffer[at:] + more, 0, 2 * wanted
