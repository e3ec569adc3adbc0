// Draws a study's figures through gnuplot, as SVG. A script may come from a stranger's bundle, so what
// could start a program or touch a file is refused, and gnuplot runs inside bubblewrap where there is one.

internal import Foundation

package enum FigureDrawing {
    package static let (width, height) = (560, 360)

    /// Height of a picture of ours, as its first line says.
    static func height(of svg: [UInt8]) -> Int {
        let head = String(decoding: svg.prefix(1000), as: UTF8.self)
        return head.firstMatch(of: #/viewBox="0 0 \d+ (\d+)"/#).flatMap { Int($0.1) } ?? height
    }

    /// The figure as SVG; nil where it cannot or must not be drawn.
    /// - Parameter title: What stands below the picture; the same words above it are left out.
    package static func svg(
        _ script: String, title: String = "", height: Int = FigureDrawing.height
    ) -> [UInt8]? {
        guard !script.isEmpty, problem(with: script) == nil else { return nil }
        // Wide enough for eight bars, small enough that its letters can be read on a telephone. Without
        // the box, gnuplot 5.4 paints a white spot over the middle of every error bar.
        let head = """
            set terminal svg size \(width),\(height) dynamic noenhanced font 'sans-serif,14' background '#ffffff'
            set encoding utf8
            set pointintervalbox 0.0001
            set border lc rgb '#444444'
            set tics scale 0.5 textcolor rgb '#222222'
            set key samplen 1.5 height 1

            """
        let quoted = title.replacing("'", with: "''").replacing("\n", with: " ")
        let lines = script.split(separator: "\n", omittingEmptySubsequences: false).filter {
            title.isEmpty || $0 != "set title '\(quoted)'"
        }
        let input = head + lines.joined(separator: "\n")
        guard let result = try? run(Array(input.utf8)), result.status == 0,
            result.output.count < 4 << 20
        else { return nil }
        // Gnuplot calls every picture "Gnuplot".
        let name = HTMLText.escaped(title.isEmpty ? "Figure" : title)
        let svg = String(decoding: result.output, as: UTF8.self)
            .replacing(
                "<title>Gnuplot</title>", with: "<title>\(name)</title>" + dark, maxReplacements: 1)
        return Array(svg.utf8)
    }

    /// For readers whose browser asks for dark pages: paper, letters, axes and grid; of the data's colours those
    /// that would sink into the dark (less than 3 to 1 where bars are painted with them).
    private static let dark =
        "<style>@media (prefers-color-scheme:dark){rect[fill='#ffffff']{fill:none}text{fill:#e6edf3}"
        + "[stroke='rgb( 68,  68,  68)']{stroke:#9ea7b3}[stroke='rgb( 51,  51,  51)']{stroke:#e6edf3}"
        + "[stroke='rgb(  0, 114, 178)']{stroke:#4aa3df}[fill='rgb(  0, 114, 178)']{fill:#4aa3df}"
        + "[stroke='rgb(140, 109,  49)']{stroke:#b8934a}[fill='rgb(140, 109,  49)']{fill:#b8934a}"
        + "[stroke='rgb(221, 221, 221)']{stroke:#353c45}[color='black']{color:#9ea7b3}}</style>"

    /// The picture without what follows the reader's wish for dark pages.
    static func light(_ svg: [UInt8]) -> [UInt8] {
        Array(String(decoding: svg, as: UTF8.self).replacing(dark, with: "").utf8)
    }

    private static func run(_ input: [UInt8]) throws -> Tool.Result {
        // A figure takes milliseconds; one that takes longer is not one.
        let arguments = ["20", "gnuplot", "-d", "-"]
        if Tool.find("bwrap") != nil {
            let cage = [
                "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink",
                "usr/lib64", "/lib64",
                "--symlink", "usr/bin", "/bin", "--ro-bind-try", "/etc/fonts", "/etc/fonts",
                "--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--proc", "/proc",
                "--dev", "/dev",
                "--tmpfs", "/tmp", "--unshare-all", "--die-with-parent", "--new-session", "--chdir",
                "/tmp",
                "timeout",
            ]
            let result = try Tool.run("bwrap", cage + arguments, input: input)
            // Where user namespaces are forbidden bwrap says so; the list below still holds.
            if result.status == 0 || !result.message.hasPrefix("bwrap:") { return result }
        }
        return try Tool.run("timeout", arguments, input: input)
    }

    /// What a figure's script must not do, or nil.
    package static func problem(with script: String) -> String? {
        var words = ""
        var endOfData: Substring?
        for line in script.split(separator: "\n", omittingEmptySubsequences: false) {
            if let end = endOfData {
                if line.trimmingCharacters(in: .whitespaces) == end { endOfData = nil }
                continue
            }
            if let range = line.range(of: "<<"), line.hasPrefix("$") {
                endOfData = line[range.upperBound...].drop { $0 == " " }
                endOfData = endOfData.map { Substring($0.trimmingCharacters(in: .whitespaces)) }
                continue
            }
            if line.drop(while: { $0 == " " || $0 == "\t" }).hasPrefix("!") {
                return "starts a program"
            }
            words += line + "\n"
        }
        var bare = ""
        var quote: Character?
        for character in words {
            if let open = quote {
                // In double quotes gnuplot still runs what stands in backquotes.
                if open == "\"", character == "`" { return "starts a program" }
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
                bare += "\""
            } else {
                bare.append(character)
            }
        }
        if bare.contains("`") || bare.contains("|") || bare.contains("\"<") {
            return "starts a program"
        }
        let forbidden: Set<Substring> = [
            "system", "sy", "sys", "syst", "syste", "shell", "load", "call", "eval", "evaluate",
            "import",
            "save", "output", "o", "ou", "out", "outp", "outpu", "print", "terminal", "term",
            "loadpath",
            "cd", "pwd", "fit", "stats", "exit", "table", "tab", "fontpath", "update", "test", "do",
            "while", "file",
        ]
        for word in bare.split(whereSeparator: { !($0.isLetter || $0.isNumber || $0 == "_") })
        where forbidden.contains(word) {
            return "uses \(word), which a figure does not need"
        }
        // plot 'file' would read one: data must come along in a block. Other statements hold lists of
        // texts, as tick labels, and read no file without the word; none may name a text to plot later.
        let statements = bare.replacing("\\\n", with: " ").split { $0 == "\n" || $0 == ";" }
        for statement in statements {
            let line = statement.drop(while: \.isWhitespace)
            let verb = line.prefix(while: \.isLetter)
            switch verb {
            case "set", "unset": continue
            case "" where line.isEmpty || line.hasPrefix("#"): continue
            case "plot", "splot":
                for element in line.dropFirst(verb.count).split(separator: ",") {
                    // Ranges and `for [i=1:3]` may stand before what is plotted.
                    let head = element.prefix { $0 != "\"" }
                        .replacing(#/\[[^\]]*\]/#, with: " ").replacing("for ", with: " ")
                    if element.contains("\""), head.allSatisfy(\.isWhitespace) {
                        return "reads a file"
                    }
                }
            default:
                return "does more than set and plot"
            }
        }
        return nil
    }
}
