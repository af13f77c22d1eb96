# The commands of this repository. `make help` lists them.

COMPOSE ?= docker compose -f compose.yaml
# rustup's own folder, where a shell that is older than the installation does not find it yet.
CARGO ?= $(or $(shell command -v cargo 2>/dev/null),$(HOME)/.cargo/bin/cargo)
# Where cargo puts what it builds; the demo is started from there.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Where scripts/setup keeps what it downloads.
CACHE := $(or $(STORAGE_CONSUMER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/storage-consumer)

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix check bench bench-report bench-micro bench-instructions fuzz chaos chaos-report services sbom screenshot consumer-storage deploy-check systemd-trial docker-up docker-up-infra docker-logs-consumer docker-down clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 30

demo: ## the whole path on this machine, embedded: events, Kafka, PostgreSQL, and the proof
	@scripts/setup $(if $(filter apache,$(DEMO_KAFKA)),test,demo)
	@test -x $(TARGET)/release/demo || echo "building: the first time takes some minutes, later it starts at once"
	@$(CARGO) build --release --bin storage-consumer --bin demo
	@exec $(TARGET)/release/demo

test: ## every test, the ones on a real Kafka and a real PostgreSQL included
	@scripts/setup test
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace $(TEST_ARGS)

test-matrix: ## the tests on real services, on the oldest and newest PostgreSQL and Kafka (MATRIX, MATRIX_TESTS)
	@scripts/test-matrix

check: ## format, lints and the tests that need no services: seconds
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --lib --bins --test architecture --test inputs $(TEST_ARGS)

bench: ## end to end, beside PostgreSQL's own limit; BENCH_EVENTS, BENCH_ROUNDS, BENCH_ONLY, …; fills docs/benchmarks.md
	@scripts/setup bench
	@$(CARGO) build --release --bin storage-consumer --bin bench
	@exec $(TARGET)/release/bench

bench-report: ## fill the tables of docs/benchmarks.md from the results in BENCH_RESULTS (workbench/results)
	@$(CARGO) run --quiet --release --bin bench -- report

bench-micro: ## what decoding, encoding and sorting cost
	$(CARGO) bench -p consumer --bench hot_path $(BENCH_ARGS)

bench-instructions: ## the same in instructions, counted by valgrind; fills docs/benchmarks.md
	@scripts/setup instructions
	@mkdir -p $(TARGET)
	@$(CARGO) bench -p consumer --bench instructions >$(TARGET)/instructions.md
	@cat $(TARGET)/instructions.md
	@$(CARGO) run --quiet --release -p workbench --bin fill -- docs/benchmarks.md instructions <$(TARGET)/instructions.md

fuzz: ## random bytes and events for the decoder and the encoder, FUZZ_SECONDS=60 in all
	@scripts/fuzz

chaos: ## faults on a Kafka cluster, a PostgreSQL and consumers under load; CHAOS_SECONDS, CHAOS_SEED, CHAOS_RESULTS, …
	@scripts/setup test
	@$(CARGO) build --release --bin storage-consumer --bin chaos
	@exec $(TARGET)/release/chaos

chaos-report: ## fill the table of docs/reliability.md from the results in CHAOS_RESULTS (workbench/results)
	@$(CARGO) run --quiet --release --bin chaos -- report

screenshot: ## the status page as docs/images shows it, light and dark: two minutes of load, and an outage
	@scripts/setup test
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test -p workbench --test real page::photograph -- --ignored

sbom: ## what the program is made of, in CycloneDX: target/sbom/storage-consumer.cdx.json
	@scripts/sbom

services: ## a real Kafka and a real PostgreSQL on loopback until Ctrl-C, without Docker; prints their variables
	@scripts/setup test
	@$(CARGO) run --quiet --release -p workbench --bin services

consumer-storage: ## run the consumer from source against the services of docker-up-infra, or of `make services`
	$(CARGO) run --release -p consumer --bin storage-consumer -- consume $(CONSUMER_ARGS)

deploy-check: ## the chart, the compose file and the Dockerfile, by the code of Helm, Kubernetes, Compose and BuildKit
	@scripts/setup deploy
	cd deploy/check && PATH="$$PATH:$(CACHE)/go/bin" go test -count=1 ./...

systemd-trial: ## the systemd unit as it is shipped, under a systemd of its own, on real services; takes root
	@scripts/setup test
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace --test real systemd::booted -- --ignored

docker-up: ## everything in containers: Kafka, PostgreSQL, events, the consumer, Prometheus, Grafana
	$(COMPOSE) up -d --build --wait
	@echo "consumer http://localhost:9090, Prometheus http://localhost:9091, Grafana http://localhost:3000"

docker-up-infra: ## start Kafka (with the topic) and PostgreSQL in containers
	$(COMPOSE) up -d --wait kafka postgres
	$(COMPOSE) run --rm topic

docker-logs-consumer: ## follow the log of the consumer's container
	$(COMPOSE) logs -f consumer

docker-down: ## stop the containers and remove their data
	$(COMPOSE) down --volumes --remove-orphans

clean: ## remove what cargo built
	$(CARGO) clean
