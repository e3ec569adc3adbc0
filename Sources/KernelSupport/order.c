// Two pipes keep no order between them. So what is written to standard error waits until the recorder has taken what
// went to standard output before it; the recorder, in turn, reads standard error first. Then the one that it finds in
// both pipes at once is older in standard error.
#include "internal.h"
#include "KernelSupport.h"
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

void ks_before_error(void) {
    if (getpid() != ks_owner()) return;
    if (ftrylockfile(stdout) == 0) {
        fflush_unlocked(stdout);
        funlockfile(stdout);
    }
    struct stat status;
    if (fstat(1, &status) != 0 || !S_ISFIFO(status.st_mode)) return;
    // The recorder answers within a switch of tasks. Another process that floods the pipe must not hold the cell up:
    // after 20 ms it goes on.
    for (int i = 0; i < 200; i++) {
        int waiting = 0;
        if (ioctl(1, FIONREAD, &waiting) != 0 || waiting == 0) return;
        usleep(100);
    }
}

static ssize_t write_error(void *cookie, const char *bytes, size_t count) {
    (void)cookie;
    ks_before_error();
    size_t done = 0;
    while (done < count) {
        ssize_t n = write(2, bytes + done, count - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

// `stderr` of C, which Swift's `fputs(_, stderr)` and `print(to:)` reach. A `write(2, …)` of the cell's own is not held.
void ks_order_start(void) {
    cookie_io_functions_t functions = {.write = write_error};
    FILE *ordered = fopencookie(NULL, "w", functions);
    if (ordered == NULL) return;
    setvbuf(ordered, NULL, _IONBF, 0);
    ordered->_fileno = 2;  // as `fileno(stderr)` must say
    stderr = ordered;
}
