// What a person sees while a study runs: plain lines, or on a terminal a line at the bottom that lives.

internal import Events
internal import Foundation
internal import Notebook

/// Shows a run on a file descriptor. Cells' own output passes through unchanged.
final class RunView {
    /// Where our own lines go: standard output, or standard error beside `--json`.
    private let descriptor: Int32
    private let isLive: Bool
    private let hasColor: Bool
    private let isQuiet: Bool

    private var cells: [Cell] = []
    private var position = 0
    private var total = 0
    private var cellBegan = 0.0
    private var runBegan = RunView.now()
    private var durations: [String: Double] = [:]
    private var lastMetric: MetricPoint?
    private var metricCount = 0
    private var progress: ProgressRecord?
    private var progressBegan = 0.0
    private var statusShown = false
    private var lastDraw = 0.0
    private var atLineStart = true
    private var isStopping = false

    /// - Parameter usesErrorStream: True beside `--json`, whose object is alone on standard output.
    init(usesErrorStream: Bool, isQuiet: Bool = false) {
        descriptor = usesErrorStream ? 2 : 1
        self.isQuiet = isQuiet
        let terminal = ProcessInfo.processInfo.environment["TERM"] ?? ""
        let isTerminal = isatty(descriptor) == 1 && !terminal.isEmpty && terminal != "dumb"
        isLive = isTerminal && !isQuiet
        hasColor =
            isTerminal && ProcessInfo.processInfo.environment["NO_COLOR", default: ""].isEmpty
    }

    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    // MARK: - What the runner says

    func compiling(_ name: String, done: Int, total: Int) {
        guard isLive else { return }
        status("compiling \(name), \(done + 1) of \(total)", always: true)
    }

    func compiled(_ count: Int, seconds: Double) {
        guard count > 0 else { return }
        line(
            "compiled \(count) \(count == 1 ? "module" : "modules") in \(Self.time(seconds))",
            .faint)
    }

    /// - Parameter durations: How long cells took the last time, by id.
    func began(
        _ id: String, study: String, seed: UInt64, cells: [Cell], durations: [String: Double]
    ) {
        self.cells = cells
        self.durations = durations
        total = cells.count
        // A run above this one may have been shown before.
        position = 0
        progress = nil
        lastMetric = nil
        metricCount = 0
        runBegan = Self.now()
        line("run \(id) · \(study) · seed \(seed)", .strong)
    }

    func cellBegan(_ cell: Cell) {
        position = (cells.firstIndex { $0.index == cell.index } ?? 0) + 1
        cellBegan = Self.now()
        progress = nil
        lastMetric = nil
        metricCount = 0
        // One line a cell is enough for a handful, and noise for a thousand.
        if !isLive, total <= 100 { line("[\(position)/\(total)] \(cell.id)", .faint) }
        draw(always: false)
    }

    func cellEnded(_ cell: Cell) {
        let seconds = Self.now() - cellBegan
        guard isLive || seconds >= 1 || metricCount > 0 else { return }
        guard total <= 100 || seconds >= 1 else { return }
        var text = "[\(position)/\(total)] \(cell.id): \(Self.time(seconds))"
        if let metric = lastMetric { text += " · \(Self.describe(metric))" }
        line(text, .faint)
    }

    func metric(_ point: MetricPoint) {
        metricCount += 1
        lastMetric = point
    }

    func progress(_ record: ProgressRecord) {
        if progress?.label != record.label || progress == nil { progressBegan = Self.now() }
        progress = record
    }

    func note(_ text: String) { line(text, .plain) }

    func claim(_ claim: ClaimRecord) {
        let mark = claim.holds ? "✓" : "✗"
        line(
            "\(mark) \(claim.text)" + (claim.evidence.isEmpty ? "" : " (\(claim.evidence))"),
            claim.holds ? .good : .bad)
    }

    func stopping() {
        guard !isStopping else { return }
        isStopping = true
        line("asked the cell to stop; Ctrl-C once more ends it at once", .strong)
    }

