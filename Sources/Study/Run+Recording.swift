// What a cell writes down: numbers, claims, artifacts, values for the prose.

internal import Events
internal import Glibc
internal import KernelSupport

/// The name of a series of numbers.
public struct MetricName: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let description: String
    public init(_ name: String) { description = name }
    public init(stringLiteral value: String) { description = value }

    public static let loss: MetricName = "loss"
    public static let refusalRate: MetricName = "refusal rate"
    public static let accuracy: MetricName = "accuracy"
    public static let perplexity: MetricName = "perplexity"
}

extension Run {
    /// Records one number; with `step`, as a point of a series.
    ///
    /// Costs under a microsecond and never waits for the disk; ``flush()`` does.
    public func record(
        _ name: MetricName, _ value: some BinaryFloatingPoint, step: Int? = nil, arm: String = ""
    ) {
        point(name, Double(value), step: step, arm: arm)
    }

    /// Records a count.
    public func record(
        _ name: MetricName, _ value: some BinaryInteger, step: Int? = nil, arm: String = ""
    ) {
        point(name, Double(value), step: step, arm: arm)
    }

    /// Records a whole series, its steps counted from `firstStep`.
    public func record(
        _ name: MetricName, _ values: [some BinaryFloatingPoint], firstStep: Int = 0,
        arm: String = ""
    ) {
        let cell = cell
        let now = Timestamp(nanoseconds: ks_now())
        channel.send(
            values.enumerated().lazy.map { index, value in
                .metric(
                    MetricPoint(
                        cell: cell, name: name.description, arm: arm,
                        step: Int64(firstStep + index), value: Double(value), time: now))
            })
    }

    private func point(_ name: MetricName, _ value: Double, step: Int?, arm: String) {
        channel.send(
            .metric(
                MetricPoint(
                    cell: cell, name: name.description, arm: arm, step: Int64(step ?? -1),
                    value: value, time: Timestamp(nanoseconds: ks_now()))))
    }

    /// Records a rate with what it is made of: how many of how many, and who judged.
    public func record(
        _ name: MetricName, count: Int, total: Int, judge: String, step: Int? = nil,
        arm: String = ""
    ) {
        channel.send(
            .metric(
                MetricPoint(
                    cell: cell, name: name.description, arm: arm, step: Int64(step ?? -1),
                    value: total == 0 ? .nan : Double(count) / Double(total),
                    proportion: ProportionRecord(count: count, total: total, judge: judge),
                    time: Timestamp(nanoseconds: ks_now()))))
    }

    /// Records a sentence and whether this run bears it out. A claim that does not hold does not stop
    /// the study; `study run --strict` makes it the exit status.
    public func claim(_ text: String, holds: Bool, evidence: String) {
        channel.send(
            .claim(ClaimRecord(cell: cell, text: text, holds: holds, evidence: evidence)))
    }

    /// Records per-item results of an evaluation: which prompt, which answer, which verdict.
    ///
    /// - Parameter restricted: the prompts come from a file marked restricted: prompts and answers are shown and
    ///   exported as labels and hashes unless somebody asks for them (`study show --items --reveal`).
    public func record(
        items: [(prompt: String, answer: String, label: String)], evaluation: String, judge: String,
        arm: String = "", restricted: Bool = false
    ) {
        let cell = cell
        channel.send(
            .items(
                items.enumerated().map { index, item in
                    ItemRecord(
                        cell: cell, evaluation: evaluation, arm: arm, index: index,
                        prompt: item.prompt, answer: item.answer, judge: judge, label: item.label,
                        restricted: restricted)
                }))
    }

    /// Records a digest of the training state after a step.
    public func digest(_ digest: String, series: String, step: Int) {
        channel.send(
            .digest(
                DigestRecord(cell: cell, series: series, step: Int64(step), digest: digest)))
    }

    /// Saves a file or a folder as an artifact of the run: `write` is given a path under
    /// ``scratch`` and makes the file or folder there.
    ///
    /// - Parameters:
    ///   - name: the artifact's name, as "adapter" or "figures/loss.svg"; no `..`, no leading slash.
    ///   - kind: what a release policy must know: "weights", "completions", "data", or nothing.
    /// - Returns: the path that was written.
    /// - Throws: ``RunError`` where the name cannot be one or nothing was written; whatever
    ///   `write` throws.
    @discardableResult
    public func save(
        _ name: String, mediaType: String = "application/octet-stream", kind: String = "",
        _ write: (String) throws -> Void
    ) throws -> String {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else {
            throw RunError(
                what: "\"\(name)\" cannot name an artifact: each part between slashes needs a name",
                mend: "use a relative name such as \"adapter\" or \"figures/loss.svg\"")
        }
        var folder = scratch + "/artifacts"
        mkdir(folder, 0o755)
        for part in parts.dropLast() {
            folder += "/" + part
            mkdir(folder, 0o755)
        }
        let path = folder + "/" + parts[parts.count - 1]
        try write(path)
        guard access(path, F_OK) == 0 else {
            throw RunError(
                what: "the artifact \"\(name)\" was not written: nothing lies at \(path)",
                mend: "write the file or folder at the path that `save` hands to its closure")
        }
        channel.send(
            .artifact(
                ArtifactRecord(
                    cell: cell, name: name, path: path, mediaType: mediaType, kind: kind)))
        return path
    }

    /// The last statement of every cell; generated code calls it.
    public static func reachedEnd() { ks_reached_end() }

    /// Says something that another machine would say otherwise, such as a time that was measured: it goes
    /// to standard error, is kept with the cell's output, and no replay compares it.
    public func note(_ text: String) {
        ks_before_error()
        var rest = Array((text + "\n").utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// The value of an inline expression in the prose; generated code calls it.
    public func inline(_ index: Int, _ value: some Any) {
        channel.send(.inlineValue(index: index, text: String(describing: value)))
    }

    /// Waits until everything recorded so far is on disk.
    public func flush() {
        _ = channel.request { .flush(request: $0) }
    }
}
