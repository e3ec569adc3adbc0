// Comma-separated values as RFC 4180 has them: quotes, doubled quotes, line ends inside quotes. What the columns
// mean is each benchmark's business.

/// The records of a CSV text, each with the line it begins on.
package enum CSV {
    package struct Record: Sendable, Equatable {
        /// Where the record begins, counted from 1.
        package var line: Int
        package var fields: [String]
    }

    /// - Throws: ``DatasetError`` with the line of a quote that is never closed, or of text behind a closing one.
    package static func parse(_ bytes: [UInt8], path: String) throws(DatasetError) -> [Record] {
        let quote = UInt8(ascii: "\"")
        let comma = UInt8(ascii: ",")
        let newline = UInt8(ascii: "\n")
        let carriageReturn = UInt8(ascii: "\r")
        var records: [Record] = []
        var fields: [String] = []
        var field: [UInt8] = []
        var line = 1
        var recordLine = 1
        var i = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        func fault(_ line: Int, _ message: String) -> DatasetError {
            DatasetError(
                path: path, layout: "CSV (RFC 4180)", faults: [.init(line: line, message: message)])
        }
        func endField() {
            fields.append(String(decoding: field, as: UTF8.self))
            field.removeAll(keepingCapacity: true)
        }
        func endRecord() {
            endField()
            // A line with nothing on it is no record.
            if fields != [""] { records.append(Record(line: recordLine, fields: fields)) }
            fields.removeAll(keepingCapacity: true)
        }
        while i < bytes.count {
            let byte = bytes[i]
            if byte == quote, field.isEmpty {
                let opened = line
                i += 1
                while true {
                    guard i < bytes.count else {
                        throw fault(opened, "a quote that is never closed")
                    }
                    if bytes[i] == quote {
                        if i + 1 < bytes.count, bytes[i + 1] == quote {
                            field.append(quote)
                            i += 2
                            continue
                        }
                        i += 1
                        break
                    }
                    if bytes[i] == newline { line += 1 }
                    field.append(bytes[i])
                    i += 1
                }
                if i < bytes.count, ![comma, newline, carriageReturn].contains(bytes[i]) {
                    throw fault(line, "text between a closing quote and the next comma")
                }
            } else if byte == comma {
                endField()
                i += 1
            } else if byte == newline || byte == carriageReturn {
                let isPair =
                    byte == carriageReturn && i + 1 < bytes.count && bytes[i + 1] == newline
                i += isPair ? 2 : 1
                endRecord()
                line += 1
                recordLine = line
            } else {
                field.append(byte)
                i += 1
            }
        }
        if !field.isEmpty || !fields.isEmpty { endRecord() }
        return records
    }
}
