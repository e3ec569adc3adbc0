// Keeps secrets out of the record: which environment variables may be written down, and what is
// blotted out of command lines, remotes and values. It knows shapes of secrets, not their meaning.

internal import Foundation

package enum Secrets {
    /// What stands where a secret stood.
    package static let mark = "[removed]"

    /// The variables that can change a result or how the study is compiled. No other is ever recorded.
    package static let allowedVariables: Set<String> = [
        "LANG", "LC_ALL", "LC_NUMERIC", "LC_COLLATE", "TZ", "SOURCE_DATE_EPOCH",
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS",
        "MALLOC_ARENA_MAX", "CUDA_VISIBLE_DEVICES",
    ]

    /// Words that, as a flag's or variable's name, say that a secret follows.
    private static let tellingWords = [
        "token", "secret", "password", "passwd", "passphrase", "apikey", "api-key", "api_key",
        "access-key", "access_key", "private-key", "private_key", "credential", "authorization",
        "bearer", "pat", "auth",
    ]

    /// Prefixes that well-known services give their keys, with the least length of what follows.
    private static let keyPrefixes: [(prefix: String, least: Int)] = [
        ("ghp_", 20), ("gho_", 20), ("ghu_", 20), ("ghs_", 20), ("ghr_", 20), ("github_pat_", 20),
        ("glpat-", 16), ("hf_", 20), ("sk-", 16), ("sk_live_", 10), ("pk_live_", 10), ("xoxb-", 10),
        ("xoxp-", 10), ("AKIA", 16), ("ASIA", 16), ("AIza", 30), ("ya29.", 16), ("npm_", 20),
        ("pypi-", 20), ("dop_v1_", 20), ("eyJ", 30),
    ]

    /// A command line without its secrets: values of telling flags, and whatever looks like a key.
    package static func scrubbed(_ arguments: [String]) -> [String] {
        var result: [String] = []
        var hideNext = false
        for argument in arguments {
            if hideNext {
                hideNext = false
                if !argument.hasPrefix("-") {
                    result.append(mark)
                    continue
                }
            }
            if argument.hasPrefix("-"), !argument.contains("="), tells(argument) { hideNext = true }
            // `curl -H "Authorization: Bearer x"` and its like keep the secret in one argument.
            result.append(scrubbed(argument))
        }
        return result
    }

    /// A text without its secrets.
    package static func scrubbed(_ text: String) -> String {
        // Most texts are plain: these characters or prefixes begin every pattern below.
        guard text.utf8.count >= 4 else { return text }
        if text.contains("-----BEGIN"), text.contains("PRIVATE KEY") { return mark }
        var result = withoutUserInfo(text)
        result = withoutAssignedSecrets(result)
        result = withoutKeys(result)
        return result
    }

    /// A parameter's value as the record may have it. Numbers and truth values hold no secret, and a
    /// replay needs them; of texts, those go whose name has a telling word in it: "apiToken", and
    /// neither "tokenizer" nor "maximumTokens".
    package static func scrubbed(parameter: RunOpening.Parameter) -> String {
        guard parameter.type.contains("String") else { return parameter.value }
        var words: [String] = [""]
        var previous: Character = "-"
        for character in parameter.name {
            defer { previous = character }
            if !(character.isLetter || character.isNumber) {
                words.append("")
            } else if character.isUppercase, previous.isLowercase {
                words.append(character.lowercased())
            } else {
                words[words.count - 1] += character.lowercased()
            }
        }
        let name = words.filter { !$0.isEmpty }.joined(separator: "-")
        let isTelling = tellingWords.contains { word in
            let sought = word.replacing("_", with: "-")
            return "-\(name)-".contains("-\(sought)-")
        }
        return isTelling ? mark : scrubbed(parameter.value)
    }

    /// Does this name (a flag, a variable, a field) announce a secret?
    package static func tells(_ name: String) -> Bool {
        let lower = name.lowercased()
        let parts = lower.split { !($0.isLetter || $0.isNumber) }.map(String.init)
        // Short words count as whole words only, or `--path` and `--author` would be hidden.
        return tellingWords.contains { word in
            word.utf8.count <= 4 ? parts.contains(word) : lower.contains(word)
        }
    }

    /// Is this the name of a file that usually holds secrets? Such a file is left out of snapshots
    /// unless it is tracked.
    package static func isSecretFile(_ path: String) -> Bool {
        let name = (path.split(separator: "/").last.map(String.init) ?? path).lowercased()
        let exact: Set<String> = [
            ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".htpasswd", "credentials",
            "credentials.json", "secrets.json", "secrets.yml", "secrets.yaml", ".pgpass",
        ]
        if exact.contains(name) { return true }
        if name == ".env" || name.hasPrefix(".env.") { return !name.hasSuffix(".example") }
        if name.hasPrefix("id_"), !name.contains("."), name.utf8.count < 14 { return true }
        return [".pem", ".key", ".p12", ".pfx", ".keystore", ".jks", ".kdbx"].contains {
            name.hasSuffix($0)
        }
    }

    // MARK: - The shapes

    /// `https://name:secret@host/` → `https://host/`; a query's telling fields lose their values.
    private static func withoutUserInfo(_ text: String) -> String {
        guard text.contains("://") else { return text }
        var result = ""
        var rest = Substring(text)
        while let mark = rest.range(of: "://") {
            result += rest[..<mark.upperBound]
            rest = rest[mark.upperBound...]
            let end = rest.firstIndex { "/ \t\n\"'?#".contains($0) } ?? rest.endIndex
            if let at = rest[..<end].lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
        }
        return result + rest
    }

    /// `token=…`, `"password": "…"`, `Authorization: Bearer …`: the name stays, the value goes.
    private static func withoutAssignedSecrets(_ text: String) -> String {
        guard text.contains(where: { $0 == "=" || $0 == ":" }) || text.contains("earer") else {
            return text
        }
        var result = ""
        var word = ""
        var index = text.startIndex
        while index < text.endIndex {
            let character = text[index]
            if character.isLetter || character.isNumber || "-_.".contains(character) {
                word.append(character)
                result.append(character)
                index = text.index(after: index)
                continue
            }
            // Quotes and blanks may stand between a name and its `=` or `:`.
            var ahead = index
            while ahead < text.endIndex, "\"' ".contains(text[ahead]) {
                ahead = text.index(after: ahead)
            }
            let assigns = ahead < text.endIndex && "=:".contains(text[ahead]) && tells(word)
            let bears = character == " " && ["bearer", "basic"].contains(word.lowercased())
            guard assigns || bears, !word.isEmpty else {
                if character != "\"" && character != "'" { word = "" }
                result.append(character)
                index = text.index(after: index)
                continue
            }
            if assigns { ahead = text.index(after: ahead) }
            while ahead < text.endIndex, "\"' ".contains(text[ahead]) {
                ahead = text.index(after: ahead)
            }
            // A scheme's name comes before the secret itself.
            for scheme in ["Bearer ", "bearer ", "Basic ", "basic ", "token "]
            where text[ahead...].hasPrefix(scheme) {
                ahead = text.index(ahead, offsetBy: scheme.count)
            }
            result += text[index..<ahead]
            let end = text[ahead...].firstIndex { " \t\n\"'&,;".contains($0) } ?? text.endIndex
            if end > ahead { result += mark }
            index = end
            word = ""
        }
        return result
    }

    /// Whatever begins as a service's keys do and is long enough.
    private static func withoutKeys(_ text: String) -> String {
        guard keyPrefixes.contains(where: { text.contains($0.prefix) }) else { return text }
        var result = text
        for (prefix, least) in keyPrefixes {
            var from = result.startIndex
            while let found = result.range(of: prefix, range: from..<result.endIndex) {
                let isStart =
                    found.lowerBound == result.startIndex
                    || !isKeyCharacter(result[result.index(before: found.lowerBound)])
                let end =
                    result[found.upperBound...].firstIndex { !isKeyCharacter($0) }
                    ?? result.endIndex
                guard isStart, result.distance(from: found.upperBound, to: end) >= least else {
                    from = found.upperBound
                    continue
                }
                let offset = result.distance(from: result.startIndex, to: found.lowerBound)
                result.replaceSubrange(found.lowerBound..<end, with: mark)
                from = result.index(result.startIndex, offsetBy: offset + mark.count)
            }
        }
        return result
    }

    private static func isKeyCharacter(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || "-_.".contains(character)
    }
}
