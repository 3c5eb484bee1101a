# Two commands do everything on a fresh Debian 12: `make demo` and `make test`.
# Both install what is missing first (scripts/bootstrap). The rest are separate, longer campaigns.
JOBS ?= $(shell nproc)
# Most tests wait for servers, not for a processor.
TEST_JOBS ?= $(shell expr 2 \* $$(nproc))
SEEDS ?= 1000000
MINUTES ?= 10
SECONDS_PER_TARGET ?= 60
TARGETS ?= *

.PHONY: help build test test-unit demo bench sim chaos fuzz asan tsan coverage partners \
        format format-check tidy layers install clean

help:
	@echo "make demo      build, then show the whole thing at work on this machine"
	@echo "make test      build and run every test"
	@echo "make bench     figures of docs/benchmarks.md (release build)"
	@echo "make sim       simulators, SEEDS=$(SEEDS) (optimised build)"
	@echo "make chaos     fault campaign over real nodes, MINUTES=$(MINUTES) (needs root)"
	@echo "make fuzz      every fuzz target, SECONDS_PER_TARGET=$(SECONDS_PER_TARGET) [TARGETS=fuzz_ltx_*]"
	@echo "make asan|tsan tests under the sanitizers (clang)"
	@echo "make coverage  line coverage per layer (clang); fails when a layer is below its aim"
	@echo "make partners  fetch the optional test partners (genuine Litestream, a current nats-server, npm clients)"
	@echo "make format | format-check | tidy | layers | install | clean"

build/debug/build.ninja: CMakePresets.json
	@scripts/bootstrap test
	@cmake --preset debug > /dev/null

build: build/debug/build.ninja
	@scripts/bootstrap test
	@cmake --build --preset debug -j $(JOBS)

test: build
	@scripts/optional-partners || true
	ctest --preset debug -j $(TEST_JOBS)

test-unit: build
	ctest --preset debug -j $(JOBS) -L unit

demo: build/debug/build.ninja
	@scripts/bootstrap test
	@cmake --build --preset debug -j $(JOBS) --target litecluster_program litecluster-example-backend
	@scripts/demo

bench:
	@scripts/bootstrap test
	@cmake --preset release > /dev/null && cmake --build --preset release -j $(JOBS)
	@scripts/bench

sim:
	@scripts/bootstrap test
	@cmake --preset sim > /dev/null && cmake --build --preset sim -j $(JOBS) --target sim_election sim_locks sim_ring sim_cluster
	@scripts/simulate $(SEEDS)

chaos: build
	@scripts/chaos $(MINUTES)

fuzz:
	@scripts/bootstrap check
	@cmake --preset fuzz > /dev/null && cmake --build --preset fuzz -j $(JOBS) --target fuzzers
	@set -f; scripts/fuzz $(SECONDS_PER_TARGET) $(TARGETS)

asan tsan:
	@scripts/bootstrap check
	@cmake --preset $@ > /dev/null && cmake --build --preset $@ -j $(JOBS)
	ctest --preset $@ -j $(JOBS)

coverage:
	@scripts/bootstrap check
	@cmake --preset coverage > /dev/null && cmake --build --preset coverage -j $(JOBS)
	@scripts/optional-partners || true
	@scripts/coverage

partners:
	@scripts/bootstrap test
	@scripts/optional-partners

format format-check tidy:
	@scripts/bootstrap check
	@scripts/$@

layers:
	@scripts/check-layers

install:
	@scripts/bootstrap test
	@cmake --preset release -DLITECLUSTER_BUILD_BENCHMARKS=OFF -B build/install > /dev/null
	@cmake --build build/install -j $(JOBS)
	cmake --install build/install

clean:
	rm -rf build
