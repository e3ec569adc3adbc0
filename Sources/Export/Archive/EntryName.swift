// Which names an archive of ours may hold, and which of another's we refuse. Says so; opens nothing.

internal import Foundation

/// Judges the names of an archive's entries, one after the other.
///
/// Two names collide when they differ in case or in Unicode composition only: some file systems take
/// them for one, and the second file would then replace the first.
package struct EntryNames: Sendable {
    /// Files and folders so far, by folded name.
    private var files: [String: String] = [:]
    private var folders: [String: String] = [:]
    /// The folder that everything lies in; nil until the first entry.
    package private(set) var topFolder: String?

    /// Long enough for any study, short enough for every file system.
    package static let longestPath = 1000
    package static let longestComponent = 255

    package init() {}

    /// What is wrong with a name on its own, or nil.
    package static func problem(with name: String) -> String? {
        if name.isEmpty { return "has no name" }
        if name.hasPrefix("/") { return "has an absolute path" }
        if name.utf8.count > longestPath { return "has a path longer than \(longestPath) bytes" }
        for scalar in name.unicodeScalars where scalar.value < 0x20 || scalar.value == 0x7f {
            return "has a control character in its name"
        }
        // BagIt wants these encoded, coreutils and bagit-python do not decode them: neither is safe.
        if name.contains("%") { return "has a % in its name, which BagIt's readers disagree about" }
        if name.contains("\\") { return "has a backslash in its name" }
        if name.unicodeScalars.contains("\u{fffd}") { return "has a name that is not UTF-8" }
        for component in name.split(separator: "/", omittingEmptySubsequences: false) {
            if component == ".." { return "has a path that climbs out (..)" }
            if component == "." || component.isEmpty { return "has an empty or . part in its path" }
            if component.utf8.count > longestComponent {
                return "has a part of its path longer than \(longestComponent) bytes"
            }
        }
        if name.precomposedStringWithCanonicalMapping.utf8.elementsEqual(name.utf8) == false {
            return "has a name that is not in Unicode's composed form (NFC)"
        }
        return nil
    }

    /// Takes note of an entry; returns what is wrong with it, or nil.
    package mutating func add(_ rawName: String, isFolder: Bool) -> String? {
        var name = rawName
        while isFolder, name.count > 1, name.hasSuffix("/") { name.removeLast() }
        // Collisions are judged even of a name that is wrong by itself: all faults at once.
        let folded = Self.folded(name)
        let own = Self.problem(with: name)
        if let other = files[folded] ?? (isFolder ? nil : folders[folded]) {
            if Array(other.utf8) == Array(name.utf8) { return own ?? "is there twice" }
            return own.map { "\($0); collides with \(other)" }
                ?? "collides with \(other): they differ in case or composition only"
        }
        if isFolder { folders[folded] = name } else { files[folded] = name }
        if let own { return own }
        let parts = name.split(separator: "/")
        var parent = ""
        for part in parts.dropLast() {
            parent += (parent.isEmpty ? "" : "/") + part
            let key = Self.folded(parent)
            if files[key] != nil { return "lies inside \(parent), which is a file" }
            if let other = folders[key], other != parent {
                return "collides with \(other)/: they differ in case or composition only"
            }
            folders[key] = parent
        }
        if topFolder == nil { topFolder = String(parts[0]) }
        if String(parts[0]) != topFolder { return "lies outside the folder \(topFolder!)" }
        return nil
    }

    static func folded(_ name: String) -> String {
        name.precomposedStringWithCanonicalMapping.lowercased()
            .precomposedStringWithCanonicalMapping
    }
}
