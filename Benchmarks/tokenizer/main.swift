// Encodes and decodes the documents of a file with our tokenizer, a round for each line on standard
// input, and prints how long it took. compare.py pairs the rounds with Hugging Face's tokenizers.
// usage: tokenizer-benchmark TOKENIZER.json DOCUMENTS (documents end in NUL)

import Engine
import Foundation

let arguments = CommandLine.arguments
guard arguments.count == 3 else {
    print("usage: tokenizer-benchmark TOKENIZER.json DOCUMENTS")
    exit(2)
}
func seconds(_ body: () throws -> Void) rethrows -> Double {
    let clock = ContinuousClock()
    let duration = try clock.measure(body)
    return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

var tokenizer: Tokenizer?
let loading = try seconds { tokenizer = try Tokenizer(arguments[1]) }
let data = try Data(contentsOf: URL(filePath: arguments[2]))
let documents = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
print("loaded \(loading)")
fflush(nil)  // the other side waits for the line
while let command = readLine() {
    var encoded: [[Int32]] = []
    encoded.reserveCapacity(documents.count)
    let encoding = seconds {
        for document in documents { encoded.append(tokenizer!.encode(document)) }
    }
    var characters = 0
    let decoding = seconds {
        for ids in encoded { characters += tokenizer!.decode(ids).utf8.count }
    }
    // FNV-1a over all ids, to hold against the peer's.
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    if command == "hash" {
        for ids in encoded {
            for id in ids { hash = (hash ^ UInt64(id)) &* 0x100_0000_01b3 }
        }
    }
    print(encoding, decoding, encoded.reduce(0) { $0 + $1.count }, hash)
    fflush(nil)
}
