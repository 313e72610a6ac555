# The one vocabulary: a target here, a step of a workflow, a verb of `flightline` and the docs use the same word.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

PYTHON ?= python3
VENV := .venv
BASE_IMAGE ?=
UV := $(VENV)/bin/uv
# This project itself is installed once, whatever environments are.
PROJECT := $(VENV)/.project
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Starting is mostly importing, and imports are quick only from compiled modules.
unexport PYTHONDONTWRITEBYTECODE
# One thread for training: faster here than several, and the same on every machine.
export OMP_NUM_THREADS ?= 1

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.gate ## Train, gate and serve on HOST:PORT (127.0.0.1:8000); what has not changed is skipped
	@flightline run

.PHONY: train
train: $(VENV)/.train ## Fetch, prepare and train what has changed
	dvc repro train

.PHONY: bundle
bundle: $(VENV)/.train ## Reproduce everything up to build/bundle
	dvc repro bundle

.PHONY: gate
gate: $(VENV)/.gate bundle ## Put the candidate before every gate; fails unless they pass
	flightline gate

.PHONY: report
report: $(VENV)/.gate ## Render build/report.html and build/report.md from the verdict
	flightline report

.PHONY: serve
serve: $(VENV)/.gate ## Serve build/bundle as it stands
	@flightline serve

.PHONY: record
record: $(VENV)/.record ## Write the bundle to MLflow, once
	flightline record

.PHONY: trace
trace: $(VENV)/.train ## Follow build/bundle back to its data, every link verified
	flightline trace

.PHONY: image
image: $(VENV)/.train bundle ## Build the code image and put build/bundle on it; BASE_IMAGE=local makes a base here
	flightline image build --base "$(BASE_IMAGE)"
	flightline image append

# What a run costs is told at its end.
SLOWEST := --durations=25 --durations-min=5
NIGHTLY := $(if $(FULL),, and not nightly)

# Two files at a time, but for those that measure answer times: they have the machine to themselves.
.PHONY: test
test: $(VENV)/.dev $(VENV)-scan ## Prove it all. FULL=1 adds what takes many minutes
	$(if $(TESTS),pytest $(TESTS),pytest $(SLOWEST) -n 2 --dist loadfile -m "not alone$(NIGHTLY)" && \
	  pytest $(SLOWEST) -m "alone$(NIGHTLY)")

.PHONY: lint
lint: $(VENV)/.dev ## Format, lint and type check, as CI does
	ruff format --check .
	ruff check .
	mypy

.PHONY: format
format: $(VENV)/.dev ## Mend what the formatter and the linter can
	ruff format .
	ruff check --fix .

.PHONY: validate
validate: $(VENV)/.dev $(VENV)-scan ## Render, check and compare every manifest, as CI does
	flightline validate

.PHONY: schemas
schemas: $(VENV)/.dev ## Write infra/schemas anew from the modules that infra/schemas/sources.yaml names; needs Go
	flightline schemas

.PHONY: dashboards
dashboards: $(VENV)/.dev ## Write Grafana's dashboards anew, from pipeline/dashboards
	flightline dashboards

.PHONY: cluster-up
cluster-up: $(VENV)/.dev ## Start a local Kubernetes with Argo CD, Rollouts, Prometheus, a registry and a git server
	flightline cluster up

.PHONY: cluster-status
cluster-status: $(VENV)/.dev ## Say what of the local cluster runs
	flightline cluster status

.PHONY: cluster-down
cluster-down: $(VENV)/.dev ## Stop the local cluster and leave nothing behind
	flightline cluster down

.PHONY: forge-up
forge-up: $(VENV)/.dev ## Start a local forge with a fork of HEAD, which runs the workflows and releases to the local cluster
	flightline forge up

.PHONY: forge-status
forge-status: $(VENV)/.dev ## Say what of the local forge runs, and how its newest runs went
	flightline forge status

.PHONY: forge-down
forge-down: $(VENV)/.dev ## Stop the local forge and leave nothing of it behind
	flightline forge down

.PHONY: demo
demo: $(VENV)/.dev ## Tell a release's story on the local forge and cluster, from a push to production; writes build/demo/
	flightline demo

STORY := tests/e2e/test_log_shipping.py tests/e2e/test_story.py
PUSHED := tests/e2e/test_forge.py tests/e2e/test_push.py
OBSERVED := tests/e2e/test_autumn.py tests/e2e/test_observe.py

.PHONY: e2e
e2e: $(VENV)/.dev ## Play a release's whole life on the local cluster; writes build/e2e/. FULL=1 plays every story there is
	pytest -s $(STORY) $(if $(FULL),$(PUSHED) $(OBSERVED),-m "not nightly")

.PHONY: forge-test
forge-test: $(VENV)/.dev ## Try the local forge, and tell the demo's story on it with what must not happen. FULL=1 adds the races
	pytest -s $(PUSHED) $(if $(FULL),,-m "not nightly")

