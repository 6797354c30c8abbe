/* The tree below /proc/PID: names, links, descriptors, tasks. */
#include "linux/proc_pid.h"

#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/signals.h"

/* Inode numbers: unique per process, task, name and descriptor as far as anybody compares them. */
#define INO_BASE (1ULL << 40)

struct mm *proc_mm_get(struct process *p)
{
    spin_lock_bh(&process_lock);
    struct mm *mm = p->mm;
    if (mm)
        mm_get(mm);
    spin_unlock_bh(&process_lock);
    return mm;
}

static struct fd_table *files_get(struct process *p)
{
    spin_lock_bh(&process_lock);
    struct fd_table *files = p->files;
    if (files)
        fd_table_get(files);
    spin_unlock_bh(&process_lock);
    return files;
}

static struct file *file_of(const struct proc_entry *e)
{
    struct fd_table *files = files_get(e->process);
    struct file *f = NULL;
    if (files) {
        if (fd_table_next(files, e->fd, &f) != e->fd && f) {
            file_put(f);
            f = NULL;
        }
        fd_table_put(files);
    }
    return f;
}

static void entry_release(void *arg)
{
    struct proc_entry *e = arg;
    task_put(e->task);
    process_put(e->process);
    kfree(e);
}

static struct proc_entry *entry_new(struct process *p, struct task *t)
{
    struct proc_entry *e = kzalloc(sizeof(*e));
    if (!e)
        return NULL;
    ref_get(&p->refs);
    ref_get(&t->refs);
    e->process = p;
    e->task = t;
    return e;
}

static uint64_t ino_of(const struct proc_entry *e, unsigned number)
{
    return INO_BASE + ((uint64_t)e->task->tid << 24) + ((uint64_t)(e->fd & 0xffff) << 8) + number;
}

static int finish(struct vnode *v, struct proc_entry *e, struct vnode **out)
{
    if (!v) {
        entry_release(e);
        return -ENOMEM;
    }
    v->attr.uid = e->process->fs.cred->euid;
    v->attr.gid = e->process->fs.cred->egid;
    *out = v;
    return 0;
}

/* --- links ------------------------------------------------------------------------------------ */

enum { LINK_EXE, LINK_CWD, LINK_ROOT, LINK_FD };

/* The object a link leads to: a path (referenced) or a nameless file. -ENOENT. */
static int link_follow(void *arg, struct path *path, struct file **file)
{
    struct proc_entry *e = arg;
    struct process *p = e->process;
    *file = NULL;
    *path = (struct path){NULL, NULL};
    if (e->what == LINK_FD) {
        struct file *f = file_of(e);
        if (!f)
            return -ENOENT;
        if (f->dentry) {
            *path = file_path(f);
            path_get(path);
            file_put(f);
        } else {
            *file = f;
        }
        return 0;
    }
    mutex_lock(&p->fs_lock);
    if (e->what == LINK_EXE && p->exe_file)
        *path = file_path(p->exe_file);
    else if (e->what == LINK_CWD)
        *path = p->fs.cwd;
    else if (e->what == LINK_ROOT)
        *path = p->fs.root;
    if (path->dentry)
        path_get(path);
    mutex_unlock(&p->fs_lock);
    return path->dentry ? 0 : -ENOENT;
}

static ssize_t link_target(char *buf, size_t size, void *arg)
{
    struct path path;
    struct file *f;
    int err = link_follow(arg, &path, &f);
    if (err)
        return err;
    ssize_t n;
    if (path.dentry) {
        n = vfs_path_text(vfs_root_context(), &path, buf, size);
        path_put(&path);
    } else {
        buf[0] = '\0';
        if (f->ops->describe)
            f->ops->describe(f, buf, size);
        else
            snprintf(buf, size, "anon_inode:[%s]", f->ops->name);
        n = (ssize_t)strlen(buf);
        file_put(f);
    }
    return n;
}

