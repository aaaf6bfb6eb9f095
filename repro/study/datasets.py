"""The real data of the four papers: what each set is, its licence, how it is downloaded and where it must lie.

None of it is part of this project and nothing here downloads: `repro data list` prints the command of each set's own
publisher, `repro data path` the folder that it should fill, and `repro.study.dataset_checks` says whether what lies
there is whole. A licence is what the publisher states; "unclear" where nothing is stated or where the stated one cannot
cover the content (scraped pages, contest problems).

Row counts are those of the published files; ALFWorld's are the playable games that papers count.
Benchmarks that the papers only evaluate on and that no loader here reads (AMC23, Minerva, OlympiadBench, HumanEval,
LiveCodeBench, Bamboogle) are not listed.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from repro.errors import ReproError
from repro.places import external


@dataclass(frozen=True)
class Part:
    """Rows of a set that lie in the same file or files.

    `patterns` are globs below the set's folder for the layouts it was published in: the first that matches counts.
    `rows` is how many there must be; None where the publisher does not say.
    """

    name: str
    patterns: tuple[str, ...]
    rows: int | None = None


@dataclass(frozen=True)
class DataSet:
    """A published set. `download` is its publisher's command; "{folder}" in it stands for the set's place.

    `rows` names how its rows are checked, a key of `dataset_checks.CHECKS`; `place` is its folder below
    `data/external/` (default: its name), unless the environment variable `variable` names another. `reader` is what
    loads it here, empty where nothing does yet.
    """

    what: str
    used_by: str
    licence: str
    source: str
    download: str
    rows: str
    parts: tuple[Part, ...] = ()
    reader: str = ""
    place: str = ""
    variable: str = ""
    remark: str = ""


def _hub(name: str, files: str = "") -> str:
    """The command of the Hugging Face hub's own client."""
    include = f' --include "{files}"' if files else ""
    return f"hf download {name} --repo-type dataset{include} --local-dir {{folder}}"


def _contest(
    name: str, what: str, used_by: str, rows: int, licence: str, check: str = "contest", files: str = "data/*.parquet"
):
    part, source = Part("problems", (files,), rows), f"https://huggingface.co/datasets/{name}"
    return DataSet(what, used_by, licence, source, _hub(name), check, (part,), "environments.benchmarks")


# Problems of the training and the test split by subject (EleutherAI/hendrycks_math; 7,500 and 5,000 in all).
_MATH = {
    "algebra": (1744, 1187),
    "counting_and_probability": (771, 474),
    "geometry": (870, 479),
    "intermediate_algebra": (1295, 903),
    "number_theory": (869, 540),
    "prealgebra": (1205, 871),
    "precalculus": (746, 546),
}
_MATHARENA = "CC BY-NC-SA 4.0 as MathArena's collection; the problems are the contest's own"
_PAGES = (
    "unclear: the code of WebShop is MIT, but the items are scraped product pages, which that does not cover. "
    "Do not publish them"
)
# The files of WebShop's setup.sh (github.com/princeton-nlp/WebShop), by the ids it hands to gdown.
_DRIVE = {
    "items_shuffle_1000.json": "1EgHdxQ_YxqIQlvvq5iKlCrkEKR6-j0Ib",
    "items_ins_v2_1000.json": "1IduG0xl544V_A_jv3tHXC0kyFi7PnyBu",
    "items_shuffle.json": "1A2whVgOO0euk5O13n2iYDM0bQRkkRduB",
    "items_ins_v2.json": "1s2j6NgHljiZzQNL3veZaAiyW_qDEgBNi",
    "items_human_ins.json": "14Kb5SPBk_jfdLZ_CDBNitW98QLDlKR5O",
}


def _webshop(
    what: str, used_by: str, files: tuple[str, ...], products: int | None, reader: str, remark: str
) -> DataSet:
    fetch = " && ".join(f"gdown {_DRIVE[file]} -O {{folder}}/{file}" for file in files)
    return DataSet(
        what=what,
        used_by=used_by,
        licence=_PAGES,
        source="https://github.com/princeton-nlp/WebShop (setup.sh)",
        download=f"mkdir -p {{folder}} && {fetch}",
        rows="webshop",
        parts=(
            Part("products", files[:1], products),
            Part("attributes", files[1:2]),
            Part("instructions", files[2:]),
        ),
        reader=reader,
        place="webshop",
        variable="WEBSHOP_DATA",
        remark=remark,
    )


