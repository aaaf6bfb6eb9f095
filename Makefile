# `make reproduce` and `make test` are all a fresh machine needs: Python 3.11 or newer with pip, and make.
# The environment is made once, in .venv/, from the pins of pyproject.toml (see bootstrap.py).
# On a machine without a GPU, UV_TORCH_BACKEND=cpu in the environment avoids torch's CUDA packages.

TIER ?= smoke
ONLY ?=
SEEDS ?=
JOBS ?=
MISSING ?=
ARGS ?=

# The first interpreter that is new enough; bootstrap.py says what is wrong when there is none.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
	p=python3; done; echo "$$p")
# As modules of the interpreter, not as scripts: a script's first line breaks in a path that is long or has spaces.
RUN := .venv/bin/python -m

.PHONY: help reproduce test test-vllm figures lab bench check format clean environment environment-base
.NOTPARALLEL:

help:
	@echo "make reproduce   execute the study notebooks, then figures and claims (TIER=smoke|small|paper|paper-1gpu ONLY= SEEDS= JOBS= MISSING=1)"
	@echo "make test        run the tests (ARGS= goes to pytest)"
	@echo "make test-vllm   run the tests of the vLLM sampler in an environment of its own, .venv-vllm (ARGS= goes to pytest)"
	@echo "make figures     redraw the figures from data/ (needs no torch)"
	@echo "make lab         open JupyterLab on the notebooks"
	@echo "make bench       measure speed beside TRL and transformers"
	@echo "make check       lint, format, and whether the generated parts of the README are current"
	@echo "make format      let ruff lay out the code"
	@echo "make clean       remove caches; results, runs and .venv/ stay"

reproduce: environment
	$(RUN) repro reproduce --tier $(TIER) $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS)) $(if $(MISSING),--missing)

test: environment
	OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --dist loadfile $(ARGS)

test-vllm:
	PYTHON="$(PYTHON)" .ci/test-vllm $(ARGS)

figures: environment-base
	$(RUN) repro figures

lab: environment
	$(RUN) jupyterlab notebooks

bench: environment
	$(RUN) repro bench

check: environment
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) repro readme --check

format: environment
	$(RUN) ruff format .

environment:
	@"$(PYTHON)" bootstrap.py dev

environment-base:
	@"$(PYTHON)" bootstrap.py

clean:
	find . -name .venv -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
	rm -rf build repro.egg-info .pytest_cache .ruff_cache .hypothesis