static int make_link(struct filesystem *fs, struct proc_entry *e, unsigned what, struct vnode **out)
{
    e->what = what;
    struct vnode *v = procfs_link_vnode(fs, ino_of(e, 64 + what), link_target, e, entry_release);
    if (v)
        procfs_link_follow(v, link_follow);
    return finish(v, e, out);
}

/* --- fd and fdinfo ---------------------------------------------------------------------------- */

static bool parse_number(const char *name, size_t len, int *out)
{
    char text[12];
    uint64_t value;
    if (len == 0 || len >= sizeof(text) || (name[0] == '0' && len > 1) || name[0] < '0' ||
        name[0] > '9')
        return false;
    memcpy(text, name, len);
    text[len] = '\0';
    if (parse_u64(text, &value) || value > INT32_MAX)
        return false;
    *out = (int)value;
    return true;
}

#define O_LARGEFILE_FLAG 0100000u

static void show_fdinfo(struct text_buf *b, void *arg)
{
    struct proc_entry *e = arg;
    struct file *f = file_of(e);
    struct fd_table *files = files_get(e->process);
    bool cloexec = files && fd_table_cloexec(files, e->fd) == 1;
    if (files)
        fd_table_put(files);
    if (!f)
        return;
    text_printf(b, "pos:\t%llu\nflags:\t0%o\nmnt_id:\t1\nino:\t%llu\n", (unsigned long long)f->pos,
                f->flags | O_LARGEFILE_FLAG | (cloexec ? OPEN_CLOEXEC : 0),
                (unsigned long long)(f->vnode ? f->vnode->attr.ino : 0));
    if (f->ops->fdinfo)
        f->ops->fdinfo(f, b);
    file_put(f);
}

static int fd_entry(struct filesystem *fs, struct proc_entry *dir, const char *name, size_t len,
                    bool info, struct vnode **out)
{
    int fd;
    if (!parse_number(name, len, &fd))
        return -ENOENT;
    struct proc_entry *e = entry_new(dir->process, dir->task);
    if (!e)
        return -ENOMEM;
    e->fd = fd;
    struct file *f = file_of(e);
    if (!f) {
        entry_release(e);
        return -ENOENT;
    }
    /* The link's own mode tells how the file was opened. */
    uint32_t rights = (file_readable(f) ? 0500 : 0) | (file_writable(f) ? 0300 : 0);
    file_put(f);
    if (!info) {
        int err = make_link(fs, e, LINK_FD, out);
        if (!err)
            (*out)->attr.mode = MODE_LNK | rights;
        return err;
    }
    return finish(procfs_text_vnode(fs, ino_of(e, 80), 0400, show_fdinfo, NULL, e, entry_release),
                  e, out);
}

static int fd_lookup(struct filesystem *fs, void *arg, const char *name, size_t len,
                     struct vnode **out)
{
    return fd_entry(fs, arg, name, len, false, out);
}

static int fdinfo_lookup(struct filesystem *fs, void *arg, const char *name, size_t len,
                         struct vnode **out)
{
    return fd_entry(fs, arg, name, len, true, out);
}

/* An entry's position is its descriptor. */
static int fd_name_at(struct process *p, uint64_t *pos, char *name, size_t size)
{
    struct fd_table *files = *pos <= INT32_MAX ? files_get(p) : NULL;
    struct file *f = NULL;
    if (!files)
        return 0;
    int fd = fd_table_next(files, (int)*pos, &f);
    fd_table_put(files);
    if (fd < 0)
        return 0;
    file_put(f);
    *pos = (uint64_t)fd;
    snprintf(name, size, "%d", fd);
    return 1;
}

static int fd_list(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    *type = MODE_LNK;
    return fd_name_at(((struct proc_entry *)arg)->process, pos, name, size);
}

static int fdinfo_list(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    *type = MODE_REG;
    return fd_name_at(((struct proc_entry *)arg)->process, pos, name, size);
}

/* --- small texts ------------------------------------------------------------------------------ */

static void show_comm(struct text_buf *b, void *arg)
{
    text_printf(b, "%s\n", ((struct proc_entry *)arg)->task->comm);
}

