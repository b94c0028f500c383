# OmniRoute
#
#   make            build/omniroute and build/omniroute-ctl
#   make run        install what is missing, build, start the gateway in the background
#   make check      all tests (prove -r t/)
#   make asan       build/asan/…, with AddressSanitizer and UBSan; make check SAN=1 tests that build
#   make fuzz       every fuzz target for FUZZ_SECONDS (60) each
#   make bench      compare with a direct connection and nginx, translation with pass-through; tables in build/bench.md
#   make tidy       clang-tidy and cppcheck       make format   clang-format
#   make deps       Debian packages for all of the above
#   make install    DESTDIR= PREFIX=/usr/local    make uninstall
#
#   V=1 shows the commands, CC=clang takes the other compiler.

VERSION := $(shell sed -n 's/.*OMNIROUTE_VERSION "\(.*\)"/\1/p' shared/base.h)
PREFIX  ?= /usr/local
DESTDIR ?=
SBINDIR  = $(PREFIX)/sbin
MANDIR   = $(PREFIX)/share/man
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)

CC      ?= cc
Q       := $(if $(V),,@)
FUZZ_SECONDS ?= 60

# ---- flags ----------------------------------------------------------------------------------------------------------
LIBS_PC := libevent libcurl openssl libsodium lmdb jansson libconfuse
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
OPT     := -O2 -g

ifdef SAN
B       := build/asan
OPT     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
HARDEN  := -fPIE
else
B       := build
endif

CFLAGS_ALL  = -std=c17 -D_GNU_SOURCE -I. -I$(B)/gen $(WARN) $(OPT) $(HARDEN) -MMD -MP \
	      -DOMNIROUTE_SYSCONFDIR='"$(SYSCONFDIR)"' $(shell pkg-config --cflags $(LIBS_PC)) $(CFLAGS)
LDFLAGS_ALL = $(OPT) -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)
LDLIBS_ALL  = $(shell pkg-config --libs $(LIBS_PC)) -lpthread

