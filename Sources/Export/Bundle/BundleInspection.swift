// What a bundle would run, read from its crate: cells, costs, files, what is withheld. Nothing runs.

internal import Foundation

package struct BundleInspection: Sendable {
    package struct Cell: Sendable {
        package var name: String
        package var lines: String
        package var code: String
        package var seconds: Double?
    }
    package var run = ""
    package var study = ""
    package var title = ""
    package var status = ""
    package var command = ""
    package var seconds: Double?
    package var cells: [Cell] = []
    package var environment: [(name: String, value: String)] = []
    package var inputs: [(path: String, size: String)] = []
    package var outputs: [(path: String, size: String)] = []
    package var policy = ""
    package var withheld: [String] = []
    package var totalBytes: Int64 = 0

    /// Nil where the crate does not describe a run.
    package init?(_ found: Verification) {
        guard let graph = found.crate?[key: "@graph"]?.array else { return nil }
        var byID: [String: JSON] = [:]
        for entity in graph { if let id = entity[key: "@id"]?.string { byID[id] = entity } }
        func ids(_ value: JSON?) -> [String] {
            guard let value else { return [] }
            return (value.array ?? [value]).compactMap { $0[key: "@id"]?.string }
        }
        guard let root = byID["./"], let main = ids(root[key: "mainEntity"]).first,
            let workflow = byID[main],
            let action = graph.first(where: {
                $0[key: "@type"]?.string == "CreateAction"
                    && ids($0[key: "instrument"]).first == main
            })
        else { return nil }
        totalBytes = found.totalBytes
        study = main.removingPercentEncoding ?? main
        title = root[key: "name"]?.string ?? ""
        run = action[key: "identifier"]?.string ?? ""
        command = action[key: "description"]?.string ?? ""
        status = action[key: "error"]?.string.map { "failed: \($0)" } ?? "succeeded"
        seconds = Self.seconds(action)
        for id in ids(workflow[key: "hasPart"]) {
            guard let cell = byID[id] else { continue }
            let own = graph.first {
                ids($0[key: "instrument"]).first == id && $0[key: "@type"]?.string == "CreateAction"
            }
            cells.append(
                Cell(
                    name: cell[key: "name"]?.string ?? id,
                    lines: cell[key: "description"]?.string ?? "",
                    code: cell[key: "text"]?.string ?? "", seconds: own.flatMap(Self.seconds)))
        }
        for id in ids(action[key: "environment"]) {
            if let fact = byID[id], let name = fact[key: "name"]?.string {
                environment.append((name, fact[key: "value"]?.string ?? ""))
            }
        }
        func files(_ list: [String]) -> [(String, String)] {
            list.compactMap { id in
                guard let entity = byID[id], let size = entity[key: "contentSize"]?.string else {
                    return nil
                }
                return (id.removingPercentEncoding ?? id, Words.bytes(Int64(size) ?? 0))
            }
        }
        inputs = files(ids(action[key: "object"]))
        outputs = files(ids(action[key: "result"]))
        if let bytes = found.held["data/" + BundleLayout.policy], let release = JSON(parsing: bytes)
        {
            policy =
                (release[key: "policy"]?.string ?? "") + ": "
                + (release[key: "reason"]?.string ?? "")
            withheld = release[key: "withheld"]?.array?.compactMap { $0[key: "path"]?.string } ?? []
        }
    }

    /// The locale of the run, where its name is one that can be set.
    package var locale: String? {
        guard let name = environment.first(where: { $0.name == "locale" })?.value, !name.isEmpty
        else { return nil }
        let isPlain = name.allSatisfy {
            $0.isASCII && ($0.isLetter || $0.isNumber || "._-@".contains($0))
        }
        return isPlain ? name : nil
    }

    private static func seconds(_ action: JSON) -> Double? {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        guard let start = action[key: "startTime"]?.string.flatMap(formatter.date),
            let end = action[key: "endTime"]?.string.flatMap(formatter.date)
        else { return nil }
        return end.timeIntervalSince(start)
    }

    /// What the terminal shows. Control characters of a stranger's text do not reach it.
    package func lines(withCode: Bool) -> [String] {
        var out = [
            "\(title)", "run       \(run), \(status)", "study     \(study)", "command   \(command)",
            "time      \(seconds.map { Words.seconds($0) } ?? "not recorded") when recorded",
            "memory    \(environment.first { $0.name == "run.peak_memory" }.flatMap { Int64($0.value) }.map { Words.bytes($0) } ?? "not recorded")",
            "disk      \(Words.bytes(totalBytes)) unpacked, about twice that to replay",
            "network   none: the replay's sandbox has none",
            "writes    into a scratch folder that is removed afterwards",
            "release   \(policy)",
        ]
        out.append("cells     \(cells.count) would run, in this order:")
        for cell in cells {
            out.append(
                "  \(cell.name), \(cell.lines)"
                    + (cell.seconds.map { ", \(Words.seconds($0))" } ?? ""))
            if withCode {
                out += cell.code.split(separator: "\n", omittingEmptySubsequences: false).map {
                    "      " + $0
                }
            }
        }
        out.append("reads     \(inputs.isEmpty ? "nothing" : "")")
        out += inputs.prefix(40).map { "  \($0.path), \($0.size)" }
        out.append("made      \(outputs.isEmpty ? "nothing" : "")")
        out += outputs.prefix(40).map { "  \($0.path), \($0.size)" }
        if !withheld.isEmpty {
            out.append("withheld  \(withheld.count == 1 ? "1 file" : "\(withheld.count) files")")
            out += withheld.prefix(20).map { "  " + $0 }
        }
        return out.map { line in
            String(
                String.UnicodeScalarView(
                    line.unicodeScalars.map {
                        $0.value < 0x20 || (0x7f...0x9f).contains($0.value) ? "\u{fffd}" : $0
                    }))
        }
    }
}
