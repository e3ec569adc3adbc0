// GNU's and the kernel's functions for child processes, which Swift's Glibc module does not declare.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

// Landlock, in the numbers of linux/landlock.h: Debian's headers lack what later kernels know.

/// Version of the kernel's Landlock; below 1 where it has none or it is switched off.
static inline int study_landlock_version(void) { return (int)syscall(444, (void *)0, 0, 1u); }

enum {
    STUDY_WRITE_FILE = 1 << 1,
    // Removing (4, 5), making (6 to 12: device, folder, file, socket, pipe, block device, link), renaming and linking
    // from one folder to another (13).
    STUDY_CHANGE_FOLDER = 0x3ff << 4,
    STUDY_TRUNCATE = 1 << 14,
};

static inline unsigned long long study_landlock_rights(int version) {
    unsigned long long rights = STUDY_WRITE_FILE | STUDY_CHANGE_FOLDER;
    return version >= 3 ? rights | STUDY_TRUNCATE : rights;
}

/// A set of rules under which nothing may be written, made, renamed or removed; -1 and `errno` where it cannot be had.
static inline int study_landlock_rules(int version) {
    unsigned long long handled = study_landlock_rights(version);
    return (int)syscall(444, &handled, sizeof handled, 0u);
}

/// Allows all of that at `path` and below it; 0, or -1 and `errno`.
static inline int study_landlock_allow(int rules, int version, const char *path) {
    struct __attribute__((packed)) {
        unsigned long long allowed;
        int parent;
    } rule = {study_landlock_rights(version), open(path, 010000000 /* O_PATH */ | O_CLOEXEC)};
    if (rule.parent < 0) return -1;
    struct stat info;
    if (fstat(rule.parent, &info) == 0 && !S_ISDIR(info.st_mode)) rule.allowed &= ~(unsigned long long)STUDY_CHANGE_FOLDER;
    int result = (int)syscall(445, rules, 1, &rule, 0u);
    int reason = errno;
    close(rule.parent);
    errno = reason;
    return result;
}
