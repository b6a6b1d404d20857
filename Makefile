# The commands of this project. `make help` lists them.

.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

.PHONY: build
build: tools ## Build the release binary, target/release/metlog
	$(CARGO) build --release --locked -p metlog-cli

.PHONY: demo
demo: build ## See the whole system at work, with nothing else installed
	@scripts/demo

.PHONY: deb
deb: build ## Build the Debian package, target/debian/metlog_*.deb
	@scripts/deb

.PHONY: check-systemd
check-systemd: build ## Install the package in a Debian of its own that systemd runs, and check what it promises there (needs root)
	@scripts/check-systemd

.PHONY: wheels
wheels: tools ## Build the wheels of metlog-py, target/wheels/*.whl, and check them on every Python at hand
	@scripts/wheels

.PHONY: test
test: tools ## Lint, then run every test (the one command before a push)
	@CARGO="$(CARGO)" scripts/test

.PHONY: lint
lint: tools ## Formatting, clippy, and the rules that people forget
	@CARGO="$(CARGO)" scripts/lint

.PHONY: peers
peers: ## Install the real servers that tests talk to (npm packages, below tests/peers)
	@scripts/peers

.PHONY: fuzz
fuzz: ## Fuzz the decoder until stopped (needs cargo-fuzz and a nightly toolchain); TARGET=decode|lookup|msgpack
	cd fuzz && $(CARGO) +nightly fuzz run $(or $(TARGET),decode)

.PHONY: torture
torture: tools ## The long forms of the randomised tests
	METLOG_LONG=1 PROPTEST_CASES=20000 $(CARGO) test --release --locked $$(scripts/members)
	METLOG_LONG=1 scripts/python

.PHONY: bench
bench: build ## Measure the router against its floors, and the clients; writes bench/results
	scripts/python --build
	$(CARGO) build --release --locked -p metlog-bench -p metlog --examples --bins
	target/release/metlog-bench

.PHONY: bench-peers
bench-peers: build ## The main job against every peer on the PATH (rsyslogd, syslog-ng, fluent-bit, vector)
	$(CARGO) build --release --locked -p metlog-bench
	target/release/metlog-bench --peers

.PHONY: tools
tools:
	@command -v $(CARGO) >/dev/null || { echo "missing: cargo. Install Rust 1.95 or later: https://rustup.rs, or your distribution's package" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "missing: a C compiler, for linking. On Debian: apt-get install gcc libc6-dev" >&2; exit 1; }
