// `study replay RUN --cell ID`: which cells run for one cell's sake, and that its outputs are the recorded ones.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Replaying one cell` {
    static let text = """
        ---
        seed: 4
        ---
        ```swift
        //| id: setup
        let run = Run.current
        var total = 10
        let names = ["a", "b"]
        func add(_ n: Int) { total += n }
        ```

        ```swift
        //| id: dear
        let dear = (0..<3).map { $0 * 2 }
        print("dear")
        ```

        ```swift
        //| id: shift
        total += 5
        ```

        ```swift
        //| id: call
        add(2)
        ```

        ```swift
        //| id: plot
        print(names)
        ```

        ```swift
        //| id: use
        struct Fit { var slope = 2.0 }
        extension Int { var doubled: Int { self * 2 } }
        run.record("total", total.doubled)
        print("use", total)
        ```

        Total `{swift} total`, dear `{swift} dear.count`.

        ```swift
        //| id: other
        print(dear.map(\\.doubled), Fit().slope)
        ```

        ```swift
        //| id: last
        //| eval: false
        print("never")
        ```
        """
    let folder: TemporaryFolder
    let run: StudyProcess

    init() throws {
        folder = try TemporaryFolder("one cell")
        try folder.write(Self.text, to: "flow.md")
        run = try StudyProcess(["run", "flow.md", "--json", "--ledger", "."], in: folder.path)
    }

    func replay(_ cell: String) throws -> (process: StudyProcess, record: RunRecord?) {
        let id = try #require(run.json["run"] as? String, "\(run.errors)")
        let process = try StudyProcess(
            ["replay", id, "--cell", cell, "--json", "--ledger", "."], in: folder.path)
        let replay = process.json["replay"] as? String
        return (process, try replay.map { try Ledger.openForReading(folder.path).run($0) })
    }

    @Test(arguments: [
        ("setup", ["setup"]), ("dear", ["dear"]), ("shift", ["setup", "shift"]),
        ("plot", ["setup", "plot"]),
        // `total` is changed twice on the way, and `use` prints it; the prose after it takes `dear`.
        ("use", ["setup", "dear", "shift", "call", "use"]),
        // `Fit` is code of a cell that also reads `total`: whoever uses it is held to use that too, and its cell, which
        // could change `total`, runs. Too much rather than too little.
        ("other", ["setup", "dear", "shift", "call", "use", "other"]),
    ]) func `the cells that it needs run, and give the same bits`(cell: String, cells: [String])
        throws
    {
        let (process, record) = try replay(cell)
        #expect(process.status == 0, "\(process.errors) \(process.output)")
        let ran = try #require(record).cells.filter { $0.began != nil }.map(\.id)
        #expect(ran == cells)
        // What some cells gave is no verdict on the run.
        let ledger = try Ledger.openForReading(folder.path)
        #expect(try ledger.verdicts(of: record!.replayOf!).isEmpty)
    }

    @Test func `why a cell runs or does not is said`() throws {
        let said = try replay("use").process.errors
        #expect(said.contains("cell 'setup' runs: it defines `run`, which 'use' uses"))
        #expect(said.contains("cell 'shift' runs: it may change `total`, which 'use' uses"))
        #expect(said.contains("cell 'call' runs: it uses `add`, which may change what '"))
        #expect(
            said.contains(
                "cell 'plot' does not run: it neither defines nor changes a variable that the others use"
            ))
    }

    @Test func `a cell that is not there, or did not run, is refused`() throws {
        let id = try #require(run.json["run"] as? String)
        let wrong = try replay("othr").process
        #expect(wrong.status == 1)
        #expect(
            wrong.errors.hasPrefix("Run \(id) has no cell 'othr'; did you mean 'other'?"),
            "\(wrong.errors)")
        let unrun = try replay("last").process
        #expect(unrun.status == 1)
        #expect(unrun.errors.hasPrefix("Cell 'last' did not run in run \(id)."), "\(unrun.errors)")
    }
}
