# Every target sets up what it needs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# A wanted interpreter that is absent must fail at once instead of being fetched.
export UV_PYTHON_DOWNLOADS := never
export PYTHONPATH :=
# Bytecode is kept, also where the environment says otherwise: the tests start some hundred processes of ours.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup install switch image demo test check generate bench capacity viewers flood ha jasmin operate torture deploy-check sbom lock

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.bootstrap/.done: bootstrap.lock deploy/environment.py
	@$(PYTHON) deploy/environment.py installer

.venv/.done: bootstrap.lock requirements-dev.lock pyproject.toml deploy/environment.py
	@$(PYTHON) deploy/environment.py setup

setup: .venv/.done ## make .venv with everything the other targets need

# Where `make install` puts releases, and which of them `make switch` turns to.
PREFIX ?= /opt/portal1400

install: ## a release under PREFIX (/opt/portal1400), without developers' tools; WITH=otel: with OpenTelemetry
	@$(PYTHON) deploy/environment.py install $(PREFIX) $(WITH)

switch: ## let PREFIX/current name RELEASE, as `make install` made it
	@$(PYTHON) deploy/environment.py switch $(PREFIX) $(RELEASE)

# Buildah, Podman or Docker; IMAGE_FLAGS for what a site needs (a base of its own, a mounted pip.conf: docs/deploy.md).
BUILDER ?= $(firstword $(foreach each,buildah podman docker,$(shell command -v $(each))))
IMAGE ?= portal1400:$(shell git describe --always --dirty --exclude='*')
IMAGE_FLAGS ?=

image: ## the container image IMAGE (portal1400:COMMIT), built from deploy/container/Dockerfile
	@$(BUILDER) build $(IMAGE_FLAGS) --tag $(IMAGE) --file deploy/container/Dockerfile .

demo: setup ## a portal with simulated carriers; prints the addresses to open
	@exec $(BIN)/portal1400 demo

# Tests wait as much as they compute: three processes a core, each with a PostgreSQL of its own. A file stays together
# for what its tests share, and files are begun in the order of tests/conftest.py, not by how many tests they have.
TEST_PROCESSES ?= $(shell expr 3 '*' $$(nproc))

test: setup ## the tests, on PostgreSQL servers of their own
	@$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

check: setup ## what CI runs: style, types, import rules, wheel, tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@tests/wheel_smoke.sh
	@$(MAKE) --no-print-directory test
	@tests/system_postgres.sh

generate: setup ## what is made from code and kept beside it: docs/metrics.md, the rows of docs/logs.md, dashboards
	@$(BIN)/python -m deploy.metrics_page
	@$(BIN)/python -m tests.support.log_events
	@$(BIN)/python -m deploy.grafana

bench: setup ## measure: our intake beside a plain one and beside an empty answer
	@$(BIN)/python -m tests.bench
	@$(BIN)/python -m tests.bench.protocols
	@$(BIN)/python -m tests.bench.traces

capacity: setup ## measure: two workers with ten million gifts stored; a quarter of an hour, 10 GB of disk
	@$(BIN)/python -m tests.bench.capacity

viewers: setup ## measure: ten thousand viewers, crowds that ask for long series beside the intake, exports of a million
	@$(BIN)/python -m tests.bench.viewers
	@$(BIN)/python -m tests.bench.long_series
	@$(BIN)/python -m tests.bench.exports

flood: setup ## measure: strangers who send large bodies beside the intake
	@$(BIN)/python -m tests.bench.flood

operate: setup ## what docs/operate.md says, block by block, on an empty Debian 12 that is booted for it; needs root
	@$(BIN)/python -m tests.operate

torture: setup ## fifty seeds of faults against the real thing, judged by ids; takes about half an hour
	@$(BIN)/python -m tests.torture --seeds 1-50

# The nodes of `make ha` run as another account where we are root: a Python of the system, which everybody can run.
HA_PYTHON ?= $(firstword $(wildcard /usr/bin/python3) $(PYTHON))

.venv-ha/.done: .bootstrap/.done requirements-ha.lock
	@echo "setup: making .venv-ha from requirements-ha.lock"
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv venv --quiet --clear --python $(HA_PYTHON) .venv-ha
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip sync --quiet --python .venv-ha/bin/python --require-hashes requirements-ha.lock
	@touch $@

ha: setup .venv-ha/.done ## three database nodes, two workers, and the primary killed under load
	@$(BIN)/python -m tests.ha

# Jasmin 0.11.1 asks the SMS for what the answer to it holds, and so loses every receipt (its issue 1236): mended here.
.venv-jasmin/.done: .bootstrap/.done requirements-jasmin.lock
	@echo "setup: making .venv-jasmin from requirements-jasmin.lock"
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv venv --quiet --clear --python $(PYTHON) .venv-jasmin
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip sync --quiet --python .venv-jasmin/bin/python --require-hashes requirements-jasmin.lock
	@sed -i 's/_pdu\.response/r.response/g' .venv-jasmin/lib/python3.*/site-packages/jasmin/managers/listeners.py
	@touch $@

jasmin: setup .venv-jasmin/.done ## a real Jasmin between a message centre and us; needs Debian's rabbitmq-server and redis-server
	@PORTAL_REQUIRE_PEERS=1 $(BIN)/pytest -q -m jasmin tests/gateways/adapters/test_jasmin_live.py

# What judges the files of deploy/ (Kubernetes' schemas, hadolint, the SBOM) and the proxy that Debian does not have.
.venv-deploy/.done: .bootstrap/.done requirements-deploy.lock
	@echo "setup: making .venv-deploy from requirements-deploy.lock"
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv venv --quiet --clear --python $(PYTHON) .venv-deploy
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip sync --quiet --python .venv-deploy/bin/python --require-hashes requirements-deploy.lock
	@touch $@

deploy-check: setup .venv-deploy/.done ## image, compose and Kubernetes judged by their own tools
	@$(BIN)/pytest -q -m judge tests/deploy

sbom: .venv-deploy/.done ## what a release is made of, as CycloneDX: build/portal1400.cdx.json
	@mkdir -p build
	@.venv-deploy/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-file build/portal1400.cdx.json requirements.lock
	@echo "sbom: build/portal1400.cdx.json"

lock: .bootstrap/.done ## resolve the dependencies anew, with hashes and without host names
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--extra embedded pyproject.toml -o requirements.lock
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--extra embedded --extra otel pyproject.toml -o requirements-otel.lock
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--extra embedded --extra otel --group dev pyproject.toml -o requirements-dev.lock
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--python-version 3.11 --group ha -o requirements-ha.lock
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--python-version 3.11 --group deploy -o requirements-deploy.lock
	@PYTHONPATH=.bootstrap $(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--python-version 3.11 --group jasmin -o requirements-jasmin.lock
