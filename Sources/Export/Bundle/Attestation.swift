// An in-toto statement v1 with SLSA provenance v1: which files came of which run. Unsigned by itself;
// the bundle's signature covers it.

internal import Events
internal import Provenance

enum Attestation {
    static func file(_ bytes: [UInt8]) -> PayloadFile {
        PayloadFile(
            BundleLayout.attestation, .bytes(bytes), name: "provenance statement",
            about: "in-toto statement v1 with SLSA provenance v1: which results came of which run",
            mediaType: "application/vnd.in-toto+json")
    }

    static func statement(
        _ run: RunFacts, digests: [String: PayloadDigest], withheld: [Withheld], version: String
    ) -> [UInt8] {
        func digest(_ sha256: String) -> JSON { .object([("sha256", .string(sha256))]) }
        var subjects = digests.filter { isResult($0.key) }.sorted { $0.key < $1.key }.map {
            JSON.object([("name", .string($0.key)), ("digest", digest($0.value.sha256))])
        }
        subjects += withheld.filter {
            $0.path.hasPrefix("artifacts/") || $0.path.hasPrefix("adapters/")
        }.map {
            .object([("name", .string($0.path)), ("digest", digest($0.sha256))])
        }
        var dependencies: [JSON] = []
        if let commit = run.code.snapshot ?? run.code.commit {
            dependencies.append(
                .object(
                    [("uri", .string("git+" + (run.code.remote ?? "bundle:source")))]
                        + [("digest", .object([("gitCommit", .string(commit))]))]))
        }
        for input in run.inputs {
            for file in input.files {
                dependencies.append(
                    .object([
                        ("uri", .string(input.path + (file.path.isEmpty ? "" : "/" + file.path))),
                        ("digest", digest(file.sha256)),
                    ]))
            }
        }
        let parameters =
            [
                ("study", JSON.string(run.study)), ("seed", .string(run.seed)),
                ("threads", .integer(Int64(run.threads))),
                ("tier", .string(run.tier)),
            ]
            + run.parameters.map { ("param:" + $0.name, JSON.string($0.value)) }
        var metadata: [(String, JSON)] = [
            ("invocationId", .string("urn:uuid:" + run.uuid)),
            ("startedOn", .string(utc(run.began.nanoseconds))),
        ]
        if let ended = run.ended {
            metadata.append(("finishedOn", .string(utc(ended.nanoseconds))))
        }
        return JSON.object([
            ("_type", .string("https://in-toto.io/Statement/v1")),
            ("subject", .array(subjects)),
            ("predicateType", .string("https://slsa.dev/provenance/v1")),
            (
                "predicate",
                .object([
                    (
                        "buildDefinition",
                        .object([
                            ("buildType", .string("urn:study:run:1")),
                            ("externalParameters", .object(parameters)),
                            (
                                "internalParameters",
                                .object([
                                    ("status", .string(run.status.rawValue)),
                                    (
                                        "environment",
                                        .object(
                                            run.environment.map { ($0.name, .string($0.value)) })
                                    ),
                                ])
                            ),
                            ("resolvedDependencies", .array(dependencies)),
                        ])
                    ),
                    (
                        "runDetails",
                        .object([
                            (
                                "builder",
                                .object([
                                    ("id", .string("urn:study:software")),
                                    ("version", .object([("study", .string(version))])),
                                ])
                            ), ("metadata", .object(metadata)),
                        ])
                    ),
                ])
            ),
        ]).file()
    }

    /// SLSA wants RFC 3339 with Z.
    private static func utc(_ nanoseconds: Int64) -> String {
        String(ROCrate.time(nanoseconds).dropLast(6)) + "Z"
    }

    private static func isResult(_ path: String) -> Bool {
        path.hasPrefix("artifacts/") || path.hasPrefix("adapters/") || path.hasPrefix("results/")
    }
}
