# SPDX-License-Identifier: GPL-2.0-or-later
#
# The bench: its programs, its run, and the README's table. Included by tests.mk.
#   BENCH_ARGS="--quick"     anything else that tests/bench/run --help lists

BENCH_BIN := $(addprefix $(O)/tests/bench/,load serve storm minimal watch decode)

$(O)/tests/bench/minimal.bpf.o: tests/bench/minimal.bpf.c tests/bench/minimal.h Makefile
	$(say) BPF $<
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@
$(O)/gen/tests/bench/minimal.skel.h: $(O)/tests/bench/minimal.bpf.o
	$(say) SKEL $@
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name minimal > $@
$(O)/tests/bench/minimal.o: $(O)/gen/tests/bench/minimal.skel.h

# Only what each needs: these run beside what is measured.
$(O)/tests/bench/load $(O)/tests/bench/storm $(O)/tests/bench/watch: $(O)/tests/bench/histogram.o
$(O)/tests/bench/decode: $(O)/sinew.a
$(BENCH_BIN): $(O)/tests/bench/%: $(O)/tests/bench/%.o
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(shell $(PKG_CONFIG) --libs libbpf yyjson) -o $@

.PHONY: bench bench-names bench-tools bench-readme
bench-tools: $(BENCH_BIN)
bench: all bench-tools ## (root) Sinew beside direct, nftables, iptables, HAProxy, nginx, Envoy: tests/bench/run
	@SINEW_BUILD=$(abspath $(O)) tests/bench/run $(BENCH_ARGS)
bench-names: all ## (root) how many questions sinew-agent answers a second, and how fast: tests/bench/names.py
	@SINEW_BUILD=$(abspath $(O)) tests/bench/names.py $(BENCH_ARGS)
bench-readme: ## write the README's table from tests/bench/latest.json
	@tests/bench/readme.py
