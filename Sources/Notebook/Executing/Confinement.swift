// Where the cells of a run may write: the kernel process, and whatever it starts, is shut in by Landlock before it runs
// anything. Reading stays as free as it was. What the kernel refuses is told in words here.

internal import CProcess
internal import Foundation

/// The folders below which a run's cells may make, change and remove files.
package struct Confinement: Sendable {
    /// The repository's root or the study's folder, and the run's own folder in the ledger.
    package let project: [String]
    /// What the user named beside it: real paths.
    package let named: [String]
    /// What every program needs: the temporary folders (`tmpfile` knows only /tmp) and the devices.
    private let system: [String]

    /// - Parameters:
    ///   - project: Folders that are there.
    ///   - named: `--writable`; folders, or single files.
    package init(project: [String], named: [String] = []) {
        self.project = project.map(Self.real)
        self.named = named.map(Self.real)
        system = [NSTemporaryDirectory(), "/tmp", "/dev"].map(Self.real)
    }

    private var all: [String] { project + named + system }

    /// The version of the system's Landlock; 0 where it has none that serves. The first (Linux 5.13 to 5.18) would
    /// forbid renaming from one folder to another everywhere.
    package static let version: Int = {
        let version = Int(study_landlock_version())
        return version >= 2 ? version : 0
    }()

    /// What a run's record says of it.
    package static var fact: String {
        version > 0
            ? "stopped (Landlock \(version))"
            : "not stopped: this system has no Landlock of Linux 5.19 or later"
    }

    /// The rules, for a process to put itself under; nil where the system has none.
    /// - Throws: ``SessionError`` where it has, and takes these rules not.
    func ruleset() throws -> Int32? {
        guard Self.version > 0 else { return nil }
        let rules = study_landlock_rules(Int32(Self.version))
        guard rules >= 0 else { throw Self.cannotConfine("no set of rules") }
        for path in Set(all).sorted()
        where study_landlock_allow(rules, Int32(Self.version), path) != 0 {
            // A folder that is not there cannot be written to either.
            if errno == ENOENT || errno == ENOTDIR || errno == EACCES { continue }
            let error = Self.cannotConfine(path)
            close(rules)
            throw error
        }
        // Out of the way of the descriptors that a child is given by number.
        let high = fcntl(rules, F_DUPFD_CLOEXEC, 64)
        close(rules)
        guard high >= 0 else { throw Self.cannotConfine("no descriptor") }
        return high
    }

    private static func cannotConfine(_ what: String) -> SessionError {
        .cannotStart("Landlock refuses \(what): \(String(cString: strerror(errno)))")
    }

    /// Whether a cell may write at `path`, which need not exist.
    func allows(_ path: String) -> Bool {
        let place = Self.real(path)
        return all.contains { $0 == "/" || place == $0 || place.hasPrefix($0 + "/") }
    }

    /// `path` with links resolved as far as it exists.
    private static func real(_ path: String) -> String {
        var (head, tail) = (path, "")
        while true {
            if let resolved = realpath(head, nil) {
                defer { free(resolved) }
                let text = String(cString: resolved)
                return tail.isEmpty ? text : (text == "/" ? "" : text) + tail
            }
            guard let slash = head.lastIndex(of: "/"), slash != head.startIndex || head.count > 1
            else { return path }
            tail = String(head[slash...]) + tail
            head = slash == head.startIndex ? "/" : String(head[..<slash])
        }
    }

    // MARK: - In words

    /// Says of a failure that comes from here what was refused and how to mend it. Others are left as they are.
    func explain(_ failure: CellFailure, _ raw: RawFailure) -> CellFailure {
        guard Self.version > 0, [.thrown, .trap, .signal, .exit].contains(failure.reason) else {
            return failure
        }
        var failure = failure
        // The error's own words first; what was printed last before it.
        let lines =
            raw.message.split(separator: "\n")
            + raw.lastErrors.split(separator: "\n").reversed()
        let refusals = lines.filter { line in Self.marks.contains { line.contains($0) } }
        let places = refusals.flatMap { Self.paths(in: $0).reversed() }
        if let path = places.first(where: isRefused) {
            failure.message =
                "the cell may not write to \(path): it lies outside the project\n  the error: "
                + failure.message.replacing("\n", with: "\n  ") + "\n  mend:  " + mend(for: path)
        } else if refusals.isEmpty ? raw.errorNumber == EACCES : places.isEmpty {
            failure.message +=
                "\n  before this, the system had refused a call (\(String(cString: strerror(EACCES)))). Did the cell write outside the project?"
                + "\n  mend:  " + mend(for: nil)
        }
        return failure
    }

    /// Whether it is these rules that keep a cell from writing there: this process, which is under none, could.
    private func isRefused(_ path: String) -> Bool {
        !allows(path)
            && (access(path, W_OK) == 0
                || access((path as NSString).deletingLastPathComponent, W_OK) == 0)
    }

    /// How programs, Foundation and the C library say EACCES (and EXDEV, of a file that was to be renamed outwards).
    private static let marks = [
        "Permission denied", "permission denied", "don’t have permission", "don't have permission",
        "NSCocoaErrorDomain Code=513", "NSPOSIXErrorDomain Code=13", "NSPOSIXErrorDomain Code=18",
        "cross-device link", "errno 13", "EACCES",
    ]

    /// Absolute paths that stand in a line, in their order.
    private static func paths(in line: Substring) -> [String] {
        let ends: Set<Character> = ["\"", "'", "’", "”", ",", ";", "}", ")", "]", ">"]
        var found: [String] = []
        var rest = line
        while let slash = rest.firstIndex(of: "/") {
            let before = slash > line.startIndex ? line[line.index(before: slash)] : " "
            var text = rest[slash...].prefix { !ends.contains($0) }
            // "…: Permission denied" follows a path that a program names.
            if let colon = text.firstRange(of: ": ") { text = text[..<colon.lowerBound] }
            rest = line[text.endIndex...]
            // In the middle of a word it is none, and after "file:" an address.
            let isWord = before.isLetter || before.isNumber || "/._-".contains(before)
            if !isWord, text.count > 1, !text.hasPrefix("//") { found.append(String(text)) }
        }
        return found
    }

    private func mend(for path: String?) -> String {
        let folder = path.map { ($0 as NSString).deletingLastPathComponent } ?? "FOLDER"
        let shown =
            folder.allSatisfy { $0.isLetter || $0.isNumber || "/._-+=".contains($0) }
            ? folder : "'\(folder.replacing("'", with: "'\\''"))'"
        return
            "save it into the run with `run.save(…)`, write it below \(project[0]) or the temporary folder, or allow it with `study run --writable \(shown)`"
    }
}
