/* System V semaphores and message queues. */
#define _GNU_SOURCE
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static int id;

static int op(int sem, int value, int flags)
{
    struct sembuf b = {(unsigned short)sem, (short)value, (short)flags};
    return semop(id, &b, 1);
}

static int value_of(int sem)
{
    return semctl(id, sem, GETVAL);
}

static void new_set(int n)
{
    id = semget(IPC_PRIVATE, n, 0600);
    CHECK(id >= 0);
}

static void remove_set(void)
{
    CHECK(semctl(id, 0, IPC_RMID) == 0);
}

static void values_are_counted(void)
{
    new_set(2);
    CHECK(value_of(0) == 0 && op(0, 3, 0) == 0 && value_of(0) == 3 && value_of(1) == 0);
    CHECK(op(0, -2, 0) == 0 && value_of(0) == 1);
    CHECK_ERRNO(op(0, -2, IPC_NOWAIT), EAGAIN);
    CHECK_ERRNO(op(0, 0, IPC_NOWAIT), EAGAIN);
    CHECK(op(1, 0, IPC_NOWAIT) == 0 && semctl(id, 0, GETPID) == getpid());
    CHECK_ERRNO(op(2, 1, 0), EFBIG);
    CHECK_ERRNO(op(0, 32767, 0), ERANGE);
    remove_set();
    CHECK_ERRNO(op(0, 1, 0), EINVAL);
}

static void operations_are_done_together(void)
{
    struct sembuf b[3] = {{0, 1, 0}, {1, 2, 0}, {2, -1, IPC_NOWAIT}};
    new_set(3);
    CHECK_ERRNO(semop(id, b, 3), EAGAIN);
    CHECK(value_of(0) == 0 && value_of(1) == 0);
    b[2].sem_op = 1;
    CHECK(semop(id, b, 3) == 0 && value_of(1) == 2 && value_of(2) == 1);
    struct sembuf twice[2] = {{0, -1, IPC_NOWAIT}, {0, -1, IPC_NOWAIT}};
    CHECK_ERRNO(semop(id, twice, 2), EAGAIN);
    CHECK(value_of(0) == 1);
    CHECK_ERRNO(semop(id, b, 0), EINVAL);
    CHECK_ERRNO(semop(id, b, 100000), E2BIG);
    CHECK_ERRNO(syscall(SYS_semop, id, 8, 1), EFAULT);
    remove_set();
}

static void waiting(void)
{
    CHECK(op(0, -2, 0) == 0);
}

static void waiters_are_woken(void)
{
    new_set(1);
    pid_t pid = child_start(waiting);
    until_asleep(pid);
    CHECK(semctl(id, 0, GETNCNT) == 1 && semctl(id, 0, GETZCNT) == 0);
    CHECK(op(0, 1, 0) == 0);
    sleep_ms(20);
    CHECK(waitpid(pid, NULL, WNOHANG) == 0 && op(0, 1, 0) == 0);
    CHECK(child_status(pid) == 0 && value_of(0) == 0 && semctl(id, 0, GETNCNT) == 0);
    remove_set();
}

static void waiting_for_zero(void)
{
    CHECK(op(0, 0, 0) == 0);
}

static void zero_is_waited_for(void)
{
    new_set(1);
    CHECK(op(0, 2, 0) == 0);
    pid_t pid = child_start(waiting_for_zero);
    until_asleep(pid);
    CHECK(semctl(id, 0, GETZCNT) == 1 && op(0, -2, 0) == 0);
    CHECK(child_status(pid) == 0);
    remove_set();
}

static void removed_under_it(void)
{
    CHECK_ERRNO(op(0, -1, 0), EIDRM);
}

static void removal_wakes(void)
{
    new_set(1);
    pid_t pid = child_start(removed_under_it);
    until_asleep(pid);
    remove_set();
    CHECK(child_status(pid) == 0);
}

static void nothing(int signo)
{
    (void)signo;
}

