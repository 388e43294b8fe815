# Everything a newcomer needs: `make quickstart` and `make test`. Both set themselves up.
PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
VERL_VENV ?= .venv-verl
BIN := $(VENV)/bin

.PHONY: setup quickstart test test-vllm test-verl check clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

quickstart: setup
	$(BIN)/xreasoner run recipes/quickstart.yaml

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# vLLM wants other versions than we do, so its tests have an environment of their own. torchaudio and torchcodec
# have no build for a CPU; torchvision has none either, but its image transforms need none (tests/vllm/site).
test-vllm: $(VLLM_VENV)/.installed
	OMP_NUM_THREADS=1 PYTHONPATH=tests/vllm/site $(VLLM_VENV)/bin/python -m pytest tests/vllm

$(VLLM_VENV)/.installed: pyproject.toml constraints-vllm.txt
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
		-r constraints-vllm.txt -e .
	touch $@

# verl too: it needs an older transformers. Ray's processes inherit the environment they are started from.
test-verl: $(VERL_VENV)/.installed
	OMP_NUM_THREADS=1 $(VERL_VENV)/bin/python -m pytest tests/verl

$(VERL_VENV)/.installed: pyproject.toml constraints-verl.txt
	test -x $(VERL_VENV)/bin/python || $(PYTHON) -m venv $(VERL_VENV)
	$(VERL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
		-r constraints-verl.txt -e .
	touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(VERL_VENV) runs
