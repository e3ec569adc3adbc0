// Shared by the files of this folder only.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

void ks_outbox_start(int socket);
void ks_flush_from_handler(const uint8_t *last, size_t count);
pid_t ks_owner(void);

/// Puts a `stderr` in place that keeps its order with `stdout`.
void ks_order_start(void);

/// Follows the frame pointers from (`pc`, `fp`); the return addresses, less one so that they lie in
/// the call. Reads memory through the kernel, so a broken chain ends the walk and nothing else.
size_t ks_walk(uintptr_t pc, uintptr_t fp, uintptr_t *frames, size_t capacity);
// The same from a signal handler, of code that keeps no frame pointers too: from the registers that the signal found.
size_t ks_unwind(uintptr_t pc, uintptr_t sp, uintptr_t fp, uintptr_t *frames, size_t capacity);

/// The descriptor of the recorder's socket.
int ks_socket(void);

/// Where the top level of an asynchronous cell waits, innermost first; 0 where none does.
size_t ks_waiting_frames(uintptr_t *frames, size_t capacity);
int ks_read_words(uintptr_t address, uintptr_t words[2]);

void ks_traps_start(void);
void ks_throws_start(void);

/// The frames of the last throw of `error`, or of a later typed throw (a typed error is boxed after it
/// was thrown, so its address says nothing); 0 where neither is among the last 32.
/// `number` becomes what `errno` was.
size_t ks_throw_frames(const void *error, uintptr_t *frames, size_t capacity, int *number);

/// The guard page below the running cell's stack.
int ks_is_stack_guard(uintptr_t address);
