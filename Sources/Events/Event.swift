// What the kernel tells the recorder while a study runs. Frame.swift says how it looks on the wire.

/// One thing that happened in a run, in the order the kernel saw it.
public enum Event: Sendable, Equatable {
    /// A cell's code starts. Cells count from 0 in document order.
    case cellBegan(cell: Int, time: Timestamp)
    /// A cell's code ended without a failure.
    case cellEnded(cell: Int, time: Timestamp)
    case metric(MetricPoint)
    /// The text of the `index`-th inline `{swift}` expression of the study.
    case inlineValue(index: Int, text: String)
    case claim(ClaimRecord)
    /// A file that the cell has finished writing; the recorder hashes and stores it.
    case artifact(ArtifactRecord)
    case figure(FigureRecord)
    /// A file or folder that the cell is about to read; the recorder hashes it and answers.
    case input(InputRequest)
    /// Per-item results of an evaluation, one row for each prompt.
    case items([ItemRecord])
    /// How often a named random stream was drawn from so far.
    case stream(name: String, draws: UInt64)
    /// What the kernel alone knows of where the run happens, as ("openblas.core", "SkylakeX"); a later
    /// one of the same name replaces it.
    case fact(name: String, value: String)
    /// The values that a marked cell leaves to later ones lie at `path`; the recorder stores them.
    case state(cell: Int, path: String)
    /// A digest of the training state after a step; a chain of them finds the first divergence.
    case digest(DigestRecord)
    case progress(ProgressRecord)
    /// The cell threw, or a check of ours failed; the cell is over.
    case failure(FailureRecord)
    /// The kernel asks to be told when everything before this is on record.
    case flush(request: UInt64)
}

/// What the recorder tells the kernel.
public enum Reply: Sendable, Equatable {
    /// Comes first, once.
    case begin(RunSettings)
    /// Load `library` and call its function `entry`.
    case runCell(Int, library: String, entry: String)
    /// Ctrl-C: the cell may stop at the next place that asks `Run.isCancelled`.
    case cancel
    case flushed(request: UInt64)
    /// Answers `Event.input`: the path to open, and its digest.
    case input(request: UInt64, path: String, sha256: String)
    /// Answers `Event.input`: a sentence for `RunError`.
    case refused(request: UInt64, reason: String)
    /// No more cells: leave with exit code 0.
    case finish
}

/// What a run is told before its first cell.
public struct RunSettings: Sendable, Equatable {
    public var runID: String
    /// The study's path as messages show it.
    public var study: String
    public var seed: UInt64
    /// Threads the engine may use; 0 for as many as there are cores.
    public var threads: Int
    /// "portable" or "blas".
    public var tier: String
    /// A folder of the run's own, for what cells write before it becomes an artifact.
    public var scratch: String
    public var parameters: [ParameterSetting]
    /// Empty in a run; in a spot check, what of each training is computed again.
    public var segments: [TrainingSegment]

    public init(
        runID: String, study: String, seed: UInt64, threads: Int, tier: String, scratch: String,
        parameters: [ParameterSetting], segments: [TrainingSegment] = []
    ) {
        self.runID = runID
        self.study = study
        self.seed = seed
        self.threads = threads
        self.tier = tier
        self.scratch = scratch
        self.parameters = parameters
        self.segments = segments
    }
}

/// A part of a training between two of its checkpoints. The checkpoints of an arm are artifacts named
/// `FOLDER/STEPS.safetensors`.
public struct TrainingSegment: Sendable, Hashable {
    public var cell: Int
    public var arm: String
    /// Steps done in the checkpoint it starts from; 0 is the training's own beginning.
    public var from: Int
    /// The last step that is computed. Where it is `from`, nothing is: the training ends as the checkpoint
    /// has it.
    public var to: Int
    /// The file to start from; empty where `from` is 0.
    public var checkpoint: String
    public init(cell: Int, arm: String, from: Int, to: Int, checkpoint: String = "") {
        self.cell = cell
        self.arm = arm
        self.from = from
        self.to = to
        self.checkpoint = checkpoint
    }

