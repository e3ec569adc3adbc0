// Frames on their way to the recorder. Metrics come by the hundred thousand a second, so they are
// gathered and written 64 KiB at a time, or after 50 ms; a trap handler writes what is left.
#include "internal.h"
#include "KernelSupport.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { capacity = 1 << 20, threshold = 64 << 10 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t box[capacity];
static volatile size_t length = 0;  // whole frames lie below it
static volatile size_t sent = 0;    // bytes the recorder already has
static int fd = -1;
static dev_t device;
static ino_t inode;
static pid_t owner;

int ks_socket(void) { return fd; }

static int64_t nanoseconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// The wall clock's time when it was first asked, and what has passed since: setting the clock meanwhile moves nothing.
int64_t ks_now(void) {
    static _Atomic int64_t beginning;
    int64_t passed = nanoseconds(CLOCK_BOOTTIME), start = atomic_load_explicit(&beginning, memory_order_relaxed);
    if (start == 0) {
        int64_t found = nanoseconds(CLOCK_REALTIME) - passed;
        // Of two threads that ask first, one decides.
        start = atomic_compare_exchange_strong(&beginning, &start, found) ? found : start;
    }
    return start + passed;
}

// A cell may have closed the descriptor, or opened a file that got its number.
static int is_ours(void) {
    struct stat s;
    return fstat(fd, &s) == 0 && s.st_dev == device && s.st_ino == inode;
}

static int write_all(const uint8_t *bytes, size_t count, volatile size_t *progress) {
    if (!is_ours()) return 0;
    while (count > 0) {
        ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) continue;
            return 0;
        }
        bytes += n;
        count -= (size_t)n;
        if (progress) *progress += (size_t)n;
    }
    return 1;
}

static void lost(void) {
    static const char text[] =
        "study: the cell closed the connection to the recorder; nothing more can be recorded.\n";
    ssize_t ignored = write(2, text, sizeof text - 1);
    (void)ignored;
    _exit(KS_CONNECTION_LOST);
}

static void flush_locked(void) {
    if (length > sent && !write_all(box + sent, length - sent, &sent)) lost();
    length = 0;
    sent = 0;
}

void ks_append(const uint8_t *bytes, size_t count) {
    if (getpid() != owner) return;  // a forked child has nothing to say
    pthread_mutex_lock(&lock);
    if (count > capacity - length) flush_locked();
    if (count > capacity) {
        if (!write_all(bytes, count, NULL)) lost();
    } else {
        memcpy(box + length, bytes, count);
        length += count;
        if (length >= threshold) flush_locked();
    }
    pthread_mutex_unlock(&lock);
}

void ks_flush(void) {
    if (getpid() != owner) return;
    pthread_mutex_lock(&lock);
    flush_locked();
    pthread_mutex_unlock(&lock);
}

// From a signal handler: the lock may be held by the very thread that trapped, so wait a little and
// then go on without it; `length` never covers half a frame.
void ks_flush_from_handler(const uint8_t *last, size_t count) {
    if (getpid() != owner) return;
    for (int i = 0; i < 200 && pthread_mutex_trylock(&lock) != 0; i++) usleep(1000);
    if (length > sent) write_all(box + sent, length - sent, &sent);
    write_all(last, count, NULL);
}

static void *flusher(void *unused) {
    (void)unused;
    for (;;) {
        usleep(50000);
        if (length > sent) ks_flush();
    }
    return NULL;
}

void ks_outbox_start(int socket) {
    struct stat s;
    fd = socket;
    owner = getpid();
    if (fstat(fd, &s) == 0) {
        device = s.st_dev;
        inode = s.st_ino;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, flusher, NULL);
}

pid_t ks_owner(void) { return owner; }