static int store_comm(const char *text, void *arg)
{
    struct proc_entry *e = arg;
    if (e->process != current_process())
        return -EINVAL;
    str_copy(e->task->comm, text, sizeof(e->task->comm));
    return 0;
}

static void show_oom_score(struct text_buf *b, void *arg)
{
    struct mm *mm = proc_mm_get(((struct proc_entry *)arg)->process);
    struct mem_stats m;
    mem_stats(&m);
    text_printf(b, "%ld\n", mm ? atomic_load(&mm->rss) * 1000 / (long)m.total_pages : 0);
    if (mm)
        mm_put(mm);
}

static void show_oom_adj(struct text_buf *b, void *arg)
{
    text_printf(b, "%d\n", ((struct proc_entry *)arg)->process->oom_score_adj);
}

static int store_oom_adj(const char *text, void *arg)
{
    struct process *p = ((struct proc_entry *)arg)->process;
    bool minus = *text == '-';
    uint64_t value;
    int err = parse_u64(text + minus, &value);
    if (err || value > 1000)
        return -EINVAL;
    int adj = minus ? -(int)value : (int)value;
    if (adj < p->oom_score_adj && !capable(24 /* CAP_SYS_RESOURCE */))
        return -EACCES;
    p->oom_score_adj = adj;
    return 0;
}

static void show_wchan(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "0");
}

struct mountinfo {
    struct text_buf *b;
    int id;
};

static bool show_mount_info(const struct mount_entry *e, void *arg)
{
    struct mountinfo *m = arg;
    int id = m->id++;
    text_printf(m->b, "%d %d 0:%d / %s %s - %s %s %.2s\n", id, id == 1 ? 0 : 1, id, e->where,
                e->options, e->type, e->source, e->options);
    return true;
}

static void show_mountinfo(struct text_buf *b, void *arg)
{
    struct mountinfo m = {b, 1};
    (void)arg;
    vfs_mount_for_each(show_mount_info, &m);
}

static bool show_mount_stats(const struct mount_entry *e, void *arg)
{
    text_printf(arg, "device %s mounted on %s with fstype %s\n", e->source, e->where, e->type);
    return true;
}

static void show_mountstats(struct text_buf *b, void *arg)
{
    (void)arg;
    vfs_mount_for_each(show_mount_stats, b);
}

/* Of all tasks, those that ended too. */
static void show_io(struct text_buf *b, void *arg)
{
    struct process *p = ((struct proc_entry *)arg)->process;
    struct task *t;
    spin_lock_bh(&process_lock);
    struct io_counts sum = p->io;
    list_for_each (t, &p->tasks, group_link) {
        if (!p->zombie)
            io_counts_add(&sum, &t->io);
    }
    spin_unlock_bh(&process_lock);
    text_printf(b, "rchar: %llu\nwchar: %llu\nsyscr: %llu\nsyscw: %llu\n",
                (unsigned long long)sum.read, (unsigned long long)sum.written,
                (unsigned long long)sum.reads, (unsigned long long)sum.writes);
    /* There is no storage below the page cache that is counted. */
    text_printf(b, "read_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n");
}

static void show_cgroup(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "0::/\n");
}

