# What one does with the project beside building it. Every target with a `## text` is listed by `make help`.

# DEPS=no leaves the installing of packages to you.
INSTALL_DEPS := $(if $(filter no,$(DEPS)),@:,@scripts/install-deps.sh)
# Debian's interpreter: the one that sees Debian's python3-* packages.
DEBIAN_PYTHON ?= /usr/bin/python3
CLANG ?= clang-19
JOBS ?= $(shell nproc)
SOURCES := $(ENGINE) $(wildcard engine/math/dense_*.c) $(PROTO) $(CONFIG) $(SERVER) $(SUPPORT) $(UNIT) \
    $(wildcard tests/fuzz/*.c tests/bench/*.c tests/integration/*.c tests/load/*.c)
HEADERS := $(wildcard engine/*.h engine/*/*.h proto/*.h config/*.h server/*.h tests/*/*.h)
# Sub-makes of the steps below choose mode, provider and compiler themselves.
SUBMAKE := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $(MAKE) --no-print-directory -j$(JOBS)

# ---- Everyday ----

.PHONY: deps run check help format clean
deps:  ## install the Debian packages that building and running need
	$(INSTALL_DEPS) run

run: deps  ## build, then serve the shipped models on 127.0.0.1:8080
	@$(SUBMAKE) all
	@exec $(BIN) serve --models models

check: deps  ## build, then run the unit tests (with both math providers) and the integration tests
	$(INSTALL_DEPS) run check
	@scripts/check.sh

format:  ## lay out every C file as .clang-format says
	$(INSTALL_DEPS) gate
	@clang-format-19 -i $(sort $(SOURCES)) $(HEADERS)

clean:  ## remove build/ (never needed for a correct build)
	@rm -rf build

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | \
	    while IFS="$$(printf '\t')" read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

# ---- The gate and its steps; each step runs alone too ----

.PHONY: gate strict strict-clang format-check tidy cppcheck layers headers asan tsan openblas generated \
    generated-check rebuild-check aarch64-check fuzz-build fuzz-smoke fuzz valgrind soak
gate: deps  ## everything a change must pass beside the tests
	$(INSTALL_DEPS) run check gate
	@scripts/gate.sh

strict:  ## gcc, every warning an error
	@$(SUBMAKE) STRICT=1 all build/release-strict/unit

strict-clang:  ## clang 19 with its thread-safety analysis, every warning an error
	@$(SUBMAKE) CC=$(CLANG) STRICT=1 all build/release-clang-strict/unit

format-check:  ## does every C file look as .clang-format says?
	@clang-format-19 --dry-run --Werror $(sort $(SOURCES)) $(HEADERS)

# One process a file: given many, clang-tidy carries analyzer state from one to the next. The objects
# stand for the headers: a file is checked again when its object was built again. Without -O, or glibc's
# inlined ctype counts as our nesting.
TIDIED := $(patsubst %.c,$(B)/tidy/%.ok,$(ENGINE) $(PROTO) $(CONFIG) $(SERVER) $(SUPPORT) $(UNIT))
$(B)/tidy/%.ok: $(B)/%.o .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy-19 --quiet $*.c -- $(filter-out -D_FORTIFY%,$(CPPFLAGS)) $(filter-out -W% -O%,$(CFLAGS)) $(CFLAGS_$(subst /,_,$*)) 2>$@.log \
	    || { cat $@.log >&2; exit 1; }
	@touch $@
tidied: $(TIDIED)
.PHONY: tidied
tidy:  ## clang-tidy, file by file
	@$(SUBMAKE) -k tidied

cppcheck:  ## cppcheck over everything but the unit tests
	@mkdir -p build/cppcheck
	@cppcheck -j$(JOBS) --quiet --error-exitcode=1 --cppcheck-build-dir=build/cppcheck --std=c11 \
	    --enable=warning,performance,portability --inline-suppr --suppressions-list=scripts/cppcheck.suppressions \
	    -I. -D_GNU_SOURCE -DFM_VERSION='"0"' -DFM_MATH_onednn=1 -D__x86_64__ -D__GNUC__=12 \
	    $(sort $(ENGINE) $(PROTO) $(CONFIG) $(SERVER) $(SUPPORT))

layers: objects  ## who may use whom, by symbols and by includes
	@scripts/layers.sh $(B)

headers:  ## every header compiles alone, with both compilers
	@printf '%s\n' $(HEADERS) | xargs -P$(JOBS) -I{} sh -c 'for compiler in gcc $(CLANG); do \
	    echo "int headers_compile_alone;" | $$compiler $(subst ','"'"',$(CPPFLAGS)) -std=c17 $(ARCH) -Wall -Wextra \
	        -Wpedantic -Werror -fsyntax-only -include {} -x c - || exit 255; done'

asan:  ## unit tests under the address and undefined-behaviour sanitizers
	@$(SUBMAKE) MODE=asan unit

