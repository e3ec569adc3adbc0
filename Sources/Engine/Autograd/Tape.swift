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
    private static let nothing = Tensor(uninitialized: [0])

    /// Where its gradient collects, without the value: what an operator keeps of an input that it needs no more, or
    /// makes again. A closure that captured the variable itself would hold memory that nobody counts.
    var withoutValue: Variable {
        slot.map { Variable(Self.nothing, slot: $0) } ?? Variable(constant: Self.nothing)
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
    private var steps: [(slot: Int, run: (Tensor, Tape) -> Void, kept: [Counted])] = []
    private var gradients: [Tensor?] = []
    /// A storage that a step was the first to keep. Not held here: the count must not make itself true.
    private typealias Counted = (storage: ObjectIdentifier, bytes: Int)
    /// Bytes of activations that the recorded operators keep, each storage counted once; what the way back has released
    /// is not among them. Gradients of values are not activations.
    package private(set) var activationBytes = 0
    /// The most that ``activationBytes`` of this tape and of those inside it have been together.
    package private(set) var peakActivationBytes = 0
    private var counted: Set<ObjectIdentifier> = []
    /// The gradient that an operator on the way back has in hand.
    private var inHand: Tensor?
    /// The tape on whose way back this one runs.
    private let outer: Tape?
    /// Called on the way back before each operator's gradient is computed, on the innermost tape; for tests that hold
    /// the count against memory.
    package var onStep: ((Tape) -> Void)?

    package init(
        recording: Bool, parameters: ParameterGradients = ParameterGradients(trainable: [])
    ) {
        isRecording = recording
        self.parameters = parameters
        outer = nil
    }

    /// A recording tape on the way back of another.
    private init(inside outer: Tape) {
        isRecording = true
        parameters = outer.parameters
        self.outer = outer
        onStep = outer.onStep
    }

    /// ``activationBytes`` of this tape and of those that it runs inside.
    package var heldActivationBytes: Int {
        activationBytes + (outer?.heldActivationBytes ?? 0)
    }

    /// Bytes of the values' gradients that this tape and those outside it hold, each storage counted once.
    package var gradientBytes: Int {
        var seen: Set<ObjectIdentifier> = []
        var bytes = 0
        var tape: Tape? = self
        while let each = tape {
            for case let gradient? in each.gradients + [each.inHand]
            where seen.insert(ObjectIdentifier(gradient.storage)).inserted {
                bytes += gradient.storage.byteCount
            }
            tape = each.outer
        }
        return bytes
    }

    /// Whether a storage is counted here or further out.
    private func counts(_ storage: ObjectIdentifier) -> Bool {
        counted.contains(storage) || outer?.counts(storage) == true
    }

    private func notePeak(_ bytes: Int) {
        peakActivationBytes = max(peakActivationBytes, bytes)
        outer?.notePeak(bytes)
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
    ///   - keeping: every tensor that `backward` holds besides weights and tables, for counting memory.
    ///   - backward: receives the gradient of `output` and adds to those of the inputs.
    package func record(
        _ output: Tensor, needsGradient: Bool, keeping: [Tensor],
        backward: @escaping (Tensor, Tape) -> Void
    ) -> Variable {
        guard isRecording, needsGradient else { return Variable(constant: output) }
        var kept: [Counted] = []
        for storage in keeping.map(\.storage) where !counts(ObjectIdentifier(storage)) {
            counted.insert(ObjectIdentifier(storage))
            kept.append((ObjectIdentifier(storage), storage.byteCount))
            activationBytes += storage.byteCount
        }
        notePeak(heldActivationBytes)
        let variable = fresh(output)
        steps.append((variable.slot!, backward, kept))
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
            onStep?(self)
            if let gradient = gradients[step.slot] {
                (gradients[step.slot], inHand) = (nil, gradient)
                step.run(gradient, self)
                inHand = nil
            }
            // The step that counted a storage is the first that kept it: no earlier one holds it.
            for (storage, bytes) in step.kept {
                counted.remove(storage)
                activationBytes -= bytes
            }
        }
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
        let (value, source) = (input.value, input.withoutValue)
        return record(output, needsGradient: needsGradient, keeping: [value]) { gradient, tape in
            let inner = Tape(inside: tape)
            let x = source.needsGradient ? inner.leaf(value) : Variable(constant: value)
            inner.seed(body(inner, x).withoutValue, gradient: gradient)
            inner.backward()
            if let dx = inner.gradient(of: x) { tape.add(dx, to: source) }
        }
    }
}
