// Drives a ledger as hard as it goes: what compare.py times beside MLflow, and what the tests of
// Tests/ProvenanceTests/CrashTests.swift kill while it works. Prints what a cell would be told.

import Events
import Foundation
import Provenance

let usage = """
    ledger-drill metrics ROOT COUNT [SERIES]   COUNT metrics in one run; seconds until all are in the ledger, and until sealed
    ledger-drill acknowledge ROOT COUNT        COUNT metrics, each acknowledged alone; median and 99th percentile in ms
    ledger-drill acknowledged ROOT             metrics for ever; prints each acknowledged count (to be killed)
    ledger-drill fill ROOT RUNS POINTS         RUNS sealed runs with POINTS metrics in all
    ledger-drill open ROOT                     opens, captures the code, begins: the start-up of a run
    ledger-drill hash FILE                     SHA-256 of a file, MiB/s
    ledger-drill hash-memory ANY               the same of bytes in the cache
    """

func seconds(_ body: () throws -> Void) rethrows -> Double {
    let begin = DispatchTime.now().uptimeNanoseconds
    try body()
    return Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9
}

func opening() -> RunOpening {
    RunOpening(study: "studies/drill.md", text: "# Drill\n", title: "Drill", seed: 1)
}

func metric(_ name: String, _ step: Int) -> Event {
    .metric(
        MetricPoint(
            cell: 0, name: name, step: Int64(step), value: 1 / (1 + Double(step)), time: .now))
}

let arguments = CommandLine.arguments.dropFirst()
guard let verb = arguments.first, arguments.count >= 2 else {
    print(usage)
    exit(2)
}
let root = arguments.dropFirst().first!
let numbers = arguments.dropFirst(2).compactMap { Int($0) }

switch verb {
case "metrics":
    let count = numbers[0]
    let names = (0..<(numbers.dropFirst().first ?? 4)).map { "series \($0)" }
    let ledger = try Ledger.open(under: root)
    let writer = try ledger.begin(opening())
    let written = try seconds {
        for step in 0..<count { try writer.append(metric(names[step % names.count], step)) }
        try writer.flush()
    }
    let sealed = try seconds { _ = try writer.seal(.succeeded) }
    print(
        "{\"seconds\": \(written), \"seal\": \(sealed), \"per_second\": \(Int(Double(count) / (written + sealed)))}"
    )

case "acknowledge":
    let ledger = try Ledger.open(under: root)
    let writer = try ledger.begin(opening())
    var times: [Double] = []
    for step in 0..<numbers[0] {
        times.append(
            try seconds {
                try writer.append(metric("loss", step))
                try writer.flush()
            } * 1000)
    }
    try writer.seal(.succeeded)
    times.sort()
    print(
        "{\"median_ms\": \(times[times.count / 2]), \"p99_ms\": \(times[times.count * 99 / 100]), \"max_ms\": \(times.last!)}"
    )

case "acknowledged":
    let ledger = try Ledger.open(under: root)
    let writer = try ledger.begin(opening())
    // Unbuffered: what is printed was acknowledged before the kill.
    func tell(_ text: String) { FileHandle.standardOutput.write(Data((text + "\n").utf8)) }
    tell(writer.id)
    var step = 0
    while true {
        for _ in 0..<100 {
            try writer.append(metric("loss", step))
            step += 1
        }
        try writer.flush()
        tell("\(step)")
    }

case "fill":
    let ledger = try Ledger.open(under: root)
    let (runs, points) = (numbers[0], numbers[1])
    for _ in 0..<runs {
        let writer = try ledger.begin(opening())
        for step in 0..<(points / runs) { try writer.append(metric("loss", step)) }
        try writer.append(
            .metric(
                MetricPoint(cell: 1, name: "refusal.after", value: .random(in: 0...1), time: .now)))
        try writer.seal(.succeeded)
    }

case "open":
    var (captured, begun) = (0.0, 0.0)
    var isDirty = false
    let started = try await {
        let begin = DispatchTime.now().uptimeNanoseconds
        // As `study run` does it: what ran is found out while the ledger is opened.
        let identity = Task.detached {
            let began = DispatchTime.now().uptimeNanoseconds
            let code = try CodeIdentity.capture(at: root)
            return (code, Double(DispatchTime.now().uptimeNanoseconds - began) / 1e9)
        }
        let ledger = try Ledger.open(under: root)
        let (code, time) = try await identity.value
        (captured, isDirty) = (time, code.isDirty)
        begun = try seconds {
            var run = opening()
            run.code = code
            let writer = try ledger.begin(run)
            try writer.flush()
        }
        return Double(DispatchTime.now().uptimeNanoseconds - begin) / 1e9
    }()
    print(
        "{\"start_ms\": \(started * 1000), \"capture_ms\": \(captured * 1000), \"begin_ms\": \(begun * 1000), \"dirty\": \(isDirty)}"
    )

case "hash":
    let size = Double(FileIdentity(root)!.size) / 1_048_576
    _ = try hashFile(root)
    let time = try seconds { _ = try hashFile(root) }
    print("{\"mib_per_s\": \(Int(size / time))}")

case "hash-memory":
    let bytes = [UInt8](repeating: 7, count: 1 << 18)
    _ = Digest(of: bytes)
    let time = seconds { for _ in 0..<2000 { _ = Digest(of: bytes) } }
    print("{\"mib_per_s\": \(Int(500 / time))}")

default:
    print(usage)
    exit(2)
}
