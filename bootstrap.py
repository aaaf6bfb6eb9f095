"""Set up `.venv/` beside this file: `python3 bootstrap.py [extra ...]`, with the extras of pyproject.toml.

Without an extra it installs what a reader of results needs; `dev` is everything but vLLM. The work is done
once: a stamp in `.venv/` names the extras and the pyproject.toml that were installed, so a second call
returns at once, a changed pin installs again, and a set-up that was interrupted starts over.
Standard library only, and no new syntax: it must start on an interpreter that is too old in order to say so.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE

OLDEST, NEWEST = (3, 11), (3, 13)  # requires-python of pyproject.toml; a test keeps them in step
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
UNFINISHED = VENV / "unfinished"  # holds the phase that is under way: "venv" or "packages"


def succeeds(*command):
    """Whether a command runs and exits with 0; its output is dropped."""
    try:
        return subprocess.run([str(c) for c in command], stdout=DEVNULL, stderr=DEVNULL).returncode == 0
    except OSError:
        return False


def fingerprint():
    """A digest of what is installed and where: an editable install points at its checkout, which can move."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()


def installed():
    """(the extras of the last finished set-up, whether it was made from this pyproject.toml)."""
    if UNFINISHED.exists() or not (STAMP.exists() and PYTHON.exists()):
        return set(), False
    stamp = json.loads(STAMP.read_text())
    return set(stamp["extras"]), stamp["fingerprint"] == fingerprint()


def check_interpreter(extras):
    """Stop with a message when this interpreter, or a name among the extras, cannot be used."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        oldest, newest, this = ("{}.{}".format(*v) for v in (OLDEST, NEWEST, version))
        sys.exit(
            f"repro needs Python {oldest} to {newest}, but {sys.executable} is Python {this}.\n"
            "Name another interpreter, for example: make test PYTHON=/usr/bin/python3.11"
        )
    if not succeeds(sys.executable, "-c", "import ensurepip, venv"):
        sys.exit(
            f"{sys.executable} cannot make a virtual environment: its venv or ensurepip module is missing.\n"
            "Install it, for example: apt-get install python3-venv"
        )
    import tomllib  # here, because interpreters that are too old do not have it

    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if not extras <= set(known):
        unknown = ", ".join(sorted(extras - set(known)))
        sys.exit(f"Unknown extra {unknown}: pyproject.toml has {', '.join(known)}.")


def make_venv():
    """Keep the `.venv/` that is there if it works, with its own Python; make it anew otherwise."""
    begun = UNFINISHED.exists() and UNFINISHED.read_text() == "venv"
    usable = f"import sys; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    if not begun and succeeds(PYTHON, "-c", usable):
        if succeeds(PYTHON, "-m", "pip", "--version") or succeeds(PYTHON, "-m", "ensurepip"):
            return
    if VENV.exists():
        # Renamed first: an interrupted deletion must not leave half an environment under the name in use.
        old = VENV.rename(ROOT / f".venv-old-{os.getpid()}")
        shutil.rmtree(old)
    VENV.mkdir()
    UNFINISHED.write_text("venv")
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)


def install(extras, again):
    """Install the project and its extras with uv (seconds), or with pip (minutes) where uv cannot do it."""
    target = ["-e", f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)]
    pip, uv = [str(PYTHON), "-m", "pip"], [str(PYTHON), "-m", "uv"]
    quiet = [] if sys.stderr.isatty() else ["--quiet"]  # whoever watches a long download sees it move
    environment = dict(os.environ)
    # uv ignores pip's settings; these two decide where packages, and which build of torch, come from.
    settings = {"UV_FIND_LINKS": "global.find-links", "UV_DEFAULT_INDEX": "global.index-url"}
    for variable, setting in settings.items():
        found = subprocess.run(pip + ["config", "get", setting], stdout=PIPE, stderr=DEVNULL)
        if found.stdout.strip():
            environment.setdefault(variable, found.stdout.decode().strip())
    if succeeds(*uv, "--version") or succeeds(*pip, "install", "--force-reinstall", "uv"):
        command = uv + ["pip", "install"] + quiet + ["--python", str(PYTHON)] + ["--reinstall"] * again
        if subprocess.run(command + target, env=environment).returncode == 0:
            return
    print("uv could not install the packages; trying pip, which takes minutes.", flush=True)
    if subprocess.run(pip + ["install"] + quiet + ["--force-reinstall"] * again + target).returncode != 0:
        sys.exit("The packages could not be installed (see above). The same command tries again.")


def set_up(wanted):
    """Bring `.venv/` to the pins of pyproject.toml with the wanted extras, beside those it already has."""
    lock = os.open(str(ROOT), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # of two calls at once, the second waits and finds the work done
    present, current = installed()
    if current and wanted <= present:
        return
    check_interpreter(wanted)
    extras, start = present | wanted, time.time()
    print(f"Setting up .venv ({', '.join(sorted(extras)) or 'base'}): about a minute.", flush=True)
    make_venv()
    again = UNFINISHED.exists() and UNFINISHED.read_text() == "packages"
    UNFINISHED.write_text("packages")
    install(extras, again)
    STAMP.write_text(json.dumps({"extras": sorted(extras), "fingerprint": fingerprint()}))
    UNFINISHED.unlink()
    print(f"Set up in {time.time() - start:.0f} s.", flush=True)


if __name__ == "__main__":
    set_up(set(sys.argv[1:]))
