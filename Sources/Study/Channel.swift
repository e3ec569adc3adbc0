// The kernel's end of the conversation with the recorder: events out through the outbox, replies in on
// a thread of their own.

internal import Events
internal import Glibc
internal import KernelSupport
internal import Synchronization

/// The one connection of this process.
///
/// `@unchecked Sendable`: the encoder is behind a mutex; the replies are behind `lock` and `arrived`.
final class Channel: @unchecked Sendable {
    private let encoder = Mutex(EventEncoder())
    private let socket: Int32
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let arrived = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var commands: [Reply] = []
    private var answers: [UInt64: Reply] = [:]
    private var isClosed = false
    private let nextRequest = Atomic<UInt64>(1)
    /// The request that was answered last, for whoever looks without the lock.
    private let lastAnswered = Atomic<UInt64>(0)
    /// How long a request looks for its answer before it sleeps, in nanoseconds: to be woken takes longer than most
    /// answers do.
    private static let patience = 150_000

    /// Starts to listen on a connected socket.
    init(socket: Int32) {
        self.socket = socket
        pthread_mutex_init(lock, nil)
        pthread_cond_init(arrived, nil)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Channel>.fromOpaque(context!).takeRetainedValue().listen()
                return nil
            }, context)
    }

    /// Sends an event; it waits in the outbox at most 50 ms.
    func send(_ event: Event) {
        encoder.withLock { encoder in
            encoder.append(event)
            let bytes = encoder.takeBytes()
            bytes.withUnsafeBufferPointer { ks_append($0.baseAddress!, $0.count) }
        }
    }

    /// Sends many events as one piece.
    func send(_ events: some Sequence<Event>) {
        encoder.withLock { encoder in
            for event in events {
                encoder.append(event)
                if encoder.count >= 1 << 16 {
                    let bytes = encoder.takeBytes()
                    bytes.withUnsafeBufferPointer { ks_append($0.baseAddress!, $0.count) }
                }
            }
            let bytes = encoder.takeBytes()
            if !bytes.isEmpty {
                bytes.withUnsafeBufferPointer { ks_append($0.baseAddress!, $0.count) }
            }
        }
    }

    func flush() { ks_flush() }

    /// Sends the event that `make` builds from a fresh number, and waits for its answer.
    func request(_ make: (UInt64) -> Event) -> Reply {
        let number = nextRequest.add(1, ordering: .relaxed).oldValue
        send(make(number))
        flush()
        let began = Self.nanoseconds
        while lastAnswered.load(ordering: .acquiring) != number,
            Self.nanoseconds - began < Self.patience
        {
            sched_yield()
        }
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while true {
            if let answer = answers.removeValue(forKey: number) { return answer }
            if isClosed { return .refused(request: number, reason: "the recorder has gone") }
            pthread_cond_wait(arrived, lock)
        }
    }

    private static var nanoseconds: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    /// The recorder's next command; `nil` when the connection has ended.
    func nextCommand() -> Reply? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while commands.isEmpty {
            if isClosed { return nil }
            pthread_cond_wait(arrived, lock)
        }
        return commands.removeFirst()
    }

    private func listen() {
        var decoder = ReplyDecoder()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        var isFinished = false
        while true {
            let count = read(socket, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count == 0 || count < 0 && errno == ECONNRESET, !isFinished {
                // The recorder died. Nothing of what the cell does is recorded any more, and a flush must not
                // say that it was.
                _exit(Int32(KS_CONNECTION_LOST))
            }
            guard count > 0 else { break }
            decoder.append(buffer[..<count])
            while let reply = try? decoder.next() {
                if case .finish = reply { isFinished = true }
                deliver(reply)
            }
        }
        pthread_mutex_lock(lock)
        isClosed = true
        pthread_cond_broadcast(arrived)
        pthread_mutex_unlock(lock)
    }

    private func deliver(_ reply: Reply) {
        if case .cancel = reply {
            ks_cancel()
            return
        }
        pthread_mutex_lock(lock)
        switch reply {
        case .flushed(let number), .input(let number, _, _), .refused(let number, _):
            answers[number] = reply
            lastAnswered.store(number, ordering: .releasing)
        default:
            commands.append(reply)
        }
        pthread_cond_broadcast(arrived)
        pthread_mutex_unlock(lock)
    }
}
