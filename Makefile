# velocityd: `make run` serves the shipped models, `make check` tests everything, `make help` lists all.
#
# Objects live under build/<mode>[-openblas][-clang][-strict]/ and know their command line, so modes never mix,
# a changed flag rebuilds what it changes, and nothing needs `clean`.
#   MODE=release|debug|asan|tsan|fuzz   MATH=onednn|openblas   CC=gcc|clang-19   STRICT=1   V=1

MODE ?= release
MATH ?= onednn
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)
HOST := $(shell uname -m)
MACHINE ?= $(HOST)

ifeq ($(filter $(MODE),release debug asan tsan fuzz),)
$(error MODE is release, debug, asan, tsan or fuzz, not "$(MODE)")
endif
ifeq ($(filter $(MATH),onednn openblas),)
$(error MATH is onednn or openblas, not "$(MATH)")
endif

B := build/$(MODE)$(if $(filter-out onednn,$(MATH)),-$(MATH))$(if $(findstring clang,$(CC)),-clang)$(if $(STRICT),-strict)$(if \
    $(filter-out $(HOST),$(MACHINE)),-$(MACHINE))
ifeq ($(B),build/release)
BIN := build/velocityd
else
BIN := $(B)/velocityd
endif

PACKAGES := libmicrohttpd jansson libuv nettle libpng libzip
MATH_LIBS_onednn := -ldnnl -lgomp
MATH_LIBS_openblas := $(shell pkg-config --libs openblas 2>/dev/null || echo -lopenblas)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes \
    -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wwrite-strings -Wpointer-arith -Wvla \
    -Wundef -Wformat=2 -Wswitch-enum -fno-common -Wno-sign-conversion \
    $(if $(findstring clang,$(CC)),-Wthread-safety) $(if $(STRICT),-Werror)
CFLAGS_release := -O2 -g
CPPFLAGS_release := -D_FORTIFY_SOURCE=2
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
# x86-64-v2 is the floor; faster kernels are picked at run time. No contraction: the bits of float64 code must not depend on it.
ARCH := $(if $(filter x86_64,$(MACHINE)),-march=x86-64-v2)
CPPFLAGS := -I. -D_GNU_SOURCE $(CPPFLAGS_$(MODE)) -DFM_VERSION='"$(VERSION)"' -DFM_MATH_$(MATH)=1
CFLAGS := -std=c17 $(ARCH) -ffp-contract=off -fstack-protector-strong -fPIE $(CFLAGS_$(MODE)) \
    $(WARNINGS) $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LDFLAGS := -pie -Wl,-z,relro,-z,now,--build-id $(CFLAGS_$(MODE))
LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -linih $(MATH_LIBS_$(MATH)) -lm -lpthread

