# velocityd: `make run` serves the shipped models, `make check` tests everything, `make help` lists all.
#
# Objects live under build/<mode>[-openblas]/, so modes never mix and nothing needs `clean`.
#   MODE=release|debug|asan|tsan   MATH=onednn|openblas   CC=gcc|clang-19   STRICT=1   V=1

MODE ?= release
MATH ?= onednn
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)

B := build/$(MODE)$(if $(filter-out onednn,$(MATH)),-$(MATH))$(if $(findstring clang,$(CC)),-clang)
ifeq ($(B),build/release)
BIN := build/velocityd
else
BIN := $(B)/velocityd
endif

PACKAGES := libmicrohttpd jansson libuv nettle
MATH_LIBS_onednn := -ldnnl -lgomp
MATH_LIBS_openblas := $(shell pkg-config --libs openblas 2>/dev/null || echo -lopenblas)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes \
    -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wwrite-strings -Wpointer-arith -Wvla \
    -Wundef -Wformat=2 -Wswitch-enum -fno-common -Wno-sign-conversion \
    $(if $(findstring clang,$(CC)),-Wthread-safety) $(if $(STRICT),-Werror)
CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# x86-64-v2 is the floor; faster kernels are picked at run time. No contraction: the bits of float64 code must not depend on it.
ARCH := $(if $(filter x86_64,$(shell uname -m)),-march=x86-64-v2)
CPPFLAGS := -I. -D_GNU_SOURCE -DFM_VERSION='"$(VERSION)"' -DFM_MATH_$(MATH)=1
CFLAGS := -std=c17 $(ARCH) -ffp-contract=off -fstack-protector-strong -fPIE $(CFLAGS_$(MODE)) \
    $(WARNINGS) $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LDFLAGS := -pie -Wl,-z,relro,-z,now $(CFLAGS_$(MODE))
LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -linih $(MATH_LIBS_$(MATH)) -lm -lpthread

OTHER_DENSE := $(if $(filter onednn,$(MATH)),engine/math/dense_openblas.c,engine/math/dense_onednn.c)
ENGINE := $(filter-out $(OTHER_DENSE),$(wildcard engine/*.c engine/*/*.c))
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
.PHONY: all
all: $(BIN)  ## build the daemon

$(BIN): $(B)/server/main.o $(ALL_LIBS)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c -o $@ $<

# Kernels compiled for wider machines; chosen at run time.
CFLAGS_engine_math_kernels_avx2 := -march=x86-64-v3
CFLAGS_engine_math_kernels_avx512 := -march=x86-64-v4 -mprefer-vector-width=512

define archive
	@echo "  AR    $@"
	@rm -f $@
	$(Q)$(AR) rcs $@ $^
endef
$(LIBFM): $(call OBJ,$(ENGINE)); $(archive)
$(LIBFMP): $(call OBJ,$(PROTO)); $(archive)
$(LIBFMC): $(call OBJ,$(CONFIG)); $(archive)
$(LIBFMD): $(call OBJ,$(filter-out server/main.c,$(SERVER))); $(archive)

$(B)/unit: $(call OBJ,$(UNIT) $(SUPPORT)) $(ALL_LIBS)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) -lcheck -lsubunit -lrt

$(call OBJ,$(UNIT) $(SUPPORT)): CFLAGS += -Wno-double-promotion -Wno-float-conversion

.PHONY: unit
unit: $(B)/unit  ## run the unit tests (SUITE=name for one suite)
	$(Q)CK_VERBOSITY=normal $(if $(SUITE),CK_RUN_SUITE='$(SUITE)') $(if $(filter asan tsan,$(MODE)),CK_FORK=no) $(B)/unit

-include $(shell find build -name '*.d' 2>/dev/null)
include scripts/targets.mk
