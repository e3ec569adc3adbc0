// The element types a tensor can have, and how many bytes each takes; conversion lives in Tensor+Conversion.

/// The type of a tensor's elements, in the names of the safetensors format.
public enum DType: String, Sendable, Hashable, CaseIterable, Codable {
    case f64 = "F64"
    case f32 = "F32"
    case bf16 = "BF16"
    case f16 = "F16"
    case i64 = "I64"
    case i32 = "I32"
    case i16 = "I16"
    case i8 = "I8"
    case u8 = "U8"
    case bool = "BOOL"

    /// Bytes an element takes.
    public var byteCount: Int {
        switch self {
        case .f64, .i64: 8
        case .f32, .i32: 4
        case .bf16, .f16, .i16: 2
        case .i8, .u8, .bool: 1
        }
    }

    /// Whether the elements are floating-point numbers.
    public var isFloating: Bool {
        switch self {
        case .f64, .f32, .bf16, .f16: true
        default: false
        }
    }
}