OTHER_DENSE := $(if $(filter onednn,$(MATH)),engine/math/dense_openblas.c,engine/math/dense_onednn.c)
OTHER_KERNELS := $(if $(filter x86_64,$(MACHINE)),,$(wildcard engine/math/kernels*_avx*.c))
ENGINE := $(filter-out $(OTHER_DENSE) $(OTHER_KERNELS),$(wildcard engine/*.c engine/*/*.c))
PROTO := $(wildcard proto/*.c)
CONFIG := $(wildcard config/*.c)
SERVER := $(wildcard server/*.c)
SUPPORT := $(wildcard tests/support/*.c)
UNIT := $(wildcard tests/unit/*.c)
OBJ = $(patsubst %.c,$(B)/%.o,$(1))

LIBFM := $(B)/libfm.a
LIBFMP := $(B)/libfmp.a
LIBFMC := $(B)/libfmc.a
LIBFMD := $(B)/libfmd.a
ALL_LIBS := $(LIBFMD) $(LIBFMP) $(LIBFMC) $(LIBFM)

Q := $(if $(V),,@)
.DEFAULT_GOAL := all
.SECONDARY:
.PHONY: all objects unit FORCE
all: $(BIN)  ## build the daemon, build/velocityd

$(BIN): $(B)/server/main.o $(ALL_LIBS) $(B)/.link
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter-out %/.link,$^) $(LIBS)

# The flags of single files, and of the tests: CFLAGS_engine_math_kernels_avx2 and its like below.
FILE_FLAGS = $(foreach name,$(sort $(filter CFLAGS_engine_% CFLAGS_proto_% CFLAGS_config_% CFLAGS_server_% \
    CFLAGS_tests%,$(.VARIABLES))),$(name)=$($(name)))

# The command lines of compiling and linking, each in a file that is written only when it changes.
# (Single quotes are dropped: it is compared, never run.)
define remember
	@mkdir -p $(@D)
	@echo '$(subst ',,$(1))' | cmp -s - $@ || echo '$(subst ',,$(1))' >$@
endef
$(B)/.compile: FORCE
	@pkg-config --exists $(PACKAGES) || { echo "Libraries are missing: 'make deps' installs them." >&2; exit 1; }
	$(call remember,$(CC) $(CPPFLAGS) $(CFLAGS) $(FILE_FLAGS))
$(B)/.link: FORCE
	$(call remember,$(CC) $(LDFLAGS) $(LIBS) $(ENGINE) $(PROTO) $(CONFIG) $(SERVER) $(SUPPORT) $(UNIT))

$(B)/%.o: %.c $(B)/.compile
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c -o $@ $<

# Kernels compiled for wider machines; chosen at run time.
ifeq ($(MACHINE),x86_64)
CFLAGS_engine_math_kernels_avx2 := -march=x86-64-v3
CFLAGS_engine_math_kernels_avx512 := -march=x86-64-v4 -mprefer-vector-width=512
CFLAGS_engine_math_kernels16_avx512 := -march=x86-64-v4 -mprefer-vector-width=512 -mavx512bf16
endif

# Passes over long states; the order of every sum is written out, so the bits stay.
CFLAGS_engine_solve_vector := $(if $(filter release,$(MODE)),-O3)
CFLAGS_engine_solve_categorical := $(CFLAGS_engine_solve_vector)
CFLAGS_engine_network_op_rotary := $(CFLAGS_engine_solve_vector)

define archive
	@echo "  AR    $@"
	@rm -f $@
	$(Q)$(AR) qcs $@ $(filter %.o,$^)
endef
$(ALL_LIBS): $(B)/.link
$(LIBFM): $(call OBJ,$(ENGINE)); $(archive)
$(LIBFMP): $(call OBJ,$(PROTO)); $(archive)
$(LIBFMC): $(call OBJ,$(CONFIG)); $(archive)
$(LIBFMD): $(call OBJ,$(filter-out server/main.c,$(SERVER))); $(archive)

$(B)/unit: $(call OBJ,$(UNIT) $(SUPPORT)) $(ALL_LIBS) $(B)/.link
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter-out %/.link,$^) $(LIBS) -lcheck -lsubunit -lrt

CFLAGS_tests := -Wno-double-promotion -Wno-float-conversion
$(call OBJ,$(UNIT) $(SUPPORT)): private CFLAGS += $(CFLAGS_tests)

objects: $(call OBJ,$(ENGINE) $(PROTO) $(CONFIG) $(SERVER))

# Sanitizers want one process; libcheck's time limits want one a test. What runs on one thread and takes long says
# nothing to the thread sanitizer.
UNIT_ENVIRONMENT := CK_VERBOSITY=normal $(if $(filter asan tsan,$(MODE)),CK_FORK=no) \
    $(if $(filter tsan,$(MODE)),CK_EXCLUDE_TAGS=one_thread) \
    UBSAN_OPTIONS=print_stacktrace=1 \
    TSAN_OPTIONS=suppressions=tests/tsan.supp:second_deadlock_stack=1
unit: $(B)/unit  ## run the unit tests (SUITE=layer/module for one suite)
	$(Q)$(UNIT_ENVIRONMENT) $(if $(SUITE),CK_RUN_SUITE='$(SUITE)') $(B)/unit

-include $(shell find $(B) -name '*.d' 2>/dev/null)
include scripts/targets.mk
