# The two commands of the README, and the suites on their own.
.PHONY: demo test guest e2e check
demo:
	scripts/demo $(BUILD)

TEST_TOOLS := $(BUILD)/mcload $(BUILD)/impair $(BUILD)/netecho $(BUILD)/kernel.hostile.elf
$(BUILD)/impair $(BUILD)/netecho: $(BUILD)/%: tests/tools/%.c
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) $< -o $@

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
