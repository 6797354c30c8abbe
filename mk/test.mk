# The two commands of the README, and the suites on their own.
.PHONY: demo test guest e2e check
demo:
	scripts/demo $(BUILD)

TEST_TOOLS := $(BUILD)/mcload $(BUILD)/impair $(BUILD)/netecho $(BUILD)/hold $(BUILD)/holdpeer \
	$(BUILD)/kernel.hostile.elf $(BUILD)/kernel.other.elf
$(BUILD)/netecho: tests/tools/netecho.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) $< -o $@

# The bad network.
$(BUILD)/impair: tests/tools/impair.c tests/tools/impair_link.c tests/tools/impair_link.h
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) $(filter %.c,$^) -o $@

# What measures stalls from outside (docs/measuring.md), and its other end.
$(BUILD)/hold: tests/tools/hold.c tests/tools/hold_record.c tests/tools/hold_wire.c
$(BUILD)/holdpeer: tests/tools/holdpeer.c tests/tools/hold_wire.c
$(BUILD)/hold $(BUILD)/holdpeer: tests/tools/hold_record.h tests/tools/hold_wire.h
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) $(filter %.c,$^) -o $@

# Another build of the same kernel, for upgrades.
$(BUILD)/kernel.other.elf: $(BUILD)/kernel.elf
	$(MAKE) --no-print-directory BUILD=$(BUILD)/other OPT=-O1 $(BUILD)/other/kernel.elf
	cp $(BUILD)/other/kernel.elf $@

test:
	scripts/install-packages test
	$(MAKE) --no-print-directory -j2 all unit-build fuzz-build $(TEST_TOOLS)
	scripts/run-tests --build $(BUILD)

guest: all
	scripts/run-tests --build $(BUILD) guest

e2e: all $(TEST_TOOLS)
	scripts/run-tests --build $(BUILD) e2e

check:
	clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	scripts/tidy
