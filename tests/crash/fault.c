/* Faults at the n-th system call that changes a folder, in every thread of this process.

   A seccomp filter traps those calls, whoever makes them: Python, Arrow, TensorFlow or libc itself.
   The handler counts the ones that concern the folder, and lets one be the last (KILL, TEAR) or
   fail (FAIL). READ is of calls that read, in place of those that change. Its own calls carry a cookie as their sixth argument, and pass. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#define COOKIE 0x756c6d6f
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define CALL(nr, a) syscall(nr, (a)[0], (a)[1], (a)[2], (a)[3], (a)[4], COOKIE)

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
static const int REGISTERS[5] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8};
#define ARGUMENT(context, i) ((context)->uc_mcontext.gregs[REGISTERS[i]])
#define RESULT(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define ARGUMENT(context, i) ((context)->uc_mcontext.regs[i])
#define RESULT(context) ((context)->uc_mcontext.regs[0])
#else
#error "no registers are known for this processor"
#endif

enum { COUNT, KILL, TEAR, FAIL, READ };

struct plan {
    long count;  /* calls so far */
    long at;     /* the call that it happens at, from 1 */
    long mode;
    long error;  /* of FAIL, at this call and all that write after it; of READ, at this one alone */
    long log;    /* file descriptor for a line a call; -1: none */
    char folder[4000];
};

static struct plan *plan;

/* Where the folder or the file of each call stands: a path, a path below a descriptor, or a
   descriptor. `makes` tells calls that need room on the disk; of those that read it is -1. */
static const struct call { int nr; const char *name; int path, at, descriptor, makes; } CALLS[] = {
    {SYS_read, "read", -1, -1, 0, -1},      {SYS_pread64, "read", -1, -1, 0, -1},
#ifdef SYS_open
    {SYS_open, "open", 0, -1, -1, 1},       {SYS_creat, "open", 0, -1, -1, 1},
    {SYS_rename, "rename", 1, -1, -1, 1},   {SYS_unlink, "unlink", 0, -1, -1, 0},
    {SYS_mkdir, "mkdir", 0, -1, -1, 1},     {SYS_rmdir, "rmdir", 0, -1, -1, 0},
#endif
#ifdef SYS_renameat
    {SYS_renameat, "rename", 3, 2, -1, 1},
#endif
    {SYS_openat, "open", 1, 0, -1, 1},      {SYS_renameat2, "rename", 3, 2, -1, 1},
    {SYS_unlinkat, "unlink", 1, 0, -1, 0},  {SYS_mkdirat, "mkdir", 1, 0, -1, 1},
    {SYS_truncate, "truncate", 0, -1, -1, 1},
    {SYS_ftruncate, "truncate", -1, -1, 0, 1},
    {SYS_fallocate, "write", -1, -1, 0, 1}, {SYS_write, "write", -1, -1, 0, 1},
    {SYS_pwrite64, "write", -1, -1, 0, 1},  {SYS_writev, "write", -1, -1, 0, 1},
    {SYS_pwritev, "write", -1, -1, 0, 1},   {SYS_sendfile, "write", -1, -1, 0, 1},
    {SYS_copy_file_range, "write", -1, -1, 2, 1},
    {SYS_fsync, "fsync", -1, -1, 0, 1},     {SYS_fdatasync, "fsync", -1, -1, 0, 1},
};

/* The path that a call is about; empty where it cannot be told. */
static void name_of(const struct call *call, const long *a, char *name, size_t size) {
    char link[64], folder[4096] = "";
    long directory[5] = {AT_FDCWD, (long)link, (long)folder, sizeof(folder) - 1, 0};
    const char *path = call->path >= 0 ? (const char *)a[call->path] : "";
    name[0] = 0;
    if (path[0] == '/') {
        snprintf(name, size, "%s", path);
        return;
    }
    long descriptor = call->descriptor >= 0 ? a[call->descriptor] : call->at >= 0 ? a[call->at] : AT_FDCWD;
    if ((int)descriptor == AT_FDCWD)
        snprintf(link, sizeof(link), "/proc/self/cwd");
    else
        snprintf(link, sizeof(link), "/proc/self/fd/%d", (int)descriptor);
    long length = CALL(SYS_readlinkat, directory);
    folder[length > 0 ? length : 0] = 0;
    snprintf(name, size, "%s%s%s", folder, path[0] ? "/" : "", path);
}

static int concerns(const struct call *call, const long *a, char *name, size_t size) {
    long flags = call->nr == SYS_openat ? a[2] : a[1];
    int reads = call->name[0] == 'o' && call->path >= 0 && !(flags & (O_WRONLY | O_RDWR | O_CREAT));
#ifdef SYS_creat
    reads = reads && call->nr != SYS_creat;
#endif
    if (reads)
        return 0;
    name_of(call, a, name, size);
    return strncmp(name, plan->folder, strlen(plan->folder)) == 0;
}

/* A line a call; of a rename, what it was before comes third. */
static void tell(const struct call *call, const long *a, const char *name) {
    char line[16500], before[8200] = "";
    if (strcmp(call->name, "rename") == 0) {
        struct call first = *call;
        first.path -= call->at >= 0 ? 2 : 1;
        first.at -= call->at >= 0 ? 2 : 0;
        name_of(&first, a, before, sizeof(before));
    }
    int length = snprintf(line, sizeof(line), "%s\t%s\t%s\n", call->name, name, before);
    long write_line[5] = {plan->log, (long)line, length};
    CALL(SYS_write, write_line);
}

static void die(void) {
    long self[5] = {getpid(), SIGKILL};
    CALL(SYS_kill, self);
}

static long faulty(const struct call *call, long *a) {
    char name[8200];
    if (concerns(call, a, name, sizeof(name))) {
        long number = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
        if (plan->log >= 0)
            tell(call, a, name);
        int writes = call->nr == SYS_write || call->nr == SYS_pwrite64;
        if (plan->mode == TEAR && number == plan->at && writes && a[2] > 1) {
            a[2] /= 2;
            CALL(call->nr, a);
        }
        if ((plan->mode == KILL || plan->mode == TEAR) && number >= plan->at)
            die();
        if (plan->mode == FAIL && number >= plan->at && call->makes)
            return -plan->error;
        if (plan->mode == READ && number == plan->at)
            return -plan->error;
    }
    long result = CALL(call->nr, a);
    return result == -1 ? -errno : result;
}

static void handle(int signal, siginfo_t *info, void *opaque) {
    ucontext_t *context = opaque;
    int before = errno;
    long a[5];
    (void)signal;
    for (int i = 0; i < 5; i++)
        a[i] = ARGUMENT(context, i);
    RESULT(context) = -ENOSYS;
    for (size_t i = 0; i < LENGTH(CALLS); i++)
        if (CALLS[i].nr == info->si_syscall) {
            RESULT(context) = faulty(&CALLS[i], a);
            break;
        }
    errno = before;
}

/* From now on, and until this process ends; 0, or an errno. */
int install(struct plan *chosen) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    struct sock_filter filter[2 * LENGTH(CALLS) + 6];
    size_t n = 0;
#define ADD(...) filter[n++] = (struct sock_filter)__VA_ARGS__
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, COOKIE, 0, 1));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    for (size_t i = 0; i < LENGTH(CALLS); i++) {
        if ((CALLS[i].makes < 0) != (chosen->mode == READ))
            continue;
        ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CALLS[i].nr, 0, 1));
        ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
    }
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog program = {.len = n, .filter = filter};
    plan = chosen;
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
        return errno;
    return 0;
}
