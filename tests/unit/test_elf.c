/* The ELF parser: what it accepts, and the many ways a file can lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/elf-em.h>
#include <linux/elf.h>

#include "linux/elf_image.h"

#define FILE_SIZE 0x4000
#define MAX_VA 0x7ffffffff000ull

struct image {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[4];
    char rest[FILE_SIZE - sizeof(Elf64_Ehdr) - 4 * sizeof(Elf64_Phdr)];
};

/* Text at 0, data at 0x3000 with a bss, an interpreter and a stack header. */
static struct image good(void)
{
    struct image m = {0};
    memcpy(m.eh.e_ident, ELFMAG, SELFMAG);
    m.eh.e_ident[EI_CLASS] = ELFCLASS64;
    m.eh.e_ident[EI_DATA] = ELFDATA2LSB;
    m.eh.e_type = ET_DYN;
    m.eh.e_machine = EM_X86_64;
    m.eh.e_entry = 0x1000;
    m.eh.e_phoff = sizeof(Elf64_Ehdr);
    m.eh.e_phentsize = sizeof(Elf64_Phdr);
    m.eh.e_phnum = 4;
    m.ph[0] = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_X,
                           .p_filesz = 0x1800,
                           .p_memsz = 0x1800,
                           .p_align = 0x1000};
    m.ph[1] = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = PF_R | PF_W,
                           .p_offset = 0x2010,
                           .p_vaddr = 0x3010,
                           .p_filesz = 0x100,
                           .p_memsz = 0x5000,
                           .p_align = 0x200000};
    m.ph[2] = (Elf64_Phdr){.p_type = PT_INTERP, .p_offset = 0x1000, .p_filesz = 28};
    m.ph[3] = (Elf64_Phdr){.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W};
    return m;
}

static int parse(const struct image *m, struct elf_info *info)
{
    int err = elf_parse_header(m, sizeof(*m), FILE_SIZE, info);
    return err ? err : elf_parse_segments(m->ph, FILE_SIZE, MAX_VA, info);
}

static void accepts_a_position_independent_executable(void **state)
{
    (void)state;
    struct image m = good();
    struct elf_info i;
    assert_int_equal(parse(&m, &i), 0);
    assert_true(i.shared);
    assert_int_equal(i.nsegs, 2);
    assert_int_equal(i.entry, 0x1000);
    assert_int_equal(i.phdr_vaddr, 64);
    assert_int_equal(i.low, 0);
    assert_int_equal(i.high, 0x9000);
    assert_int_equal(i.align, 0x200000);
    assert_int_equal(i.interp_len, 28);
    assert_false(i.exec_stack);
    assert_int_equal(i.segs[0].prot, 5);
    assert_int_equal(i.segs[1].prot, 3);
}

#define REFUSES(what, change)                                                                      \
    static void refuses_##what(void **state)                                                       \
    {                                                                                              \
        (void)state;                                                                               \
        struct image m = good();                                                                   \
        struct elf_info i;                                                                         \
        change;                                                                                    \
        assert_int_equal(parse(&m, &i), -ENOEXEC);                                                 \
    }

REFUSES(bad_magic, m.eh.e_ident[0] = 'x')
REFUSES(elf32, m.eh.e_ident[EI_CLASS] = ELFCLASS32)
REFUSES(another_machine, m.eh.e_machine = EM_AARCH64)
REFUSES(object_files, m.eh.e_type = ET_REL)
REFUSES(no_headers, m.eh.e_phnum = 0)
REFUSES(too_many_headers, m.eh.e_phnum = 65535)
REFUSES(headers_behind_the_end, m.eh.e_phoff = FILE_SIZE - 8)
REFUSES(headers_that_wrap, m.eh.e_phoff = UINT64_MAX - 8)
REFUSES(odd_header_size, m.eh.e_phentsize = 32)
REFUSES(segment_behind_the_end, m.ph[1].p_filesz = FILE_SIZE)
REFUSES(segment_offset_that_wraps, m.ph[1].p_offset = UINT64_MAX - 0xfef)
REFUSES(kernel_addresses, m.ph[1].p_vaddr = 0xffffffff80000010ull)
REFUSES(memory_size_that_wraps, m.ph[1].p_memsz = UINT64_MAX)
REFUSES(memory_smaller_than_file, m.ph[1].p_memsz = 1)
REFUSES(unaligned_segment, m.ph[1].p_offset++)
REFUSES(alignment_not_a_power_of_two, m.ph[1].p_align = 0x3000)
REFUSES(overlapping_segments, m.ph[1].p_vaddr = 0x1010)
REFUSES(interpreter_behind_the_end, m.ph[2].p_offset = FILE_SIZE - 4)
REFUSES(empty_interpreter, m.ph[2].p_filesz = 0)
REFUSES(no_segments, m.ph[0].p_type = m.ph[1].p_type = PT_NOTE)

static void refuses_a_short_file(void **state)
{
    (void)state;
    struct image m = good();
    struct elf_info i;
    for (size_t n = 0; n < sizeof(Elf64_Ehdr); n++)
        assert_int_equal(elf_parse_header(&m, n, n, &i), -ENOEXEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_a_position_independent_executable),
        cmocka_unit_test(refuses_bad_magic),
        cmocka_unit_test(refuses_elf32),
        cmocka_unit_test(refuses_another_machine),
        cmocka_unit_test(refuses_object_files),
        cmocka_unit_test(refuses_no_headers),
        cmocka_unit_test(refuses_too_many_headers),
        cmocka_unit_test(refuses_headers_behind_the_end),
        cmocka_unit_test(refuses_headers_that_wrap),
        cmocka_unit_test(refuses_odd_header_size),
        cmocka_unit_test(refuses_segment_behind_the_end),
        cmocka_unit_test(refuses_segment_offset_that_wraps),
        cmocka_unit_test(refuses_kernel_addresses),
        cmocka_unit_test(refuses_memory_size_that_wraps),
        cmocka_unit_test(refuses_memory_smaller_than_file),
        cmocka_unit_test(refuses_unaligned_segment),
        cmocka_unit_test(refuses_alignment_not_a_power_of_two),
        cmocka_unit_test(refuses_overlapping_segments),
        cmocka_unit_test(refuses_interpreter_behind_the_end),
        cmocka_unit_test(refuses_empty_interpreter),
        cmocka_unit_test(refuses_no_segments),
        cmocka_unit_test(refuses_a_short_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
