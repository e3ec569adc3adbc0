// What a power cut would leave, for breakage.py: preloaded into `study`, it copies each file of the ledger to the folder POWERCUT
// whenever the file is synced. The copies are the files without any write that was not synced.
// cc -O2 -shared -fPIC -o powercut.so powercut.c -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(int fd) {
    const char *folder = getenv("POWERCUT");
    char link[64], path[4096], copy[8192], draft[8300];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!folder || length <= 0) return;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name, "/ledger.sqlite", 14) != 0) return;
    snprintf(copy, sizeof copy, "%s%s", folder, name);
    snprintf(draft, sizeof draft, "%s.draft", copy);
    pthread_mutex_lock(&lock);
    int from = open(path, O_RDONLY | O_CLOEXEC), to = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    struct stat info;
    if (from >= 0 && to >= 0 && fstat(from, &info) == 0) {
        off_t rest = info.st_size;
        while (rest > 0) {
            ssize_t n = sendfile(to, from, NULL, (size_t)rest);
            if (n <= 0) break;
            rest -= n;
        }
        if (rest == 0) rename(draft, copy);
    }
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    pthread_mutex_unlock(&lock);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}
