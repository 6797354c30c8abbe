/*
 * The process table: look-up, numbers, creation of the objects, and programs started from outside.
 *
 * Two hash tables (processes by pid, tasks by tid) and one list in pid order, all under
 * process_lock. A number is free when no task, process, group or session has it.
 */
#include "linux/process.h"

#include <linux/resource.h>

#include "core/bootargs.h"
#include "core/rand.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/trace.h"
#include "linux/tty.h"

spinlock_t process_lock = SPINLOCK_INIT;
struct process *init_process;

#define PID_BUCKETS 256

static struct list processes = LIST_INIT(processes);
static struct list process_hash[PID_BUCKETS], task_hash[PID_BUCKETS];
static int last_pid;
static uint64_t numbers_given;

static uint64_t default_rlimits[RLIMIT_COUNT][2] = {
    [RLIMIT_CPU] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_FSIZE] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_DATA] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_STACK] = {8 << 20, RLIM64_INFINITY},
    [RLIMIT_CORE] = {0, RLIM64_INFINITY},
    [RLIMIT_RSS] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_NPROC] = {PID_MAX, PID_MAX},
    [RLIMIT_NOFILE] = {65536, 524288},
    [RLIMIT_MEMLOCK] = {8 << 20, 8 << 20},
    [RLIMIT_AS] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_LOCKS] = {RLIM64_INFINITY, RLIM64_INFINITY},
    [RLIMIT_SIGPENDING] = {4096, 4096},
    [RLIMIT_MSGQUEUE] = {819200, 819200},
    [RLIMIT_NICE] = {0, 0},
    [RLIMIT_RTPRIO] = {0, 0},
    [RLIMIT_RTTIME] = {RLIM64_INFINITY, RLIM64_INFINITY},
};

/* --- look-up ---------------------------------------------------------------------------------- */

static struct process *process_find_locked(int pid)
{
    struct process *p;
    list_for_each (p, &process_hash[(unsigned)pid % PID_BUCKETS], hash_link) {
        if (p->pid == pid)
            return p;
    }
    return NULL;
}

struct process *process_find(int pid)
{
    spin_lock_bh(&process_lock);
    struct process *p = process_find_locked(pid);
    if (p)
        ref_get(&p->refs);
    spin_unlock_bh(&process_lock);
    return p;
}

struct task *task_find_locked(int tid)
{
    struct task *t;
    list_for_each (t, &task_hash[(unsigned)tid % PID_BUCKETS], hash_link) {
        if (t->tid == tid)
            return t;
    }
    return NULL;
}

struct process *process_next(int from)
{
    struct process *p, *found = NULL;
    spin_lock_bh(&process_lock);
    list_for_each (p, &processes, all_link) {
        if (p->pid >= from) {
            found = p;
            ref_get(&p->refs);
            break;
        }
    }
    spin_unlock_bh(&process_lock);
    return found;
}

struct process *process_first_locked(void)
{
    return list_empty(&processes) ? NULL : list_first(&processes, struct process, all_link);
}

struct process *process_after_locked(struct process *p)
{
    return p->all_link.next == &processes ? NULL
                                          : list_first(&p->all_link, struct process, all_link);
}

static bool number_in_use(int nr)
{
    struct process *p;
    if (task_find_locked(nr) || process_find_locked(nr))
        return true;
    list_for_each (p, &processes, all_link) {
        if (p->pgid == nr || p->sid == nr)
            return true;
    }
    return false;
}

int process_last_number(void)
{
    return READ_ONCE(last_pid);
}

uint64_t process_numbers_given(void)
{
    return READ_ONCE(numbers_given);
}

/* A free number; -EAGAIN when there is none. Under process_lock. */
static int number_alloc(void)
{
    for (int tries = 0; tries < PID_MAX; tries++) {
        if (++last_pid >= PID_MAX)
            last_pid = 300; /* as Linux: low ones stay with what started first */
        if (!number_in_use(last_pid)) {
            numbers_given++;
            return last_pid;
        }
    }
    return -EAGAIN;
}

void process_unhash_locked(struct process *p)
{
    list_remove(&p->all_link);
    list_remove(&p->hash_link);
}

void task_rehash_locked(struct task *t, int tid)
{
    if (t->tid)
        list_remove(&t->hash_link);
    t->tid = tid;
    list_push_back(&task_hash[(unsigned)tid % PID_BUCKETS], &t->hash_link);
}

int task_link_locked(struct task *t, struct process *p, bool new_process)
{
    int nr = number_alloc();
    if (nr < 0)
        return nr;
    t->process = p;
    ref_get(&p->refs);
    list_push_back(&p->tasks, &t->group_link);
    p->task_count++;
    task_rehash_locked(t, nr);
    if (!new_process)
        return 0;
    p->pid = nr;
    p->leader = t;
    ref_get(&t->refs);
    list_push_back(&process_hash[(unsigned)nr % PID_BUCKETS], &p->hash_link);
    struct list *at = processes.prev; /* keep pid order; almost always the end */
    while (at != &processes && list_entry(at, struct process, all_link)->pid > nr)
        at = at->prev;
    list_push_front(at, &p->all_link);
    if (p->parent)
        list_push_back(&p->parent->children, &p->sibling);
    return 0;
}

