/* execve and execveat: the current process becomes another program. */
#include <linux/fcntl.h>
#include <linux/resource.h>

#include "linux/mm.h"
#include "linux/path.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

/* Collects a user vector of strings; the number of strings or -errno. */
static int collect(struct exec_args *a, uaddr_t vec)
{
    int n = 0;
    for (; vec; vec += 8) {
        uint64_t s;
        if (copy_from_user(&s, vec, sizeof(s)))
            return -EFAULT;
        if (!s)
            break;
        int err = exec_args_add_user(a, s);
        if (err)
            return err;
        n++;
        cond_resched();
    }
    return n;
}

static int collect_args(struct exec_args *a, uaddr_t argv, uaddr_t envp)
{
    int n = collect(a, argv);
    if (n < 0)
        return n;
    if (n == 0) { /* an empty argv[0], as Linux does since 5.18 */
        int err = exec_args_add(a, "");
        if (err)
            return err;
        n = 1;
    }
    a->argc = n;
    a->env_offset = a->len;
    n = collect(a, envp);
    if (n < 0)
        return n;
    a->envc = n;
    return 0;
}

/* Ends all other tasks; the current one becomes the leader. -ERESTARTSYS if it is to die itself. */
static int be_alone(struct task *t)
{
    struct process *p = t->process;
    spin_lock_bh(&process_lock);
    if (p->exiting || p->exec_task) {
        spin_unlock_bh(&process_lock);
        return -ERESTARTSYS;
    }
    p->exec_task = t;
    struct task *other;
    list_for_each (other, &p->tasks, group_link) {
        if (other != t)
            thread_interrupt(&other->thread);
    }
    spin_unlock_bh(&process_lock);
    wait_event(&p->task_wait, READ_ONCE(p->task_count) == 1);

    spin_lock_bh(&process_lock);
    if (p->leader != t) {
        struct task *old = p->leader;
        task_rehash_locked(t, p->pid);
        ref_get(&t->refs);
        p->leader = t;
        task_put(old);
    }
    p->exec_task = NULL;
    bool dying = p->exiting;
    spin_unlock_bh(&process_lock);
    return dying ? -ERESTARTSYS : 0;
}

/* Nothing fails from here on. */
static void become(struct task *t, struct exec_image *image)
{
    struct process *p = t->process;
    struct mm *old = p->mm;
    futex_task_exit(t);
    posix_timers_release(p);
    spin_lock_bh(&process_lock);
    p->mm = image->mm;
    p->did_exec = true;
    spin_unlock_bh(&process_lock);
    aspace_activate(image->mm->as);
    mm_put(old);
    vfork_release(p);

    mutex_lock(&p->fs_lock);
    struct file *exe = p->exe_file;
    p->exe_file = image->file;
    p->fs.cred = image->cred;
    mutex_unlock(&p->fs_lock);
    if (exe)
        file_put(exe);
    p->dumpable = !image->secure && !image->unreadable;
    p->keep_caps = false;
    if (image->secure)
        p->pdeath_signal = 0;
    p->exit_signal = SIGCHLD_N;
    sighand_exec(p->sighand);
    t->altstack.sp = t->altstack.size = 0;
    t->altstack.flags = 0;
    rseq_forget(t);
    t->robust_list = t->clear_child_tid = t->set_child_tid = 0;
    str_copy(t->comm, image->comm, sizeof(t->comm));
    str_copy(t->thread.name, image->comm, sizeof(t->thread.name));
    fd_close_on_exec(p->files);
    user_fpu_reset();
    user_tls_set(0);
    user_regs_init(user_regs_current(), image->entry, image->sp);
}

static long exec(const struct path *at, const char *name, uaddr_t argv, uaddr_t envp, bool nofollow)
{
    struct task *t = (struct task *)thread_current();
    struct process *p = t->process;
    struct exec_args args = {0};
    struct exec_image image;
    struct fs_context copy;
    const struct fs_context *ctx = fs_context_hold(&copy);
    int err = collect_args(&args, argv, envp);
    if (!err)
        err = exec_load(&(struct exec_request){.ctx = ctx,
                                               .at = at,
                                               .path = name,
                                               .nofollow = nofollow,
                                               .no_new_privs = p->no_new_privs,
                                               .stack_limit = p->rlimits[RLIMIT_STACK].cur,
                                               .args = &args},
                        &image);
    exec_args_free(&args);
    fs_context_drop(ctx, &copy);
    if (err)
        return err;
    err = be_alone(t);
    if (!err)
        err = fd_unshare();
    if (err) {
        mm_put(image.mm);
        file_put(image.file);
        return err;
    }
    become(t, &image);
    return 0;
}

long sys_execve(uaddr_t path, uaddr_t argv, uaddr_t envp)
{
    struct at a;
    int err = at_begin(&a, AT_FDCWD, path, false);
    if (err)
        return err;
    long res = exec(a.dir, a.name, argv, envp, false);
    at_end(&a);
    return res;
}

/* The program that a descriptor names: through its path. */
static long exec_fd(int fd, uaddr_t argv, uaddr_t envp)
{
    char *name = kmalloc(VFS_PATH_MAX);
    struct file *f = fd_get_path(fd);
    long res = !name ? -ENOMEM : !f ? -EBADF : !f->dentry ? -EACCES : 0;
    if (!res) {
        struct path path = file_path(f);
        ssize_t n = vfs_path_text(vfs_root_context(), &path, name, VFS_PATH_MAX);
        res = n < 0 ? n : exec(NULL, name, argv, envp, false);
    }
    if (f)
        file_put(f);
    kfree(name);
    return res;
}

long sys_execveat(int dirfd, uaddr_t path, uaddr_t argv, uaddr_t envp, int flags)
{
    struct at a;
    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    int err = at_begin(&a, dirfd, path, flags & AT_EMPTY_PATH);
    if (err)
        return err;
    long res;
    if (!*a.name)
        res = exec_fd(dirfd, argv, envp);
    else
        res = exec(a.dir, a.name, argv, envp, flags & AT_SYMLINK_NOFOLLOW);
    at_end(&a);
    return res;
}
