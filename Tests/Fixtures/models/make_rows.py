#!/usr/bin/env python3
"""Makes rows.json and rows.safetensors: for each thing that tells the families apart, a model of a few hundred weights that has it.

    pip install torch transformers safetensors
    python Tests/Fixtures/models/make_rows.py

Each row: a configuration as transformers writes it, random weights, and the logits of one text.
"""
import json, pathlib, torch, transformers as t
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
sizes = dict(vocab_size=20, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=4,
             pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=64)
ids = torch.tensor([[1, 7, 3, 19, 4, 4, 11, 8, 15, 6, 2, 9]])
rows, tensors = [], {"input_ids": ids}


def row(name, kind, **more):
    torch.manual_seed(len(rows))
    config = getattr(t, kind + "Config")(**{**sizes, **more})
    config._attn_implementation = "eager"
    model = getattr(t, kind.removesuffix("Text") + "ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.6 if parameter.ndim == 2 else 0.4))
        logits = model(ids).logits
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        tensors[f"{len(rows)}.{key}"] = value.contiguous().clone()
    tensors[f"{len(rows)}.logits"] = logits
    rows.append({"name": name, "config": json.loads(config.to_json_string()), "deviation": float(logits.std())})


def rope(theta, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
row("Llama: its norm, SiLU, untied head, grouped queries", "Llama", tie_word_embeddings=False)
row("Llama: a head for every query", "Llama", num_key_value_heads=2)
row("Llama: tied", "Llama", tie_word_embeddings=True)
row("Llama: rope theta", "Llama", **rope(50.0))
row("Llama: llama3 scaling", "Llama", **rope(100.0, **llama3))
row("Llama: linear scaling", "Llama", **rope(100.0, **{"rope_type": "linear", "factor": 4.0}))
row("Llama: head_dim apart from hidden / heads", "Llama", head_dim=6)
row("Llama: attention_bias", "Llama", attention_bias=True)
row("Llama: mlp_bias", "Llama", mlp_bias=True)
row("Llama: epsilon", "Llama", rms_norm_eps=0.05)
row("Mistral: a window of 3 on every layer", "Mistral", sliding_window=3)
row("Mistral: no window", "Mistral", sliding_window=None)
row("Mistral: theta, head_dim", "Mistral", sliding_window=None, head_dim=6, **rope(1e3))
row("Gemma: 1 + w, scaled tied embeddings, tanh-GELU, one key-value head", "Gemma")
row("Gemma: hidden_act gelu is ignored", "Gemma", hidden_act="gelu")
row("Gemma: heads x head_dim apart from hidden", "Gemma", head_dim=10)
row("Gemma: attention_bias", "Gemma", attention_bias=True)
two = dict(query_pre_attn_scalar=4, sliding_window=3, attn_logit_softcapping=None, final_logit_softcapping=None)
row("Gemma 2: four norms, windows on even layers", "Gemma2", **two)
row("Gemma 2: the scale by query_pre_attn_scalar", "Gemma2", **{**two, "query_pre_attn_scalar": 11})
row("Gemma 2: attention's soft cap", "Gemma2", **{**two, "attn_logit_softcapping": 0.7})
row("Gemma 2: the logits' soft cap", "Gemma2", **{**two, "final_logit_softcapping": 1.5})
row("Gemma 2: layer_types the other way round", "Gemma2", **two, layer_types=["full_attention", "sliding_attention"])
row("Gemma 2: attention_bias", "Gemma2", **two, attention_bias=True)
three = dict(num_hidden_layers=6, query_pre_attn_scalar=4, sliding_window=3,
             rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 5e3}, "sliding_attention": {"rope_type": "default", "rope_theta": 20.0}})
scaled = {**three["rope_parameters"], "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e3}}
row("Gemma 3: normed queries and keys, five local layers to one, two bases", "Gemma3Text", **three)
row("Gemma 3: linear scaling on the full layers alone", "Gemma3Text", **{**three, "rope_parameters": scaled})
row("Gemma 3: the scale by query_pre_attn_scalar", "Gemma3Text", **{**three, "query_pre_attn_scalar": 11})
row("Gemma 3: the logits' soft cap where it is set", "Gemma3Text", **three, final_logit_softcapping=1.5)
row("Gemma 3: layer_types", "Gemma3Text", **three, layer_types=["sliding_attention", "full_attention"] * 3)
save_file(tensors, here / "rows.safetensors")
(here / "rows.json").write_text(json.dumps({"transformers": t.__version__, "rows": rows}, separators=(",", ":")) + "\n")
print(len(rows), "rows", [round(r["deviation"], 2) for r in rows])
