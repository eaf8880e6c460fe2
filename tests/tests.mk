# SPDX-License-Identifier: GPL-2.0-or-later
#
# The rings of tests, cheapest first; included by the Makefile. A file that appears in a ring's
# folder belongs to it:
#   tests/RING/test_*.c   a cmocka program, linked with the folder's helpers, tests/harness/*.c and
#                         sinew.a; tests/bpf/*.bpf.c becomes $(O)/gen/tests/NAME.skel.h
#   tests/RING/NAME.c     with a main: a program that tests start, $(O)/tests/RING/NAME; else a helper
#   tests/RING/test_*.py  pytest         tests/RING/test_*.sh   bash that speaks TAP
#   tests/fuzz/fuzz_X.c   libFuzzer; tests/fuzz/corpus/X/* is its corpus and, replayed, part of unit
#   tests/machine/*.py    pytest on a machine with systemd, in QEMU: part of kernels
#   tests/core/test_*.c   the decision core, compiled for user space: part of unit
# Each ring ends with `RING: N passed, N failed, N skipped`. unit, scenario and fuzz are built with
# sanitizers, in a folder of their own below $(O). FUZZ_SECONDS=10 is the time for each fuzzer.

FUZZ_SECONDS ?= 10
TEST_JOBS ?= 2
TEST_SAN ?= address,undefined
PYTHON := /usr/bin/python3

RING_C = $(sort $(wildcard tests/$(1)/test_*.c))
RING_BIN = $(patsubst %.c,$(O)/%,$(call RING_C,$(1)))
RING_DEPS = $(call RING_BIN,$(1)) $(patsubst %.c,$(O)/%,$(RING_MAIN_$(1)))
RING_SCRIPT = $(sort $(wildcard tests/$(1)/test_*.py tests/$(1)/test_*.sh))
RING_RUN = SINEW_BUILD=$(abspath $(O)) PYTHONPATH=tests tests/harness/run_ring
HARNESS_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tests/harness/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

# --- programs -----------------------------------------------------------------------------------
$(O)/tests/%.o: tests/%.c Makefile tests/tests.mk
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests -I$(O)/gen/tests $(CFLAGS_ALL) -Werror=unused-function \
		-DTESTS_DIR='"$(abspath tests)"' -MMD -MP -c $< -o $@