.PHONY: observe-test
observe-test: $(VENV)/.dev ## Play months to production on the local cluster, retrain there; writes build/observe/. FULL=1 goes on to the roll-out
	pytest -s $(OBSERVED) $(if $(FULL),,-m "not nightly")

.PHONY: argocd-test
argocd-test: $(VENV)/.dev ## Try what Argo CD, Rollouts and their notifications are set to do, on the local cluster
	pytest -s tests/e2e/test_argocd.py

.PHONY: cluster-test
cluster-test: $(VENV)/.dev ## Boot a cluster of its own, try what the local cluster promises, and look for what it left behind
	pytest tests/e2e/test_cluster.py

.PHONY: bench
bench: $(VENV)/.dev $(VENV)-bench $(VENV)-bench-mlserver bundle ## Measure serving and gates, the figures of docs/benchmarks.md
	python -m bench

.PHONY: bench-pipeline
bench-pipeline: $(VENV)/.dev ## Measure `make run` of this commit in a fresh clone with empty caches, and again
	python -m bench pipeline

.PHONY: bench-monitoring
bench-monitoring: $(VENV)/.dev bundle ## Measure one look at a million logged rows, and what the limits of decay are worth
	python -m bench monitoring

.PHONY: bench-labels
bench-labels: $(VENV)/.dev ## Measure keeping, labelling and joining ten million logged rows, and the memory it takes
	python -m bench labels

.PHONY: lock
lock: $(UV) ## Resolve requirements/*.in anew into hash-locked requirements/*.txt
	infra/lock.sh

.PHONY: setup
setup: $(FOR:%=$(VENV)/.%) ## Install the environments of FOR="gate deliver", as the workflows do

.PHONY: reproduce
reproduce: $(VENV)/.train ## Reproduce everything up to the bundle; what DVC's default remote has is restored, not made again
	dvc repro --pull

.PHONY: restore
restore: $(VENV)/.deliver ## Restore OUTS of dvc.lock, or all, from DVC's default remote; runs no stage, fails where it would have to
	flightline ci restore $(OUTS)

.PHONY: share
share: $(VENV)/.deliver ## Give DVC's default remote what it lacks; on main that is the trusted one
	dvc push

.PHONY: security
security: $(VENV)/.dev $(VENV)-scan ## Scan workflows, manifests, Dockerfile, secrets, dependencies; OFFLINE=1 leaves out what asks a database
	flightline security $(if $(OFFLINE),--offline)

# The days after production's own data, played: no cluster, and nothing of this checkout changes.
.PHONY: observe
observe: $(VENV)/.gate $(VENV)/.deliver $(VENV)/.monitor ## Play five months to the server here: drift, decay, retraining; writes build/observe/
	@flightline play

.PHONY: retrain
retrain: $(VENV)/.gate $(VENV)/.deliver $(VENV)/.monitor ## Try a newer window if production has decayed: on the cluster, or ENGINE=local
	flightline retrain $(if $(ENGINE),--engine $(ENGINE))

.PHONY: doctor
doctor: ## Say what is missing on this machine and how to get it
	@$(PYTHON) infra/doctor.py

.PHONY: clean
clean: ## Remove what can be made again; keeps the environment, the DVC remotes and MLflow's records
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)*' -prune -exec rm -rf {} +

# An environment is its lock file: installed by hash, and again when the lock changes. Of two at once, the second waits
# and finds it made; a machine without flock has to be patient by itself. The lock is whole: --no-deps resolves nothing.
ALONE := $(if $(shell command -v flock),flock Makefile)

$(UV):
	@$(PYTHON) infra/doctor.py --required
	@$(ALONE) $(SHELL) -c '[ -x $@ ] || { set -ex; infra/uv.sh $(VENV) $(PYTHON); }'

$(VENV)/.%: requirements/%.txt pyproject.toml | $(UV)
	@$(ALONE) $(SHELL) -c '[ $@ -nt $< -a $@ -nt pyproject.toml ] || { set -ex; \
	  $(UV) pip install --python $(VENV) --no-deps --require-hashes -r $<; \
	  [ $(PROJECT) -nt pyproject.toml ] || $(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation -e .; \
	  touch $(PROJECT) $@; }'

# Peers and scanners, whose needs must not bend ours, have environments of their own; what is measured starts compiled.
$(VENV)-%: requirements/%.txt | $(UV)
	@$(ALONE) $(SHELL) -c '[ $@ -nt $< ] || { set -ex; [ -d $@ ] || $(UV) venv --quiet --python $(PYTHON) $@; \
	  $(UV) pip install $(if $(findstring bench,$*),--compile-bytecode) --python $@ --no-deps --require-hashes -r $<; \
	  touch $@; }'
