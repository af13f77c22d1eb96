# The commands of this repository. `make help` lists them.

COMPOSE ?= docker compose -f compose.yaml
CARGO ?= cargo
# Where cargo puts what it builds; the demo is started from there.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench consumer-storage docker-up-infra docker-logs-consumer docker-down clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 30

demo: ## the whole path on this machine, embedded: events, Kafka, PostgreSQL, and the proof
	@scripts/setup demo
	@$(CARGO) build --quiet --release --bin storage-consumer --bin event-generator --bin demo
	@exec $(TARGET)/release/demo $(DEMO_ARGS)

test: ## every test, the ones on a real Kafka and a real PostgreSQL included
	@scripts/setup test
	$(CARGO) build --workspace --bins --tests
	$(CARGO) test --workspace $(TEST_ARGS)

check: ## format, lints and the tests that need no services: seconds
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --lib --bins --test architecture $(TEST_ARGS)

bench: ## what decoding and encoding cost
	$(CARGO) bench -p consumer $(BENCH_ARGS)

consumer-storage: ## run the consumer from source against the services of docker-up-infra
	$(CARGO) run --release -p consumer --bin storage-consumer -- consume $(CONSUMER_ARGS)

docker-up-infra: ## start Kafka and PostgreSQL in containers
	$(COMPOSE) up -d --wait kafka postgres

docker-logs-consumer: ## follow the log of the consumer's container
	$(COMPOSE) logs -f consumer

docker-down: ## stop the containers and remove their data
	$(COMPOSE) down --volumes --remove-orphans

clean: ## remove what cargo built
	$(CARGO) clean
