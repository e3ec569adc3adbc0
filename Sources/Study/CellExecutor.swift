// The main actor of a kernel: its jobs run on the stack of the cell whose top level waits for them, so a
// cell that ends in the middle of one leaves no queue of the system's half drained.

internal import KernelSupport

final class CellExecutor: SerialExecutor {
    static let shared = CellExecutor()

    /// Makes this executor the main actor's in this process.
    func install() {
        let words = unsafeBitCast(asUnownedSerialExecutor(), to: (UInt, UInt).self)
        ks_set_main_executor(UnsafeRawPointer(bitPattern: words.0)!, words.1)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        ks_enqueue(unsafeBitCast(UnownedJob(job), to: UnsafeMutableRawPointer.self))
    }

    func checkIsolated() {
        precondition(ks_is_cell_thread() != 0, "this code belongs to the main actor")
    }
}
