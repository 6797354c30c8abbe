# The network server of tests/faulty: the kernel's own objects, with the doorbell of its table wrapped.
$(BUILD)/faulty.o: tests/faulty/faulty.c
	@mkdir -p $(@D)
	$(CC) $(KERNEL_CFLAGS) -c $< -o $@

$(BUILD)/kernel.faulty.elf: $(BUILD)/faulty.o $(KERNEL_OBJS) $(BUILD)/symbols.o kernel/kernel.lds
	$(CC) $(KERNEL_LDFLAGS) -Wl,--wrap=net_server_table_rung $(KERNEL_OBJS) $(BUILD)/symbols.o $< -o $@

-include $(BUILD)/faulty.d