tsan:  ## unit tests under the thread sanitizer
	@$(SUBMAKE) MODE=tsan unit

openblas:  ## unit tests of the OpenBLAS build
	@$(SUBMAKE) MATH=openblas unit

generated: all  ## write the checked-in generated files anew
	@scripts/generated.sh $(BIN)

generated-check: all  ## are the checked-in generated files current?
	@scripts/generated.sh $(BIN) --check

aarch64-check:  ## compile everything for aarch64 (no linking)
	@$(SUBMAKE) CC='$(CLANG) --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include' \
	    MACHINE=aarch64 STRICT=1 objects

# One object, built in a folder of its own; a line "CC" says that it was compiled.
REBUILT := $(SUBMAKE) MODE=release STRICT= B=build/rebuild-check build/rebuild-check/engine/solve/vector.o
rebuild-check:  ## does a changed flag, a file's own too, rebuild what it changes, and no other?
	@$(REBUILT) >/dev/null
	@! $(REBUILT) | grep ' CC ' >/dev/null || { echo "built again for nothing" >&2; exit 1; }
	@! $(REBUILT) CFLAGS_asan=-O3 | grep ' CC ' >/dev/null || { echo "built again for another mode's flag" >&2; exit 1; }
	@$(REBUILT) CFLAGS_engine_solve_vector=-O1 | grep ' CC ' >/dev/null || { echo "not built again for its own flag" >&2; exit 1; }
	@$(REBUILT) CFLAGS_release=-O1 | grep ' CC ' >/dev/null || { echo "not built again for its mode's flag" >&2; exit 1; }
	@rm -rf build/rebuild-check

valgrind:  ## unit tests under valgrind (slow)
	$(INSTALL_DEPS) run check gate
	@$(SUBMAKE) MODE=debug build/debug/unit
	@CK_VERBOSITY=normal CK_FORK=no $(if $(SUITE),CK_RUN_SUITE='$(SUITE)') valgrind --quiet --fair-sched=yes --error-exitcode=1 --leak-check=full \
	    --errors-for-leak-kinds=definite build/debug/unit

# ---- Fuzzing ----

FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz-clang/%,$(wildcard tests/fuzz/fuzz_*.c))
ifeq ($(B),build/fuzz-clang)
build/fuzz-clang/fuzz_%: build/fuzz-clang/tests/fuzz/fuzz_%.o $(call OBJ,$(SUPPORT)) $(ALL_LIBS) $(B)/.link
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter-out %/.link,$^) $(LIBS) -lcheck -lsubunit -lrt
endif
fuzz-build:
	@$(SUBMAKE) MODE=fuzz CC=$(CLANG) $(FUZZERS)

FUZZ_SECONDS ?= 600
fuzz: fuzz-build  ## every fuzzer for FUZZ_SECONDS=600 each, JOBS at a time
	@JOBS=$(JOBS) scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

fuzz-smoke:  ## every fuzzer for a minute
	@$(SUBMAKE) fuzz FUZZ_SECONDS=60 JOBS=$(JOBS)

# ---- Longer runs ----

.PHONY: bench models install
soak: deps  ## ten minutes of mixed load with random disconnects
	$(INSTALL_DEPS) run check
	@$(SUBMAKE) all
	@python3 tests/load/soak.py build/velocityd

BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(B)/%,$(wildcard tests/bench/bench_*.c))
$(B)/bench_%: $(B)/tests/bench/bench_%.o $(ALL_LIBS) $(B)/.link
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter-out %/.link,$^) $(LIBS)
.PHONY: bench-programs
bench-programs: $(BENCH_PROGRAMS)

bench: deps  ## measure against PyTorch, ONNX Runtime and Python services (BENCH='--only network' for a part)
	$(INSTALL_DEPS) run bench
	@$(SUBMAKE) all bench-programs
	@cd tests/bench && { [ -e node_modules/.package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund; }
	@$(DEBIAN_PYTHON) tests/bench/run.py $(BENCH)

models:  ## train the shipped models again (two hours; the digits and their measurement take most of them)
	$(INSTALL_DEPS) models
	@$(DEBIAN_PYTHON) train/make_all.py

# ---- Installing ----

SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
CONFIGURATION = $(DESTDIR)$(SYSCONFDIR)/velocityd/velocityd.conf
MODEL_FILES := $(foreach kind,json safetensors npy csv txt md,$(wildcard models/*/*.$(kind)))
install: all  ## install under PREFIX=/usr/local, staged in DESTDIR=; a velocityd.conf that is there stays
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/velocityd
	@[ -e $(CONFIGURATION) ] || sed 's|^;models = .*|models = $(PREFIX)/share/velocityd/models|' config/velocityd.conf | \
	    install -D -m 644 /dev/stdin $(CONFIGURATION)
	@for file in $(MODEL_FILES); do install -D -m 644 $$file $(DESTDIR)$(PREFIX)/share/velocityd/$$file || exit 1; done
