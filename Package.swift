// swift-tools-version: 6.1
// Targets from the bottom layer up; the dependency lists are the architecture (HOW_IT_WORKS.md).

import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

// Test code compiles unoptimised in release too: that halves a build's wait, and what it calls is optimised.
let tests = strict + [.unsafeFlags(["-Onone"])]

let package = Package(
    name: "study",
    products: [
        .executable(name: "study", targets: ["StudyCommand"]),
        .executable(name: "study-kernel", targets: ["KernelHost"]),
        .library(name: "Study", type: .dynamic, targets: ["Study"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [
        // C libraries: a module map and a shim each, no logic.
        .systemLibrary(
            name: "CGit2", path: "Sources/System/CGit2", pkgConfig: "libgit2",
            providers: [.apt(["libgit2-dev"])]),
        .systemLibrary(
            name: "CArchive", path: "Sources/System/CArchive", pkgConfig: "libarchive",
            providers: [.apt(["libarchive-dev"])]),
        .systemLibrary(
            name: "CCommonMark", path: "Sources/System/CCommonMark",
            providers: [.apt(["libcmark-gfm-dev", "libcmark-gfm-extensions-dev"])]),

        .systemLibrary(name: "CProcess", path: "Sources/System/CProcess"),

        // Numbers: nothing here knows of runs, notebooks or bundles. OpenBLAS is loaded by `dlopen`
        // (its core must be pinned first), so nothing links it.
        .target(
            name: "EngineKernels",
            cSettings: [
                // Contraction off and -O3 in debug builds too: the bits and the speed of the kernels
                // are the same whatever the configuration.
                .unsafeFlags(["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"])
            ]),
        .target(
            name: "Engine", dependencies: ["EngineKernels"],
            swiftSettings: strict),

        // What kernel and recorder say to each other.
        .target(name: "Events", swiftSettings: strict),

        // What a cell imports, and the process that runs cells.
        .target(
            name: "KernelSupport",
            cSettings: [
                .define("_GNU_SOURCE"),
                // Traps and throws are placed by following frame pointers.
                .unsafeFlags(["-O2", "-fno-omit-frame-pointer", "-Wall", "-Wextra"]),
            ]),
        .target(
            name: "Study", dependencies: ["Engine", "Events", "KernelSupport"],
            swiftSettings: strict),
        .executableTarget(name: "KernelHost", swiftSettings: strict),

        .target(
            name: "Provenance",
            dependencies: [
                "CGit2", "Events",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .target(
            name: "Notebook",
            dependencies: [
                "CCommonMark", "CProcess", "Events",
                .product(name: "Yams", package: "Yams"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .target(
            name: "Export",
            dependencies: [
                "CArchive", "CProcess", "Notebook", "Provenance",
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "StudyCommand",
            dependencies: [
                "Events", "Notebook", "Provenance", "Export",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict,
            // Whoever verifies a bundle may have no Swift: the command carries the runtime in itself.
            linkerSettings: [
                .unsafeFlags(["-static-stdlib"]), .linkedLibrary("CoreFoundation"),
                .linkedLibrary("_FoundationCShims"), .linkedLibrary("_FoundationCollections"),
                .linkedLibrary("_FoundationICU"), .linkedLibrary("stdc++"),
            ]),

        // Drives a ledger as hard as it goes, for benchmarks and for tests that kill it.
        .executableTarget(
            name: "ledger-drill", dependencies: ["Provenance", "Events"], path: "Benchmarks/ledger",
            exclude: ["breakage.py", "compare.py", "powercut.c", "torture.py"],
            sources: ["main.swift"],
            swiftSettings: strict),
        // Our side of Benchmarks/training/compare.py.
        .executableTarget(
            name: "training-bench", dependencies: ["Engine"], path: "Benchmarks/training",
            exclude: ["compare.py"], sources: ["main.swift"], swiftSettings: strict),
        // Our side of Benchmarks/lox/compare.py and whole_model.py.
        .executableTarget(
            name: "lox-bench", dependencies: ["Engine"], path: "Benchmarks/lox",
            exclude: ["compare.py", "whole_model.py"], sources: ["main.swift"],
            swiftSettings: strict),

        // Encodes documents, for Benchmarks/tokenizer/compare.py.
        .executableTarget(
            name: "tokenizer-benchmark", dependencies: ["Engine"], path: "Benchmarks/tokenizer",
            exclude: ["compare.py"], sources: ["main.swift"], swiftSettings: strict),

        // Our side of Benchmarks/export/compare.py.
        .executableTarget(
            name: "export-bench", dependencies: ["Export", "Events"], path: "Benchmarks/export",
            exclude: ["compare.py"], sources: ["main.swift"], swiftSettings: strict),

        // One hash a line for every kind of arithmetic, to compare machines. Another machine need not have
        // Swift: the runtime is in it.
        .executableTarget(
            name: "samebits", dependencies: ["Engine", "EngineKernels"],
            path: "Benchmarks/samebits", exclude: ["compare.py"], swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-stdlib"]), .linkedLibrary("stdc++")]),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: tests),
        .testTarget(
            name: "EngineTests", dependencies: ["Engine", "EngineKernels", "TestSupport"],
            exclude: ["peft_itself.py"], swiftSettings: tests),
        .testTarget(
            name: "NotebookTests", dependencies: ["Notebook", "Events", "TestSupport"],
            swiftSettings: tests),
        .testTarget(
            name: "ProvenanceTests",
            dependencies: ["Provenance", "Events", "TestSupport", "ledger-drill"],
            swiftSettings: tests),
        .testTarget(
            name: "ExportTests",
            dependencies: ["Export", "Provenance", "Events", "TestSupport", "export-bench"],
            exclude: ["formats.py", "validate.sh"], swiftSettings: tests),
        .testTarget(
            name: "StudyCommandTests",
            dependencies: ["Export", "Provenance", "Events", "TestSupport"],
            swiftSettings: tests),
    ]
)