DATASETS: dict[str, DataSet] = {
    "gsm8k": DataSet(
        what="grade-school word problems with worked solutions: 7,473 for training, 1,319 for testing",
        used_by="ASymPO (section 5) and SMEPO evaluate on its test split",
        licence="MIT",
        source="https://huggingface.co/datasets/openai/gsm8k",
        download=_hub("openai/gsm8k", "main/*"),
        rows="gsm8k",
        parts=(
            Part("train", ("main/train-*.parquet", "train*.jsonl"), 7473),
            Part("test", ("main/test-*.parquet", "test*.jsonl"), 1319),
        ),
        reader="environments.maths_data (gsm8k); as a benchmark, environments.benchmarks",
        remark="also loads by its hub id, without lying here",
    ),
    "math": DataSet(
        what="competition problems in 7 subjects and 5 levels with worked solutions: 7,500 training, 5,000 testing",
        used_by="ASymPO trains on a random 4,000 of its training split (section 5)",
        licence="MIT as published; most problems are from contests, and the first hub copy was taken down in 2025",
        source="https://huggingface.co/datasets/EleutherAI/hendrycks_math",
        download=_hub("EleutherAI/hendrycks_math"),
        rows="math",
        parts=tuple(
            Part(
                f"{subject} {split}",
                (f"{subject}/{split}-*.parquet", f"{split}/{subject}/*.json", f"MATH/{split}/{subject}/*.json"),
                rows,
            )
            for subject, counts in _MATH.items()
            for split, rows in zip(("train", "test"), counts, strict=True)
        ),
        reader="environments.maths_data (math)",
        remark="the first release's folders of one problem a file serve as well",
    ),
    "dapo": DataSet(
        what="about 17 k maths questions with integer answers, in Chinese and English",
        used_by="sGPO trains on 14,116 English ones, ASymPO on a random 4,000",
        licence="Apache-2.0",
        source="https://huggingface.co/datasets/BytedTsinghua-SIA/DAPO-Math-17k",
        download=_hub("BytedTsinghua-SIA/DAPO-Math-17k", "data/*"),
        rows="dapo",
        parts=(Part("train", ("data/*.parquet", "*.parquet"), 1_791_700),),
        reader="environments.maths_data (dapo)",
        remark="286 MB; the file repeats each question 100 times by accident, the loader merges them",
    ),
    "sciknoweval": DataSet(
        what="28,392 science questions in 4 domains and 5 levels; level L3 (reasoning) in multiple choice is used",
        used_by="sGPO: 3,901 L3 questions for training, 434 for testing (a 90/10 split)",
        licence="MIT as published; part of the questions rewrites those of other benchmarks",
        source="https://huggingface.co/datasets/hicai-zju/SciKnowEval (version 2)",
        download=_hub("hicai-zju/SciKnowEval", "data/v2/*"),
        rows="choice",
        parts=(Part("test", ("data/v2/*.jsonl", "*.jsonl"), 28_392),),
        remark="sGPO's split is not published; one of the same sizes by domain lies in github.com/lasgroup/SDPO "
        "(datasets/sciknoweval)",
    ),
    "math500": _contest(
        "HuggingFaceH4/MATH-500",
        "500 problems of MATH's test split, the usual held-out set",
        "ASymPO and SMEPO evaluate on it",
        500,
        "unclear: the card states none; MATH itself is MIT",
        files="test.jsonl",
    ),
    "aime24": _contest(
        "HuggingFaceH4/aime_2024",
        "AIME I and II of 2024: integer answers from 0 to 999",
        "sGPO and ASymPO evaluate on it",
        30,
        "unclear: the card states none; the problems are the contest's own",
        "aime",
    ),
    "aime25": _contest(
        "MathArena/aime_2025",
        "AIME I and II of 2025",
        "sGPO, ASymPO and SMEPO evaluate on it",
        30,
        _MATHARENA,
        "aime",
    ),
    "aime26": _contest(
        "MathArena/aime_2026", "AIME I and II of 2026", "sGPO and SMEPO evaluate on it", 30, _MATHARENA, "aime"
    ),
    "hmmt25": _contest(
        "MathArena/hmmt_feb_2025", "HMMT of February 2025: exact forms", "sGPO evaluates on it", 30, _MATHARENA
    ),
    "hmmt26": _contest(
        "MathArena/hmmt_feb_2026", "HMMT of February 2026: exact forms", "sGPO evaluates on it", 33, _MATHARENA
    ),
    "smepo": DataSet(
        what="questions of maths and code with ground truths and an expert's traces (teacher_ds)",
        used_by="SMEPO: its released training data",
        licence="unclear: none was found for the data",
        source="https://huggingface.co/datasets/mit-han-lab/SMEPO",
        download=_hub("mit-han-lab/SMEPO"),
        rows="traces",
        # The names that the release's own preparation script asks the hub for; how many rows is not said.
        parts=(Part("maths", ("**/math*.parquet",)), Part("code", ("**/code*.parquet",))),
        reader="environments.smepo_data",
    ),
    "alfworld": DataSet(
        what="household tasks as text games: 3,553 for training, 140 in seen rooms, 134 in unseen rooms",
        used_by="3SPO trains on train, evaluates on valid_seen and valid_unseen (274 in all)",
        licence="MIT (games and engine); they are made from ALFRED's tasks, MIT as well",
        source="https://github.com/alfworld/alfworld",
        download="ALFWORLD_DATA={folder} alfworld-download",
        rows="alfworld",
        parts=(Part("train", (), 3553), Part("valid_seen", (), 140), Part("valid_unseen", (), 134)),
        reader="environments.alfworld.data",
        variable="ALFWORLD_DATA",
        remark="the command comes with the alfworld package: pip install '.[alfworld]'",
    ),
    "webshop-1000": _webshop(
        "an online shop's first 1,000 products, their attributes, and people's instructions",
        "3SPO's released code",
        ("items_shuffle_1000.json", "items_ins_v2_1000.json", "items_human_ins.json"),
        1000,
        "environments.webshop.data (products=1000)",
        "gdown is on PyPI; the instructions are of all products, those of absent ones are passed over",
    ),
    "webshop": _webshop(
        "the whole shop: 1.18 million products (5 GB), their attributes, and 12,087 instructions of people",
        "3SPO (its text speaks of 12,087 instructions) and WebShop's own paper",
        ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json"),
        None,
        "environments.webshop.data (products=None)",
        "gdown is on PyPI; the check reads the file's beginning and end, or with --full every product",
    ),
}


