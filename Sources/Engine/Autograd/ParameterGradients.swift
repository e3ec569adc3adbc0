// Where the gradients of trainable parameters collect, over as many micro-batches as a step has.

internal import EngineKernels

/// The gradients of named parameters, f32, zero at first.
///
/// Operators add to them in place and in the order of rows, one chain of fused multiply-adds an element:
/// so two micro-batches give the bits of one batch that holds both.
package final class ParameterGradients {
    private var slots: [String: Int] = [:]
    private var tensors: [Tensor] = []
    package private(set) var names: [String] = []

    /// Second uses of a parameter, such as the head that is the embedding, and the parameter's slot.
    private var aliases: [(slot: Int, of: Int)] = []

    /// - Parameters:
    ///   - trainable: the parameters' names and shapes, in the order that norms are summed in.
    ///   - aliases: names under which a parameter is used a second time; each use's gradient is a chain of
    ///     its own until the step ends, so that its bits do not depend on how a step is cut into batches.
    package init(
        trainable: [(name: String, shape: [Int])], aliases: [(name: String, of: String)] = []
    ) {
        for (name, shape) in trainable {
            slots[name] = tensors.count
            names.append(name)
            tensors.append(Tensor(zeros: shape))
        }
        for (name, parameter) in aliases {
            guard let slot = slots[parameter] else { continue }
            slots[name] = tensors.count
            self.aliases.append((tensors.count, slot))
            tensors.append(Tensor(zeros: tensors[slot].shape))
        }
    }

    /// Adds the gradients of second uses to their parameters'.
    package func foldAliases() {
        for (alias, slot) in aliases {
            let other = tensors[alias]
            tensors[slot].withUnsafeMutableFloats { sum in
                ek_nn_add(sum.baseAddress, sum.baseAddress, other.floats, other.count)
            }
        }
    }

    /// Whether a parameter of that name is trained.
    package func contains(_ name: String) -> Bool { slots[name] != nil }

    package func gradient(_ name: String) -> Tensor? { slots[name].map { tensors[$0] } }

    /// Lets an operator add to a gradient; does nothing where the parameter is frozen.
    package func add(to name: String, _ body: (UnsafeMutablePointer<Float>) -> Void) {
        guard let slot = slots[name] else { return }
        tensors[slot].withUnsafeMutableFloats { buffer in
            if let start = buffer.baseAddress { body(start) }
        }
    }

    /// All zero again, for the next step.
    package func reset() {
        for slot in tensors.indices {
            tensors[slot].withUnsafeMutableBytes { bytes in
                if let start = bytes.baseAddress {
                    start.initializeMemory(as: UInt8.self, repeating: 0, count: bytes.count)
                }
            }
        }
    }

    /// √ Σ g², in f64, parameters in their order.
    package func norm() -> Double {
        var sum = 0.0
        for tensor in tensors.prefix(names.count) {
            sum += tensor.withUnsafeFloats { ek_sum_of_squares($0.baseAddress, $0.count) }
        }
        return sum.squareRoot()
    }

    /// The first parameter whose gradient has an element that is not finite.
    package func firstNonFinite() -> String? {
        for (slot, tensor) in tensors.prefix(names.count).enumerated()
        where tensor.withUnsafeFloats({ ek_first_non_finite($0.baseAddress, $0.count) }) >= 0 {
            return names[slot]
        }
        return nil
    }
}
