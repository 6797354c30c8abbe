/* Identifiers, keys and owners of System V IPC objects. */
#include "linux/sysv_ipc.h"

#include "core/mem.h"

#define CAP_IPC_OWNER_N 15

struct mutex ipc_lock;

int64_t ipc_now(void)
{
    return time_realtime() / NSEC_PER_SEC;
}

static bool in_group(const struct cred *c, uint32_t gid)
{
    bool found = c->egid == gid;
    for (uint32_t i = 0; i < c->ngroups && !found; i++)
        found = c->groups[i] == gid;
    return found;
}

/* The classes of bits in access are asked for together, as in a mode. */
static int check_access(const struct ipc_object *o, unsigned access)
{
    const struct cred *c = current_cred();
    unsigned want = (access >> 6 | access >> 3 | access) & 7, granted = o->mode;
    if (c->euid == o->uid || c->euid == o->cuid)
        granted >>= 6;
    else if (in_group(c, o->gid) || in_group(c, o->cgid))
        granted >>= 3;
    return !(want & ~granted) || capable(CAP_IPC_OWNER_N) ? 0 : -EACCES;
}

static struct ipc_object *find(struct ipc_set *set, int id)
{
    struct ipc_object *o, *found = NULL;
    list_for_each (o, &set->objects, link) {
        if (o->id == id)
            found = o;
    }
    return found;
}

static struct ipc_object *find_key(struct ipc_set *set, int key)
{
    struct ipc_object *o, *found = NULL;
    list_for_each (o, &set->objects, link) {
        if (o->key == key && key != IPC_PRIVATE)
            found = o;
    }
    return found;
}

/* A new identifier; there is a place. */
static int take_id(struct ipc_set *set)
{
    int word = 0;
    while (set->used[word] == ~0ull)
        word++;
    int bit = __builtin_ctzll(~set->used[word]);
    set->used[word] |= 1ull << bit;
    set->sequence++;
    return (int)(((unsigned)set->sequence * IPC_OBJECTS_MAX) & 0x7fffffff) + word * 64 + bit;
}

static long create(struct ipc_set *set, const struct ipc_request *r)
{
    const struct cred *c = current_cred();
    if (set->count >= IPC_OBJECTS_MAX)
        return -ENOSPC;
    struct ipc_object *o = r->create(r);
    if (IS_ERR(o))
        return PTR_ERR(o);
    ref_init(&o->refs, 1);
    o->id = take_id(set);
    o->key = r->key;
    o->uid = o->cuid = c->euid;
    o->gid = o->cgid = c->egid;
    o->mode = (unsigned)r->flags & 0777;
    list_push_back(&set->objects, &o->link);
    set->count++;
    return o->id;
}

static long get_locked(struct ipc_set *set, const struct ipc_request *r)
{
    struct ipc_object *o = find_key(set, r->key);
    if (!o)
        return r->key == IPC_PRIVATE || (r->flags & IPC_CREAT) ? create(set, r) : -ENOENT;
    if ((r->flags & IPC_CREAT) && (r->flags & IPC_EXCL))
        return -EEXIST;
    int err = r->check(o, r);
    if (!err)
        err = check_access(o, (unsigned)r->flags & 0777);
    return err ? err : o->id;
}

long ipc_get(struct ipc_set *set, const struct ipc_request *r)
{
    mutex_lock(&ipc_lock);
    long res = get_locked(set, r);
    mutex_unlock(&ipc_lock);
    return res;
}

struct ipc_object *ipc_find(struct ipc_set *set, int id, unsigned access)
{
    struct ipc_object *o = find(set, id);
    if (!o)
        return ERR_PTR(-EINVAL);
    int err = check_access(o, access);
    return err ? ERR_PTR(err) : o;
}

static struct ipc_object *find_at(struct ipc_set *set, int place, unsigned access)
{
    struct ipc_object *o;
    list_for_each (o, &set->objects, link) {
        if (o->id % IPC_OBJECTS_MAX == place) {
            int err = access ? check_access(o, access) : 0;
            return err ? ERR_PTR(err) : o;
        }
    }
    return ERR_PTR(-EINVAL);
}

int ipc_highest(const struct ipc_set *set)
{
    struct ipc_object *o;
    int highest = 0;
    list_for_each (o, &set->objects, link)
        highest = MAX(highest, o->id % IPC_OBJECTS_MAX);
    return highest;
}

static struct ipc_object *find_owned(struct ipc_set *set, int id)
{
    uint32_t euid = current_cred()->euid;
    struct ipc_object *o = find(set, id);
    if (!o)
        return ERR_PTR(-EINVAL);
    bool owner = euid == o->uid || euid == o->cuid || capable(21 /* CAP_SYS_ADMIN */);
    return owner ? o : ERR_PTR(-EPERM);
}

struct ipc_object *ipc_find_for(struct ipc_set *set, int id, int cmd, int stat, int stat_any)
{
    if (cmd == IPC_STAT)
        return ipc_find(set, id, IPC_READ);
    if (cmd == stat || cmd == stat_any)
        return find_at(set, id, cmd == stat ? IPC_READ : 0);
    return find_owned(set, id);
}

void ipc_put(struct ipc_object *o)
{
    if (ref_put(&o->refs))
        o->free(o);
}

void ipc_remove(struct ipc_set *set, struct ipc_object *o)
{
    int place = o->id % IPC_OBJECTS_MAX;
    set->used[place / 64] &= ~(1ull << place % 64);
    o->removed = true;
    list_remove(&o->link);
    set->count--;
    ipc_put(o);
}

void ipc_stat(const struct ipc_object *o, struct ipc64_perm *out)
{
    *out = (struct ipc64_perm){
        .key = o->key,
        .uid = o->uid,
        .gid = o->gid,
        .cuid = o->cuid,
        .cgid = o->cgid,
        .mode = (__kernel_mode_t)o->mode,
    };
}

void ipc_change(struct ipc_object *o, const struct ipc64_perm *p)
{
    o->uid = p->uid;
    o->gid = p->gid;
    o->mode = (o->mode & ~0777u) | (p->mode & 0777);
}

void ipc_process_ends(struct process *p)
{
    mutex_lock(&ipc_lock);
    sem_undo_all(p);
    shm_sweep();
    mutex_unlock(&ipc_lock);
}

/* --- /proc ------------------------------------------------------------------------------------ */

static void show_table(struct text_buf *b, void *arg)
{
    struct ipc_table *t = arg;
    struct ipc_object *o;
    text_printf(b, "%s\n", t->heading);
    mutex_lock(&ipc_lock);
    list_for_each (o, &t->set->objects, link) {
        if (!check_access(o, IPC_READ))
            t->line(b, o);
    }
    mutex_unlock(&ipc_lock);
}

void ipc_table_register(struct ipc_table *t)
{
    char name[32];
    snprintf(name, sizeof(name), "proc/sysvipc/%s", t->name);
    procfs_register(name, 0444, show_table, NULL, t);
}

void ipc_init(void)
{
    mutex_init(&ipc_lock);
    shm_init();
    sem_init();
    msg_init();
}
