# One virtual environment, made from pinned and hashed requirements; stamps say what is installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
CODE := streamer tests bench

.DEFAULT_GOAL := help
.PHONY: help setup lock fmt lint type test integration chaos bench schemas up down demo ci clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) -r requirements/build.txt -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) -r requirements/build.txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev ## make .venv with everything pinned; .venv/bin/streamer is the command

demo: $(VENV)/.demo ## watch it work on a shop's day: embedded broker, fake Twilio, the real service
	$(BIN)/streamer demo

UV_COMPILE = uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate
lock: ## resolve pyproject.toml again into requirements/ (needs uv)
	echo 'flit_core==4.2.0' | $(UV_COMPILE) - -o requirements/build.txt
	$(UV_COMPILE) --extra demo pyproject.toml -o requirements/demo.txt
	$(UV_COMPILE) --extra demo --extra dev pyproject.toml -o requirements/dev.txt

fmt: setup ## format, and mend what lint can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

lint: setup ## formatting and lint
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

type: setup ## strict types
	$(BIN)/mypy

test: lint type ## everything CI checks: lint, types, architecture, unit, property, contract and integration tests
	$(BIN)/python -m pytest -n 2 --dist loadgroup

integration: setup ## only the tests on a real Apache Kafka
	$(BIN)/python -m pytest tests/integration tests/chaos

CHAOS := STREAMER_CHAOS_KILLS=100 STREAMER_CHAOS_SENDS=10000 STREAMER_CHAOS_SPEED=10 STREAMER_CHAOS_HOLDS=3 STREAMER_SIMULATIONS=3000 STREAMER_POLICIES=3000
chaos: setup ## long forms, on a real Kafka: 100 kills, 10 000 sends in a storm, the fault matrix; 3000 histories of the simulation and of the policies
	$(CHAOS) $(BIN)/python -m pytest --timeout 1800 tests/chaos tests/property/test_simulation.py tests/property/test_policies.py

bench: setup ## HTTP clients compared, the cost of a decision and of each policy, the state stores, a million held sends released and restored, then figures beside hand-written loops, on a real Kafka, as a table and as JSON in bench/results/
	$(BIN)/python -m bench.http_clients
	$(BIN)/python -m bench.decide
	$(BIN)/python -m bench.stores
	$(BIN)/python -m bench.releases
	$(BIN)/python -m bench.held
	$(BIN)/python -m bench.run $(BENCH)

schemas: setup ## write the JSON Schemas in schemas/ again
	$(BIN)/streamer schemas --out schemas

RUN := .kafka/run
up: setup ## a Kafka on 127.0.0.1:9092 with the README's topics and a fake Twilio on 127.0.0.1:8010, in the background
	@$(MAKE) -s down
	@mkdir -p $(RUN)
	@nohup $(BIN)/python -m streamer.testing.brokers kafka --port 9092 --topics events.track,events.identify >$(RUN)/kafka.log 2>&1 & echo $$! >$(RUN)/kafka.pid
	@nohup $(BIN)/streamer fake-twilio --listen 127.0.0.1:8010 >$(RUN)/twilio.log 2>&1 & echo $$! >$(RUN)/twilio.pid
	@for name in kafka twilio; do \
	  until grep -qE '^(broker|fake Twilio) on ' $(RUN)/$$name.log; do \
	    kill -0 $$(cat $(RUN)/$$name.pid) 2>/dev/null || { cat $(RUN)/$$name.log; $(MAKE) -s down; exit 1; }; sleep 0.2; \
	  done; \
	done; cat $(RUN)/kafka.log $(RUN)/twilio.log

down: ## end what `make up` started, and wait for its end
	@for name in kafka twilio; do \
	  [ -f $(RUN)/$$name.pid ] || continue; pid=$$(cat $(RUN)/$$name.pid); rm -f $(RUN)/$$name.pid; \
	  kill $$pid 2>/dev/null || continue; \
	  for _ in $$(seq 150); do kill -0 $$pid 2>/dev/null || break; sleep 0.1; done; \
	done

ci: test ## exactly what CI runs

clean: ## remove what setup and the tests made
	rm -rf $(VENV) .kafka .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/contracts/prism/node_modules
