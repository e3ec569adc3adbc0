// `study doctor`: is this machine fit to run and replay studies, is the ledger whole; each finding
// with its remedy.

internal import ArgumentParser
internal import Foundation
internal import Notebook
internal import Provenance

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check toolchain, libraries, CPU, disk and ledger; say how to mend what is wrong."
    )

    @Flag(
        help:
            "Save every whole row of a damaged ledger into a fresh one; the old file is set aside.")
    var repair = false

    @OptionGroup var options: LedgerOptions

    func run() async throws {
        if repair {
            try options.reporting { try repairLedger() }
            return
        }
        var findings = await Machine.findings(root: options.root)
        findings.insert(await Machine.toolchain(root: options.root), at: 0)
        findings += Machine.ledger(root: options.root)
        let wrong = findings.filter { $0.state == .wrong }.count
        if options.json {
            JSONOutput.print([
                "fit": wrong == 0,
                "findings": findings.map {
                    [
                        "what": $0.what, "state": $0.state.rawValue, "found": $0.found,
                        "mend": $0.mend,
                    ]
                },
            ])
        } else {
            let width = findings.map(\.what.count).max() ?? 0
            for finding in findings {
                let name = finding.what.padding(toLength: width, withPad: " ", startingAt: 0)
                print("\(finding.state.mark) \(name)  \(finding.found)")
                if finding.state != .good {
                    print("  \(String(repeating: " ", count: width))  mend: \(finding.mend)")
                }
            }
            print(wrong == 0 ? "fit" : "\(wrong) to mend")
        }
        if wrong > 0 { throw ExitCode(ExitStatus.studyFailed) }
    }

    private func repairLedger() throws {
        let report = try Ledger.repair(under: options.root)
        if options.json {
            JSONOutput.print([
                "set_aside": report.setAside, "rows": report.rows, "runs": report.runs,
                "broken_seals": report.brokenSeals,
            ])
            return
        }
        print("saved \(report.rows.values.reduce(0, +)) rows of \(report.runs) runs")
        print("the damaged ledger lies at \(report.setAside)")
        for id in report.brokenSeals { print("run \(id) has lost rows: its seal no longer holds") }
    }
}

/// One thing looked at.
struct Finding {
    enum State: String {
        case good, note, wrong
        var mark: String {
            switch self {
            case .good: "✓"
            case .note: "·"
            case .wrong: "✗"
            }
        }
    }

    var what: String
    var state: State
    var found: String
    var mend = ""
}

/// What a study needs of a machine.
enum Machine {
    static func toolchain(root: String) async -> Finding {
        do {
            let cache = try BuildCache(
                access(root, W_OK) == 0
                    ? root + "/.study/cache" : NSTemporaryDirectory() + "study-doctor")
            let toolchain = try await Toolchain.find(cache: cache)
            let isOurs = toolchain.version.contains("6.3")
            return Finding(
                what: "Swift", state: isOurs ? .good : .note, found: toolchain.version,
                mend:
                    "studies are tested with Swift 6.3; another version may give other code, not other sums"
            )
        } catch let error as BuildError {
            return Finding(what: "Swift", state: .wrong, found: error.what, mend: error.mend)
        } catch {
            return Finding(
                what: "Swift", state: .wrong, found: "\(error)", mend: "see swift.org/install")
        }
    }

    static func findings(root: String) async -> [Finding] {
        let environment = EnvironmentSnapshot.collect()
        var findings: [Finding] = []
        do {
            let installation = try Installation()
            findings.append(
                Finding(what: "installation", state: .good, found: installation.library))
        } catch {
            findings.append(
                Finding(
                    what: "installation", state: .wrong, found: "\(error)",
                    mend:
                        "make install PREFIX=… puts the kernel and the library where the command finds them"
                ))
        }
        let features = Set(
            (environment["cpu.features"] ?? "").split(separator: " ").map(String.init))
        let architecture = environment["os.architecture"] ?? ""
        let kernels =
            features.contains("avx512f")
            ? "AVX-512" : features.contains("avx2") && features.contains("fma") ? "AVX2" : ""
        findings.append(
            Finding(
                what: "CPU", state: kernels.isEmpty && architecture == "x86_64" ? .note : .good,
                found:
                    "\(environment["cpu.model"] ?? architecture), \(environment["cpu.cores"] ?? "?") cores",
                mend:
                    "without AVX2 and FMA the portable tier runs its scalar loops: the same bits, much slower"
            ))
        findings += await arithmetic()
        for (tool, purpose, package) in [
            ("gnuplot", "figures in reports", "gnuplot-nox"),
            ("bwrap", "replaying others' bundles in a sandbox", "bubblewrap"),
            ("node", "formulas in reports, which show their TeX without it", "nodejs libjs-katex"),
        ] {
            let found = onPath(tool)
            findings.append(
                Finding(
                    what: tool, state: found == nil ? .note : .good,
                    found: found ?? "not found; needed for \(purpose)",
                    mend: "apt-get install \(package)"))
        }
        findings.append(
            Finding(
                what: "writes outside", state: Confinement.version > 0 ? .good : .note,
                found: Confinement.version > 0
                    ? "a cell's writes outside its project are refused (Landlock \(Confinement.version))"
                    : "a cell can write wherever you can: \(Confinement.fact)",
                mend:
                    "use Linux 5.19 or later with Landlock among its security modules (the boot parameter lsm=)"
            ))
        findings.append(disk(root))
        let writable = access(root, W_OK) == 0
        findings.append(
            Finding(
                what: "write access", state: writable ? .good : .wrong, found: root,
                mend:
                    "give this user the right to write there, or name another place with --ledger FOLDER"
            ))
        let memory = (Int64(environment["memory.bytes"] ?? "") ?? 0)
        findings.append(Finding(what: "memory", state: .good, found: size(memory)))
        return findings
    }