    /// The artifacts' folder of an arm: "checkpoints", or "checkpoints/ARM" with any slash as "%2F".
    public static func folder(of arm: String) -> String {
        arm.isEmpty
            ? "checkpoints"
            : "checkpoints/"
                + arm.split(separator: "%", omittingEmptySubsequences: false)
                .joined(separator: "%25").split(separator: "/", omittingEmptySubsequences: false)
                .joined(separator: "%2F")
    }

    /// The arm and the steps done of a checkpoint's name; nil where it is no checkpoint's.
    public static func checkpoint(named name: String) -> (arm: String, steps: Int)? {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), parts[0] == "checkpoints",
            parts.last!.hasSuffix(".safetensors"),
            let steps = Int(parts.last!.dropLast(".safetensors".count))
        else { return nil }
        let arm = parts.count == 2 ? "" : parts[1]
        let plain = arm.split(separator: "%25", omittingEmptySubsequences: false).map {
            $0.split(separator: "%2F", omittingEmptySubsequences: false).joined(separator: "/")
        }.joined(separator: "%")
        return (plain, steps)
    }
}

/// One parameter of the study: its value in text, as `String(describing:)` writes it.
public struct ParameterSetting: Sendable, Equatable {
    public var name: String
    /// "Int", "Double", "Bool" or "String".
    public var type: String
    public var text: String
    public init(name: String, type: String, text: String) {
        self.name = name
        self.type = type
        self.text = text
    }
}

/// Nanoseconds since 1970-01-01 00:00 UTC.
public struct Timestamp: Sendable, Hashable, Comparable {
    public var nanoseconds: Int64
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }
    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.nanoseconds < b.nanoseconds }
}

/// One number of a series: `name` and `arm` name the series, `step` its place in it.
public struct MetricPoint: Sendable, Equatable {
    public var cell: Int
    public var name: String
    /// The arm of the experiment, as "aligned + LoX"; empty where there is one only.
    public var arm: String
    /// The position in the series; -1 for a single value.
    public var step: Int64
    public var value: Double
    /// Where the number is a rate: out of how many, and who judged.
    public var proportion: ProportionRecord?
    public var time: Timestamp

    public init(
        cell: Int, name: String, arm: String = "", step: Int64 = -1, value: Double,
        proportion: ProportionRecord? = nil, time: Timestamp
    ) {
        self.cell = cell
        self.name = name
        self.arm = arm
        self.step = step
        self.value = value
        self.proportion = proportion
        self.time = time
    }
}

/// A count, its total, and the judge that counted.
public struct ProportionRecord: Sendable, Equatable {
    public var count: Int
    public var total: Int
    public var judge: String
    public init(count: Int, total: Int, judge: String) {
        self.count = count
        self.total = total
        self.judge = judge
    }
}

/// A sentence of the study that the run bears out or not.
public struct ClaimRecord: Sendable, Equatable {
    public var cell: Int
    public var text: String
    public var holds: Bool
    public var evidence: String
    public init(cell: Int, text: String, holds: Bool, evidence: String) {
        self.cell = cell
        self.text = text
        self.holds = holds
        self.evidence = evidence
    }
}

/// A file or folder that a cell made, under the run's scratch folder.
public struct ArtifactRecord: Sendable, Equatable {
    public var cell: Int
    /// The artifact's name in the run, as "adapter" or "adapter/adapter_model.safetensors".
    public var name: String
    /// Where it lies now; a folder is stored with all it holds.
    public var path: String
    public var mediaType: String
    /// What the release policy needs to know: "", "weights", "completions", "data".
    public var kind: String
    public init(cell: Int, name: String, path: String, mediaType: String, kind: String = "") {
        self.cell = cell
        self.name = name
        self.path = path
        self.mediaType = mediaType
        self.kind = kind
    }
}

