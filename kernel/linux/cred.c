/*
 * Credentials. Objects are immutable and interned: equal credentials are one object, which is never
 * freed (programs use a handful). So a pointer read at any time stays valid.
 */
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>

#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/syscall.h"

struct cred_node {
    struct cred cred;
    struct cred_node *next;
};

static spinlock_t cred_lock = SPINLOCK_INIT;
static struct cred_node *creds;

static bool cred_equal(const struct cred *a, const struct cred *b)
{
    return a->uid == b->uid && a->euid == b->euid && a->suid == b->suid && a->fsuid == b->fsuid &&
           a->gid == b->gid && a->egid == b->egid && a->sgid == b->sgid && a->fsgid == b->fsgid &&
           a->caps_effective == b->caps_effective && a->caps_permitted == b->caps_permitted &&
           a->caps_inheritable == b->caps_inheritable && a->caps_bounding == b->caps_bounding &&
           a->caps_ambient == b->caps_ambient && a->ngroups == b->ngroups &&
           !memcmp(a->groups, b->groups, a->ngroups * sizeof(a->groups[0]));
}

const struct cred *cred_intern(const struct cred *c)
{
    if (cred_equal(c, &root_cred))
        return &root_cred;
    struct cred_node *fresh = NULL, *n;
    for (;;) {
        spin_lock(&cred_lock);
        for (n = creds; n && !cred_equal(&n->cred, c); n = n->next)
            ;
        if (!n && fresh) {
            n = fresh;
            fresh = NULL;
            n->next = creds;
            creds = n;
        }
        spin_unlock(&cred_lock);
        if (n)
            break;
        fresh = kmalloc(sizeof(*fresh));
        if (!fresh)
            return NULL;
        fresh->cred = *c;
    }
    kfree(fresh);
    return &n->cred;
}

static long set_cred(const struct cred *c)
{
    const struct cred *interned = cred_intern(c);
    if (!interned)
        return -ENOMEM;
    struct process *p = current_process();
    mutex_lock(&p->fs_lock);
    if (p->fs.cred->euid != c->euid || p->fs.cred->egid != c->egid)
        p->dumpable = false;
    p->fs.cred = interned;
    mutex_unlock(&p->fs_lock);
    return 0;
}

bool capable(int cap)
{
    return current_cred()->caps_effective >> cap & 1;
}

bool process_may_access(struct process *p)
{
    const struct cred *me = current_cred(), *it = p->fs.cred;
    if (p == current_process() || capable(19 /* CAP_SYS_PTRACE */))
        return true;
    bool same = me->uid == it->uid && me->uid == it->euid && me->uid == it->suid &&
                me->gid == it->gid && me->gid == it->egid && me->gid == it->sgid;
    return same && p->dumpable && !(it->caps_permitted & ~me->caps_permitted);
}

/* --- execve ----------------------------------------------------------------------------------- */

int exec_cred(const struct cred *old, struct vnode *program, bool no_new_privs,
              struct exec_image *out)
{
    struct cred c = *old;
    uint32_t mode = program->attr.mode;
    bool allow = !no_new_privs && !(program->fs->flags & MOUNT_NOSUID);
    if (allow && (mode & MODE_SUID))
        c.euid = program->attr.uid;
    if (allow && (mode & MODE_SGID) && (mode & 010))
        c.egid = program->attr.gid;
    bool set_id = c.euid != old->euid || c.egid != old->egid;
    if (set_id)
        c.caps_ambient = 0;
    /* capabilities(7): a program of root's has all of the bounding set, others only the ambient. */
    bool root = c.euid == 0 || c.uid == 0;
    c.caps_permitted = root ? c.caps_inheritable | c.caps_bounding : c.caps_ambient;
    c.caps_effective = c.euid == 0 ? c.caps_permitted : root ? 0 : c.caps_ambient;
    c.suid = c.fsuid = c.euid;
    c.sgid = c.fsgid = c.egid;
    out->secure = set_id || c.euid != c.uid || c.egid != c.gid;
    out->unreadable = vnode_access(program, old, ACCESS_R) != 0;
    out->cred = cred_intern(&c);
    return out->cred ? 0 : -ENOMEM;
}

/* --- users by name ---------------------------------------------------------------------------- */

static char *read_text(const char *name)
{
    struct file *f;
    if (vfs_open(vfs_root_context(), NULL, name, OPEN_RDONLY, 0, &f))
        return NULL;
    size_t size = MIN(f->vnode ? f->vnode->attr.size : 0, 1UL << 20);
    char *text = kmalloc(size + 1);
    if (text) {
        struct iovec_k seg;
        struct uio u = uio_kernel(&seg, text, size);
        uint64_t pos = 0;
        ssize_t n = 0;
        while (u.resid && (n = f->ops->read(f, &u, &pos)) > 0)
            ;
        text[n < 0 ? 0 : size - u.resid] = '\0';
    }
    file_put(f);
    return text;
}