def dataset_named(name: str) -> DataSet:
    """The set of that name; ReproError, naming those that exist, if there is none."""
    if name not in DATASETS:
        raise ReproError(f"there is no data set {name!r}; there are: {', '.join(DATASETS)}")
    return DATASETS[name]


def folder(name: str) -> Path:
    """Where a set must lie: its environment variable if that is set, else `<data>/external/<place>`."""
    dataset = dataset_named(name)
    named = os.environ.get(dataset.variable) if dataset.variable else None
    return Path(named).expanduser().absolute() if named else external(dataset.place or name)


def command(name: str) -> str:
    """The publisher's command that fills the set's folder, ready for a shell."""
    return dataset_named(name).download.replace("{folder}", shlex.quote(str(folder(name))))


def tiers_of(name: str) -> list[str]:
    """The paper tiers whose runs read a set, such as "asympo_async paper"; those that no machine can run are not."""
    from repro.study.paper_settings import PAPER

    dataset_named(name)
    return [
        f"{study} {tier}"
        for study, tiers in PAPER.items()
        for tier, entry in tiers.items()
        if name in entry.data and not entry.blocked
    ]


def listing() -> list[dict]:
    """What `repro data list` prints, as plain values that json can hold."""
    return [
        {
            "name": name,
            "what": dataset.what,
            "used_by": dataset.used_by,
            "licence": dataset.licence,
            "source": dataset.source,
            "download": command(name),
            "folder": str(folder(name)),
            "variable": dataset.variable or None,
            "reader": dataset.reader or None,
            "tiers": tiers_of(name),
            "there": folder(name).is_dir(),
            "remark": dataset.remark or None,
        }
        for name, dataset in DATASETS.items()
    ]


def render(entries: list[dict]) -> str:
    """The text of a listing: a block a set."""
    blocks = []
    for entry in entries:
        variable = f" ({entry['variable']})" if entry["variable"] else ""
        lines = {
            "used by": entry["used_by"],
            "licence": entry["licence"],
            "from": entry["source"],
            "folder": entry["folder"] + variable,
            "read by": entry["reader"] or "nothing here yet; checked only",
            "needed by": ", ".join(entry["tiers"]),
            "note": entry["remark"],
            "download": entry["download"],
        }
        body = [f"  {key:11}{value}" for key, value in lines.items() if value]
        blocks.append("\n".join([f"{entry['name']}: {entry['what']}", *body]))
    return "\n\n".join(blocks)
