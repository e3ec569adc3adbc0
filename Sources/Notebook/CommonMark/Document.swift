// The only importer of cmark-gfm: a Markdown text's top-level blocks and code spans, each with its
// place. What they mean to a study is StudyFile's business; HTML is rendered here for the report.

internal import CCommonMark
internal import Glibc

/// A parsed CommonMark document (GitHub's dialect: tables, strikethrough, footnotes, autolinks).
package struct Document: Sendable {
    /// A block at the outermost level, in the order of the text. Lines count from 1.
    package struct Block: Sendable {
        package enum Kind: Sendable, Equatable {
            /// A fenced code block; `info` is its info string, unescaped.
            case fencedCode(info: String)
            case heading(level: Int, text: String)
            case other
        }
        package let kind: Kind
        package let firstLine: Int
        package let lastLine: Int
        /// Code spans within, in order.
        package let codeSpans: [CodeSpan]
        /// Fenced code blocks inside a list or a quotation: their line and info string.
        package let nestedFences: [(line: Int, info: String)]
    }

    /// `` `literal` `` in running text. The line is where cmark saw it, good to the line only.
    package struct CodeSpan: Sendable {
        package let literal: String
        package let line: Int
    }

    package let blocks: [Block]

    package init(parsing text: String) {
        let root = Self.parse(text)
        defer { cmark_node_free(root) }
        var blocks: [Block] = []
        var child = cmark_node_first_child(root)
        while let node = child {
            blocks.append(Self.block(node))
            child = cmark_node_next(node)
        }
        self.blocks = blocks
    }

    /// The text as HTML; raw HTML in it is left out, as `cmark-gfm` does without `--unsafe`.
    package static func html(_ text: String) -> String {
        let root = parse(text)
        defer { cmark_node_free(root) }
        guard let rendered = cmark_render_html(root, options, nil) else { return "" }
        defer { free(rendered) }
        return String(cString: rendered)
    }

    private static let options = CMARK_OPT_DEFAULT | CMARK_OPT_FOOTNOTES
    private static let extensionsLoaded: Void = cmark_gfm_core_extensions_ensure_registered()

    private static func parse(_ text: String) -> OpaquePointer {
        _ = extensionsLoaded
        let parser = cmark_parser_new(options)!
        defer { cmark_parser_free(parser) }
        for name in ["table", "strikethrough", "autolink", "tasklist"] {
            if let found = cmark_find_syntax_extension(name) {
                cmark_parser_attach_syntax_extension(parser, found)
            }
        }
        var text = text
        text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                if let base = $0.baseAddress { cmark_parser_feed(parser, base, $0.count) }
            }
        }
        return cmark_parser_finish(parser)!
    }

    private static func block(_ node: OpaquePointer) -> Block {
        var spans: [CodeSpan] = []
        var fences: [(line: Int, info: String)] = []
        var words = ""
        let iterator = cmark_iter_new(node)
        defer { cmark_iter_free(iterator) }
        while true {
            let event = cmark_iter_next(iterator)
            if event == CMARK_EVENT_DONE { break }
            guard event == CMARK_EVENT_ENTER, let inner = cmark_iter_get_node(iterator) else {
                continue
            }
            let type = cmark_node_get_type(inner)
            if type == CMARK_NODE_CODE {
                let literal = string(cmark_node_get_literal(inner))
                spans.append(
                    CodeSpan(literal: literal, line: Int(cmark_node_get_start_line(inner))))
                words += literal
            } else if type == CMARK_NODE_TEXT {
                words += string(cmark_node_get_literal(inner))
            } else if type == CMARK_NODE_CODE_BLOCK, inner != node, isFenced(inner) {
                fences.append(
                    (
                        line: Int(cmark_node_get_start_line(inner)),
                        info: string(cmark_node_get_fence_info(inner))
                    ))
            }
        }
        let type = cmark_node_get_type(node)
        let kind: Block.Kind =
            if type == CMARK_NODE_CODE_BLOCK, isFenced(node) {
                .fencedCode(info: string(cmark_node_get_fence_info(node)))
            } else if type == CMARK_NODE_HEADING {
                .heading(level: Int(cmark_node_get_heading_level(node)), text: words)
            } else {
                .other
            }
        return Block(
            kind: kind, firstLine: Int(cmark_node_get_start_line(node)),
            lastLine: Int(cmark_node_get_end_line(node)), codeSpans: spans, nestedFences: fences)
    }

    private static func isFenced(_ node: OpaquePointer) -> Bool {
        var length: Int32 = 0
        var offset: Int32 = 0
        var character: CChar = 0
        return cmark_node_get_fenced(node, &length, &offset, &character) != 0
    }

    private static func string(_ pointer: UnsafePointer<CChar>?) -> String {
        pointer.map { String(cString: $0) } ?? ""
    }
}
