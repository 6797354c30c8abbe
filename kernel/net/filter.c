/* The interpreter of classic BPF (net/filter.h). */
#include "net/filter.h"

#include "net/ether.h"

enum { CLASS_LD, CLASS_LDX, CLASS_ST, CLASS_STX, CLASS_ALU, CLASS_JMP, CLASS_RET, CLASS_MISC };
enum { SIZE_W = 0x00, SIZE_H = 0x08, SIZE_B = 0x10 };
enum {
    MODE_IMM = 0x00,
    MODE_ABS = 0x20,
    MODE_IND = 0x40,
    MODE_MEM = 0x60,
    MODE_LEN = 0x80,
    MODE_MSH = 0xa0
};
enum {
    ALU_ADD,
    ALU_SUB = 0x10,
    ALU_MUL = 0x20,
    ALU_DIV = 0x30,
    ALU_OR = 0x40,
    ALU_AND = 0x50,
    ALU_LSH = 0x60,
    ALU_RSH = 0x70,
    ALU_NEG = 0x80,
    ALU_MOD = 0x90,
    ALU_XOR = 0xa0
};
enum { JMP_JA, JMP_JEQ = 0x10, JMP_JGT = 0x20, JMP_JGE = 0x30, JMP_JSET = 0x40 };
enum { RET_K, RET_A = 0x10 };
enum { MISC_TAX, MISC_TXA = 0x80 };
#define SOURCE_X 0x08u

#define MEMORY_WORDS 16u
/* Offsets that stand for something else (SKF_*_OFF of Linux). */
#define AD_OFF 0xfffff000u /* -0x1000: properties of the packet */
#define NET_OFF 0xfff00000u
#define LL_OFF 0xffe00000u
enum { AD_PROTOCOL = 0, AD_PKTTYPE = 4, AD_IFINDEX = 8 };

/* --- checking --------------------------------------------------------------------------------- */

static bool load_ok(const struct filter_insn *i)
{
    unsigned mode = i->code & 0xe0, size = i->code & 0x18;

    switch (mode) {
    case MODE_IMM:
    case MODE_LEN:
        return size == SIZE_W;
    case MODE_MEM:
        return size == SIZE_W && i->k < MEMORY_WORDS;
    case MODE_ABS:
        return size != 0x18 && (i->k < AD_OFF || i->k == AD_OFF + AD_PROTOCOL ||
                                i->k == AD_OFF + AD_PKTTYPE || i->k == AD_OFF + AD_IFINDEX);
    case MODE_IND:
        return size != 0x18;
    default:
        return false;
    }
}

static bool index_load_ok(const struct filter_insn *i)
{
    unsigned mode = i->code & 0xe0, size = i->code & 0x18;

    if (mode == MODE_MSH)
        return size == SIZE_B;
    return size == SIZE_W &&
           (mode == MODE_IMM || mode == MODE_LEN || (mode == MODE_MEM && i->k < MEMORY_WORDS));
}

static bool alu_ok(const struct filter_insn *i)
{
    unsigned op = i->code & 0xf0;
    bool constant = !(i->code & SOURCE_X);

    if (op > ALU_XOR || (op == ALU_NEG && !constant))
        return false;
    if ((op == ALU_DIV || op == ALU_MOD) && constant && !i->k)
        return false;
    return !((op == ALU_LSH || op == ALU_RSH) && constant && i->k >= 32);
}

/* `left`: instructions behind this one. */
static bool jump_ok(const struct filter_insn *i, uint32_t left)
{
    unsigned op = i->code & 0xf0;

    if (op == JMP_JA)
        return !(i->code & SOURCE_X) && i->k < left;
    return op <= JMP_JSET && i->jt < left && i->jf < left;
}

static bool insn_ok(const struct filter_insn *i, uint32_t left)
{
    if (i->code & 0xff00)
        return false;
    switch (i->code & 7) {
    case CLASS_LD:
        return load_ok(i);
    case CLASS_LDX:
        return index_load_ok(i);
    case CLASS_ST:
    case CLASS_STX:
        return !(i->code & 0xf8) && i->k < MEMORY_WORDS;
    case CLASS_ALU:
        return alu_ok(i);
    case CLASS_JMP:
        return jump_ok(i, left);
    case CLASS_RET:
        return (i->code & 0xf8) == RET_K || (i->code & 0xf8) == RET_A;
    default:
        return (i->code & 0xf8) == MISC_TAX || (i->code & 0xf8) == MISC_TXA;
    }
}

int net_filter_make(const struct filter_insn *insns, uint32_t count, struct net_filter **out)
{
    if (!count || count > FILTER_MAX || (insns[count - 1].code & 7) != CLASS_RET)
        return -EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        if (!insn_ok(&insns[i], count - i - 1))
            return -EINVAL;
    }
    struct net_filter *f = kmalloc(sizeof(*f) + count * sizeof(*insns));
    if (!f)
        return -ENOMEM;
    f->count = count;
    memcpy(f->insns, insns, count * sizeof(*insns));
    *out = f;
    return 0;
}

/* --- running ---------------------------------------------------------------------------------- */

