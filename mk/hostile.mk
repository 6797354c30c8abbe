# The hostile domain of tests/hostile: the kernel's own objects, with the start of the channel's path wrapped.
$(BUILD)/hostile.o: tests/hostile/hostile.c
	@mkdir -p $(@D)
	$(CC) $(KERNEL_CFLAGS) -c $< -o $@

$(BUILD)/kernel.hostile.elf: $(BUILD)/hostile.o $(KERNEL_OBJS) $(BUILD)/symbols.o kernel/kernel.lds
	$(CC) $(KERNEL_LDFLAGS) -Wl,--wrap=channel_path_start $(KERNEL_OBJS) $(BUILD)/symbols.o $< -o $@

-include $(BUILD)/hostile.d
