// A run for those who live elsewhere: as an executed Jupyter notebook, or in MLflow's file store. The
// command line shows `summary` before it calls `write`.

package import Provenance

internal import Foundation

package enum ExportFormat: String, Sendable, CaseIterable {
    case bundle, ipynb, mlflow
}

/// A run as a notebook.
package struct NotebookExport {
    package let run: RunFacts
    package let policy: ReleasePolicy
    private let pictures: [Int: [UInt8]]
    /// Sentences for the researcher.
    package let summary: [String]

    /// - Parameters:
    ///   - name: What ``Ledger/resolve(_:)`` takes.
    ///   - root: The folder that the ledger lies in.
    package init(_ name: String, in ledger: Ledger, root: String, options: BundleOptions) throws {
        let facts = try RunFacts(name, in: ledger)
        guard facts.status != .running else {
            throw ExportError(
                .usage, "Run \(facts.id) is still going on.", where: facts.study,
                mend: "wait for its end, or stop it with Ctrl-C")
        }
        let roots = [Ledger.sourceRoot(of: try ledger.run(name), ledgerRoot: root), root]
        run = options.isAnonymous ? Anonymizer(facts, roots: roots).scrubbed(facts) : facts
        policy = try ReleasePolicy(facts)
        // Jupyter puts pictures into its own page, whose colours are not the reader's system's.
        pictures = Drawings(of: run).pictures.mapValues {
            FigureDrawing.light($0)
        }
        var lines = ["release: \(policy.mode.rawValue): \(policy.reason)"]
        lines.append(
            "leaves: prose, code and output of \(run.cells.count) cells, \(pictures.count) figures, \(run.claims.count) claims"
        )
        let files = run.artifacts.reduce(0) { $0 + $1.files.count }
        lines.append(
            "stays: \(files) files that the run made, \(run.items.count) prompts with their answers"
        )
        let missing = run.figures.count - pictures.count
        if missing > 0 {
            lines.append(
                "note: \(missing) figures could not be drawn (gnuplot-nox is not installed, or the script was refused)"
            )
        }
        summary = lines
    }

    /// The notebook's bytes, the same each time.
    package func document() -> [UInt8] {
        JupyterNotebook.document(run, pictures: pictures, policy: policy)
    }

    /// `artifacts/STUDY-RUN.ipynb` where no name was given.
    package var defaultName: String {
        let base = run.study.split(separator: "/").last.map(String.init) ?? "run"
        return "\(base.hasSuffix(".md") ? String(base.dropLast(3)) : base)-\(run.shortID).ipynb"
    }
}
