// Our side of Benchmarks/export/compare.py: packs, verifies and reports without a ledger around it.
// usage: export-bench pack OUT.tar.zst FILE... | verify BUNDLE | report POINTS OUT.html

import Events
import Export
import Foundation

let arguments = CommandLine.arguments.dropFirst()
let start = DispatchTime.now().uptimeNanoseconds

switch arguments.first {
case "pack":
    let paths = Array(arguments.dropFirst(2))
    var run = RunFacts()
    run.id = "20261121-000000-00000000"
    run.study = "bench.md"
    run.text = "# Bench\n"
    run.ended = Timestamp(nanoseconds: 1_795_248_819_000_000_000)
    var files = [
        PayloadFile.text("bench.md", run.text, name: "study", about: "study", role: .study)
    ]
    for (index, path) in paths.enumerated() {
        let size = (try FileManager.default.attributesOfItem(atPath: path)[.size] as! NSNumber)
            .int64Value
        files.append(
            PayloadFile(
                "adapters/\(index)/adapter_model.safetensors", .file(path, size: size),
                name: "adapter",
                about: "adapter", mediaType: "application/vnd.safetensors"))
    }
    let out = arguments.dropFirst().first!
    let written = try BundleWriter(run: run, files: files, withheld: [], softwareVersion: "0.1.0")
        .write(to: out, format: ArchiveFormat(path: out)!)
    print(written.identity.tarSHA256, terminator: " ")
case "verify":
    let found = try BundleVerifier.verify(arguments.dropFirst().first!)
    print(found.isWhole ? "whole" : "\(found.faults)", terminator: " ")
case "report":
    let count = Int(arguments.dropFirst().first!)!
    var run = RunFacts()
    run.id = "20261121-000000-00000000"
    run.study = "bench.md"
    run.text = "# Bench\n"
    var series = RunFacts.Series(cell: 0, name: "loss", arm: "")
    for step in 0..<count {
        series.steps.append(Int64(step))
        series.values.append(1 / Double(step + 1) + Double(step &* 2_654_435_761 % 1000) / 1e4)
        series.times.append(Int64(step))
    }
    run.series = [series]
    let html = try HTMLReport(run, version: "0.1.0").html()
    try Data(html).write(to: URL(fileURLWithPath: arguments.dropFirst(2).first!))
    print("\(html.count) bytes", terminator: " ")
default:
    print("usage: export-bench pack OUT FILE... | verify BUNDLE | report POINTS OUT.html")
    exit(2)
}
/// The peak of this process's memory, as the kernel counts it.
let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.dropFirst(6) ?? "?"
let seconds = Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9
print("\(seconds) s, peak\(peak)")
