# The vDSO: a small shared object with its own linker script, embedded in the kernel image.

VDSO_DIR := kernel/arch/x86_64/vdso
VDSO_CFLAGS := -std=gnu11 -O2 $(WARN) -ffreestanding -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) -I kernel -I kernel/arch/x86_64/include \
	-fPIC -fvisibility=hidden -fno-stack-protector -fcf-protection=none \
	-fasynchronous-unwind-tables -fno-builtin -mno-sse -fno-jump-tables

$(BUILD)/vdso.so: $(VDSO_DIR)/vdso.c $(VDSO_DIR)/vdso.lds kernel/core/clock.h \
		kernel/arch/x86_64/include/arch/clock.h
	@mkdir -p $(@D)
	$(CC) $(VDSO_CFLAGS) -shared -nostdlib -Wl,-soname=linux-vdso.so.1 -Wl,--hash-style=both \
		-Wl,--build-id=none -Wl,-Bsymbolic -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack \
		-Wl,--eh-frame-hdr -T $(VDSO_DIR)/vdso.lds $< -o $@
	strip --strip-unneeded $@

$(BUILD)/kernel/arch/x86_64/vdso_image.S.o: $(BUILD)/vdso.so
$(BUILD)/kernel/arch/x86_64/vdso_image.S.o: KERNEL_CFLAGS += -DVDSO_PATH='"$(BUILD)/vdso.so"'