    func output(isError: Bool, bytes: [UInt8]) {
        guard !isQuiet else { return }
        clear()
        // Beside --json the cells' standard output goes where our lines go.
        let target = isError ? 2 : descriptor
        Self.write(bytes, to: target)
        atLineStart = bytes.last == 0x0A
    }

    func ended(_ text: String, isGood: Bool) {
        line(text, isGood ? .good : .bad)
    }

    /// Leaves the terminal as others expect it.
    func finish() {
        clear()
        if !atLineStart {
            Self.write([0x0A], to: descriptor)
            atLineStart = true
        }
    }

    func tick() { draw(always: false) }

    // MARK: - Drawing

    private enum Style { case plain, strong, faint, good, bad }

    private func line(_ text: String, _ style: Style) {
        guard !isQuiet else { return }
        clear()
        if !atLineStart { Self.write([0x0A], to: descriptor) }
        Self.write(Array((styled(text, style) + "\n").utf8), to: descriptor)
        atLineStart = true
    }

    private func styled(_ text: String, _ style: Style) -> String {
        guard hasColor else { return text }
        let code =
            switch style {
            case .plain: ""
            case .strong: "1"
            case .faint: "2"
            case .good: "32"
            case .bad: "31"
            }
        return code.isEmpty ? text : "\u{1B}[\(code)m\(text)\u{1B}[0m"
    }

    private func draw(always: Bool) {
        guard isLive, total > 0 else { return }
        let now = Self.now()
        guard always || now - lastDraw >= 0.1 else { return }
        let cell = cells[max(position - 1, 0)]
        var parts = ["[\(position)/\(total)] \(cell.id) \(Self.time(now - cellBegan))"]
        if let progress, progress.total > 0 {
            parts.append("\(progress.label) \(progress.done)/\(progress.total)")
        }
        if let metric = lastMetric { parts.append(Self.describe(metric)) }
        parts.append("\(Self.time(now - runBegan)) in all")
        if let remaining = remaining(now) { parts.append("about \(Self.time(remaining)) left") }
        status(parts.joined(separator: " · "), always: always)
    }

    /// From the cell's own progress and, for the cells to come, from the last run.
    private func remaining(_ now: Double) -> Double? {
        let later = cells.dropFirst(position)
        var sum = 0.0
        for cell in later {
            guard let seconds = durations[cell.id] else { return nil }
            sum += seconds
        }
        let cell = cells[max(position - 1, 0)]
        if let progress, progress.done > 0, progress.total > progress.done {
            let rate = (now - progressBegan) / Double(progress.done)
            return sum + rate * Double(progress.total - progress.done)
        }
        return durations[cell.id].map { sum + max(0, $0 - (now - cellBegan)) }
    }

    private func status(_ text: String, always: Bool) {
        guard isLive else { return }
        // A line that the cell has begun is not ours to wipe.
        guard atLineStart else { return }
        var size = winsize()
        let width =
            ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
            ? Int(size.ws_col) : 80
        let cut = String(text.prefix(max(20, width - 1)))
        Self.write(Array("\r\u{1B}[K\(styled(cut, .faint))".utf8), to: descriptor)
        statusShown = true
        lastDraw = Self.now()
    }

    private func clear() {
        guard statusShown else { return }
        Self.write(Array("\r\u{1B}[K".utf8), to: descriptor)
        statusShown = false
    }

    static func time(_ seconds: Double) -> String {
        if seconds < 1 { return "\(Int((seconds * 1000).rounded())) ms" }
        if seconds < 10 { return "\((seconds * 10).rounded() / 10) s" }
        if seconds < 120 { return "\(Int(seconds.rounded())) s" }
        if seconds < 7200 {
            return "\(Int(seconds) / 60) min \(Int(seconds) % 60) s"
        }
        return "\(Int(seconds) / 3600) h \(Int(seconds) % 3600 / 60) min"
    }

    private static func describe(_ point: MetricPoint) -> String {
        let label = point.arm.isEmpty ? point.name : "\(point.name)[\(point.arm)]"
        let step = point.step >= 0 ? " (step \(point.step))" : ""
        return "\(label) \(String(format: "%.5g", point.value))\(step)"
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
