// The post-processors of tokenizer.json: which special tokens go around an encoded text.

/// What is put around one encoded text, or two.
struct PostProcessor: Sendable {
    enum Piece: Sendable {
        case tokens([Int32], typeID: Int32)
        case first(typeID: Int32)
        case second(typeID: Int32)
    }
    var single: [Piece] = [.first(typeID: 0)]
    var pair: [Piece] = [.first(typeID: 0), .second(typeID: 1)]

    func apply(_ pieces: [Piece], _ first: [Int32], _ second: [Int32]) -> (
        ids: [Int32], types: [Int32]
    ) {
        var ids: [Int32] = []
        var types: [Int32] = []
        for piece in pieces {
            let (part, type) =
                switch piece {
                case .tokens(let tokens, let type): (tokens, type)
                case .first(let type): (first, type)
                case .second(let type): (second, type)
                }
            ids.append(contentsOf: part)
            types.append(contentsOf: repeatElement(type, count: part.count))
        }
        return (ids, types)
    }
}
