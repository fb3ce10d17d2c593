# Everything a clone needs. Bare `make` lists the targets.
PYTHON ?= python3
TARGET ?= all
BENCH ?= synth
export PATH := $(CURDIR)/.venv/bin:$(PATH)
RUN := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults lint snapshots bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: ## prepare this clone: virtual environment, Node.js, CDK CLI, Java
	@$(PYTHON) scripts/set_up.py

demo: ## deploy into an emulated AWS and run a real Spark job (TARGET=local for one part)
	@$(PYTHON) scripts/set_up.py --quiet
	@$(RUN) -m emulation.demo $(TARGET)

test: lint ## all checks, as CI runs them
	@$(RUN) -m sparkvault.plugins
	@$(RUN) -m emulation.ec2 images
	@$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 25
	@$(RUN) -m pytest -m 'alone and not campaign'

test-faults: ## a worker killed under a job, and the long campaigns: every kill point, every seed
	@$(PYTHON) scripts/set_up.py --quiet --machine
	@$(RUN) -m pytest tests/cluster/test_core.py
	@$(RUN) -m pytest -m campaign

lint: ## formatting, lint, types, shell scripts
	@$(PYTHON) scripts/set_up.py --quiet
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m ruff format --quiet --check .
	@$(RUN) -m mypy
	@git ls-files -z -- '*.sh' assets/hosts .ci | xargs -0 -r grep -lZE '^#!.*\b(ba)?sh' | xargs -0 -r .venv/bin/shellcheck --external-sources --source-path=SCRIPTDIR

snapshots: ## write again what is generated: template snapshots, pages of docs/, the enclave's protocol
	@$(PYTHON) scripts/set_up.py --quiet
	@$(RUN) -m spark_constructs.config_docs docs
	@$(RUN) -m spark_constructs.ports > docs/ports.md
	@$(RUN) -m sparkvault.cli.reference docs
	@$(RUN) -m tests.enclave.generated_protocol
	@$(RUN) -m tests.enclave.protocol_vectors
	@$(RUN) -m pytest tests/synth --snapshot-update -q

bench: ## run one benchmark (BENCH=synth)
	@$(PYTHON) scripts/set_up.py --quiet
	@$(RUN) -m benchmarks $(BENCH)

clean: ## end the local cluster and remove everything that was made here
	@if [ -x .venv/bin/sparkvault ]; then .venv/bin/sparkvault local down --if-up; fi
	@rm -rf .venv node_modules cdk.out .sparkvault .mypy_cache .pytest_cache .ruff_cache .hypothesis benchmarks/results
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
