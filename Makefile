# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sinew. `make help` lists the targets. Settings:
#   O=DIR      output folder (build)            V=1        show the commands
#   SAN=address,undefined   sanitizers          DEBUG=1    -O0 -g
#   DESTDIR=, PREFIX=/usr/local                 SYSCONFDIR=/etc
# One make for the whole tree: a file that appears in a room is built, a header that changes
# rebuilds what includes it (compiler-made dependencies, BPF objects too).

O ?= build
ifneq ($(SAN),)
O := $(O)/san
endif
# Below this folder it has one name, however it was given: the compiler's dependencies name targets.
override O := $(patsubst $(CURDIR)/%,%,$(abspath $(O)))
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PKG_CONFIG ?= pkg-config
SCDOC ?= scdoc
VERSION := 0.1.0
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s%s\n'
endif

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# --- libraries --------------------------------------------------------------------------------
PKGS := libbpf libuv libmicrohttpd libcurl yyjson libfyaml libcap-ng libseccomp ldns
CFLAGS_PKGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
LIBS_sinewd := $(shell $(PKG_CONFIG) --libs libbpf libuv libmicrohttpd yyjson libfyaml libcap-ng libseccomp 2>/dev/null)
LIBS_sinewctl := $(shell $(PKG_CONFIG) --libs libcurl yyjson libfyaml 2>/dev/null)
LIBS_agent := $(shell $(PKG_CONFIG) --libs libuv libmicrohttpd libcurl yyjson libfyaml libcap-ng libseccomp ldns 2>/dev/null)
LIBS_all := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

# --- flags ------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
	-Wno-unused-parameter -Wno-missing-field-initializers -Werror=implicit-function-declaration \
	-Werror=incompatible-pointer-types -Werror=return-type
OPT := $(if $(DEBUG),-O0,-O2) -g
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
HARDEN := $(if $(SAN)$(DEBUG),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
CPPFLAGS_ALL := -D_GNU_SOURCE -DSINEW_VERSION='"$(VERSION)"' -DSINEW_SYSCONFDIR='"$(SYSCONFDIR)"' \
	-DSINEW_PREFIX='"$(PREFIX)"' -Iheaders -Iuserspace -I$(O)/gen $(CFLAGS_PKGS) $(CPPFLAGS)
CFLAGS_ALL := -std=gnu11 $(WARN) $(OPT) $(HARDEN) $(SANFLAGS) $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANFLAGS) $(LDFLAGS)

ARCH := $(shell uname -m | sed 's/x86_64/x86/;s/aarch64/arm64/')
# Where <asm/types.h> is. gcc is asked whatever CC is: clang answers with a triple that is no folder.
MULTIARCH := $(shell gcc -print-multiarch 2>/dev/null || $(CC) -print-multiarch 2>/dev/null)
BPF_CFLAGS := -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -g -O2 -std=gnu11 -Wall -Wextra \
	-Wno-unused-parameter -Wno-missing-field-initializers -Wno-unused-function \
	-Wno-compare-distinct-pointer-types -Iheaders -Ibpf $(if $(MULTIARCH),-isystem /usr/include/$(MULTIARCH))

