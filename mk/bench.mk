# The benchmark's own pieces: the instruction counter, the memcached load, the Linux guest.
.PHONY: bench
$(BUILD)/bench/insn.so: bench/insn.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) -fPIC -shared $< -o $@

$(BUILD)/mcload: tests/tools/mcload.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) $< -o $@

$(BUILD)/bench/stream: bench/stream.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) -pthread $< -o $@

bench: all $(BUILD)/bench/insn.so $(BUILD)/bench/stream $(BUILD)/impair $(BUILD)/mcload $(BUILD)/hold $(BUILD)/holdpeer $(BUILD)/kernel.other.elf
	scripts/install-packages bench
	bench/linux-guest/build.sh $(abspath $(BUILD))/bench/linux
	/usr/bin/python3 bench/bench.py --build $(BUILD) $(BENCH_ARGS)
