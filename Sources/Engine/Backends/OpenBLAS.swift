// OpenBLAS, loaded at run time so that its core can be pinned first; the only place that knows its
// names. LAPACK's routines are looked up through the same handle.

package import EngineKernels
internal import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// The OpenBLAS of this process.
public struct OpenBLAS: Sendable {
    /// The file it was loaded from, as the loader resolved it.
    public let path: String
    /// The core whose kernels it runs, as `openblas_get_corename` says.
    public let core: String
    /// How it was built, as `openblas_get_config` says.
    public let configuration: String

    /// The threads it uses itself, as `openblas_get_num_threads` says: 1. Ours are around it.
    public var threads: Int { Int(getThreads()) }

    package let sgemm: ek_sgemm
    private let getThreads: @convention(c) () -> CInt
    /// The loader's handle; the library is never closed.
    private let handle: Handle

    /// `@unchecked Sendable`: an address that nothing changes.
    private struct Handle: @unchecked Sendable { let pointer: UnsafeMutableRawPointer }

    private static let library = Mutex<OpenBLAS?>(nil)

    /// The library, where it has been loaded.
    public static var loaded: OpenBLAS? { library.withLock { $0 } }

    /// The address of a function of the library, `nil` where it has none of that name.
    package func symbol(_ name: String) -> UnsafeMutableRawPointer? { dlsym(handle.pointer, name) }

    /// Loads the library once, on one thread, its core pinned to the best for this CPU's vectors
    /// (SkylakeX with AVX-512, Haswell with AVX2, else Nehalem), or to STUDY_BLAS_CORE.
    /// - Throws: ``ArithmeticError``.
    package static func load() throws(ArithmeticError) -> OpenBLAS {
        let found = library.withLock { known -> Result<OpenBLAS, ArithmeticError> in
            if let known { return .success(known) }
            return open().map { library in
                known = library
                return library
            }
        }
        return try found.get()
    }

    private static func open() -> Result<OpenBLAS, ArithmeticError> {
        let core = getenv("STUDY_BLAS_CORE").map { String(cString: $0) } ?? pinnedCore
        // Its constructor reads the environment: what is there now decides its kernels for good.
        setenv("OPENBLAS_CORETYPE", core, 1)
        setenv("OPENBLAS_NUM_THREADS", "1", 1)
        unsetenv("OPENBLAS_L2_SIZE")
        guard let handle = names.lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first else {
            let message = dlerror().map { String(cString: $0) } ?? "no message"
            return .failure(ArithmeticError(.libraryMissing(message), library: nil))
        }
        guard let sgemm = dlsym(handle, "cblas_sgemm"),
            let setThreads = dlsym(handle, "openblas_set_num_threads"),
            let getThreads = dlsym(handle, "openblas_get_num_threads"),
            let getCore = dlsym(handle, "openblas_get_corename"),
            let getConfiguration = dlsym(handle, "openblas_get_config")
        else { return .failure(ArithmeticError(.notOpenBLAS, library: names[0])) }
        typealias Text = @convention(c) () -> UnsafePointer<CChar>?
        typealias SetThreads = @convention(c) (CInt) -> Void
        unsafeBitCast(setThreads, to: SetThreads.self)(1)
        func text(_ address: UnsafeMutableRawPointer) -> String {
            unsafeBitCast(address, to: Text.self)().map { String(cString: $0) } ?? "unknown"
        }
        let path = ek_library_of(sgemm).map { String(cString: $0) }
        let loaded = OpenBLAS(
            path: path ?? names[0], core: text(getCore), configuration: text(getConfiguration),
            sgemm: unsafeBitCast(sgemm, to: ek_sgemm.self),
            getThreads: unsafeBitCast(getThreads, to: (@convention(c) () -> CInt).self),
            handle: Handle(pointer: handle))
        guard loaded.core.lowercased() == core.lowercased() else {
            return .failure(
                ArithmeticError(.otherCore(wanted: core, found: loaded.core), library: loaded.path))
        }
        return .success(loaded)
    }

    private static let names = ["libopenblas.so.0", "libopenblas.so"]

    private static var pinnedCore: String {
        switch kernelSetName {
        case "avx512": "SkylakeX"
        case "avx2": "Haswell"
        default: "Nehalem"
        }
    }
}
