// Models whose linear layers are held in 8 or 4 bits. The codes are Quantization/'s affair.

extension LanguageModel {
    /// The linear layers of the blocks in another form; embeddings, norms and head stay as they are.
    /// - Precondition: they are dense now.
    public func quantized(_ quantization: Quantization) -> LanguageModel {
        var result = self
        for (path, _) in linearLayers {
            let name = path + ".weight"
            guard case .dense(let tensor)? = weights[name] else {
                preconditionFailure("\(name) is quantized already: start from the dense model")
            }
            result.weights[name] = Weight(quantizing: tensor, as: quantization)
        }
        return result
    }

    /// The model with every quantized weight decoded.
    public func dequantized() -> LanguageModel {
        var result = self
        for (path, _) in linearLayers {
            let name = path + ".weight"
            if let weight = weights[name] { result.weights[name] = .dense(weight.dequantized()) }
        }
        return result
    }
}
