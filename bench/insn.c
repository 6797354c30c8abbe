/*
 * A QEMU TCG plugin that counts guest instructions, split into kernel and user mode by the top
 * address bit (both guests keep their kernel in the upper half).
 *
 *   -plugin build/bench/insn.so,counts=PATH
 *
 * PATH is mapped shared: two 64-bit little-endian counters, user then kernel, that the benchmark
 * reads while the guest runs. A counter is raised inline by each translation block's length when
 * the block is entered: no callback, so that the guest is slowed down little; a block that ends
 * early through an exception is counted in full. Counters are not atomic: exact with one virtual
 * CPU.
 *
 * The declarations are the few we need of QEMU's plugin API, version 1 (QEMU 4.2 to 8.2), since
 * Debian packages no header for it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*cb)(qemu_plugin_id_t id,
                                                             struct qemu_plugin_tb *tb));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb,
                                                     enum qemu_plugin_op op, void *ptr,
                                                     uint64_t imm);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { USER, KERNEL, COUNTERS };
static uint64_t *counters;

static void count_block(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    int mode = qemu_plugin_tb_vaddr(tb) >> 63 ? KERNEL : USER;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &counters[mode],
                                             qemu_plugin_tb_n_insns(tb));
}

__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "counts=", 7) != 0) {
        fprintf(stderr, "insn plugin: usage: -plugin insn.so,counts=PATH\n");
        return -1;
    }
    size_t size = COUNTERS * sizeof(*counters);
    int fd = open(argv[0] + 7, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        perror(argv[0] + 7);
        return -1;
    }
    counters = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (counters == MAP_FAILED) {
        perror("mmap");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    return 0;
}
