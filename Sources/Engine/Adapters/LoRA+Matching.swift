// Which modules an adapter's configuration means, and their ranks and scales, by PEFT's rules
// (peft/tuners/tuners_utils.py, check_target_module_exists; peft/utils/other.py, get_pattern_key).

extension LoRA {
    /// Whether the module of this path gets an update.
    ///
    /// A name matches a path that is the name, or that ends in "." and the name; an expression must match
    /// the whole path; `allLinear` leaves out both embeddings.
    /// - Precondition: An expression is valid; those read from files were checked there.
    public func targets(_ path: String) -> Bool {
        if let excluded, excluded.match(path) { return false }
        guard targets.match(path) else { return false }
        if let layers {
            // A module named in full is meant, whatever the layers (PEFT looks at names first).
            if case .names(let names) = targets, names.contains(path) { return true }
            guard let layer = Self.layer(of: path) else { return false }
            return layers.contains(layer)
        }
        return true
    }

    /// The rank of the update of a module: the first pattern that matches, or `rank`.
    public func rank(of path: String) -> Int {
        rankPattern.first { Self.pattern($0.pattern, matches: path) }?.value ?? rank
    }

    /// The α of a module: the first pattern that matches, or `alpha`.
    public func alpha(of path: String) -> Double {
        alphaPattern.first { Self.pattern($0.pattern, matches: path) }?.value ?? alpha
    }

    /// What a module's update is multiplied by: `alpha / rank`, or `alpha / √rank` where stabilised.
    public func scale(of path: String) -> Float {
        let rank = Double(rank(of: path))
        return Float(alpha(of: path) / (isRankStabilized ? rank.squareRoot() : rank))
    }

    /// Whether a module is trained and saved whole.
    public func savesWhole(_ path: String) -> Bool {
        modulesToSave.contains { path == $0 || path.hasSuffix("." + $0) }
    }

    /// The number of the layer that a path lies in: its first segment that is a number.
    static func layer(of path: String) -> Int? {
        path.split(separator: ".").dropFirst().dropLast().lazy.compactMap { Int($0) }.first
    }

    /// Whether `^(.*\.)?(pattern)$` matches a path.
    static func pattern(_ pattern: String, matches path: String) -> Bool {
        Targets.expression("(.*\\.)?(\(pattern))", matchesWhole: path)
    }
}

extension LoRA.Targets {
    /// Whether a module's path is meant, before exclusions and choice of layers.
    public func match(_ path: String) -> Bool {
        switch self {
        case .allLinear:
            !["lm_head", "embed_tokens"].contains { path == $0 || path.hasSuffix("." + $0) }
        case .names(let names): names.contains { path == $0 || path.hasSuffix("." + $0) }
        case .pattern(let pattern): Self.expression(pattern, matchesWhole: path)
        }
    }

    /// Whether the regular expression, in Python's notation, can be read.
    static func isValid(expression: String) -> Bool {
        (try? Regex(expression)) != nil
    }

    static func expression(_ expression: String, matchesWhole path: String) -> Bool {
        guard let regex = try? Regex(expression) else {
            preconditionFailure("not a regular expression: \(expression)")
        }
        return (try? regex.wholeMatch(in: path)) != nil
    }
}
