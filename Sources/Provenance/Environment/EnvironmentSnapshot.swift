// What the machine and the process are, as far as it can change a result: named facts in a fixed
// order. The runner adds what only it knows (engine build, arithmetic tier, compiler).

internal import CGit2
internal import Foundation
internal import GRDBSQLite

/// Named facts about where a run happens. Nothing secret: environment variables only from an
/// allow-list, no user name, no host name.
package struct EnvironmentSnapshot: Sendable, Hashable {
    /// One fact, as ("cpu.model", "AMD EPYC 9B45").
    package struct Fact: Sendable, Hashable {
        package var name: String
        package var value: String
        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    package private(set) var facts: [Fact]

    package init(facts: [Fact] = []) { self.facts = facts }

    package subscript(name: String) -> String? {
        get { facts.first { $0.name == name }?.value }
        set {
            facts.removeAll { $0.name == name }
            if let newValue { facts.append(Fact(name, Secrets.scrubbed(newValue))) }
        }
    }

    /// The facts this module can find out: under a millisecond, no process started.
    package static func collect() -> EnvironmentSnapshot {
        var snapshot = EnvironmentSnapshot()
        let cpu = processor()
        snapshot["cpu.model"] = cpu.model
        snapshot["cpu.features"] = cpu.features
        snapshot["cpu.cores"] = "\(sysconf(Int32(_SC_NPROCESSORS_ONLN)))"
        snapshot["memory.bytes"] =
            "\(sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)))"
        var system = utsname()
        if uname(&system) == 0 {
            snapshot["os.kernel"] = text(of: system.sysname) + " " + text(of: system.release)
            snapshot["os.architecture"] = text(of: system.machine)
        }
        snapshot["os.name"] = osName()
        var version = [CChar](repeating: 0, count: 64)
        if confstr(Int32(_CS_GNU_LIBC_VERSION), &version, version.count) > 0 {
            snapshot["library.glibc"] = text(of: version).replacing("glibc ", with: "")
        }
        snapshot["library.sqlite"] = String(cString: sqlite3_libversion())
        var major: Int32 = 0
        var minor: Int32 = 0
        var patch: Int32 = 0
        git_libgit2_version(&major, &minor, &patch)
        snapshot["library.libgit2"] = "\(major).\(minor).\(patch)"
        // Decimal points and sorting depend on it, where a cell formats or sorts text.
        snapshot["locale"] = localeName()
        for name in Secrets.allowedVariables.sorted() {
            if let value = getenv(name) { snapshot["env." + name] = String(cString: value) }
        }
        return snapshot
    }

    /// This snapshot with the facts of `other` added or put in place of equal names.
    package func merging(_ other: EnvironmentSnapshot) -> EnvironmentSnapshot {
        var result = self
        for fact in other.facts { result[fact.name] = fact.value }
        return result
    }
}

/// A fact in which two environments differ.
package struct EnvironmentDifference: Sendable, Hashable {
    package var name: String
    package var first: String?
    package var second: String?
    /// How likely it changes results, 0 (never known to) to 100; ``EnvironmentSnapshot/weight(of:)``.
    package var weight: Int

    package init(name: String, first: String?, second: String?, weight: Int) {
        self.name = name
        self.first = first
        self.second = second
        self.weight = weight
    }
}

extension EnvironmentSnapshot {
    /// The facts in which `self` and `other` differ, likeliest cause of different results first.
    ///
    /// `portable`: both runs used the portable tier, whose bits do not depend on CPU and threads.
    package func differences(from other: EnvironmentSnapshot, portable: Bool)
        -> [EnvironmentDifference]
    {
        Set(facts.map(\.name) + other.facts.map(\.name)).compactMap { name in
            guard self[name] != other[name], !name.hasPrefix("run.") else { return nil }
            return EnvironmentDifference(
                name: name, first: self[name], second: other[name],
                weight: Self.weight(of: name, portable: portable))
        }.sorted { ($1.weight, $0.name) < ($0.weight, $1.name) }
    }

    /// How likely a difference in this fact is to change results. The order, not the size, matters;
    /// it says which arithmetic ran first, then what compiled it, then the machine around it.
    static func weight(of name: String, portable: Bool) -> Int {
        switch name {
        case "engine.tier": 100
        case "engine.build": 95
        case "engine.kernels": portable ? 30 : 90
        case "swift", "swift.version": 80
        case "engine.threads": portable ? 20 : 85
        case "library.openblas", "openblas.core", "openblas.threads": portable ? 40 : 88
        case "cpu.model", "cpu.features": portable ? 25 : 75
        case "os.architecture": 60
        case "locale": 35
        case "library.glibc": 30
        case "cpu.cores": 15
        default: name.hasPrefix("env.") ? 33 : name.hasPrefix("library.") ? 10 : 5
        }
    }
}

/// The model's name and the features that our kernels or a BLAS would choose by, from `/proc/cpuinfo`.
private func processor() -> (model: String?, features: String?) {
    guard let file = fopen("/proc/cpuinfo", "r") else { return (nil, nil) }
    defer { fclose(file) }
    var buffer = [CChar](repeating: 0, count: 16384)
    var model: String?
    var features: String?
    let wanted: Set<Substring> = [
        "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl",
        "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "sha_ni", "asimd", "sve",
    ]
    while fgets(&buffer, Int32(buffer.count), file) != nil, model == nil || features == nil {
        let line = text(of: buffer)
        guard let colon = line.firstIndex(of: ":") else { continue }
        let key = line[..<colon].trimmingCharacters(in: .whitespaces)
        let value = line[line.index(after: colon)...].trimmingCharacters(
            in: .whitespacesAndNewlines)
        if key == "model name" { model = value }
        if key == "flags" || key == "Features" {
            features = value.split(separator: " ").filter(wanted.contains).sorted()
                .joined(separator: " ")
        }
    }
    return (model, features)
}

private func osName() -> String? {
    guard let text = try? String(contentsOfFile: "/etc/os-release", encoding: .utf8) else {
        return nil
    }
    for line in text.split(separator: "\n") where line.hasPrefix("PRETTY_NAME=") {
        return line.dropFirst(12).trimmingCharacters(in: CharacterSet(charactersIn: "\""))
    }
    return nil
}

private func localeName() -> String {
    for name in ["LC_ALL", "LC_NUMERIC", "LANG"] {
        if let value = getenv(name), value.pointee != 0 { return String(cString: value) }
    }
    return "C"
}

/// The text of a C array of characters that ends with a zero.
func text<Characters>(of characters: Characters) -> String {
    withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

private func text(of characters: [CChar]) -> String {
    characters.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
