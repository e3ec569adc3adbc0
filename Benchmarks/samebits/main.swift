// The engine's promise as a program: one hash a line for every kind of arithmetic in the portable tier. Two
// machines keep the promise if `samebits | grep -v '^#'` prints the same on both. Built with its Swift runtime
// inside, it runs on any x86-64 Linux with glibc; STUDY_KERNELS (avx512, avx2, scalar) and STUDY_THREADS choose
// what computes.

import Engine
import Glibc

let usage = """
    samebits            every hash; some ten seconds
    samebits PREFIX     only the parts whose names begin so, as "train" or "gemm"
    """
let arguments = CommandLine.arguments.dropFirst()
guard arguments.count <= 1, arguments.first?.hasPrefix("-") != true else {
    print(usage)
    exit(arguments.first == "--help" ? 0 : 2)
}

do { try checkArithmeticVariables() } catch {
    _ = "samebits: \(error)\n".withCString { write(2, $0, strlen($0)) }
    exit(2)
}
var report = Report(prefix: arguments.first ?? "")
print("# study samebits 1: kernels \(kernelSetName), threads \(threadCount)")
for (name, part) in parts where name.hasPrefix(report.prefix) { try part(name, &report) }
print("all \(report.count) lines: \(report.whole)")