static void interrupted(void)
{
    struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &sa, NULL);
    CHECK_ERRNO(op(0, -1, 0), EINTR); /* never restarted */
}

static void signals_end_a_wait(void)
{
    new_set(1);
    pid_t pid = child_start(interrupted);
    until_asleep(pid);
    kill(pid, SIGUSR1);
    CHECK(child_status(pid) == 0);
    remove_set();
}

static void waits_may_be_timed(void)
{
    struct sembuf b = {0, -1, 0};
    struct timespec t = {0, 20000000}, bad = {0, 1000000000};
    new_set(1);
    CHECK_ERRNO(semtimedop(id, &b, 1, &t), EAGAIN);
    CHECK_ERRNO(semtimedop(id, &b, 1, &bad), EINVAL);
    remove_set();
}

static void undoing(void)
{
    CHECK(op(0, -1, SEM_UNDO) == 0 && op(1, 4, SEM_UNDO) == 0 && op(1, -1, SEM_UNDO) == 0);
    CHECK(op(0, 5, 0) == 0); /* this one stays */
}

static void the_end_of_a_process_is_undone(void)
{
    new_set(2);
    CHECK(op(0, 1, 0) == 0 && in_child(undoing) == 0);
    CHECK(value_of(0) == 6 && value_of(1) == 0);
    remove_set();
}

static void undo_then_set(void)
{
    CHECK(op(0, 3, SEM_UNDO) == 0);
    CHECK(semctl(id, 0, SETVAL, (union semun){.val = 9}) == 0);
}

static void setting_a_value_forgets_undos(void)
{
    new_set(1);
    CHECK(in_child(undo_then_set) == 0 && value_of(0) == 9);
    remove_set();
}

static void all_values_at_once(void)
{
    unsigned short v[3] = {1, 2, 3}, got[3] = {0}, bad[3] = {1, 40000, 1};
    struct semid_ds ds;
    new_set(3);
    CHECK(semctl(id, 0, SETALL, (union semun){.array = v}) == 0);
    CHECK(semctl(id, 0, GETALL, (union semun){.array = got}) == 0 && !memcmp(v, got, sizeof(v)));
    CHECK_ERRNO(semctl(id, 0, SETALL, (union semun){.array = bad}), ERANGE);
    CHECK_ERRNO(semctl(id, 0, SETVAL, (union semun){.val = 40000}), ERANGE);
    CHECK_ERRNO(semctl(id, 0, SETVAL, (union semun){.val = -1}), ERANGE);
    CHECK_ERRNO(semctl(id, 3, GETVAL), EINVAL);
    CHECK_ERRNO(semctl(id, 0, 99), EINVAL);
    CHECK(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}) == 0 && ds.sem_nsems == 3);
    CHECK((ds.sem_perm.mode & 0777) == 0600 && ds.sem_otime == 0 && ds.sem_ctime != 0);
    CHECK(op(0, 1, 0) == 0 && semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}) == 0);
    CHECK(ds.sem_otime != 0);
    remove_set();
}

