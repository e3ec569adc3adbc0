// A trap or a fatal signal ends the kernel, but first the recorder gets what waits in the outbox, the
// output that waits in stdio, and the place.
#include "internal.h"
#include "KernelSupport.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// All that end a process by default, so that each is told with its place.
static const int signals[] = {
    SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGSYS, SIGTERM, SIGHUP, SIGQUIT, SIGALRM,
    SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGPOLL, SIGPWR, SIGSTKFLT,
};

// One failure frame (Events/Frame.swift), built without allocating.
static uint8_t report[64 << 10];
static size_t report_length;

static void put(const void *bytes, size_t count) {
    if (count > sizeof report - report_length) return;
    memcpy(report + report_length, bytes, count);
    report_length += count;
}
static void put_u32(uint32_t v) { put(&v, sizeof v); }
static void put_i64(int64_t v) { put(&v, sizeof v); }
static void put_text(const char *text) {
    put_u32((uint32_t)strlen(text));
    put(text, strlen(text));
}

static void build_report(int number, int refused, const char *message, const uintptr_t *frames, size_t count) {
    enum { failure_kind = 13 };
    report_length = 4;
    uint8_t kind = failure_kind;
    put(&kind, 1);
    put_i64(ks_current_cell());
    put_text("trap");
    put_text(message);
    put_i64(number);
    size_t place = report_length;
    put_u32(0);
    uint32_t located = 0;
    for (size_t i = 0; i < count; i++) {
        const char *object;
        uintptr_t base;
        if (!ks_locate(frames[i], &object, &base)) continue;
        if (strlen(object) + 16 > sizeof report - report_length) break;
        put_text(object);
        put_i64((int64_t)(frames[i] - base));
        located++;
    }
    memcpy(report + place, &located, sizeof located);
    put_i64(refused);
    uint32_t length = (uint32_t)report_length - 4;
    memcpy(report, &length, sizeof length);
}

static void flush_stdio(FILE *file) {
    if (ftrylockfile(file) != 0) return;  // another thread prints, and may have trapped there
    fflush_unlocked(file);
    funlockfile(file);
}

static void handle(int number, siginfo_t *info, void *context) {
    int refused = errno;
    static volatile sig_atomic_t entered = 0;
    // What comes from outside (the recorder's stop) reaches any thread of ours, the flusher among them; the cell's place
    // is on the main one.
    if (info->si_code == SI_USER && getpid() == ks_owner() && gettid() != getpid()) {
        tgkill(getpid(), getpid(), number);
        return;
    }
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(number, &standard, NULL);
    if (getpid() == ks_owner() && !entered) {
        entered = 1;
        uintptr_t pc = 0, sp = 0, fp = 0;
#if defined(__x86_64__)
        const mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
        pc = (uintptr_t)machine->gregs[REG_RIP];
        sp = (uintptr_t)machine->gregs[REG_RSP];
        fp = (uintptr_t)machine->gregs[REG_RBP];
#elif defined(__aarch64__)
        const mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
        pc = (uintptr_t)machine->pc;
        sp = (uintptr_t)machine->sp;
        fp = (uintptr_t)machine->regs[29];
#endif
        uintptr_t frames[KS_MAXIMUM_FRAMES];
        size_t count = ks_waiting_frames(frames, KS_MAXIMUM_FRAMES / 2);
        count += ks_unwind(pc, sp, fp, frames + count, KS_MAXIMUM_FRAMES - count);
        int overflow = number == SIGSEGV && ks_is_stack_guard((uintptr_t)info->si_addr);
        build_report(number, refused, overflow ? "stack overflow" : "", frames, count);
        flush_stdio(stdout);
        flush_stdio(stderr);
        ks_flush_from_handler(report, report_length);
    }
    raise(number);
}

void ks_traps_start(void) {
    uintptr_t warm[1];
    ks_unwind(0, 0, 0, warm, 1);  // what the unwinder needs is loaded now: a handler must not
    const size_t size = 256 << 10;
    stack_t alternate = {.ss_size = size};
    alternate.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (alternate.ss_sp != MAP_FAILED) sigaltstack(&alternate, NULL);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaction(signals[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);  // Ctrl-C is the recorder's to pass on
}