    /// What the kernel of a run says of its arithmetic: it loads OpenBLAS with its core pinned, and each
    /// tier's products are compared with f64.
    private static func arithmetic() async -> [Finding] {
        let facts: [String: String]
        do { facts = try await Installation().arithmetic() } catch {
            return [
                Finding(
                    what: "arithmetic", state: .wrong,
                    found: (error as? BuildError)?.what ?? "\(error)",
                    mend: (error as? BuildError)?.mend ?? "build the project whole")
            ]
        }
        func fact(_ name: String) -> String { facts[name] ?? "unknown" }
        let portable = fact("test.portable")
        var findings = [
            Finding(
                what: "portable tier", state: portable == "sound" ? .good : .wrong,
                found: portable == "sound"
                    ? "the same bits as on other machines; \(fact("engine.kernels")) kernels, \(fact("engine.threads")) threads, tested against f64"
                    : portable,
                mend: facts["mend.portable"] ?? "")
        ]
        let blas = fact("test.blas")
        findings.append(
            Finding(
                what: "OpenBLAS", state: blas == "sound" ? .good : .note,
                found: blas == "sound"
                    ? "core \(fact("openblas.core")), \(fact("openblas.threads")) thread of its own, tested against f64; \(fact("library.openblas")), \(fact("openblas.file"))"
                    : blas + " It is needed for --tier blas and full decompositions.",
                mend: facts["mend.blas"] ?? ""))
        findings.append(
            Finding(
                what: "default tier", state: .good,
                found: "\(fact("engine.tier")); `study run --tier blas` chooses the other"))
        return findings
    }

    private static func disk(_ root: String) -> Finding {
        var info = statvfs()
        guard statvfs(root, &info) == 0 else {
            return Finding(
                what: "disk", state: .wrong, found: "\(root) cannot be looked at",
                mend: "check the path")
        }
        let free = Int64(info.f_bavail) * Int64(info.f_frsize)
        // A checkpoint of a small model and its adapters; a ledger alone needs megabytes.
        let least: Int64 = 1 << 30
        return Finding(
            what: "disk", state: free < 64 << 20 ? .wrong : free < least ? .note : .good,
            found: "\(size(free)) free",
            mend: "`study gc` lists what could be removed")
    }

    static func ledger(root: String) -> [Finding] {
        guard FileManager.default.fileExists(atPath: root + "/.study/ledger.sqlite") else {
            return [
                Finding(
                    what: "ledger", state: .note, found: "none yet", mend: "`study run` makes it")
            ]
        }
        do {
            let ledger = try Ledger.openForReading(root)
            let health = try ledger.health()
            var findings: [Finding] = []
            let runs = try? ledger.list()
            findings.append(
                Finding(
                    what: "ledger", state: health.damage.isEmpty ? .good : .wrong,
                    found: health.damage.first ?? "\(runs?.total ?? 0) runs, every page whole",
                    mend: "study doctor --repair saves every row that is whole"))
            if !health.brokenSeals.isEmpty {
                findings.append(
                    Finding(
                        what: "seals", state: .wrong,
                        found: "broken: " + health.brokenSeals.joined(separator: ", "),
                        mend: "import these runs again from a bundle or another ledger"))
            }
            if !health.missingObjects.isEmpty {
                findings.append(
                    Finding(
                        what: "objects", state: .wrong,
                        found:
                            "\(health.missingObjects.count) missing, as \(health.missingObjects[0].prefix(12))…",
                        mend: "study import a ledger that has them, or run the study again"))
            }
            let lost = runs?.runs.filter { $0.status == .lost } ?? []
            if !lost.isEmpty {
                findings.append(
                    Finding(
                        what: "lost runs", state: .note,
                        found: "\(lost.count), as \(lost[0].id): the process died before the seal",
                        mend: "nothing needs to be done; what they recorded is there"))
            }
            return findings
        } catch {
            return [
                Finding(
                    what: "ledger", state: .wrong,
                    found: (error as? ProvenanceError)?.what ?? "\(error)",
                    mend: (error as? ProvenanceError)?.mend ?? "study doctor --repair")
            ]
        }
    }

    private static func onPath(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}