static void semget_is_checked(void)
{
    key_t key = 0x4c690002 + getpid();
    CHECK_ERRNO(semget(key, 1, 0600), ENOENT);
    CHECK_ERRNO(semget(key, 0, IPC_CREAT | 0600), EINVAL);
    CHECK_ERRNO(semget(key, -1, IPC_CREAT | 0600), EINVAL);
    id = semget(key, 2, IPC_CREAT | 0600);
    CHECK(id >= 0 && semget(key, 0, 0) == id && semget(key, 2, 0) == id);
    CHECK_ERRNO(semget(key, 3, 0), EINVAL);
    CHECK_ERRNO(semget(key, 2, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
    remove_set();
}

static void semaphore_stranger(void)
{
    CHECK(setresgid(7000, 7000, 7000) == 0 && setresuid(7000, 7000, 7000) == 0);
    CHECK(value_of(0) == 0 && op(0, 0, 0) == 0); /* 0604 */
    CHECK_ERRNO(op(0, 1, 0), EACCES);
    CHECK_ERRNO(semctl(id, 0, SETVAL, (union semun){.val = 1}), EACCES);
    CHECK_ERRNO(semctl(id, 0, IPC_RMID), EPERM);
}

static void modes_keep_strangers_out(void)
{
    id = semget(IPC_PRIVATE, 1, 0604);
    CHECK(id >= 0 && in_child(semaphore_stranger) == 0);
    remove_set();
}

static void children_compete(void)
{
    new_set(1);
    CHECK(op(0, 1, 0) == 0);
    pid_t p[4];
    for (int i = 0; i < 4; i++) {
        p[i] = fork();
        if (p[i] == 0) {
            for (int k = 0; k < 200; k++) {
                if (op(0, -1, SEM_UNDO) || value_of(0) != 0 || op(0, 1, SEM_UNDO))
                    _exit(1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 4; i++)
        CHECK(child_status(p[i]) == 0);
    CHECK(value_of(0) == 1);
    remove_set();
}

static void tables_are_walked(void)
{
    struct seminfo si;
    struct semid_ds ds;
    int found = 0, other;
    new_set(3);
    other = id;
    new_set(5);
    int highest = semctl(0, 0, SEM_INFO, (union semun){.buf = (void *)&si});
    CHECK(highest >= 0 && si.semusz >= 2 && si.semaem >= 8);
    for (int i = 0; i <= highest; i++) {
        int at = semctl(i, 0, SEM_STAT, (union semun){.buf = &ds});
        found += (at == id && ds.sem_nsems == 5) || (at == other && ds.sem_nsems == 3);
    }
    CHECK(found == 2);
    CHECK(semctl(0, 0, IPC_INFO, (union semun){.buf = (void *)&si}) == highest);
    CHECK(si.semvmx == 32767 && si.semopm >= 32);
    CHECK_ERRNO(semctl(1000000, 0, SEM_STAT, (union semun){.buf = &ds}), EINVAL);
    remove_set();
    CHECK(semctl(other, 0, IPC_RMID) == 0);
}

static void removed_identifiers_do_not_come_back(void)
{
    new_set(1);
    int old = id;
    remove_set();
    new_set(1);
    CHECK(id != old);
    CHECK_ERRNO(semctl(old, 0, GETVAL), EINVAL);
    remove_set();
}

/* --- message queues --------------------------------------------------------------------------- */

struct note {
    long type;
    char text[32];
};

static int queue;

static void new_queue(void)
{
    queue = msgget(IPC_PRIVATE, 0600);
    CHECK(queue >= 0);
}

static void post(long type, const char *text)
{
    struct note n = {.type = type};
    strcpy(n.text, text);
    CHECK(msgsnd(queue, &n, strlen(text) + 1, 0) == 0);
}

static void expect(long type, int flags, long got_type, const char *text)
{
    struct note n = {0};
    CHECK(msgrcv(queue, &n, sizeof(n.text), type, flags) == (ssize_t)strlen(text) + 1);
    CHECK(n.type == got_type && !strcmp(n.text, text));
}

static void messages_are_chosen_by_type(void)
{
    struct note n;
    new_queue();
    post(3, "three");
    post(1, "one");
    post(2, "two");
    post(1, "uno");
    expect(0, 0, 3, "three");
    expect(2, 0, 2, "two");
    post(5, "five");
    expect(-4, 0, 1, "one");
    expect(1, MSG_EXCEPT, 5, "five");
    expect(1, 0, 1, "uno");
    CHECK_ERRNO(msgrcv(queue, &n, 32, 0, IPC_NOWAIT), ENOMSG);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
}

static void message_sizes_are_checked(void)
{
    struct note n = {.type = 1}, zero = {.type = 0};
    static struct {
        long type;
        char text[9000];
    } big = {.type = 1};
    new_queue();
    post(1, "longer than that");
    CHECK_ERRNO(msgrcv(queue, &n, 4, 0, 0), E2BIG);
    CHECK(msgrcv(queue, &n, 6, 0, MSG_NOERROR) == 6 && !memcmp(n.text, "longer", 6));
    CHECK_ERRNO(msgsnd(queue, &zero, 1, 0), EINVAL);
    CHECK_ERRNO(msgsnd(queue, &big, 9000, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_msgsnd, queue, 8, 1, 0), EFAULT);
    CHECK_ERRNO(msgsnd(99999999, &n, 1, 0), EINVAL);
    CHECK(msgsnd(queue, &n, 0, 0) == 0 && msgrcv(queue, &n, 32, 0, 0) == 0);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
}

static void fill(void)
{
    struct note n = {.type = 1};
    CHECK(msgsnd(queue, &n, 32, 0) == 0);
}

static void a_full_queue_is_waited_for(void)
{
    struct msqid_ds ds;
    struct note n = {.type = 1};
    new_queue();
    CHECK(msgctl(queue, IPC_STAT, &ds) == 0 && ds.msg_qnum == 0 && ds.msg_qbytes == 16384);
    ds.msg_qbytes = 100;
    CHECK(msgctl(queue, IPC_SET, &ds) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(msgsnd(queue, &n, 32, IPC_NOWAIT) == 0);
    CHECK_ERRNO(msgsnd(queue, &n, 32, IPC_NOWAIT), EAGAIN);
    CHECK(msgctl(queue, IPC_STAT, &ds) == 0 && ds.msg_qnum == 3 && ds.msg_lspid == getpid());
    pid_t pid = child_start(fill);
    until_asleep(pid);
    CHECK(msgrcv(queue, &n, 32, 0, 0) == 32 && child_status(pid) == 0);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
}

static void receive_from_removed(void)
{
    struct note n;
    CHECK_ERRNO(msgrcv(queue, &n, 32, 0, 0), EIDRM);
}

static void receive_one(void)
{
    expect(7, 0, 7, "seven");
}

static void receivers_wait(void)
{
    new_queue();
    pid_t pid = child_start(receive_one);
    until_asleep(pid);
    post(6, "six"); /* not for it */
    sleep_ms(20);
    CHECK(waitpid(pid, NULL, WNOHANG) == 0);
    post(7, "seven");
    CHECK(child_status(pid) == 0);
    expect(0, 0, 6, "six");
    pid = child_start(receive_from_removed);
    until_asleep(pid);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && child_status(pid) == 0);
}

static void queue_stranger(void)
{
    struct note n = {.type = 1};
    CHECK(setresgid(7000, 7000, 7000) == 0 && setresuid(7000, 7000, 7000) == 0);
    CHECK(msgsnd(queue, &n, 1, 0) == 0); /* 0602 */
    CHECK_ERRNO(msgrcv(queue, &n, 32, 0, IPC_NOWAIT), EACCES);
    CHECK_ERRNO(msgctl(queue, IPC_RMID, NULL), EPERM);
}

static void queues_have_modes(void)
{
    queue = msgget(IPC_PRIVATE, 0602);
    CHECK(queue >= 0 && in_child(queue_stranger) == 0);
    CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
    CHECK_ERRNO(msgget(0x4c690003 + getpid(), 0600), ENOENT);
}

int main(void)
{
    CASE(values_are_counted);
    CASE(operations_are_done_together);
    CASE(waiters_are_woken);
    CASE(zero_is_waited_for);
    CASE(removal_wakes);
    CASE(signals_end_a_wait);
    CASE(waits_may_be_timed);
    CASE(the_end_of_a_process_is_undone);
    CASE(setting_a_value_forgets_undos);
    CASE(all_values_at_once);
    CASE(semget_is_checked);
    CASE(modes_keep_strangers_out);
    CASE(children_compete);
    CASE(tables_are_walked);
    CASE(removed_identifiers_do_not_come_back);
    CASE(messages_are_chosen_by_type);
    CASE(message_sizes_are_checked);
    CASE(a_full_queue_is_waited_for);
    CASE(receivers_wait);
    CASE(queues_have_modes);
    return check_result();
}
