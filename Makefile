# Everything a contributor needs.  `make` alone explains; no step needs more than Python 3.11+.
#
#   PYTHON=python3.12 make test     another interpreter
#   VENV=/tmp/venv make demo        another place for the environment
#   ARGS="-k locks" make test       further arguments for pytest
#   WORKERS=0 make test             one test after the other, in one process

PYTHON ?=
VENV   ?= .venv
ARGS   ?=
SECONDS_EACH ?= 20
MINUTES ?= 10
# Many tests wait for something, and coverage takes its time: as many at once as there are processors.
WORKERS ?= auto

BIN     := $(VENV)/bin
# An environment of the caller's must not leak into ours; byte code is written, start-up is measured with it.
CLEAN   := env -u PYTHONHOME -u PYTHONPATH -u PYTHONDONTWRITEBYTECODE -u VIRTUAL_ENV \
	-u CTLD_SOCKET -u NOTIFY_SOCKET -u LISTEN_FDS -u LISTEN_PID
PIP     := $(CLEAN) $(BIN)/python -m pip --disable-pip-version-check install --quiet --editable
STAMPS  := $(VENV)/.stamps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test suite lint types format docs bench bench-full bench-micro soak fuzz install clean

help: ## Say what can be made
	@echo "ctld: a framework for local control daemons"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter, ARGS=... goes to pytest; see CONTRIBUTING.md."

# One stamp per set of packages: a second call costs nothing, a change of pyproject.toml installs again.
$(STAMPS)/venv: packaging/make-venv
	@PYTHON="$(PYTHON)" $(CLEAN) -u PIP_USER sh packaging/make-venv "$(VENV)"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/install: $(STAMPS)/venv pyproject.toml
	@echo "installing ctld into $(VENV)"
	@$(PIP) . && touch $@

$(STAMPS)/test $(STAMPS)/docs: $(STAMPS)/install
	@echo "installing what 'make $(@F)' needs"
	@$(PIP) '.[$(@F)]' && touch $@

# atheris is there for some Pythons only; the fuzzer runs without it, less well.
$(STAMPS)/fuzz: $(STAMPS)/test
	@echo "installing what 'make $(@F)' needs"
	@$(PIP) '.[$(@F)]' || echo "atheris cannot be installed for this Python: the fuzzer will run without its guidance"
	@touch $@

# mypy reads the annotations of pytest and hypothesis, too.
$(STAMPS)/lint: $(STAMPS)/test
	@echo "installing what 'make $(@F)' needs"
	@$(PIP) '.[$(@F)]' && touch $@

install: $(STAMPS)/install ## Make the environment and install ctld into it

demo: $(STAMPS)/install ## A short tour: a daemon in a scratch folder, driven by ctlctl
	@$(CLEAN) PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python examples/tour.py

run: $(STAMPS)/install ## Run the reference daemon in .tmp/run, until Ctrl-C
	@echo "drive it from another shell:  $(BIN)/ctlctl -s $(CURDIR)/.tmp/run/ctld.sock ping"
	@$(CLEAN) $(BIN)/ctld serve --runtime-dir .tmp/run

test: $(STAMPS)/test ## The whole suite, with its branch coverage
	@rm -f .coverage .coverage.*
	$(CLEAN) $(BIN)/coverage run -m pytest -n $(WORKERS) $(ARGS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

suite: $(STAMPS)/test ## The suite alone, quicker
	$(CLEAN) $(BIN)/python -m pytest $(ARGS)

lint: $(STAMPS)/lint ## ruff: rules and layout; bandit; known weaknesses of what is installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive ctld ctlctl packaging
	@$(CLEAN) $(BIN)/python packaging/audit.py

types: $(STAMPS)/lint ## mypy --strict
	$(CLEAN) $(BIN)/mypy

format: $(STAMPS)/lint ## Let ruff lay out the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(STAMPS)/docs ## Build the documentation, strictly, into site/
	$(CLEAN) NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(STAMPS)/install ## Measure beside a yardstick and the peers: some minutes, ARGS=requests for a part
	$(CLEAN) $(BIN)/python -m benchmarks $(ARGS)

bench-full: $(STAMPS)/install ## The same with all that takes long
	$(CLEAN) $(BIN)/python -m benchmarks --full $(ARGS)

bench-micro: $(STAMPS)/install ## Count the instructions of each part, and what has changed; ARGS=--update keeps them
	$(CLEAN) $(BIN)/python -m benchmarks.micro $(ARGS)

soak: $(STAMPS)/install ## Keep a daemon under load and faults, MINUTES=10, and check what has to be true then
	$(CLEAN) $(BIN)/python -m benchmarks.soak --minutes $(MINUTES) $(ARGS)

fuzz: $(STAMPS)/fuzz ## Throw bytes at every parser, SECONDS_EACH=20, ARGS=target
	$(CLEAN) $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS_EACH) $(ARGS)

clean: ## Remove what was made, the environment too
	@[ ! -f "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	rm -rf site dist build .tmp .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
