// Shuts this process in: the recorder made the rules (Notebook/Executing/Confinement.swift), the kernel process puts
// itself under them before it starts a thread or runs anybody's code.
#include "KernelSupport.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int ks_confine(int rules) {
    // landlock_restrict_self: 446 on every architecture. Without privileges it asks that none can be won any more.
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(446, rules, 0u) != 0) {
        fprintf(stderr, "Landlock: %s\n", strerror(errno));
        return -1;
    }
    close(rules);
    return 0;
}
