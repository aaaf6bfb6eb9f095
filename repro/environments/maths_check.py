r"""Symbolic answer checking with math-verify (fractions, roots, sets, intervals, units), always bounded.

What is compared is the last ``\boxed{}`` of the response, else the line after its last ``####``, else the
line after its last "Answer:" or "answer is". Without such a mark there is no answer. Identical strings match;
anything else is decided by math-verify (https://github.com/huggingface/Math-Verify), on LaTeX only.

math-verify hands answers to sympy, and `9^{9^{9}}` then computes for ever inside one C call that no Python
signal interrupts; its own timeouts also need the main thread. So checks run in one child process, from any
thread, under three bounds: answers longer than ``MAX_LENGTH`` characters are refused unread; a check that
uses more than ``CPU_SECONDS`` of processor time (not wall-clock time, so a busy machine changes no reward) is
ended by the kernel; one that asks for more than ``MEMORY`` bytes fails. A check that is ended or fails counts
as not matching, and a fresh child serves the next one.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from repro.environments.verifier import marked_answer
from repro.errors import ReproError

MAX_LENGTH = 400  # characters; the longest reference of MATH is well below
CPU_SECONDS = 2.0
MEMORY = 4 * 2**30

_ANSWER_LINE = re.compile(r"\banswer\b[ \t*]*(?::|\bis\b)[ \t*:]*([^\n]*)", re.IGNORECASE)
_INLINE = re.compile(r"\$([^$\n]+)\$|\\\(([^\n]+?)\\\)")


def maths_match(response: str, answer: str) -> bool:
    """Whether the marked answer of ``response`` equals ``answer``, a LaTeX expression, by the rule above.

    Safe to call from any thread. Raises ReproError where math-verify is missing or ``answer`` too long.
    """
    return _verifier(os.getpid()).match(response, answer)


def stated_answer(response: str) -> str:
    """The marked answer of a response without its dollar signs; "" where there is none or it is too long."""
    found = marked_answer(response)
    if found is None:
        lines = _ANSWER_LINE.findall(response)
        found = lines[-1] if lines else ""
        formulas = _INLINE.findall(found[:MAX_LENGTH])
        if formulas:
            found = formulas[-1][0] or formulas[-1][1]
    found = found.strip().removesuffix(".").strip("$* ")
    return found if len(found) <= MAX_LENGTH else ""


class MathsVerifier:
    """One child process that checks answers, started by the first; ``ended`` counts those it died of."""

    def __init__(self, cpu_seconds: float = CPU_SECONDS):
        self.cpu_seconds = cpu_seconds
        self.ended = 0
        self._child: subprocess.Popen | None = None
        self._lock = threading.Lock()

    def match(self, response: str, answer: str) -> bool:
        """See `maths_match`."""
        if len(answer) > MAX_LENGTH:
            raise ReproError(
                f"the reference answer {answer[:80]!r}... has {len(answer)} characters; "
                f"answers of more than {MAX_LENGTH} are not checked: drop the query"
            )
        stated = stated_answer(response)
        if not stated or not answer.strip():
            return False
        if "".join(stated.split()) == "".join(answer.split()):
            return True
        with self._lock:
            child = self._started()
            try:
                child.stdin.write(json.dumps([answer, stated]) + "\n")
                child.stdin.flush()
                reply = child.stdout.readline()
            except BrokenPipeError:
                reply = ""
            except BaseException:  # interrupted: the reply to come would be taken for that of the next check
                self._stop()
                raise
            if not reply:
                self.ended += 1
                self._stop()
            return reply == "1\n"

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._stop()

    def _started(self) -> subprocess.Popen:
        if self._child is None:
            if importlib.util.find_spec("math_verify") is None:
                raise ReproError(
                    "checking answers of MATH and DAPO needs the package math-verify, which is not there: "
                    "pip install math-verify (or this project with its extra `data`)"
                )
            paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
            self._child = subprocess.Popen(
                [sys.executable, "-m", "repro.environments.maths_check", str(self.cpu_seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C is for the run, which then lets go of the child
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
            if self._child.stdout.readline() != "ready\n":
                self._stop()
                raise ReproError(
                    "the process that checks answers did not start; its message stands above. "
                    "`python -m repro.environments.maths_check` starts it by hand"
                )
        return self._child

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child.stdin.close()
            self._child.stdout.close()
            self._child = None


@functools.cache
def _verifier(process_id: int) -> MathsVerifier:
    """The verifier of this process: a forked process must not share the pipes of its parent."""
    return MathsVerifier()


def _serve(cpu_seconds: float) -> None:
    """The child: reads ``[reference, stated]`` lines of JSON, writes 1 or 0, dies at a bound."""
    import logging
    import resource
    import signal

    from math_verify import LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)  # math-verify warns at every call that its own timeouts are off
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def parsed(text: str) -> list:
        # LaTeX only: the plain-expression extractor evaluates what it is given
        return parse(rf"\boxed{{{text}}}", [LatexExtractionConfig()], parsing_timeout=None)

    verify(parsed("1"), parsed(r"\frac{2}{2}"), timeout_seconds=None)  # builds the grammar before any check
    print("ready", flush=True)
    for line in sys.stdin:
        reference, stated = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # unhandled, SIGPROF ends the process
        matches = verify(parsed(reference), parsed(stated), timeout_seconds=None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(int(matches), flush=True)


if __name__ == "__main__":
    _serve(float(sys.argv[1]) if len(sys.argv) > 1 else CPU_SECONDS)
