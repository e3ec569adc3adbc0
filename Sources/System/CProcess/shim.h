// GNU's functions for child processes, which Swift's Glibc module does not declare.
#pragma once
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

int pipe2(int descriptors[2], int flags);
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *, const char *path);
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int from);

/// A descriptor that is readable once the process has ended; -1 on kernels before 5.3.
static inline int study_pidfd(pid_t process) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, process, 0);
#else
    return -1;
#endif
}

/// No core dump of `process`: one of a process that holds a model fills a disk.
static inline void study_forbid_core(pid_t process) {
    struct rlimit none = {0, 0};
    syscall(SYS_prlimit64, process, RLIMIT_CORE, &none, 0);
}

/// How many bytes can be read from a pipe now.
static inline int study_waiting(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) == 0 ? count : 0;
}