# ---- sources --------------------------------------------------------------------------------------------------------
SHARED    := $(wildcard shared/*.c)
PROTO     := $(wildcard proto/*.c proto/*/*.c)
PROVIDERS := $(wildcard providers/*.c)
WORKER    := $(wildcard worker/*.c)
MASTER    := $(filter-out master/main.c,$(wildcard master/*.c))
CTL       := $(wildcard master/ctl/*.c)
UNIT      := $(wildcard t/unit/*.c)
FUZZ      := $(wildcard t/fuzz/*.c)
TOOLS     := $(wildcard t/upstream/*.c) $(wildcard t/bench/*.c) $(wildcard t/replay/*.c)
CATALOG   := $(wildcard providers/*.json)

obj   = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIBOBJ   := $(call obj,$(SHARED) $(PROTO) $(PROVIDERS)) $(B)/obj/catalog_data.o
ALLOBJ   := $(LIBOBJ) $(call obj,$(WORKER) $(MASTER) master/main.c $(CTL) $(UNIT) $(TOOLS) $(FUZZ) t/fuzz/replay/main.c)

all: $(B)/omniroute $(B)/omniroute-ctl

$(B)/libomniroute.a: $(LIBOBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/omniroute: $(call obj,$(WORKER) $(MASTER) master/main.c) $(B)/libomniroute.a
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(B)/omniroute-ctl: $(call obj,$(CTL)) $(B)/libomniroute.a
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(B)/gen/catalog_data.c: providers/embed.pl $(CATALOG)
	@mkdir -p $(@D)
	@echo "  GEN   $@"
	$(Q)perl providers/embed.pl $(CATALOG) > $@.tmp && mv $@.tmp $@

$(B)/obj/catalog_data.o: $(B)/gen/catalog_data.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) -c -o $@ $<

# Where the configuration is looked for is compiled in: another PREFIX makes these anew.
$(B)/gen/sysconfdir: FORCE
	@mkdir -p $(@D)
	@echo '$(SYSCONFDIR)' | cmp -s - $@ || echo '$(SYSCONFDIR)' > $@
$(call obj,master/conf.c master/options.c): $(B)/gen/sysconfdir

# ---- tests ----------------------------------------------------------------------------------------------------------
# A unit test links against everything but the two main()s; t/010-unit.t runs them.
UNITBIN := $(patsubst t/unit/%.c,$(B)/t/unit/%,$(UNIT))
$(B)/t/unit/%: $(B)/obj/t/unit/%.o $(call obj,$(WORKER) $(MASTER)) $(B)/libomniroute.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL) -lcmocka

$(B)/t/upstream: $(call obj,$(wildcard t/upstream/*.c)) $(B)/libomniroute.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL) $(shell pkg-config --libs libevent_openssl)

$(B)/t/bench: $(call obj,$(wildcard t/bench/*.c)) $(B)/libomniroute.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL) -lm

$(B)/t/replay: $(call obj,$(wildcard t/replay/*.c)) $(B)/libomniroute.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# The fuzz targets without a fuzzer: t/020-fuzz-replay.t feeds them the kept corpus.
REPLAYBIN := $(patsubst t/fuzz/%.c,$(B)/t/fuzz/%,$(FUZZ))
$(B)/t/fuzz/%: $(B)/obj/t/fuzz/%.o $(B)/obj/t/fuzz/replay/main.o $(call obj,$(WORKER) $(MASTER)) $(B)/libomniroute.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

# Fuzz targets: LLVMFuzzerTestOneInput, always clang, own objects.
FUZZBIN := $(patsubst t/fuzz/%.c,build/fuzz/%,$(FUZZ))
FUZZCFLAGS = -std=c17 -D_GNU_SOURCE -I. $(WARN) -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
	     -fno-sanitize-recover=undefined -MMD -MP -DOMNIROUTE_SYSCONFDIR='"/etc"' $(shell pkg-config --cflags $(LIBS_PC))
fuzzobj = $(patsubst %.c,build/fuzz/obj/%.o,$(1))
FUZZLIB  = $(call fuzzobj,$(SHARED) $(PROTO) $(PROVIDERS) $(WORKER) $(MASTER)) build/fuzz/obj/catalog_data.o

build/fuzz/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)clang $(FUZZCFLAGS) -c -o $@ $<
build/fuzz/obj/catalog_data.o: build/gen/catalog_data.c
	@mkdir -p $(@D)
	$(Q)clang $(FUZZCFLAGS) -c -o $@ $<
build/fuzz/libfuzz.a: $(FUZZLIB)
	$(Q)rm -f $@ && ar rcs $@ $^
build/fuzz/%: build/fuzz/obj/t/fuzz/%.o build/fuzz/libfuzz.a
	@echo "  LD    $@"
	$(Q)clang -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS_ALL)

fuzzbin: $(FUZZBIN)
fuzz: check-deps
	$(Q)$(MAKE) --no-print-directory fuzzbin
	$(Q)t/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZBIN)

testbin: all $(UNITBIN) $(REPLAYBIN) $(B)/t/upstream $(B)/t/bench $(B)/t/replay

check: check-deps
	$(Q)$(MAKE) --no-print-directory testbin t/sdk/node_modules
	$(Q)OMNIROUTE_BUILD=$(B) prove -r $(PROVEFLAGS) t/

asan:
	$(Q)$(MAKE) --no-print-directory SAN=1 testbin

bench: check-deps
	$(Q)$(MAKE) --no-print-directory all $(B)/t/upstream $(B)/t/bench
	$(Q)t/bench/run.sh $(B)

# The official SDKs; versions are pinned in t/sdk/package.json, the packages go below build/.
NPM_INSTALL := npm install --loglevel=error --no-package-lock --no-audit --no-fund
t/sdk/node_modules: build/sdk/.installed build/agents/.installed
build/sdk/.installed: t/sdk/package.json
	@mkdir -p build/sdk
	@echo "  NPM   $<"
	$(Q)cp $< build/sdk/ && cd build/sdk && $(NPM_INSTALL) && touch .installed

# The coding agents: where one cannot be had, its test says so and is skipped.
build/agents/.installed: t/sdk/agents/package.json
	@mkdir -p build/agents
	@echo "  NPM   $<"
	$(Q)cp $< build/agents/ && cd build/agents && { $(NPM_INSTALL) --fetch-retries=0 2>npm.log && touch .installed || \
		echo "  no agents, see build/agents/npm.log"; }

# ---- running --------------------------------------------------------------------------------------------------------
run: check-deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(B)/omniroute -d

# ---- dependencies ---------------------------------------------------------------------------------------------------
DEPS_BUILD := gcc libc6-dev make pkg-config libevent-dev libcurl4-openssl-dev libssl-dev libsodium-dev liblmdb-dev libjansson-dev \
	      libconfuse-dev perl
DEPS_TEST  := libcmocka-dev clang libclang-rt-dev nginx-light mandoc nodejs npm curl
DEPS_LINT  := clang-format clang-tidy cppcheck

deps:
	$(Q).ci/deps $(DEPS_BUILD) $(DEPS_TEST) $(DEPS_LINT)
check-deps:
	$(Q).ci/deps $(DEPS_BUILD) $(if $(filter check fuzz bench,$(MAKECMDGOALS)),$(DEPS_TEST))

# ---- care -----------------------------------------------------------------------------------------------------------
TIDYSRC := $(SHARED) $(PROTO) $(PROVIDERS) $(WORKER) $(MASTER) master/main.c $(CTL)
tidy:
	$(Q)clang-tidy --quiet $(TIDYSRC) -- -std=c17 -D_GNU_SOURCE -I. -DOMNIROUTE_SYSCONFDIR='"/etc"' $(shell pkg-config --cflags $(LIBS_PC))
	$(Q)cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability \
		--suppress=missingIncludeSystem -D_GNU_SOURCE -I. $(TIDYSRC)
format:
	$(Q)clang-format -i $(shell git ls-files '*.c' '*.h')

MAN8 := omniroute.8 omniroute-ctl.8
MAN5 := omniroute.conf.5
MAN7 := omniroute-api.7 omniroute-internals.7 omniroute-providers.7
install: all
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(SYSCONFDIR)/omniroute $(addprefix $(DESTDIR)$(MANDIR)/man,5 7 8)
	install -m 755 $(B)/omniroute $(B)/omniroute-ctl $(DESTDIR)$(SBINDIR)/
	install -m 644 $(addprefix man/,$(MAN8)) $(DESTDIR)$(MANDIR)/man8/
	install -m 644 $(addprefix man/,$(MAN5)) $(DESTDIR)$(MANDIR)/man5/
	install -m 644 $(addprefix man/,$(MAN7)) $(DESTDIR)$(MANDIR)/man7/
	test -e $(DESTDIR)$(SYSCONFDIR)/omniroute/omniroute.conf || \
		install -m 640 etc/omniroute.conf $(DESTDIR)$(SYSCONFDIR)/omniroute/omniroute.conf
uninstall:
	rm -f $(addprefix $(DESTDIR)$(SBINDIR)/,omniroute omniroute-ctl) $(addprefix $(DESTDIR)$(MANDIR)/man8/,$(MAN8)) \
		$(addprefix $(DESTDIR)$(MANDIR)/man5/,$(MAN5)) $(addprefix $(DESTDIR)$(MANDIR)/man7/,$(MAN7))
	@# A configuration that somebody has changed stays.
	! cmp -s etc/omniroute.conf $(DESTDIR)$(SYSCONFDIR)/omniroute/omniroute.conf || \
		rm -f $(DESTDIR)$(SYSCONFDIR)/omniroute/omniroute.conf
	test ! -d $(DESTDIR)$(SYSCONFDIR)/omniroute || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(SYSCONFDIR)/omniroute

clean:
	rm -rf build

.PHONY: all run check asan fuzz fuzzbin bench tidy format deps check-deps testbin install uninstall clean t/sdk/node_modules FORCE
.SECONDARY:
-include $(ALLOBJ:.o=.d) $(patsubst %.o,%.d,$(FUZZLIB))
