// Writes config.json in the form that every version of transformers reads: `rope_theta`, `rope_scaling`,
// `sliding_window_pattern`. What was read is written back as it was, but for the weights' type.

extension ModelConfiguration {
    /// `config.json` for weights stored as `dtype`.
    public func json(dtype: DType = .f32) -> JSONValue {
        let name: JSONValue =
            switch dtype {
            case .bf16: "bfloat16"
            case .f16: "float16"
            default: "float32"
            }
        if case .object(var object)? = source {
            let key = object["dtype"] != nil ? "dtype" : "torch_dtype"
            object[key] = name
            // Whoever saves has dense weights (LanguageModel+Files), and may have untied the head.
            object["quantization_config"] = nil
            if var text = object["text_config"]?.object {
                setTie(&text)
                object["text_config"] = .object(text)
            } else {
                setTie(&object)
            }
            return .object(object)
        }
        var object = JSONObject([
            ("architectures", .array([.string(architecture)])),
            ("attention_bias", .bool(hasAttentionBias)),
            ("attention_dropout", 0.0),
            ("bos_token_id", optional(beginningOfText)),
            ("eos_token_id", endOfTextJSON),
            ("pad_token_id", optional(paddingToken)),
            ("head_dim", .integer(headDimension)),
            (isGemma ? "hidden_activation" : "hidden_act", isGemma ? "gelu_pytorch_tanh" : "silu"),
            ("hidden_size", .integer(hiddenSize)),
            ("initializer_range", 0.02),
            ("intermediate_size", .integer(intermediateSize)),
            ("max_position_embeddings", .integer(maximumPositions)),
            ("model_type", .string(family.rawValue)),
            ("num_attention_heads", .integer(headCount)),
            ("num_hidden_layers", .integer(layerCount)),
            ("num_key_value_heads", .integer(keyValueHeadCount)),
            ("rms_norm_eps", .number(normEpsilon)),
            ("rope_theta", .number(ropeTheta)),
            ("rope_scaling", ropeScalingJSON),
            ("tie_word_embeddings", .bool(tiesEmbeddings)),
            ("torch_dtype", name),
            ("use_cache", .bool(true)),
            ("vocab_size", .integer(vocabularySize)),
        ])
        if family == .llama { object["mlp_bias"] = .bool(hasMLPBias) }
        if family != .llama, family != .gemma {
            object["sliding_window"] = slidingWindow.map { .integer($0) } ?? .null
        }
        if hasPostNorms {
            object["query_pre_attn_scalar"] =
                queryScalar == queryScalar.rounded()
                ? .integer(Int(queryScalar)) : .number(queryScalar)
            object["final_logit_softcapping"] = finalSoftCap.map { .number($0) } ?? .null
            object["attn_logit_softcapping"] = attentionSoftCap.map { .number($0) } ?? .null
            object["layer_types"] = .array(
                slidingLayers.map { $0 ? "sliding_attention" : "full_attention" })
        }
        if let localRopeTheta { object["rope_local_base_freq"] = .number(localRopeTheta) }
        return .object(object)
    }

    /// Says whether the head is tied, where the file says or implies otherwise.
    private func setTie(_ object: inout JSONObject) {
        let key = "tie_word_embeddings"
        if (object[key]?.bool ?? isGemma) != tiesEmbeddings { object[key] = .bool(tiesEmbeddings) }
    }

    private var architecture: String {
        switch family {
        case .llama: "LlamaForCausalLM"
        case .mistral: "MistralForCausalLM"
        case .gemma: "GemmaForCausalLM"
        case .gemma2: "Gemma2ForCausalLM"
        case .gemma3: "Gemma3ForCausalLM"
        }
    }

    private func optional(_ token: Int32?) -> JSONValue { token.map { .integer(Int($0)) } ?? .null }

    private var endOfTextJSON: JSONValue {
        endOfText.count > 1
            ? .array(endOfText.map { .integer(Int($0)) }) : optional(endOfText.first)
    }

    private var ropeScalingJSON: JSONValue {
        switch ropeScaling {
        case .none: .null
        case .linear(let factor):
            .object(JSONObject([("rope_type", "linear"), ("factor", .number(factor))]))
        case .llama3(let factor, let low, let high, let length):
            .object(
                JSONObject([
                    ("rope_type", "llama3"), ("factor", .number(factor)),
                    ("low_freq_factor", .number(low)), ("high_freq_factor", .number(high)),
                    ("original_max_position_embeddings", .integer(Int(length))),
                ]))
        }
    }
}
