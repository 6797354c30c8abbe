# The librettos command (build/librettos), and its code once more with sanitizers for the unit tests
# (build/host/libhost.a) and for the fuzzers (build/fuzz/libhost.a).

HOST_CFLAGS := -O2 -g -Wall -Wextra -Werror -std=gnu11
HOST_DEFS := -D_GNU_SOURCE -I . $(shell pkg-config --cflags slirp jansson 2>/dev/null) -MMD -MP
HOST_LIBS := $(shell pkg-config --libs slirp jansson 2>/dev/null || echo -lslirp -ljansson)
HOST_SRCS := $(wildcard host/*.c)
HOST_LIB_SRCS := $(filter-out host/main.c,$(HOST_SRCS))

.PHONY: host
host: $(BUILD)/librettos

$(BUILD)/host/cmd/%.o: host/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(HOST_DEFS) -c $< -o $@

$(BUILD)/librettos: $(HOST_SRCS:host/%.c=$(BUILD)/host/cmd/%.o)
	$(CC) $(HOST_CFLAGS) $^ $(HOST_LIBS) -o $@.new
	mv $@.new $@

$(BUILD)/host/san/%.o: host/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(HOST_DEFS) $(SANITIZE) -c $< -o $@

$(BUILD)/host/libhost.a: $(HOST_LIB_SRCS:host/%.c=$(BUILD)/host/san/%.o)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/fuzz/host/%.o: host/%.c
	@mkdir -p $(@D)
	$(CLANG) $(FUZZ_CFLAGS) $(HOST_DEFS) -c $< -o $@

$(BUILD)/fuzz/libhost.a: $(HOST_LIB_SRCS:host/%.c=$(BUILD)/fuzz/host/%.o)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/fuzz/fuzz_host_%: tests/fuzz/fuzz_host_%.c $(BUILD)/fuzz/libhost.a
	$(CLANG) $(FUZZ_CFLAGS) -fsanitize=fuzzer -I . -I host $< $(BUILD)/fuzz/libhost.a \
		$(HOST_LIBS) -o $@

-include $(HOST_SRCS:host/%.c=$(BUILD)/host/cmd/%.d) $(HOST_LIB_SRCS:host/%.c=$(BUILD)/host/san/%.d) \
	$(HOST_LIB_SRCS:host/%.c=$(BUILD)/fuzz/host/%.d)