/* Cuts the next field off at sep. */
static char *field(char **at, char sep)
{
    char *start = *at;
    if (!start)
        return NULL;
    char *end = strchr(start, sep);
    if (end)
        *end++ = '\0';
    *at = end;
    return start;
}

static bool number(const char *text, uint32_t *out)
{
    uint64_t v;
    if (!text || parse_u64(text, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool find_user(char *passwd, const char *name, struct cred *c)
{
    for (char *line; (line = field(&passwd, '\n'));) {
        char *user = field(&line, ':');
        field(&line, ':');
        char *uid = field(&line, ':'), *gid = field(&line, ':');
        if (!strcmp(user, name))
            return number(uid, &c->uid) && number(gid, &c->gid);
    }
    return false;
}

static void find_groups(char *group, const char *name, struct cred *c)
{
    c->ngroups = 0;
    c->groups[c->ngroups++] = c->gid;
    for (char *line; (line = field(&group, '\n'));) {
        uint32_t gid;
        field(&line, ':');
        field(&line, ':');
        if (!number(field(&line, ':'), &gid))
            continue;
        for (char *member; (member = field(&line, ','));) {
            if (!strcmp(member, name) && gid != c->gid && c->ngroups < CRED_MAX_GROUPS)
                c->groups[c->ngroups++] = gid;
        }
    }
}

const struct cred *cred_of_user(const char *name)
{
    if (!name || !*name || !strcmp(name, "root"))
        return &root_cred;
    struct cred c = {.caps_bounding = root_cred.caps_bounding};
    char *passwd = read_text("/etc/passwd"), *group = read_text("/etc/group");
    bool found = passwd && find_user(passwd, name, &c);
    if (found && group)
        find_groups(group, name, &c);
    kfree(passwd);
    kfree(group);
    if (!found)
        return ERR_PTR(-ENOENT);
    c.euid = c.suid = c.fsuid = c.uid;
    c.egid = c.sgid = c.fsgid = c.gid;
    const struct cred *interned = cred_intern(&c);
    return interned ? interned : ERR_PTR(-ENOMEM);
}

/* --- system calls: identity ------------------------------------------------------------------- */

long sys_getuid(void)
{
    return current_cred()->uid;
}
long sys_geteuid(void)
{
    return current_cred()->euid;
}
long sys_getgid(void)
{
    return current_cred()->gid;
}
long sys_getegid(void)
{
    return current_cred()->egid;
}

static int put_ids(uint32_t a, uint32_t b, uint32_t c, uaddr_t pa, uaddr_t pb, uaddr_t pc)
{
    return copy_to_user(pa, &a, 4) || copy_to_user(pb, &b, 4) || copy_to_user(pc, &c, 4) ? -EFAULT
                                                                                         : 0;
}

long sys_getresuid(uaddr_t ruid, uaddr_t euid, uaddr_t suid)
{
    const struct cred *c = current_cred();
    return put_ids(c->uid, c->euid, c->suid, ruid, euid, suid);
}

long sys_getresgid(uaddr_t rgid, uaddr_t egid, uaddr_t sgid)
{
    const struct cred *c = current_cred();
    return put_ids(c->gid, c->egid, c->sgid, rgid, egid, sgid);
}

#define NO_ID UINT32_MAX

/* After a change of user ids: capabilities follow (capabilities(7), "Effect of user ID changes").
 */
static long commit_uids(struct cred *c, const struct cred *old)
{
    bool was_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
    bool is_root = c->uid == 0 || c->euid == 0 || c->suid == 0;
    if (was_root && !is_root) {
        if (!current_process()->keep_caps)
            c->caps_permitted = 0;
        c->caps_ambient = 0;
    }
    if (old->euid == 0 && c->euid != 0)
        c->caps_effective = 0;
    if (old->euid != 0 && c->euid == 0)
        c->caps_effective = c->caps_permitted;
    c->caps_effective &= c->caps_permitted;
    c->fsuid = c->euid;
    return set_cred(c);
}

static bool one_of(uint32_t id, uint32_t a, uint32_t b, uint32_t c)
{
    return id == NO_ID || id == a || id == b || id == c;
}

long sys_setuid(uint32_t uid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (uid == NO_ID)
        return -EINVAL;
    if (capable(CAP_SETUID))
        c.uid = c.suid = uid;
    else if (uid != old->uid && uid != old->suid)
        return -EPERM;
    c.euid = uid;
    return commit_uids(&c, old);
}

long sys_setreuid(uint32_t ruid, uint32_t euid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (!capable(CAP_SETUID) && (!one_of(ruid, old->uid, old->euid, old->euid) ||
                                 !one_of(euid, old->uid, old->euid, old->suid)))
        return -EPERM;
    if (ruid != NO_ID)
        c.uid = ruid;
    if (euid != NO_ID)
        c.euid = euid;
    if (ruid != NO_ID || (euid != NO_ID && euid != old->uid))
        c.suid = c.euid;
    return commit_uids(&c, old);
}

long sys_setresuid(uint32_t ruid, uint32_t euid, uint32_t suid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (!capable(CAP_SETUID) && (!one_of(ruid, old->uid, old->euid, old->suid) ||
                                 !one_of(euid, old->uid, old->euid, old->suid) ||
                                 !one_of(suid, old->uid, old->euid, old->suid)))
        return -EPERM;
    if (ruid != NO_ID)
        c.uid = ruid;
    if (euid != NO_ID)
        c.euid = euid;
    if (suid != NO_ID)
        c.suid = suid;
    return commit_uids(&c, old);
}

static long commit_gids(struct cred *c)
{
    c->fsgid = c->egid;
    return set_cred(c);
}

long sys_setgid(uint32_t gid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (gid == NO_ID)
        return -EINVAL;
    if (capable(CAP_SETGID))
        c.gid = c.sgid = gid;
    else if (gid != old->gid && gid != old->sgid)
        return -EPERM;
    c.egid = gid;
    return commit_gids(&c);
}

long sys_setregid(uint32_t rgid, uint32_t egid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (!capable(CAP_SETGID) && (!one_of(rgid, old->gid, old->egid, old->egid) ||
                                 !one_of(egid, old->gid, old->egid, old->sgid)))
        return -EPERM;
    if (rgid != NO_ID)
        c.gid = rgid;
    if (egid != NO_ID)
        c.egid = egid;
    if (rgid != NO_ID || (egid != NO_ID && egid != old->gid))
        c.sgid = c.egid;
    return commit_gids(&c);
}

long sys_setresgid(uint32_t rgid, uint32_t egid, uint32_t sgid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (!capable(CAP_SETGID) && (!one_of(rgid, old->gid, old->egid, old->sgid) ||
                                 !one_of(egid, old->gid, old->egid, old->sgid) ||
                                 !one_of(sgid, old->gid, old->egid, old->sgid)))
        return -EPERM;
    if (rgid != NO_ID)
        c.gid = rgid;
    if (egid != NO_ID)
        c.egid = egid;
    if (sgid != NO_ID)
        c.sgid = sgid;
    return commit_gids(&c);
}

/* setfsuid and setfsgid return the old id, and change nothing without the right. */
long sys_setfsuid(uint32_t uid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    const uint64_t fs_caps = CAP_CHOWN_BIT | CAP_DAC_OVERRIDE_BIT | CAP_DAC_READ_SEARCH_BIT |
                             CAP_FOWNER_BIT | CAP_FSETID_BIT;
    if (uid != NO_ID &&
        (uid == old->fsuid || one_of(uid, old->uid, old->euid, old->suid) || capable(CAP_SETUID))) {
        c.fsuid = uid;
        if (old->fsuid == 0 && uid != 0)
            c.caps_effective &= ~fs_caps;
        if (old->fsuid != 0 && uid == 0)
            c.caps_effective |= c.caps_permitted & fs_caps;
        set_cred(&c);
    }
    return old->fsuid;
}

long sys_setfsgid(uint32_t gid)
{
    const struct cred *old = current_cred();
    struct cred c = *old;
    if (gid != NO_ID &&
        (gid == old->fsgid || one_of(gid, old->gid, old->egid, old->sgid) || capable(CAP_SETGID))) {
        c.fsgid = gid;
        set_cred(&c);
    }
    return old->fsgid;
}

long sys_getgroups(int size, uaddr_t list)
{
    const struct cred *c = current_cred();
    if (size < 0)
        return -EINVAL;
    if (size == 0)
        return c->ngroups;
    if ((uint32_t)size < c->ngroups)
        return -EINVAL;
    return copy_to_user(list, c->groups, c->ngroups * 4) ? -EFAULT : (long)c->ngroups;
}

long sys_setgroups(int size, uaddr_t list)
{
    struct cred c = *current_cred();
    if (!capable(CAP_SETGID))
        return -EPERM;
    if (size < 0 || size > CRED_MAX_GROUPS)
        return -EINVAL;
    if (copy_from_user(c.groups, list, (size_t)size * 4))
        return -EFAULT;
    c.ngroups = (uint32_t)size;
    return set_cred(&c);
}

/* --- system calls: capabilities --------------------------------------------------------------- */

/* The header names the layout; unknown ones are told the current version, as Linux does. */
static int cap_header(uaddr_t header, int *pid, int *words)
{
    struct __user_cap_header_struct h;
    if (copy_from_user(&h, header, sizeof(h)))
        return -EFAULT;
    if (h.version == _LINUX_CAPABILITY_VERSION_1) {
        *words = 1;
    } else if (h.version == _LINUX_CAPABILITY_VERSION_2 ||
               h.version == _LINUX_CAPABILITY_VERSION_3) {
        *words = 2;
    } else {
        h.version = _LINUX_CAPABILITY_VERSION_3;
        return copy_to_user(header, &h, sizeof(h)) ? -EFAULT : -EINVAL;
    }
    *pid = h.pid;
    return h.pid < 0 ? -EINVAL : 0;
}

long sys_capget(uaddr_t header, uaddr_t data)
{
    int pid, words;
    int err = cap_header(header, &pid, &words);
    if (err)
        return err == -EINVAL && !data ? 0 : err;
    const struct cred *c = current_cred();
    if (pid) {
        struct process *p = process_find(pid);
        if (!p)
            return -ESRCH;
        c = p->fs.cred;
        process_put(p);
    }
    if (!data)
        return 0;
    struct __user_cap_data_struct d[2];
    for (int i = 0; i < 2; i++) {
        d[i].effective = (uint32_t)(c->caps_effective >> (32 * i));
        d[i].permitted = (uint32_t)(c->caps_permitted >> (32 * i));
        d[i].inheritable = (uint32_t)(c->caps_inheritable >> (32 * i));
    }
    return copy_to_user(data, d, (size_t)words * sizeof(d[0])) ? -EFAULT : 0;
}

long sys_capset(uaddr_t header, uaddr_t data)
{
    int pid, words;
    int err = cap_header(header, &pid, &words);
    if (err)
        return err;
    if (pid && pid != current_process()->pid && pid != ((struct task *)thread_current())->tid)
        return -EPERM;
    struct __user_cap_data_struct d[2] = {0};
    if (copy_from_user(d, data, (size_t)words * sizeof(d[0])))
        return -EFAULT;
    const struct cred *old = current_cred();
    struct cred c = *old;
    c.caps_effective = d[0].effective | (uint64_t)d[1].effective << 32;
    c.caps_permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
    c.caps_inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
    if ((c.caps_permitted & ~old->caps_permitted) || (c.caps_effective & ~c.caps_permitted))
        return -EPERM;
    uint64_t gained = c.caps_inheritable & ~old->caps_inheritable;
    if ((gained & ~old->caps_permitted && !capable(CAP_SETPCAP)) || (gained & ~old->caps_bounding))
        return -EPERM;
    c.caps_ambient &= c.caps_permitted & c.caps_inheritable;
    return set_cred(&c);
}

/* prctl's part: the bounding and ambient sets. */
long cred_prctl(int option, uint64_t arg2, uint64_t arg3)
{
    struct cred c = *current_cred();
    switch (option) {
    case PR_CAPBSET_READ:
        return arg2 > CAP_LAST_CAP ? -EINVAL : (long)(c.caps_bounding >> arg2 & 1);
    case PR_CAPBSET_DROP:
        if (!capable(CAP_SETPCAP))
            return -EPERM;
        if (arg2 > CAP_LAST_CAP)
            return -EINVAL;
        c.caps_bounding &= ~CAP_BIT(arg2);
        return set_cred(&c);
    case PR_CAP_AMBIENT:
        if (arg2 == PR_CAP_AMBIENT_CLEAR_ALL) {
            c.caps_ambient = 0;
            return arg3 ? -EINVAL : set_cred(&c);
        }
        if (arg3 > CAP_LAST_CAP)
            return -EINVAL;
        if (arg2 == PR_CAP_AMBIENT_IS_SET)
            return (long)(c.caps_ambient >> arg3 & 1);
        if (arg2 == PR_CAP_AMBIENT_RAISE) {
            if (!(c.caps_permitted & c.caps_inheritable & CAP_BIT(arg3)))
                return -EPERM;
            c.caps_ambient |= CAP_BIT(arg3);
        } else if (arg2 == PR_CAP_AMBIENT_LOWER) {
            c.caps_ambient &= ~CAP_BIT(arg3);
        } else {
            return -EINVAL;
        }
        return set_cred(&c);
    }
    return -EINVAL;
}
