// What a cell reads: every path goes through the recorder first, which hashes it and may refuse.

internal import Events

/// Something the run could not do for a cell: what happened, and how to mend it.
public struct RunError: Error, CustomStringConvertible, Sendable {
    public let what: String
    public let mend: String
    public init(what: String, mend: String) {
        self.what = what
        self.mend = mend
    }
    public var description: String {
        mend.contains("mend:") ? "\(what)\n  \(mend)" : "\(what)\n  mend:  \(mend)"
    }
}

/// A file or folder whose bytes are on record.
public struct InputFile: Sendable, Hashable {
    /// Where to read it.
    public let path: String
    /// Its SHA-256 in hexadecimal; of a folder, that of its sorted manifest.
    public let sha256: String
}

extension Run {
    /// Has a file or folder hashed and recorded as an input of this run, and says where to read it.
    ///
    /// - Parameters:
    ///   - path: relative to the study's folder, absolute, or the name of an entry under `datasets`
    ///     or `inputs` in the front matter.
    ///   - kind: "dataset", "model", "adapter" or "file".
    /// - Throws: ``RunError`` where the file is missing, or is not the one that the front matter pins.
    public func input(_ path: String, kind: String = "file") throws -> InputFile {
        let cell = cell
        let answer = channel.request {
            .input(InputRequest(request: $0, cell: cell, path: path, kind: kind))
        }
        switch answer {
        case .input(_, let path, let sha256):
            return InputFile(path: path, sha256: sha256)
        case .refused(_, let reason):
            // The recorder's sentence already says how to mend it.
            let lines = reason.split(separator: "\n", maxSplits: 1)
            let mend = lines.count > 1 ? lines[1] : "check the path in this cell"
            throw RunError(
                what: String(lines.first ?? "the file was refused"),
                mend: mend.trimmingPrefix(while: { $0 == " " }).replacingMendPrefix())
        default:
            throw RunError(
                what: "the recorder did not answer for \(path)", mend: "run the study again")
        }
    }
}

extension Substring {
    fileprivate func trimmingPrefix(while predicate: (Character) -> Bool) -> Substring {
        drop(while: predicate)
    }

    fileprivate func replacingMendPrefix() -> String {
        hasPrefix("mend:") ? String(dropFirst(5).drop(while: { $0 == " " })) : String(self)
    }
}