# --- what there is to build ---------------------------------------------------------------------
# daemon, ctl and agent each have a main.c; everything else goes into one archive that tests link, too.
ROOMS := base model manifest kernel control daemon ctl net registry register dns export agent
SRC := $(foreach r,$(ROOMS),$(sort $(wildcard userspace/$(r)/*.c)))
MAINS := userspace/daemon/main.c userspace/ctl/main.c userspace/agent/main.c
OBJ_ROOM = $(patsubst %.c,$(O)/%.o,$(filter-out $(MAINS),$(foreach r,$(1),$(wildcard userspace/$(r)/*.c))))
HOOKS := $(sort $(wildcard bpf/hook/*.bpf.c))
HOOK_OBJ := $(patsubst %.c,$(O)/%.o,$(HOOKS))
SKEL := $(O)/gen/sinew.skel.h
MAN := $(patsubst userspace/man/%.scd,$(O)/man/%,$(wildcard userspace/man/*.scd))

.PHONY: all help
AGENT := $(and $(wildcard userspace/net/fetch.c),$(wildcard userspace/registry/registry.c),$(wildcard userspace/registry/merge.c),$(O)/sinew-agent)
all: $(O)/sinewd $(O)/sinewctl $(AGENT) $(MAN) ## build the programs and man pages

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile tests/*.mk | expand -t 16

# --- BPF: objects -> one object -> one skeleton -------------------------------------------------
$(O)/bpf/%.bpf.o: bpf/%.bpf.c Makefile
	$(say) BPF $<
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@

$(O)/gen/sinew.bpf.o: $(HOOK_OBJ)
	$(say) GEN $@
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen object $@ $^

$(SKEL): $(O)/gen/sinew.bpf.o
	$(say) SKEL $@
	$(Q)$(BPFTOOL) gen skeleton $< name sinew_bpf > $@

# --- user space ---------------------------------------------------------------------------------
$(O)/userspace/%.o: userspace/%.c Makefile
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(patsubst %.c,$(O)/%.o,$(wildcard userspace/kernel/*.c)): $(SKEL)

# The OpenAPI document is served as JSON; it is written as YAML, for people.
$(O)/gen/openapi.json: userspace/control/openapi.yaml scripts/yaml2json
	$(say) GEN $@
	@mkdir -p $(@D)
	$(Q)scripts/yaml2json $< > $@
$(O)/gen/openapi.inc: $(O)/gen/openapi.json
	$(Q){ od -An -v -tx1 $<; echo 00; } | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g' > $@
$(O)/userspace/control/openapi.o: $(O)/gen/openapi.inc

$(O)/gen/revision.h: FORCE
	@mkdir -p $(@D)
	@echo '#define SINEW_REVISION "$(REVISION)"' | cmp -s - $@ || echo '#define SINEW_REVISION "$(REVISION)"' > $@
$(patsubst %.c,$(O)/%.o,$(wildcard userspace/base/version.c)): $(O)/gen/revision.h
.PHONY: FORCE

# The programs and the tests link what they need out of this one; what a room may call is checked
# by `make check` (includes), so sinewctl draws in no libbpf.
$(O)/sinew.a: $(call OBJ_ROOM,$(ROOMS))
	$(say) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/sinewd: $(O)/userspace/daemon/main.o $(O)/sinew.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_sinewd) -o $@

$(O)/sinewctl: $(O)/userspace/ctl/main.o $(O)/sinew.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_sinewctl) -o $@

$(O)/sinew-agent: $(O)/userspace/agent/main.o $(O)/sinew.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_agent) -o $@

$(O)/man/%: userspace/man/%.scd
	$(say) MAN $@
	@mkdir -p $(@D)
	$(Q)$(SCDOC) < $< > $@

# --- install ------------------------------------------------------------------------------------
.PHONY: install uninstall clean format
install: all ## install below DESTDIR/PREFIX
	install -D -m 0755 $(O)/sinewd $(DESTDIR)$(PREFIX)/sbin/sinewd
	install -D -m 0755 $(O)/sinewctl $(DESTDIR)$(PREFIX)/bin/sinewctl
	$(if $(AGENT),install -D -m 0755 $(AGENT) $(DESTDIR)$(PREFIX)/sbin/sinew-agent)
	@for m in $(MAN); do s=$${m##*.}; \
		install -D -m 0644 $$m $(DESTDIR)$(PREFIX)/share/man/man$$s/$${m##*/} || exit 1; done
	install -d -m 0755 $(DESTDIR)$(PREFIX)/lib/systemd/system
	@for u in sinewd sinew-agent; do sed 's|/usr/local/|$(PREFIX)/|' deploy/systemd/$$u.service \
		> $(DESTDIR)$(PREFIX)/lib/systemd/system/$$u.service || exit 1; done
	install -D -m 0644 deploy/systemd/sinew.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/sinew.conf
	install -D -m 0644 deploy/systemd/sinew.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/sinew.conf
	install -d -m 0755 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(O)/sinewctl completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sinewctl

uninstall: ## remove what install put there (first: sinewctl uninstall)
	rm -f $(DESTDIR)$(PREFIX)/sbin/sinewd $(DESTDIR)$(PREFIX)/bin/sinewctl $(DESTDIR)$(PREFIX)/sbin/sinew-agent \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/sinewctl \
		$(addprefix $(DESTDIR)$(PREFIX)/lib/,systemd/system/sinewd.service systemd/system/sinew-agent.service \
		sysusers.d/sinew.conf tmpfiles.d/sinew.conf)
	@for m in $(MAN); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$${m##*/}; done

clean: ## remove build/
	rm -rf $(O)

format: ## apply .clang-format
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

include $(wildcard tests/tests.mk)
-include $(shell find $(O) -name '*.d' 2>/dev/null)
