/* The vDSO's pages, copied once out of the kernel image and shared by all programs read-only. */
#include "linux/vdso.h"

#include "core/user.h"

#define VDSO_MAX_PAGES 8

static struct page *pages[VDSO_MAX_PAGES];
static unsigned page_count;

void vdso_init(void)
{
    size_t size;
    const char *image = vdso_image(&size);
    page_count = (unsigned)DIV_ROUND_UP(size, PAGE_SIZE);
    ASSERT(page_count <= VDSO_MAX_PAGES);
    for (unsigned i = 0; i < page_count; i++) {
        pages[i] = page_alloc(0, PAGE_ZERO);
        ASSERT(pages[i]);
        memcpy(page_addr(pages[i]), image + i * PAGE_SIZE, MIN(PAGE_SIZE, size - i * PAGE_SIZE));
    }
}

static int map_fixed(struct mm *mm, uaddr_t at, uint64_t len, unsigned prot, const char *name)
{
    struct map_request m = {.addr = at,
                            .len = len,
                            .prot = prot,
                            .flags = REGION_HAS_ANON,
                            .fixed = true,
                            .noreplace = true,
                            .name = name};
    long res = mm_map(mm, &m);
    return res < 0 ? (int)res : 0;
}

int vdso_map(struct mm *mm)
{
    if (!page_count)
        return 0;
    uint64_t code = page_count * PAGE_SIZE;
    uaddr_t data = mm_find_gap(mm, code + PAGE_SIZE, false);
    if (!data)
        return -ENOMEM;
    uaddr_t at = data + PAGE_SIZE;
    int err = map_fixed(mm, data, PAGE_SIZE, PROT_R, "[vvar]");
    if (!err)
        err = map_fixed(mm, at, code, PROT_R | PROT_X, "[vdso]");
    if (!err)
        err = mm_map_page(mm, data, vdso_data_page(), PROT_R);
    for (unsigned i = 0; i < page_count && !err; i++)
        err = mm_map_page(mm, at + i * PAGE_SIZE, pages[i], PROT_R | PROT_X);
    mm->vdso = at;
    return err;
}