/* --- the directory of a process or task ------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t mode;
    text_fn show;
    text_store_fn store;
} texts[] = {
    {"stat", 0444, proc_show_stat, NULL},
    {"status", 0444, proc_show_status, NULL},
    {"statm", 0444, proc_show_statm, NULL},
    {"maps", 0444, proc_show_maps, NULL},
    {"smaps", 0444, proc_show_smaps, NULL},
    {"smaps_rollup", 0444, proc_show_smaps_rollup, NULL},
    {"cmdline", 0444, proc_show_cmdline, NULL},
    {"environ", 0400, proc_show_environ, NULL},
    {"auxv", 0400, proc_show_auxv, NULL},
    {"limits", 0444, proc_show_limits, NULL},
    {"comm", 0644, show_comm, store_comm},
    {"oom_score", 0444, show_oom_score, NULL},
    {"oom_score_adj", 0644, show_oom_adj, store_oom_adj},
    {"wchan", 0444, show_wchan, NULL},
    {"mounts", 0444, vfs_show_mounts, NULL},
    {"mountinfo", 0444, show_mountinfo, NULL},
    {"mountstats", 0400, show_mountstats, NULL},
    {"io", 0400, show_io, NULL},
    {"cgroup", 0444, show_cgroup, NULL},
};

static const char *const links[] = {[LINK_EXE] = "exe", [LINK_CWD] = "cwd", [LINK_ROOT] = "root"};

static int task_dir(struct filesystem *fs, struct process *p, struct task *t, bool of_process,
                    struct vnode **out);

/* Tasks are listed by number, whatever order they are in: an entry's position is its number. */
static int task_list(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    struct process *p = ((struct proc_entry *)arg)->process;
    struct task *t;
    int tid = INT32_MAX;
    *type = MODE_DIR;
    spin_lock_bh(&process_lock);
    list_for_each (t, &p->tasks, group_link)
        if ((uint64_t)t->tid >= *pos)
            tid = MIN(tid, t->tid);
    spin_unlock_bh(&process_lock);
    if (tid == INT32_MAX)
        return 0;
    *pos = (uint64_t)tid;
    snprintf(name, size, "%d", tid);
    return 1;
}

static int task_lookup(struct filesystem *fs, void *arg, const char *name, size_t len,
                       struct vnode **out)
{
    struct process *p = ((struct proc_entry *)arg)->process;
    int tid;
    if (!parse_number(name, len, &tid))
        return -ENOENT;
    spin_lock_bh(&process_lock);
    struct task *t = task_find_locked(tid);
    if (t && t->process == p)
        ref_get(&t->refs);
    else
        t = NULL;
    spin_unlock_bh(&process_lock);
    if (!t)
        return -ENOENT;
    int err = task_dir(fs, p, t, false, out);
    task_put(t);
    return err;
}

static const struct {
    const char *name;
    uint32_t mode;
    int (*lookup)(struct filesystem *fs, void *arg, const char *name, size_t len,
                  struct vnode **out);
    int (*list)(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type);
} dirs[] = {
    {"fd", 0500, fd_lookup, fd_list},
    {"fdinfo", 0555, fdinfo_lookup, fdinfo_list},
    {"task", 0555, task_lookup, task_list}, /* last: tasks do not have it */
};

static bool named(const char *name, size_t len, const char *want)
{
    return strlen(want) == len && !memcmp(name, want, len);
}

static int lookup_in(struct filesystem *fs, struct proc_entry *dir, unsigned ndirs,
                     const char *name, size_t len, struct vnode **out)
{
    struct proc_entry *e = entry_new(dir->process, dir->task);
    if (!e)
        return -ENOMEM;
    for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
        if (named(name, len, texts[i].name))
            return finish(procfs_text_vnode(fs, ino_of(e, 1 + i), texts[i].mode, texts[i].show,
                                            texts[i].store, e, entry_release),
                          e, out);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(links); i++) {
        if (named(name, len, links[i]))
            return make_link(fs, e, i, out);
    }
    for (unsigned i = 0; i < ndirs; i++) {
        if (!named(name, len, dirs[i].name))
            continue;
        int err = finish(procfs_dir_vnode(fs, ino_of(e, 96 + i), dirs[i].mode, dirs[i].lookup,
                                          dirs[i].list, e, entry_release),
                         e, out);
        if (!err && dirs[i].list == task_list)
            (*out)->attr.nlink += (uint32_t)dir->process->task_count;
        return err;
    }
    entry_release(e);
    return -ENOENT;
}

