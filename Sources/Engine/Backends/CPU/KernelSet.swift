// Which of the portable tier's kernels this process uses.

internal import EngineKernels

/// The kernels chosen for this CPU: `avx512`, `avx2` or `scalar`. All give the same bits.
public var kernelSetName: String { String(cString: ek_kernel_name()) }
