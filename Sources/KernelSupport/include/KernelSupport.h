// What running somebody's cells needs below Swift: stacks of their own, ways out of a cell that threw
// or called `exit`, the report of a trap, and an outbox that a signal handler can still empty.
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

/// How a cell's entry point came to its end.
enum {
    KS_RETURNED = 0,
    /// An error reached the top level: `ks_outcome.error`.
    KS_THREW = 1,
    /// The cell called `exit`: `ks_outcome.status`.
    KS_EXITED = 2,
    /// The cell closed the kernel's own socket.
    KS_CLOSED = 3,
    /// The cell called `fork`.
    KS_FORKED = 4,
};

enum { KS_MAXIMUM_FRAMES = 64 };

struct ks_outcome {
    int kind;
    int status;
    /// The `SwiftError *` that was thrown, retained.
    void *_Nullable error;
    /// `errno` at that moment: what the system had last refused, 0 where nothing since the cell began.
    int error_number;
    /// Where the throw or the exit was, innermost first: addresses within the calling instructions.
    size_t frame_count;
    uintptr_t frames[KS_MAXIMUM_FRAMES];
};

/// Puts this process, and all that it starts, under a set of Landlock's rules. To be called before any thread is started.
/// 0, or -1 with the reason on standard error.
int ks_confine(int rules);

/// Installs what cells need in this process, once: signal handlers, the main actor's queue, the
/// record of throws. `socket` is where frames go.
void ks_start(int socket);

/// Calls a cell's entry point on a stack of its own and says how it ended.
void ks_run_cell(int (*entry)(int, char *_Nullable *_Nullable), int cell, struct ks_outcome *outcome);

/// The last statement of every cell calls this: an `exit` after it is the runtime's, not the cell's.
void ks_reached_end(void);

/// The object that holds `address` and its load address; 0 where none does.
int ks_locate(uintptr_t address, const char *_Nullable *_Nonnull object, uintptr_t *base);

/// Before writing to standard error: waits until the recorder has read what went to standard output, so that it sees the
/// two in their order. At most 20 ms.
void ks_before_error(void);

/// The cell that runs, or -1.
int ks_current_cell(void);

/// Makes an executor the main actor's: `UnownedSerialExecutor`'s two words. Its jobs come back through
/// `ks_enqueue` and run on the cell's stack while the cell's top level waits.
void ks_set_main_executor(const void *identity, uintptr_t implementation);
void ks_enqueue(void *job);
/// Whether the calling thread is the one that cells run on.
int ks_is_cell_thread(void);

/// Whether the recorder has asked for an end. Set from the reader's thread.
int ks_is_cancelled(void);
void ks_cancel(void);

/// Appends whole frames to the outbox; sends it when it holds 64 KiB. Any thread.
/// Leaves the process with `KS_CONNECTION_LOST` when the recorder cannot be reached.
void ks_append(const uint8_t *bytes, size_t count);
/// Sends what the outbox holds.
void ks_flush(void);

enum {
    /// The exit status of a kernel whose socket was closed under it.
    KS_CONNECTION_LOST = 86,
    /// The exit status of a kernel that could not start.
    KS_CANNOT_START = 87,
};

/// Nanoseconds since 1970.
int64_t ks_now(void);

#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
