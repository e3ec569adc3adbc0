// Records fused operators on the way forward and runs their gradients on the way back. What the operators
// compute is in Layers/; where parameters' gradients collect is in ParameterGradients.swift.

internal import EngineKernels

/// A value on the tape: a tensor, and the slot in which its gradient will collect.
package struct Variable {
    package let value: Tensor
    /// `nil` for constants: no gradient is computed for them.
    package let slot: Int?
    /// Makes the value again where keeping it would cost memory; the same bits each time.
    package var recompute: (() -> Tensor)?

    /// A value that needs no gradient.
    package init(constant value: Tensor) {
        self.value = value
        slot = nil
    }
    fileprivate init(_ value: Tensor, slot: Int) {
        self.value = value
        self.slot = slot
    }

    package var needsGradient: Bool { slot != nil }
    /// Where its gradient collects, without the value: for an operator that needs that no more, or makes it again.
    var withoutValue: Variable {
        let nothing = Tensor(uninitialized: [0])
        return slot.map { Variable(nothing, slot: $0) } ?? Variable(constant: nothing)
    }
    /// How an operator keeps its input for the way back.
    var kept: () -> Tensor {
        if let recompute { return recompute }
        let value = value
        return { value }
    }
}

/// A list of operators in the order in which they ran.
///
/// A `Tape` is used by one thread; the kernels inside the operators use the pool. Gradients of values are
/// added in the reverse of recording order, so their bits do not depend on threads.
package final class Tape {
    /// Whether operators are recorded; a tape that does not record only computes.
    package let isRecording: Bool
    package let parameters: ParameterGradients
    private var steps: [(slot: Int, run: (Tensor, Tape) -> Void)] = []
    private var gradients: [Tensor?] = []
    /// Bytes of activations that the recorded operators keep, each storage counted once.
    package private(set) var activationBytes = 0
    /// The largest `activationBytes` of this tape and those that ran inside it.
    package var peakActivationBytes = 0
    private var counted: Set<ObjectIdentifier> = []

    package init(
        recording: Bool, parameters: ParameterGradients = ParameterGradients(trainable: [])
    ) {
        isRecording = recording
        self.parameters = parameters
    }

    /// A value whose gradient is wanted although no operator made it.
    package func leaf(_ value: Tensor) -> Variable { fresh(value) }

    private func fresh(_ value: Tensor) -> Variable {
        gradients.append(nil)
        return Variable(value, slot: gradients.count - 1)
    }

    /// Records an operator.
    /// - Parameters:
    ///   - needsGradient: whether any input or parameter of it needs one; otherwise nothing is kept.
    ///   - keeping: the tensors that `backward` holds, for counting memory.
    ///   - backward: receives the gradient of `output` and adds to those of the inputs.
    package func record(
        _ output: Tensor, needsGradient: Bool, keeping: [Tensor],
        backward: @escaping (Tensor, Tape) -> Void
    ) -> Variable {
        guard isRecording, needsGradient else { return Variable(constant: output) }
        for tensor in keeping where counted.insert(ObjectIdentifier(tensor.storage)).inserted {
            activationBytes += tensor.storage.byteCount
        }
        peakActivationBytes = max(peakActivationBytes, activationBytes)
        let variable = fresh(output)
        steps.append((variable.slot!, backward))
        return variable
    }

    /// Sets the gradient from which the way back begins.
    package func seed(_ variable: Variable, gradient: Tensor) { add(gradient, to: variable) }

    /// Adds to a value's gradient.
    package func add(_ gradient: Tensor, to variable: Variable) {
        guard let slot = variable.slot else { return }
        if gradients[slot] == nil {
            gradients[slot] = gradient
        } else {
            accumulate(into: variable, shape: gradient.shape) { sum, _ in
                gradient.withUnsafeFloats { ek_nn_add(sum, sum, $0.baseAddress, $0.count) }
            }
        }
    }

    /// Lets an operator write or add to a value's gradient in place: `accumulates` says whether the
    /// memory holds a gradient already.
    package func accumulate(
        into variable: Variable, shape: [Int],
        _ body: (_ gradient: UnsafeMutablePointer<Float>, _ accumulates: Bool) -> Void
    ) {
        guard let slot = variable.slot else { return }
        let exists = gradients[slot] != nil
        var tensor = gradients[slot] ?? Tensor(uninitialized: shape)
        gradients[slot] = nil  // so that the memory is written in place
        tensor.withUnsafeMutableFloats { buffer in
            if let start = buffer.baseAddress { body(start, exists) }
        }
        gradients[slot] = tensor
    }

    /// Runs every recorded operator's gradient, last first, releasing what each kept.
    package func backward() {
        while let step = steps.popLast() {
            guard let gradient = gradients[step.slot] else { continue }
            gradients[step.slot] = nil
            step.run(gradient, self)
        }
        counted = []
        activationBytes = 0
    }

    /// The gradient that collected in a leaf.
    package func gradient(of variable: Variable) -> Tensor? {
        variable.slot.flatMap { gradients[$0] }
    }

    /// Runs `body` keeping its input alone, and runs it again on the way back (gradient checkpointing,
    /// Chen et al. 2016, arXiv:1604.06174). The bits are those of the plain run.
    package func checkpoint(
        _ input: Variable, needsGradient: Bool, _ body: @escaping (Tape, Variable) -> Variable
    ) -> Variable {
        let quiet = Tape(recording: false, parameters: parameters)
        let output = body(quiet, Variable(constant: input.value)).value
        let value = input.value
        return record(output, needsGradient: needsGradient, keeping: [value]) {
            [self] gradient, tape in
            let inner = Tape(recording: true, parameters: parameters)
            let x = input.needsGradient ? inner.leaf(value) : Variable(constant: value)
            let y = body(inner, x)
            peakActivationBytes = max(
                peakActivationBytes, activationBytes + inner.peakActivationBytes)
            inner.seed(y, gradient: gradient)
            inner.backward()
            if let dx = inner.gradient(of: x) { tape.add(dx, to: input) }
        }
    }
}