# Tests look into maps and programs, too. What is in the skeleton is in their dependency files later.
$(patsubst %.c,$(O)/%.o,$(filter-out %.bpf.c,$(wildcard tests/*/*.c))): | $(SKEL)

$(O)/tests/control/test_route.o: $(O)/gen/openapi.inc

# Within a ring every program links the same helpers: the .c files without a main and without a prefix.
define ring_rules
RING_OTHER_$(1) := $$(filter-out tests/$(1)/test_% %.bpf.c,$$(wildcard tests/$(1)/*.c))
RING_MAIN_$(1) := $$(if $$(RING_OTHER_$(1)),$$(shell grep -l '^int main.[iv]' $$(RING_OTHER_$(1))))
RING_HELP_$(1) := $$(patsubst %.c,$$(O)/%.o,$$(filter-out $$(RING_MAIN_$(1)),$$(RING_OTHER_$(1))))
$$(O)/tests/$(1)/%: $$(O)/tests/$(1)/%.o $$(RING_HELP_$(1)) $$(HARNESS_OBJ) $$(O)/sinew.a
	$$(say) LD $$@
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$^ $$(LIBS_all) -lcmocka -lm -lpthread -o $$@
endef
RINGS_C := unit core scenario bpf control ctl integration peers chaos
$(foreach r,$(RINGS_C),$(eval $(call ring_rules,$(r))))

# The decision core in user space: its stages over maps of the test's own; part of the unit ring.
# tests/core/bpf/ stands in for libbpf's headers of the programs.
$(patsubst %.c,$(O)/%.o,$(wildcard tests/core/*.c)): CPPFLAGS_ALL := -Itests/core $(CPPFLAGS_ALL) -Ibpf
$(patsubst %.c,$(O)/%.o,$(wildcard tests/core/*.c)): CFLAGS_ALL += -Wno-missing-prototypes -Wno-sign-compare

$(addprefix $(O)/tests/,integration/uring_connect integration/datagrams peers/uring_http): LIBS_all += -luring

$(O)/tests/bpf/%.bpf.o: tests/bpf/%.bpf.c Makefile
	$(say) BPF $<
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Itests -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@
$(O)/gen/tests/%.skel.h: $(O)/tests/bpf/%.bpf.o
	$(say) SKEL $@
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@
TEST_SKEL := $(patsubst tests/bpf/%.bpf.c,$(O)/gen/tests/%.skel.h,$(wildcard tests/bpf/*.bpf.c))
$(patsubst %.c,$(O)/%.o,$(filter-out %.bpf.c,$(wildcard tests/bpf/*.c))): $(TEST_SKEL)
$(O)/tests/integration/swap.o: $(SKEL)

$(O)/tests/fuzz/replay_%: $(O)/tests/fuzz/fuzz_%.o $(O)/tests/fuzz/replay.o $(O)/sinew.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LIBS_all) -lm -lpthread -o $@

$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(O)/sinew.a
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer $^ $(LIBS_all) -lm -lpthread -o $@

# Two builds of the decision core in one program.
$(O)/tests/bpf/test_core: $(O)/tests/core/kernel.o $(O)/tests/core/user.o

# --- rings --------------------------------------------------------------------------------------
.PHONY: test check unit unit-run scenario scenario-run fuzz fuzz-run bpf control ctl integration peers chaos kernels \
	analyze abi-digest
test: ## every ring: scripts/test
	scripts/test

check: $(O)/gen/sinew.bpf.o $(O)/sinewctl $(MAN) ## format, include rules, names, sizes, layouts, scripts, man pages
	@O=$(O) CLANG=$(CLANG) BPFTOOL=$(BPFTOOL) CC="$(CC)" tests/check/run.sh

analyze: ## gcc -fanalyzer over user space (slow, for reading)
	@O=$(O) CC="$(CC)" tests/check/analyze.sh
analyze: export CPPFLAGS_ALL := $(CPPFLAGS_ALL)

abi-digest: $(O)/gen/sinew.bpf.o ## write down the layouts of headers/ after an intended ABI change
	@O=$(O) BPFTOOL=$(BPFTOOL) tests/check/abi.sh --update

unit: ## one cmocka program per file, and the fuzzers' corpora, under ASan and UBSan
	@$(MAKE) --no-print-directory SAN=$(TEST_SAN) O=$(O)/san unit-run
unit-run: $(call RING_DEPS,unit) $(call RING_DEPS,core) $(FUZZERS:fuzz_%=$(O)/tests/fuzz/replay_%)
	@$(RING_RUN) unit --jobs $(TEST_JOBS) $(call RING_BIN,unit) $(call RING_BIN,core) $(call RING_SCRIPT,unit) \
		$(foreach f,$(FUZZERS:fuzz_%=%),$(O)/tests/fuzz/replay_$(f)$(addprefix $(comma),$(wildcard tests/fuzz/corpus/$(f))))
comma := ,

scenario: ## the decision core against scripted clocks and answers
	@$(MAKE) --no-print-directory SAN=$(TEST_SAN) O=$(O)/san scenario-run
scenario-run: $(call RING_DEPS,scenario)
	@$(RING_RUN) scenario --jobs $(TEST_JOBS) $(call RING_BIN,scenario) $(call RING_SCRIPT,scenario)

fuzz: ## every decoder under libFuzzer for FUZZ_SECONDS each
	@$(MAKE) --no-print-directory CC=$(CLANG) SAN=fuzzer-no-link,$(TEST_SAN) O=$(O)/fuzz fuzz-run
fuzz-run: $(FUZZERS:%=$(O)/tests/fuzz/%)
	@$(RING_RUN) fuzz --jobs $(TEST_JOBS) --timeout $$(($(FUZZ_SECONDS) + 120)) \
		$(foreach f,$(FUZZERS),tests/harness/fuzz.sh$(comma)$(O)/tests/fuzz/$(f)$(comma)$(FUZZ_SECONDS))

bpf: all $(call RING_DEPS,bpf) ## (root) stages and maps by test runs in the kernel
	@$(RING_RUN) bpf --root $(call RING_BIN,bpf) $(call RING_SCRIPT,bpf)

control: all $(call RING_DEPS,control) ## the control API over its sockets
	@$(MAKE) --no-print-directory SAN=$(TEST_SAN) O=$(O)/san $(O)/san/tests/control/fake_control \
		$(O)/san/tests/control/fetch_one
	@$(RING_RUN) control $(call RING_BIN,control) $(call RING_SCRIPT,control)

ctl: all $(call RING_DEPS,ctl) ## the command line, as a user types it
	@$(RING_RUN) ctl $(call RING_BIN,ctl) $(call RING_SCRIPT,ctl)

integration: all $(call RING_DEPS,integration) ## (root) real sockets in sandboxes: connects, kills, upgrades
	@$(RING_RUN) integration --root --timeout 1200 $(call RING_BIN,integration) $(call RING_SCRIPT,integration)

# Most tests of this ring wait for seconds that a registry, an agent or a fake takes, so that many run at once. Those that take
# longest begin first, in pieces; those that measure have the machine for themselves. Six real servers beside each other make
# some test late now and then: what fails is tried once more, alone, and told of either way.
PEERS_WORKERS ?= 6
PEERS_AGAIN ?= 3
PEERS_FIRST := $(patsubst %,test_%,registry_loss.py=4 register.py=3 dns.py demo_registry.py servers.py kubernetes.py \
	eureka.py eureka_look.py srv_fake.py=2 etcd_fake.py=3 kubernetes_fake.py=3 consul_fake.py=5 record.py etcd.py eureka_fake.py=2 \
	register_chain.py register_pods.py register_pods_fake.py)
PEERS_ALONE := $(patsubst %,test_%,register.py::test_what_listens_is_there_and_what_does_not_is_gone_within_a_second \
	consul_agent.py::test_how_long_a_change_takes_to_be_in_the_map etcd.py::test_a_change_is_seen_within_50_ms \
	consul_agent.py::test_a_hundred_changes_a_second_are_followed_to_the_right_end \
	docker.py::test_an_event_is_told_within_a_tenth_of_a_second docker.py::test_containers_are_services_of_a_real_sinewd \
	register_chain.py::test_a_process_that_listens_is_registered_and_a_killed_one_is_gone \
	kubernetes_agent.py::test_a_change_is_in_sinewd_soon kubernetes_agent.py::test_ten_thousand_services)
# SINEW_PEERS_BUILD=1, as scripts/test --peers sets it, builds servers that are missing: a test tells which could not be built.
peers: all $(call RING_DEPS,peers) $(O)/tests/control/dns_serve ## (root) real clients and servers
	@[ -z "$(SINEW_PEERS_BUILD)" ] || tests/peers/build/run || true
	@$(MAKE) --no-print-directory SAN=$(TEST_SAN) O=$(O)/san $(O)/san/tests/peers/follow
	@$(RING_RUN) peers --root --timeout 900 --workers $(PEERS_WORKERS) --again $(PEERS_AGAIN) $(addprefix --first ,$(PEERS_FIRST)) \
		$(addprefix --alone ,$(PEERS_ALONE)) $(call RING_BIN,peers) $(call RING_SCRIPT,peers)

# scripts/test gives it a minute. CHAOS_SEED=N repeats a run.
CHAOS_SECONDS ?= 600
export CHAOS_SECONDS CHAOS_SEED
chaos: all $(call RING_DEPS,chaos) ## (root) backends, daemons, links, interfaces die at random; every connect is booked
	@$(RING_RUN) chaos --root --timeout $$(($(CHAOS_SECONDS) + 300)) $(call RING_BIN,chaos) $(call RING_SCRIPT,chaos)

# Kernels of KERNELS (Debian suites) that the programs must load and work on; scripts/vm says what runs there. Then the units,
# on a machine of this system's suite.
KERNELS ?= bookworm trixie
kernels: all $(call RING_DEPS,bpf) ## the programs on other kernels, the units under systemd, in virtual machines
	@O=$(O) tests/harness/kernels.sh $(KERNELS)

-include $(wildcard tests/bench/bench.mk)
