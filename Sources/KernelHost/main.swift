// The `study-kernel` process: loads the Study library that it is told and hands over to it. It links
// nothing of ours, or there would be two engines in one process.

import Glibc

func fail(_ message: String) -> Never {
    let line = "study-kernel: \(message)\n"
    _ = line.withCString { write(2, $0, strlen($0)) }
    exit(87)
}

// With a second argument it only says what arithmetic a run would use, for `study doctor`.
let word = CommandLine.arguments.count == 3 ? CommandLine.arguments[2] : ""
let describes = word == "--arithmetic"
// What this process may write to is descriptor 4, beside the recorder's socket.
let isConfined = word == "--confined"
guard CommandLine.arguments.count == 2 || describes || isConfined else {
    fail("this process is started by `study run`; type `study --help`")
}
guard let library = dlopen(CommandLine.arguments[1], RTLD_NOW | RTLD_GLOBAL) else {
    fail(String(cString: dlerror()))
}
if describes, let symbol = dlsym(library, "study_describe_arithmetic") {
    unsafeBitCast(symbol, to: (@convention(c) () -> Void).self)()
    exit(0)
}
guard let symbol = dlsym(library, "study_kernel_main") else {
    fail("\(CommandLine.arguments[1]) is not the Study library of this version")
}
typealias Main = @convention(c) (Int32, Int32) -> Int32
exit(unsafeBitCast(symbol, to: Main.self)(3, isConfined ? 4 : -1))
