"""The `repro` command: everything the notebooks do, from the shell. Imports what a subcommand needs, no more."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from repro.errors import ReproError

COMPARE = " (compare in notebooks/explore.ipynb)"  # where runs with changed settings are seen; no table takes them in


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="repro", description="A reproduction study of four 2026 papers on RL for LLMs.")
    commands = top.add_subparsers(dest="command", required=True)

    studies = commands.add_parser("studies", help="list the studies, their arms and tiers")
    studies.add_argument("--json", action="store_true")

    run = commands.add_parser("run", help="one run of one arm (needs no Jupyter); resumes if it was interrupted")
    run.add_argument("study")
    run.add_argument("--arm", help="for example asympo@ref; `repro studies` lists them. Only --dry-run does without")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--tier", default="smoke")
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, for example training.updates=50 (repeatable); the run lies beside the arm's own, "
        "under a name of its own, and is seen in notebooks/explore.ipynb",
    )
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan: model, data, memory, rollouts, GPU-hours, settings and their sources, what is missing",
    )
    run.add_argument("--seeds", type=int, help="with --dry-run: seeds an arm (default: one of --arm, else the tier's)")
    run.add_argument("--json", action="store_true", help="with --dry-run: with the resolved config and its folder too")
    run.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="SINK",
        help="also show the metrics in tensorboard or wandb (repeatable; the same as REPRO_TRACK=SINK,SINK)",
    )

    reproduce = commands.add_parser("reproduce", help="execute the study notebooks, then figures and claims")
    reproduce.add_argument("--tier", default="smoke")
    reproduce.add_argument("--only", action="append", default=[], metavar="STUDY", help="this study alone (repeatable)")
    reproduce.add_argument("--seeds", type=int, help="at most this many seeds an arm")
    reproduce.add_argument("--jobs", type=int, help="runs at once (default: 2; with ray: as the cluster has cores)")
    reproduce.add_argument(
        "--executor",
        metavar="NAME",
        help="where runs are trained: local (default), or ray: the cluster of RAY_ADDRESS, else one on this machine "
        "(the same as REPRO_EXECUTOR=NAME)",
    )
    reproduce.add_argument("--missing", action="store_true", help="train only runs that the committed tables lack")

    figures = commands.add_parser("figures", help="regenerate every figure from data/ (no torch needed)")
    figures.add_argument("--only", metavar="STUDY")
    figures.add_argument("--tier", help="whose results (default: small, or smoke where there are no others)")
    figures.add_argument("--out", type=Path, help="folder (default: figures/)")

    claims = commands.add_parser("claims", help="the ledger of claims, from data/; written to data/claims.json")
    claims.add_argument("--json", action="store_true")

    bench = commands.add_parser("bench", help="speed of training steps and decoding, beside their peers")
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--device", default="cpu")
    bench.add_argument("--save", action="store_true", help="also write data/bench.json, which the README shows")

    data = commands.add_parser("data", help="the papers' real data: licence, download, place, and whether it is whole")
    wanted = data.add_subparsers(dest="wanted", required=True)
    data_list = wanted.add_parser("list", help="what each set is, who may use it, how to get it, where it must lie")
    data_list.add_argument("--json", action="store_true")
    data_check = wanted.add_parser("check", help="whether what lies there is whole; fails for a named set that is not")
    data_check.add_argument("names", nargs="*", metavar="NAME", help="sets to check (default: all that are there)")
    data_check.add_argument("--full", action="store_true", help="read every row, not only the first of each file")
    data_check.add_argument("--json", action="store_true")
    data_path = wanted.add_parser("path", help="the folder where a set must lie, whether it is there or not")
    data_path.add_argument("name", metavar="NAME")

    doctor = commands.add_parser("doctor", help="versions, devices, and what is missing for which tier")
    doctor.add_argument("--json", action="store_true")

    readme = commands.add_parser("readme", help="regenerate the tables in README.md from data/")
    readme.add_argument("--check", action="store_true", help="change nothing; fail if a table is not current")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit status. Bad input is one line on stderr and status 2, Ctrl-C status 130."""
    options = parser().parse_args(arguments)
    try:
        return globals()[options.command](options) or 0
    except ReproError as error:
        print(f"repro: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("repro: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return 0


def studies(options: argparse.Namespace) -> None:
    from repro.study import STUDIES

    listing = [
        {
            "name": study.name,
            "paper": study.paper,
            "title": study.title,
            "tiers": list(study.tiers),
            "notebook": f"notebooks/{study.notebook}",
            "arms": {
                "core": [name for name, arm in study.arms.items() if arm.core],
                "extended": [name for name, arm in study.arms.items() if not arm.core],
            },
        }
        for study in STUDIES.values()
    ]
    if options.json:
        print(json.dumps(listing, indent=1))
        return
    for entry, study in zip(listing, STUDIES.values(), strict=True):
        print(f"{entry['name']}: {entry['title']}\n  tiers: {', '.join(entry['tiers'])}; {entry['notebook']}")
        for kind in ("core", "extended"):
            print(f"  {kind} arms (seeds at the small tier):")
            for name in entry["arms"][kind]:
                print(f"    {name:34} {study.arms[name].seeds:2}  {study.arms[name].description}")


def run(options: argparse.Namespace) -> None:
    from repro.config import config_hash, override, to_dict
    from repro.study import study_named, tracking
    from repro.study.runs import run_folder

    study = study_named(options.study)
    if not options.dry_run and (options.json or options.seeds is not None):
        raise ReproError("--json and --seeds go with --dry-run: a run is one arm and one --seed, and prints its result")
    if not options.arm and not options.dry_run:
        raise ReproError(f"say which arm with --arm; study {study.name!r} has: {', '.join(study.arms)}")
    try:
        arm = options.arm or study.cells(options.tier)[0].arm
        config = study.config(arm, options.seed, options.tier)
        changed = override(config, options.set) != config
        if changed:  # under a name of its own, by which the explorer finds it
            from repro.study import explore

            config = explore.custom(study, arm, options.seed, options.tier, options.set)
    except ModuleNotFoundError as error:
        raise ReproError(
            f"a run's config needs the package {error.name!r}: pip install '.[train]' (see `repro doctor`)"
        ) from error
    folder = run_folder(config)
    if options.dry_run:
        from repro.study.plan import plan, render

        seeds = 1 if options.arm and options.seeds is None else options.seeds  # without an arm: the grid
        found = plan(study, options.tier, [options.arm] if options.arm else [], seeds, config)
        whole = {"hash": config_hash(config), "folder": str(folder), "config": to_dict(config), "plan": found}
        print(
            json.dumps(whole, indent=1) if options.json else f"{render(found)}\n\nresults: {folder}{COMPARE * changed}"
        )
        return
    if study.paper_tier(options.tier):
        from repro.study.plan import check

        check(config)
    if options.track:
        os.environ[tracking.VARIABLE] = ",".join(tracking.chosen(",".join(options.track)))
    try:
        from tqdm import tqdm

        from repro.training.loop import train
    except ModuleNotFoundError as error:
        raise ReproError(
            f"training needs the package {error.name!r}: pip install '.[train]' (see `repro doctor`)"
        ) from error
    with tqdm(total=config.training.updates, unit="update", desc=f"{config.arm} seed {options.seed}") as bar:

        def show(state: dict) -> None:
            if "update" in state:
                bar.total = state["updates"]  # an estimate, where a budget ends the run
                bar.update(state["update"] - bar.n)
            else:
                bar.set_postfix_str(f"{state['phase']}: step {state['step']}, loss {state['loss']:.3f}")

        result = train(config, folder, show)
    print(json.dumps({"folder": str(folder), **result}, indent=1))
    if changed:
        print(f"results: {config.arm}{COMPARE}", file=sys.stderr)


def reproduce(options: argparse.Namespace) -> int:
    try:
        jobs = _jobs(options)
        from repro.study.notebooks import reproduce as execute
    except ModuleNotFoundError as error:
        raise ReproError(
            f"executing notebooks needs the package {error.name!r}: pip install '.[train,notebooks]'. "
            "`repro run` trains without it."
        ) from error
    from repro.figures import regenerate
    from repro.study import claims as ledger
    from repro.study.runs import data_folder

    report = execute(options.tier, options.only, options.seeds, jobs, missing=options.missing)
    print(f"\n{report.summary()}\n")
    if not report.ok:  # which may have left nothing to draw
        print("figures and ledger are as they were; `repro figures` and `repro claims` make them from what there is")
        return 1
    shown = [name for name in options.only if name not in ("claims", "explore")] or [None]
    drawn = [path for study in shown for path in regenerate(Path("figures"), study=study)]
    print(
        f"executed notebooks  {data_folder() / 'executed' / options.tier}\n"
        f"tables              {data_folder() / 'results'}\n"
        f"figures             {len(drawn)} files in {Path('figures').resolve()} (of the small tier, else of smoke)\n"
        f"ledger of claims    {ledger.write()} (from the small tier's tables alone)"
    )
    return 0


def _jobs(options: argparse.Namespace) -> int:
    """Runs at once; sets the executor that grids will use, and reaches for its cluster before anything begins."""
    from repro.study.grid import VARIABLE, chosen_executor

    os.environ[VARIABLE] = chosen_executor(options.executor)
    fitting = 2
    if os.environ[VARIABLE] == "ray":
        from repro.study.ray_executor import capacity

        fitting = capacity()
    return fitting if options.jobs is None else options.jobs


def figures(options: argparse.Namespace) -> None:
    from repro.figures import regenerate

    folder = options.out or Path("figures")
    for path in regenerate(folder, study=options.only, tier=options.tier):
        print(path)


def claims(options: argparse.Namespace) -> None:
    from repro.study import claims as ledger

    rows = ledger.ledger()
    print(json.dumps(rows, indent=1, allow_nan=False) if options.json else ledger.render_markdown(rows))
    ledger.write(rows=rows)


def bench(options: argparse.Namespace) -> None:
    try:
        from repro.bench import render, run_benchmarks, save, skipped
        from repro.study.runs import data_folder
    except ModuleNotFoundError as error:
        raise ReproError(f"the benchmark needs the package {error.name!r}: pip install '.[train,bench]'") from error
    rows = run_benchmarks(options.device)
    print(json.dumps(rows, indent=1) if options.json else render(rows))
    if options.save:
        save(rows, data_folder() / "bench.json", options.device)
    for size, reason in skipped(options.device).items():
        print(f"left out: a model of {size}, which {reason}", file=sys.stderr)


def data(options: argparse.Namespace) -> int:
    from repro.study import dataset_checks, datasets

    if options.wanted == "path":
        print(datasets.folder(options.name))
        return 0
    if options.wanted == "list":
        entries = datasets.listing()
        print(json.dumps(entries, indent=1) if options.json else datasets.render(entries))
        return 0
    reports, well = dataset_checks.check_all(options.names, options.full)
    if options.json:
        print(json.dumps([report.as_dict() for report in reports], indent=1))
    else:
        print(dataset_checks.render(reports, named=bool(options.names)))
    return 0 if well else 1


def doctor(options: argparse.Namespace) -> None:
    from repro.doctor import render, report

    found = report()
    print(json.dumps(found, indent=1) if options.json else render(found))


def readme(options: argparse.Namespace) -> int:
    from repro.study.readme import refresh

    stale = refresh(Path("README.md"), write=not options.check)
    if options.check and stale:
        print(f"README.md: not current: {', '.join(stale)}; run `repro readme`", file=sys.stderr)
        return 1
    return 0