/* --- objects ---------------------------------------------------------------------------------- */

static void task_release(struct thread *thread)
{
    task_put((struct task *)thread);
}

static void task_entry(void *arg)
{
    struct task *t = arg;
    if (t->set_child_tid) {
        uint32_t tid = (uint32_t)t->tid;
        copy_to_user(t->set_child_tid, &tid, sizeof(tid)); /* a bad pointer is the program's loss */
    }
    trace_wait();
    user_enter(&t->start_regs);
}

bool thread_is_task(struct thread *t)
{
    return t->entry == task_entry;
}

struct task *task_alloc(const char *name)
{
    struct task *t = kzalloc(sizeof(*t));
    if (!t)
        return NULL;
    if (thread_init(&t->thread, task_entry, t, name)) {
        kfree(t);
        return NULL;
    }
    t->thread.release = task_release;
    ref_init(&t->refs, 1); /* the thread's own */
    list_init(&t->group_link);
    list_init(&t->hash_link);
    list_init(&t->pending_info);
    str_copy(t->comm, name, sizeof(t->comm));
    return t;
}

void task_put(struct task *t)
{
    if (ref_put(&t->refs))
        kfree(t);
}

void task_discard(struct task *t)
{
    thread_discard(&t->thread);
    kfree(t);
}

struct process *process_alloc(void)
{
    struct process *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    ref_init(&p->refs, 1); /* the table's; dropped when reaped */
    list_init(&p->all_link);
    list_init(&p->hash_link);
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->tasks);
    list_init(&p->posix_timers);
    list_init(&p->sem_undos);
    mutex_init(&p->fs_lock);
    wait_queue_init(&p->task_wait);
    wait_queue_init(&p->child_wait);
    wait_queue_init(&p->exit_wait);
    wait_queue_init(&p->vfork_wait);
    cpu_timers_init(p);
    itimers_init(p);
    p->exit_signal = SIGCHLD_N;
    p->dumpable = true;
    p->start_time = time_now();
    for (int i = 0; i < RLIMIT_COUNT; i++) {
        p->rlimits[i].cur = default_rlimits[i][0];
        p->rlimits[i].max = default_rlimits[i][1];
    }
    return p;
}

/* Everything but the memory of the object itself is gone: exit_process has released it. */
void process_put(struct process *p)
{
    if (!ref_put(&p->refs))
        return;
    if (p->leader)
        task_put(p->leader);
    if (p->sighand)
        sighand_free(p->sighand);
    kfree(p);
}

/* --- programs started from outside ------------------------------------------------------------ */

struct job {
    refcount_t refs;
    int leader, status;
    void (*on_exit)(int status, void *arg);
    void *arg;
};

void job_get(struct job *j)
{
    if (j)
        ref_get(&j->refs);
}

void job_leave(struct job *j, int pid, int status)
{
    if (!j)
        return;
    if (pid == j->leader)
        j->status = status;
    if (!ref_put(&j->refs))
        return;
    j->on_exit(j->status, j->arg);
    kfree(j);
}

static int count_strings(const char *const *v)
{
    int n = 0;
    while (v && v[n])
        n++;
    return n;
}

static int spawn_args(const struct spawn *s, struct exec_args *args)
{
    int err = 0;
    args->argc = count_strings(s->argv);
    args->envc = count_strings(s->envp);
    for (int i = 0; i < args->argc && !err; i++)
        err = exec_args_add(args, s->argv[i]);
    args->env_offset = args->len;
    for (int i = 0; i < args->envc && !err; i++)
        err = exec_args_add(args, s->envp[i]);
    return err;
}

/* Gives the new process what its parent would have given it. */
static int spawn_setup(const struct spawn *s, struct process *p)
{
    struct fs_context *root = vfs_root_context();
    p->fs = *root;
    path_get(&p->fs.root);
    path_get(&p->fs.cwd);
    p->fs.umask = 022;
    const struct cred *cred = cred_of_user(s->user);
    if (IS_ERR(cred))
        return (int)PTR_ERR(cred);
    p->fs.cred = cred;
    if (s->tty)
        devpts_set_owner(s->tty, cred->uid);
    if (s->cwd && *s->cwd) {
        struct path cwd;
        int err = vfs_lookup(&p->fs, NULL, s->cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &cwd);
        if (err)
            return err;
        path_put(&p->fs.cwd);
        p->fs.cwd = cwd;
    }
    p->sighand = sighand_create(NULL);
    p->files = fd_table_create();
    if (!p->sighand || !p->files)
        return -ENOMEM;
    for (int i = 0; i < 3; i++) {
        if (!s->stdio[i])
            continue;
        file_get(s->stdio[i]); /* the caller's own goes at the end, whatever happens */
        int err = fd_table_set(p->files, i, s->stdio[i], false);
        if (err < 0) {
            file_put(s->stdio[i]);
            return err;
        }
    }
    return 0;
}

