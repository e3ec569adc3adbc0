// Arithmetic of f32 tensors element by element: operators for cells, functions by name.

package import EngineKernels

extension Tensor {
    /// The right side has the left's shape, or is a suffix of it and repeats (a bias on every row).
    public static func + (a: Tensor, b: Tensor) -> Tensor { a.combined(EK_ADD, b, "+") }
    public static func - (a: Tensor, b: Tensor) -> Tensor { a.combined(EK_SUBTRACT, b, "-") }
    /// Element by element; the matrix product is ``matmul(_:_:)``.
    public static func * (a: Tensor, b: Tensor) -> Tensor { a.combined(EK_MULTIPLY, b, "*") }
    public static func / (a: Tensor, b: Tensor) -> Tensor { a.combined(EK_DIVIDE, b, "/") }

    public static func + (a: Tensor, b: Float) -> Tensor { a.combined(EK_ADD, b) }
    public static func - (a: Tensor, b: Float) -> Tensor { a.combined(EK_SUBTRACT, b) }
    public static func * (a: Tensor, b: Float) -> Tensor { a.combined(EK_MULTIPLY, b) }
    public static func * (a: Float, b: Tensor) -> Tensor { b.combined(EK_MULTIPLY, a) }
    public static func / (a: Tensor, b: Float) -> Tensor { a.combined(EK_DIVIDE, b) }
    public static prefix func - (a: Tensor) -> Tensor { a.combined(EK_MULTIPLY, -1) }

    public static func += (a: inout Tensor, b: Tensor) { a.combine(EK_ADD, b, 0, "+=") }
    public static func -= (a: inout Tensor, b: Tensor) { a.combine(EK_SUBTRACT, b, 0, "-=") }
    public static func *= (a: inout Tensor, b: Float) { a = a * b }

    /// `self + factor · other`, each element rounded once.
    public mutating func add(_ factor: Float, times other: Tensor) {
        combine(EK_ADD_PRODUCT, other, factor, "add")
    }

    /// The natural exponential of each element.
    public func exp() -> Tensor { mapped(EK_EXP) }
    /// The natural logarithm of each element.
    public func log() -> Tensor { mapped(EK_LOG) }
    public func tanh() -> Tensor { mapped(EK_TANH) }
    public func sin() -> Tensor { mapped(EK_SIN) }
    public func cos() -> Tensor { mapped(EK_COS) }
    public func squareRoot() -> Tensor { mapped(EK_SQRT) }
    /// 1 / √x.
    public func reciprocalSquareRoot() -> Tensor { mapped(EK_RSQRT) }
    /// The error function.
    public func erf() -> Tensor { mapped(EK_ERF) }
    /// 1 / (1 + e^-x).
    public func sigmoid() -> Tensor { mapped(EK_SIGMOID) }
    /// x · sigmoid(x).
    public func silu() -> Tensor { mapped(EK_SILU) }
    /// GELU by its tanh form.
    public func gelu() -> Tensor { mapped(EK_GELU_TANH) }
    /// Each element's magnitude.
    public func magnitudes() -> Tensor { mapped(EK_ABS) }

    /// The softmax along the last axis.
    public func softmax() -> Tensor {
        let columns = shape.last ?? 1
        var result = Tensor(uninitialized: shape)
        withUnsafeFloats { x in
            result.withUnsafeMutableFloats { y in
                ek_softmax(
                    columns == 0 ? 0 : count / columns, columns, x.baseAddress, y.baseAddress)
            }
        }
        return result
    }

    package func mapped(_ operation: ek_unary_op) -> Tensor {
        var result = Tensor(uninitialized: shape)
        withUnsafeFloats { x in
            result.withUnsafeMutableFloats { y in
                ek_unary(operation, count, x.baseAddress, y.baseAddress)
            }
        }
        return result
    }

    private func period(of other: Tensor, _ symbol: String) -> Int {
        precondition(
            other.shape.count <= shape.count && shape.suffix(other.shape.count) == other.shape[...],
            "\(symbol): \(shape) and \(other.shape): the right side must have the left's shape or end it"
        )
        // A period of 0 would mean one number for all; where there are no elements any will do.
        return Swift.max(other.count, 1)
    }

    private func combined(_ operation: ek_binary_op, _ other: Tensor, _ symbol: String) -> Tensor {
        let period = period(of: other, symbol)
        var result = Tensor(uninitialized: shape)
        withUnsafeFloats { x in
            other.withUnsafeFloats { y in
                result.withUnsafeMutableFloats { z in
                    ek_binary(
                        operation, count, x.baseAddress, y.baseAddress, period, 0, z.baseAddress)
                }
            }
        }
        return result
    }

    private func combined(_ operation: ek_binary_op, _ number: Float) -> Tensor {
        var result = Tensor(uninitialized: shape)
        withUnsafeFloats { x in
            result.withUnsafeMutableFloats { z in
                withUnsafePointer(to: number) { y in
                    ek_binary(operation, count, x.baseAddress, y, 0, 0, z.baseAddress)
                }
            }
        }
        return result
    }

    private mutating func combine(
        _ operation: ek_binary_op, _ other: Tensor, _ factor: Float, _ symbol: String
    ) {
        let period = period(of: other, symbol)
        let count = count
        other.withUnsafeFloats { y in
            withUnsafeMutableFloats { x in
                ek_binary(
                    operation, count, x.baseAddress, y.baseAddress, period, factor, x.baseAddress)
            }
        }
    }
}