static int list_in(unsigned ndirs, uint64_t pos, char *name, size_t size, unsigned *type)
{
    const char *n = NULL;
    if (pos < ARRAY_SIZE(texts)) {
        n = texts[pos].name;
        *type = MODE_REG;
    } else if (pos - ARRAY_SIZE(texts) < ARRAY_SIZE(links)) {
        n = links[pos - ARRAY_SIZE(texts)];
        *type = MODE_LNK;
    } else if (pos - ARRAY_SIZE(texts) - ARRAY_SIZE(links) < ndirs) {
        n = dirs[pos - ARRAY_SIZE(texts) - ARRAY_SIZE(links)].name;
        *type = MODE_DIR;
    }
    if (n)
        str_copy(name, n, size);
    return n != NULL;
}

static int process_lookup(struct filesystem *fs, void *arg, const char *name, size_t len,
                          struct vnode **out)
{
    return lookup_in(fs, arg, ARRAY_SIZE(dirs), name, len, out);
}

static int process_list(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    (void)arg;
    return list_in(ARRAY_SIZE(dirs), *pos, name, size, type);
}

static int one_task_lookup(struct filesystem *fs, void *arg, const char *name, size_t len,
                           struct vnode **out)
{
    return lookup_in(fs, arg, ARRAY_SIZE(dirs) - 1, name, len, out);
}

static int one_task_list(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type)
{
    (void)arg;
    return list_in(ARRAY_SIZE(dirs) - 1, *pos, name, size, type);
}

static int task_dir(struct filesystem *fs, struct process *p, struct task *t, bool of_process,
                    struct vnode **out)
{
    struct proc_entry *e = entry_new(p, t);
    if (!e)
        return -ENOMEM;
    return finish(procfs_dir_vnode(fs, ino_of(e, of_process ? 0 : 127), 0555,
                                   of_process ? process_lookup : one_task_lookup,
                                   of_process ? process_list : one_task_list, e, entry_release),
                  e, out);
}

struct process *proc_pid_of(const struct file *f)
{
    struct proc_entry *e = f->vnode ? procfs_dir_arg(f->vnode, process_lookup) : NULL;
    return e ? e->process : NULL;
}

/* --- the root --------------------------------------------------------------------------------- */

static ssize_t self_target(char *buf, size_t size, void *arg)
{
    struct task *t = current_task();
    if (!t)
        return -ENOENT;
    if (arg)
        return snprintf(buf, size, "%d/task/%d", t->process->pid, t->tid);
    return snprintf(buf, size, "%d", t->process->pid);
}

static int root_lookup(struct filesystem *fs, const char *name, size_t len, struct vnode **out)
{
    static char thread_self;
    int pid;
    bool self = named(name, len, "self");
    if (self || named(name, len, "thread-self")) {
        *out = procfs_link_vnode(fs, INO_BASE + (self ? 1 : 2), self_target,
                                 self ? NULL : &thread_self, NULL);
        return *out ? 0 : -ENOMEM;
    }
    if (!parse_number(name, len, &pid))
        return -ENOENT;
    /* Any task's number leads to its process, though only leaders are listed. */
    struct process *p = process_find(pid);
    spin_lock_bh(&process_lock);
    struct task *t = p ? NULL : task_find_locked(pid);
    if (t) {
        p = t->process;
        ref_get(&p->refs);
    }
    struct task *leader = p ? p->leader : NULL;
    if (leader)
        ref_get(&leader->refs);
    spin_unlock_bh(&process_lock);
    int err = leader ? task_dir(fs, p, leader, true, out) : -ENOENT;
    if (leader)
        task_put(leader);
    if (p)
        process_put(p);
    return err;
}

static bool root_next(uint64_t *pid)
{
    struct process *p = *pid > INT32_MAX ? NULL : process_next((int)*pid);
    if (!p)
        return false;
    *pid = (uint64_t)p->pid;
    process_put(p);
    return true;
}

static const char *const root_links[] = {"self", "thread-self", NULL};
static const struct procfs_dynamic root = {
    .lookup = root_lookup, .next = root_next, .links = root_links};

void proc_pid_init(void)
{
    procfs_set_dynamic(&root);
}