struct machine {
    const struct pkt *p;
    const struct filter_context *c;
    uint32_t a, x, memory[MEMORY_WORDS];
};

/* Bytes of the packet; false: it has none there, which ends the program. */
static bool load_bytes(const struct machine *m, uint32_t off, unsigned size, uint32_t *out)
{
    static const uint8_t bytes[] = {[SIZE_W] = 4, [SIZE_H] = 2, [SIZE_B] = 1};
    uint8_t b[4];

    if (off >= NET_OFF) {
        if (m->c->network < 0)
            return false;
        off = off - NET_OFF + (uint32_t)m->c->network;
    } else if (off >= LL_OFF) {
        if (m->c->network < (int32_t)ETH_HEADER)
            return false;
        off = off - LL_OFF + (uint32_t)m->c->network - ETH_HEADER;
    }
    if (!pkt_copy_out(m->p, off, b, bytes[size]))
        return false;
    *out = size == SIZE_W ? get32(b) : size == SIZE_H ? get16(b) : b[0];
    return true;
}

static bool load_absolute(const struct machine *m, const struct filter_insn *i, uint32_t *out)
{
    switch (i->k) {
    case AD_OFF + AD_PROTOCOL:
        *out = m->c->protocol;
        return true;
    case AD_OFF + AD_PKTTYPE:
        *out = m->c->type;
        return true;
    case AD_OFF + AD_IFINDEX:
        *out = (uint32_t)m->c->ifindex;
        return true;
    default:
        return load_bytes(m, i->k, i->code & 0x18, out);
    }
}

static bool load(struct machine *m, const struct filter_insn *i)
{
    switch (i->code & 0xe0) {
    case MODE_IMM:
        m->a = i->k;
        return true;
    case MODE_LEN:
        m->a = m->p->len;
        return true;
    case MODE_MEM:
        m->a = m->memory[i->k];
        return true;
    case MODE_ABS:
        return load_absolute(m, i, &m->a);
    default:
        return load_bytes(m, i->k + m->x, i->code & 0x18, &m->a);
    }
}

static bool load_index(struct machine *m, const struct filter_insn *i)
{
    uint32_t v;

    switch (i->code & 0xe0) {
    case MODE_IMM:
        m->x = i->k;
        return true;
    case MODE_LEN:
        m->x = m->p->len;
        return true;
    case MODE_MEM:
        m->x = m->memory[i->k];
        return true;
    default: /* the length of an IPv4 header */
        if (!load_bytes(m, i->k, SIZE_B, &v))
            return false;
        m->x = (v & 15) * 4;
        return true;
    }
}

/* False: a division by zero. */
static bool compute(struct machine *m, const struct filter_insn *i)
{
    uint32_t v = i->code & SOURCE_X ? m->x : i->k;
    unsigned op = i->code & 0xf0;

    if ((op == ALU_DIV || op == ALU_MOD) && !v)
        return false;
    switch (op) {
    case ALU_ADD:
        m->a += v;
        break;
    case ALU_SUB:
        m->a -= v;
        break;
    case ALU_MUL:
        m->a *= v;
        break;
    case ALU_DIV:
        m->a /= v;
        break;
    case ALU_OR:
        m->a |= v;
        break;
    case ALU_AND:
        m->a &= v;
        break;
    case ALU_LSH:
        m->a <<= v & 31;
        break;
    case ALU_RSH:
        m->a >>= v & 31;
        break;
    case ALU_NEG:
        m->a = -m->a;
        break;
    case ALU_MOD:
        m->a %= v;
        break;
    default:
        m->a ^= v;
    }
    return true;
}

/* How many instructions a jump skips. */
static uint32_t jump(const struct machine *m, const struct filter_insn *i)
{
    uint32_t v = i->code & SOURCE_X ? m->x : i->k;

    switch (i->code & 0xf0) {
    case JMP_JA:
        return i->k;
    case JMP_JEQ:
        return m->a == v ? i->jt : i->jf;
    case JMP_JGT:
        return m->a > v ? i->jt : i->jf;
    case JMP_JGE:
        return m->a >= v ? i->jt : i->jf;
    default:
        return m->a & v ? i->jt : i->jf;
    }
}

uint32_t net_filter_run(const struct net_filter *f, const struct pkt *p,
                        const struct filter_context *c)
{
    struct machine m = {.p = p, .c = c};

    for (const struct filter_insn *i = f->insns;; i++) {
        bool ok = true;
        switch (i->code & 7) {
        case CLASS_LD:
            ok = load(&m, i);
            break;
        case CLASS_LDX:
            ok = load_index(&m, i);
            break;
        case CLASS_ST:
            m.memory[i->k] = m.a;
            break;
        case CLASS_STX:
            m.memory[i->k] = m.x;
            break;
        case CLASS_ALU:
            ok = compute(&m, i);
            break;
        case CLASS_JMP:
            i += jump(&m, i);
            break;
        case CLASS_RET:
            return (i->code & 0xf8) == RET_A ? m.a : i->k;
        default:
            if ((i->code & 0xf8) == MISC_TAX)
                m.x = m.a;
            else
                m.a = m.x;
        }
        if (!ok)
            return 0;
    }
}
