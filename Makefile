# `make demo` runs the whole path on real parts; `make test` runs every check. `make help` lists the rest.
# the first of these that is Python 3.11 or 3.12: the packaged servers have wheels for no other
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && break; done; echo $$python)
VENV := .venv
DEV := .venv-dev
RIVALS := .venv-bench-faststream .venv-bench-quix
PIP_FLAGS := --disable-pip-version-check --quiet

ONLY ?=
SEED ?= 1
SHARE ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast fault soak fault-smoke model-smoke lint bench bench-language bench-scale bench-shifts aliases picture lock reference clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.installed ## broker, Redis, Triton and worker from packages: replay samples/ and show what came out
	@exec $(VENV)/bin/polyvox demo

test: $(DEV)/.installed lint ## lint, types and every test, also those that need servers
	$(DEV)/bin/python -m pytest

test-fast: $(DEV)/.installed ## the tests that need no server
	$(DEV)/bin/python -m pytest -n 2 -m "not integration and not slow"

fault: $(DEV)/.installed ## kill, stop, cut and poison everything, then plant bugs; ONLY=5,14 runs rows, SHARE=0.1 a part of their repeats, SEED=2
	@exec $(DEV)/bin/python -m tests.fault --only "$(ONLY)" --seed $(SEED) --share $(SHARE) $(if $(ONLY),,--mutants --report)

soak: $(DEV)/.installed ## a worker under load for 30 minutes, a server killed each minute: does anything grow? SHARE=0.3
	@exec $(DEV)/bin/python -m tests.fault --only 21 --seed $(SEED) --share $(SHARE)

fault-smoke: $(DEV)/.installed ## the short rows of the fault table, and planted bugs that they must find
	$(DEV)/bin/python -m pytest tests/integration/test_fault_smoke.py tests/integration/test_mutants.py

model-smoke: $(DEV)/.installed ## the model's whole way on 300 examples: base, training, export, Triton
	$(DEV)/bin/python -m pytest tests/integration/test_model_smoke.py

lint: $(DEV)/.installed ## format, lint and types
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy

bench: $(DEV)/.installed $(RIVALS:%=%/.installed) ## events/s, CPU and latency of the path beside its parts and its rivals
	@exec $(DEV)/bin/python -m bench

bench-scale: $(DEV)/.installed ## what grows with workers, partitions and up to a million posts; writes docs/scaling.md
	@exec $(DEV)/bin/python -m bench.scale

bench-shifts: $(DEV)/.installed ## coverage of the index, false alarms and delays of the shift detectors
	@exec $(DEV)/bin/python -m bench.shifts

bench-language: $(DEV)/.installed ## the language identifiers beside each other
	@exec $(DEV)/bin/python bench/language.py

reference: $(DEV)/.installed ## write schemas/ and docs/settings.md from the code
	$(DEV)/bin/python -m worker.reference

aliases: $(DEV)/.installed ## write the alias table of entities from the lists it is made of
	$(DEV)/bin/python -m worker.entities.build

picture: $(DEV)/.installed ## run the demo and draw its summary into docs/demo.svg
	$(DEV)/bin/python docs/demo_picture.py

lock: $(DEV)/.installed ## pin every dependency in requirements/
	$(DEV)/bin/python requirements/lock.py

clean: ## remove the environments and caches
	rm -rf $(VENV) $(DEV) $(RIVALS) .venv-triton .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

define install
	@$(PYTHON) requirements/check_python.py
	@echo "installing $(2) into $(1) ..."
	@rm -f $(1)/.installed
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python -m pip install $(PIP_FLAGS) --require-hashes -r $(2)
	@$(1)/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch $(1)/.installed
endef

$(VENV)/.installed: requirements/demo.txt pyproject.toml
	$(call install,$(VENV),requirements/demo.txt)

$(DEV)/.installed: requirements/dev.txt pyproject.toml
	$(call install,$(DEV),requirements/dev.txt)

# A rival's own environment: it never meets the worker's packages.
.venv-bench-%/.installed: requirements/bench-%.txt
	@$(PYTHON) requirements/check_python.py
	@echo "installing $< into $(@D) ..."
	@rm -f $@
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) --require-hashes -r $<
	@touch $@