/// A figure: the picture, the numbers it shows, and words for those who cannot see it.
public struct FigureRecord: Sendable, Equatable {
    public var cell: Int
    public var title: String
    public var alternativeText: String
    /// The figure as gnuplot reads it; the recorder draws it.
    public var script: String
    /// The plotted numbers as JSON; what a replay compares.
    public var data: String
    public init(cell: Int, title: String, alternativeText: String, script: String, data: String) {
        self.cell = cell
        self.title = title
        self.alternativeText = alternativeText
        self.script = script
        self.data = data
    }
}

/// A file or folder to be hashed before a cell reads it.
public struct InputRequest: Sendable, Equatable {
    public var request: UInt64
    public var cell: Int
    /// As the cell wrote it: relative to the study, absolute, or the name of a `datasets` or `inputs` entry.
    public var path: String
    /// "dataset", "model", "adapter" or "file".
    public var kind: String
    public init(request: UInt64, cell: Int, path: String, kind: String) {
        self.request = request
        self.cell = cell
        self.path = path
        self.kind = kind
    }
}

/// One prompt of an evaluation: what was asked, what came, what the judge said.
public struct ItemRecord: Sendable, Equatable {
    public var cell: Int
    public var evaluation: String
    public var arm: String
    public var index: Int
    public var prompt: String
    public var answer: String
    public var judge: String
    public var label: String
    /// From a file marked restricted: shown as label and hash unless asked for.
    public var restricted: Bool
    public init(
        cell: Int, evaluation: String, arm: String, index: Int, prompt: String, answer: String,
        judge: String, label: String, restricted: Bool
    ) {
        self.cell = cell
        self.evaluation = evaluation
        self.arm = arm
        self.index = index
        self.prompt = prompt
        self.answer = answer
        self.judge = judge
        self.label = label
        self.restricted = restricted
    }
}

/// The state after a training step, in 16 hexadecimal digits. The recorder chains it to the one before.
public struct DigestRecord: Sendable, Equatable {
    public var cell: Int
    public var series: String
    public var step: Int64
    public var digest: String
    public init(cell: Int, series: String, step: Int64, digest: String) {
        self.cell = cell
        self.series = series
        self.step = step
        self.digest = digest
    }
}

/// How far a long loop is, for the terminal; never recorded.
public struct ProgressRecord: Sendable, Equatable {
    public var cell: Int
    public var label: String
    public var done: Int64
    public var total: Int64
    public init(cell: Int, label: String, done: Int64, total: Int64) {
        self.cell = cell
        self.label = label
        self.done = done
        self.total = total
    }
}

/// Why a cell ended early, as the kernel knows it. A kernel that was killed says nothing; the
/// recorder finds that out itself.
public struct FailureRecord: Sendable, Equatable {
    public enum Reason: String, Sendable {
        /// The cell's code threw, and nothing caught it.
        case thrown
        /// The cell called `exit`.
        case exit
        /// A trap or a signal: `signal` says which.
        case trap
        /// The cell could not be loaded, or the conversation broke.
        case kernel
    }

    public var cell: Int
    public var reason: Reason
    public var message: String
    /// The signal's number for a trap, the status for an exit, else 0.
    public var code: Int
    /// Where it happened, innermost first; the recorder turns them into lines.
    public var frames: [FrameAddress]
    /// `errno` at that moment: what the system had last refused to the cell; 0 for nothing.
    public var errorNumber: Int

    public init(
        cell: Int, reason: Reason, message: String, code: Int = 0, frames: [FrameAddress] = [],
        errorNumber: Int = 0
    ) {
        self.cell = cell
        self.reason = reason
        self.message = message
        self.code = code
        self.frames = frames
        self.errorNumber = errorNumber
    }
}

/// A place in the code of a loaded object, as a symbolizer takes it.
public struct FrameAddress: Sendable, Equatable {
    /// The path of the object that holds the code.
    public var object: String
    /// The address less the object's load address; that of the call, not of what follows it.
    public var offset: UInt64
    public init(object: String, offset: UInt64) {
        self.object = object
        self.offset = offset
    }
}