/* Looks a bare name up in PATH. The result is text, or NULL if it is to be taken as it is. */
static int spawn_path(const struct spawn *s, struct process *p, char *text, size_t size)
{
    str_copy(text, s->program, size);
    if (strchr(s->program, '/'))
        return 0;
    const char *dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (int i = 0; s->envp && s->envp[i]; i++) {
        if (!strncmp(s->envp[i], "PATH=", 5))
            dirs = s->envp[i] + 5;
    }
    while (*dirs) {
        const char *end = strchr(dirs, ':');
        int len = (int)(end ? (size_t)(end - dirs) : strlen(dirs));
        snprintf(text, size, "%.*s/%s", len, dirs, s->program);
        struct path path;
        if (len && !vfs_lookup(&p->fs, NULL, text, LOOKUP_FOLLOW, &path)) {
            bool file = vnode_type(path_vnode(&path)) == MODE_REG;
            path_put(&path);
            if (file)
                return 0;
        }
        if (!end)
            break;
        dirs = end + 1;
    }
    return -ENOENT;
}

void process_release_parts(struct process *p)
{
    if (p->files)
        fd_table_put(p->files);
    if (p->mm)
        mm_put(p->mm);
    if (p->exe_file)
        file_put(p->exe_file);
    if (p->fs.root.dentry) {
        path_put(&p->fs.root);
        path_put(&p->fs.cwd);
    }
}

static int spawn_start(const struct spawn *s, struct process *p, struct task *t,
                       struct exec_args *args, int *pid)
{
    char *path = kmalloc(VFS_PATH_MAX);
    struct job *job = kzalloc(sizeof(*job));
    int err = -ENOMEM;
    if (!path || !job)
        goto out;
    struct exec_image image;
    err = spawn_path(s, p, path, VFS_PATH_MAX);
    if (!err)
        err = exec_load(&(struct exec_request){.ctx = &p->fs,
                                               .path = path,
                                               .stack_limit = p->rlimits[RLIMIT_STACK].cur,
                                               .args = args},
                        &image);
    if (err)
        goto out;
    p->mm = image.mm;
    p->fs.cred = image.cred;
    p->exe_file = image.file;
    user_regs_init(&t->start_regs, image.entry, image.sp);
    t->thread.aspace = image.mm->as;
    str_copy(t->comm, image.comm, sizeof(t->comm));
    str_copy(t->thread.name, image.comm, sizeof(t->thread.name));

    ref_init(&job->refs, 1);
    job->on_exit = s->on_exit;
    job->arg = s->arg;
    p->job = job;
    p->session = s->session;
    p->parent = init_process;
    p->autoreap = true;
    p->did_exec = true;
    spin_lock_bh(&process_lock);
    err = task_link_locked(t, p, true);
    if (!err) {
        p->pgid = p->sid = p->pid;
        *pid = job->leader = p->pid;
        p->tty = s->tty;
        if (p->tty)
            tty_get(p->tty);
    }
    spin_unlock_bh(&process_lock);
    if (err)
        goto out;
    job = NULL;
    thread_start(&t->thread);
out:
    kfree(job);
    kfree(path);
    return err;
}

static void no_exit_hook(int status, void *arg)
{
    (void)status;
    (void)arg;
}

int process_spawn(const struct spawn *request, int *pid)
{
    struct spawn s = *request;
    struct exec_args args = {0};
    struct process *p = process_alloc();
    struct task *t = task_alloc(s.program);
    int ignored, err = -ENOMEM;
    if (!s.on_exit)
        s.on_exit = no_exit_hook;
    if (p && t)
        err = spawn_setup(&s, p);
    if (!err)
        err = spawn_args(&s, &args);
    if (!err)
        err = spawn_start(&s, p, t, &args, pid ? pid : &ignored);
    exec_args_free(&args);
    for (int i = 0; i < 3; i++) {
        if (s.stdio[i])
            file_put(s.stdio[i]);
    }
    if (err) {
        if (t)
            task_discard(t);
        if (p) {
            process_release_parts(p);
            process_put(p);
        }
    }
    return err;
}

void process_init(void)
{
    for (int i = 0; i < PID_BUCKETS; i++) {
        list_init(&process_hash[i]);
        list_init(&task_hash[i]);
    }
    const char *core = bootarg("core");
    if (core && parse_u64(core, &default_rlimits[RLIMIT_CORE][0]))
        klog(LOG_WARN, "core=%s: not a number", core);
    struct process *p = process_alloc();
    struct task *t = kzalloc(sizeof(*t)); /* never runs: only its name is seen */
    ASSERT(p && t);
    p->sighand = sighand_create(NULL);
    ASSERT(p->sighand);
    p->fs = *vfs_root_context();
    ref_init(&t->refs, 1);
    list_init(&t->pending_info);
    str_copy(t->comm, "init", sizeof(t->comm));
    spin_lock_bh(&process_lock);
    int err = task_link_locked(t, p, true);
    p->pgid = p->sid = p->pid;
    spin_unlock_bh(&process_lock);
    ASSERT(!err && p->pid == 1);
    init_process = p;
}
