# LibrettOS: `make` builds the kernel and the librettos command; `make help` lists the targets.

BUILD := build
# V=1 shows the commands.
$(V).SILENT:
CC := gcc
CLANG := clang
OPT ?= -O2

.PHONY: all kernel host unit fuzz fuzz-build clean help
all: kernel host

help:
	@echo "make            build the kernel image and the librettos command"
	@echo "make demo       install what is missing, build, show nginx in a domain, then stalls under load"
	@echo "make test       all tests; ends with one line 'N passed, N failed'"
	@echo "make unit       unit tests on the host, with sanitizers"
	@echo "make guest      tests inside a domain"
	@echo "make e2e        real programs in domains, real clients"
	@echo "make fuzz       every fuzzer for a bounded time (FUZZ_SECONDS, default 10)"
	@echo "make bench      side-by-side comparison with a Linux guest; over bad networks too with"
	@echo "                BENCH_ARGS=\"--rows netem\" (half an hour)"
	@echo "make check      clang-format and clang-tidy"
	@echo "make clean"

WARN := -Wall -Wextra -Werror
KERNEL_INCLUDES := -I kernel -I kernel/arch/x86_64/include -I .
UAPI := -isystem /usr/include/x86_64-linux-gnu -isystem /usr/include

# --- the kernel image ----------------------------------------------------------------------------

KERNEL_DIRS := kernel/arch/x86_64 kernel/core kernel/drivers kernel/net kernel/fs kernel/linux \
	kernel/linux/x86_64 kernel/channel kernel/servers
KERNEL_SRCS := $(wildcard $(addsuffix /*.c,$(KERNEL_DIRS)) $(addsuffix /*.S,$(KERNEL_DIRS)))
KERNEL_OBJS := $(patsubst kernel/%,$(BUILD)/kernel/%.o,$(KERNEL_SRCS))
KERNEL_CFLAGS := -std=gnu11 $(OPT) -g $(WARN) -ffreestanding -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) $(UAPI) $(KERNEL_INCLUDES) \
	-mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pie -fno-pic -fno-stack-protector \
	-fno-omit-frame-pointer -fno-strict-aliasing -fno-asynchronous-unwind-tables \
	-fno-delete-null-pointer-checks -fcf-protection=none -ffunction-sections -fdata-sections \
	-D__KERNEL_IMAGE__ -MMD -MP
KERNEL_LDFLAGS := -nostdlib -static $(if $(findstring clang,$(CC)),,-no-pie) -Wl,-z,max-page-size=4096 -Wl,--build-id=none \
	-Wl,--gc-sections -T kernel/kernel.lds

kernel: $(BUILD)/kernel.elf

$(BUILD)/kernel/%.c.o: kernel/%.c
	@mkdir -p $(@D)
	$(CC) $(KERNEL_CFLAGS) -c $< -o $@

$(BUILD)/kernel/%.S.o: kernel/%.S
	@mkdir -p $(@D)
	$(CC) $(KERNEL_CFLAGS) -D__ASSEMBLER__ -c $< -o $@

# mk/symbols.mk and mk/vdso.mk may add to KERNEL_OBJS or replace the link step.
-include $(wildcard mk/*.mk)

ifndef KERNEL_LINK_DEFINED
$(BUILD)/kernel.elf: $(KERNEL_OBJS) kernel/kernel.lds
	$(CC) $(KERNEL_LDFLAGS) $(KERNEL_OBJS) -o $@
endif

# --- the anykernel library: the same floors on the host, for tests and fuzzers ----------------------

ANY_SRCS := $(wildcard kernel/net/*.c kernel/fs/*.c kernel/channel/*.c kernel/servers/*.c) \
	$(filter-out kernel/drivers/pci_host.c,$(wildcard kernel/drivers/*.c)) \
	$(wildcard kernel/core/rbtree.c kernel/core/bootargs.c kernel/core/siphash.c kernel/core/text.c kernel/core/recheck.c kernel/linux/elf.c) \
	$(wildcard tests/floor/*.c)
ANY_INCLUDES := -I tests/floor/include -I tests/floor -I kernel -I .
ANY_CFLAGS := -std=gnu11 -g $(WARN) -fno-strict-aliasing $(ANY_INCLUDES) -MMD -MP
SANITIZE := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

$(BUILD)/host/any/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ANY_CFLAGS) $(SANITIZE) -c $< -o $@

$(BUILD)/host/libanykernel.a: $(ANY_SRCS:%.c=$(BUILD)/host/any/%.o)
	@rm -f $@
	ar rcs $@ $^

# --- unit tests: each tests/unit/test_*.c is a cmocka program ---------------------------------------
# test_host_* test the librettos command; the others link the anykernel library. Other files in
# tests/unit are helpers that every anykernel test is linked with.

UNIT_HELPERS := $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c))
UNIT_SRCS := $(wildcard tests/unit/test_*.c)
UNIT_HOST := $(filter tests/unit/test_host_%,$(UNIT_SRCS))
UNIT_ANY := $(filter-out $(UNIT_HOST),$(UNIT_SRCS))
UNIT_BINS := $(UNIT_SRCS:tests/unit/%.c=$(BUILD)/unit/%)

$(BUILD)/unit/test_host_%: tests/unit/test_host_%.c $(BUILD)/host/libhost.a
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -g $(WARN) $(SANITIZE) -I . -I host $< $(BUILD)/host/libhost.a $(HOST_LIBS) -lcmocka -o $@

$(UNIT_ANY:tests/unit/%.c=$(BUILD)/unit/%): $(BUILD)/unit/%: tests/unit/%.c $(UNIT_HELPERS) $(BUILD)/host/libanykernel.a
	@mkdir -p $(@D)
	$(CC) $(ANY_CFLAGS) -MF $@.d $(SANITIZE) -I tests/unit $< $(UNIT_HELPERS) $(BUILD)/host/libanykernel.a -lcmocka -o $@

.PHONY: unit-build
unit-build: $(UNIT_BINS)
unit: unit-build
	scripts/run-tests --build $(BUILD) unit

# --- fuzzers: each tests/fuzz/fuzz_*.c is a libFuzzer target ----------------------------------------

FUZZ_SECONDS ?= 10
FUZZ_CFLAGS := -std=gnu11 -g -O1 -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined -fno-strict-aliasing $(WARN)
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_HOST := $(filter tests/fuzz/fuzz_host_%,$(FUZZ_SRCS))
FUZZ_ANY := $(filter-out $(FUZZ_HOST),$(FUZZ_SRCS))
FUZZ_BINS := $(FUZZ_SRCS:tests/fuzz/%.c=$(BUILD)/fuzz/%)

$(BUILD)/fuzz/any/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) $(ANY_INCLUDES) -MMD -MP -c $< -o $@

$(BUILD)/fuzz/libanykernel.a: $(ANY_SRCS:%.c=$(BUILD)/fuzz/any/%.o)
	@rm -f $@
	ar rcs $@ $^

$(FUZZ_ANY:tests/fuzz/%.c=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/fuzz/libanykernel.a
	$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer $(ANY_INCLUDES) $< $(BUILD)/fuzz/libanykernel.a -o $@

fuzz-build: $(FUZZ_BINS)
fuzz: fuzz-build
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/run-tests --build $(BUILD) fuzz

-include $(UNIT_ANY:tests/unit/%.c=$(BUILD)/unit/%.d) $(KERNEL_OBJS:.o=.d) $(ANY_SRCS:%.c=$(BUILD)/host/any/%.d) $(ANY_SRCS:%.c=$(BUILD)/fuzz/any/%.d)

clean:
	rm -rf $(BUILD)
