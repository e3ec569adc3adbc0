// From examples to rows: cutting, packing, and the order of an epoch.

/// A row: one example, or several that were packed. Each segment attends to itself alone.
package struct TrainingRow: Sendable, Hashable {
    package var segments: [TrainingExample]
    package init(segments: [TrainingExample]) { self.segments = segments }
    package var tokenCount: Int { segments.reduce(0) { $0 + $1.tokens.count } }
}

extension Packing {
    /// The rows that examples make, in their order.
    package func rows(_ examples: [TrainingExample], maximumLength: Int?) -> [TrainingRow] {
        let cut = examples.compactMap { example -> TrainingExample? in
            guard let maximumLength, example.tokens.count > maximumLength else {
                return example.tokens.isEmpty ? nil : example
            }
            return TrainingExample(
                tokens: Array(example.tokens.prefix(maximumLength)),
                labels: Array(example.labels.prefix(maximumLength)))
        }
        switch self {
        case .none: return cut.map { TrainingRow(segments: [$0]) }
        case .naive(let length):
            let (tokens, labels) = (cut.flatMap(\.tokens), cut.flatMap(\.labels))
            return stride(from: 0, to: tokens.count, by: length).map { start in
                let range = start..<min(tokens.count, start + length)
                return TrainingRow(segments: [
                    TrainingExample(tokens: Array(tokens[range]), labels: Array(labels[range]))
                ])
            }
        case .masked(let length):
            var rows: [TrainingRow] = []
            var used = length
            for example in cut {
                if used + example.tokens.count > length, !(rows.isEmpty && used == 0) {
                    rows.append(TrainingRow(segments: []))
                    used = 0
                }
                rows[rows.count - 1].segments.append(example)
                used += example.tokens.count
            }
            return rows
        }
    }
}

/// Rows computed at once: packed tokens, and the positions whose prediction counts.
package struct TrainingBatch {
    package var tokens: [Int32] = []
    package var lengths: [Int] = []
    /// Rows of the hidden state that predict a labelled token.
    package var chosen: [Int32] = []
    /// What each of them should predict.
    package var labels: [Int32] = []
    /// The segment that each of them lies in.
    package var segmentOf: [Int] = []

    package init(_ rows: some Sequence<TrainingRow>) {
        for row in rows {
            for segment in row.segments {
                let start = Int32(tokens.count)
                for i in segment.labels.indices.dropFirst()
                where segment.labels[i] != TrainingExample.ignored {
                    chosen.append(start + Int32(i) - 1)
                    labels.append(segment.labels[i])
                    segmentOf.append(lengths.count)
                }
                tokens += segment.tokens
                lengths.append(segment.tokens.count)
            }
        }
    }

    /// Labelled positions of each segment.
    package var labelCounts: [Int] {
        var counts = [Int](repeating: 0, count: lengths.count)
        for segment in segmentOf { counts[segment] += 1 }
        return counts
    }
}

extension LossReduction {
    /// What each labelled position of each batch of a step weighs in its loss.
    package func weights(_ batches: [TrainingBatch]) -> [[Double]] {
        switch self {
        case .tokenMean:
            let total = batches.reduce(0) { $0 + $1.labels.count }
            return batches.map {
                [Double](repeating: 1 / Double(max(1, total)), count: $0.labels.count)
            }
        case .meanOfBatchMeans:
            let batchCount = batches.count { !$0.labels.isEmpty }
            return batches.map {
                let weight = 1 / (Double(max(1, batchCount)) * Double(max(1, $0.labels.count)))
                return [Double](repeating: weight, count: $0.labels.count)
            }
        case .perExample:
            let counts = batches.map(\.labelCounts)
            let examples = Double(max(1, counts.joined().count { $0 > 0 }))
            return zip(batches, counts).map { batch, counts in
                batch.segmentOf.map { 1 / (examples * Double(counts[$0])) }
            }
        }
    }
}
