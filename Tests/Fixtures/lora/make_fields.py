#!/usr/bin/env python3
"""Makes fields.json and whole/: what PEFT makes of each field of adapter_config.json, and adapters that reach the embeddings.

    pip install torch transformers peft safetensors
    python Tests/Fixtures/lora/make_fields.py

fields.json: for each row the configuration as PEFT writes it, and every adapted module's rank and scale.
whole/NAME: a small base model, an adapter that PEFT saved, logits, loss, gradients and merged weights.
"""
import json, pathlib, shutil, tempfile, warnings
import peft, torch, transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).parent
sizes = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
             pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=64)


def llama(**more):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, "tie_word_embeddings": False, **more}))


def gemma2():
    config = transformers.Gemma2Config(**sizes, query_pre_attn_scalar=8, sliding_window=4, attn_logit_softcapping=2.0, final_logit_softcapping=3.0,
                                       attn_implementation="eager")
    return transformers.Gemma2ForCausalLM(config)


def written(config):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return json.loads((pathlib.Path(folder) / "adapter_config.json").read_text())


rows = []


def row(name, model=llama, **fields):
    adapted = get_peft_model(model(), LoraConfig(task_type="CAUSAL_LM", **fields))
    config = adapted.peft_config["default"]
    modules, prefix = {}, "base_model.model."
    for path, module in adapted.named_modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            modules[path.removeprefix(prefix)] = [module.r["default"], module.scaling["default"]]
    saved = sorted({n.removeprefix(prefix).replace(".modules_to_save.default", "") for n, _ in adapted.named_parameters() if "modules_to_save" in n})
    original = written(LoraConfig(task_type="CAUSAL_LM", **fields))  # before PEFT fills it in
    rows.append({"name": name, "config": written(config), "asked": original, "modules": modules, "saved": saved})


row("default targets")
row("default targets of Gemma 2", gemma2)
row("r", r=3, target_modules=["q_proj"])
row("lora_alpha", r=3, lora_alpha=7, target_modules=["q_proj"])
row("lora_alpha with a fraction", r=3, lora_alpha=0.5, target_modules=["q_proj"])
row("use_rslora", r=3, lora_alpha=7, use_rslora=True, target_modules=["q_proj"])
row("target_modules: last names", target_modules=["k_proj", "up_proj"])
row("target_modules: a suffix of the path", target_modules=["self_attn.o_proj", "1.mlp.down_proj"])
row("target_modules: a whole path", target_modules=["model.layers.2.mlp.gate_proj"])
row("target_modules: an expression", target_modules=r".*\.layers\.[02]\..*\.(q|v)_proj")
row("target_modules: an expression must match the whole path", target_modules=r"model\.layers\.1.*proj")
row("target_modules: all-linear", target_modules="all-linear")
row("target_modules: the embedding", target_modules=["embed_tokens", "q_proj"])
row("target_modules: the embedding by an expression", target_modules=r".*(embed_tokens|v_proj)")
row("exclude_modules: names", target_modules="all-linear", exclude_modules=["q_proj", "0.mlp.up_proj"])
row("exclude_modules: an expression", target_modules=["q_proj", "v_proj"], exclude_modules=r".*\.layers\.1\..*")
row("layers_to_transform: a list", target_modules=["q_proj"], layers_to_transform=[0, 2])
row("layers_to_transform: one number", target_modules=["q_proj"], layers_to_transform=1)
row("layers_to_transform with layers_pattern", target_modules=["q_proj"], layers_to_transform=[2], layers_pattern="layers")
row("rank_pattern: a name", target_modules=["q_proj", "v_proj"], r=4, rank_pattern={"v_proj": 2})
row("rank_pattern: the first that matches", target_modules=["q_proj"], r=4, rank_pattern={r"layers\.1\..*q_proj": 6, "q_proj": 3})
row("rank_pattern: a whole path, and with use_rslora", target_modules=["q_proj"], r=4, use_rslora=True, rank_pattern={r"model.layers.0.self_attn.q_proj": 9})
row("alpha_pattern", target_modules=["q_proj", "v_proj"], r=4, lora_alpha=8, alpha_pattern={"q_proj": 3, r".*\.2\..*v_proj": 5})
row("rank_pattern and alpha_pattern", target_modules=["q_proj", "k_proj"], r=4, rank_pattern={"q_proj": 2}, alpha_pattern={"q_proj": 16})
row("modules_to_save", target_modules=["q_proj"], modules_to_save=["lm_head"])
row("modules_to_save: the embedding", target_modules=["q_proj"], modules_to_save=["embed_tokens", "model.norm"])
row("lora_dropout", target_modules=["q_proj"], lora_dropout=0.25)
for kind in [True, False, "gaussian"]:
    row(f"init_lora_weights: {kind}", target_modules=["q_proj"], init_lora_weights=kind)
row("bias: none", target_modules=["q_proj"], bias="none")
row("inference_mode and revision", target_modules=["q_proj"], inference_mode=True, revision="main")
(here / "fields.json").write_text(json.dumps({"peft": peft.__version__, "rows": rows}, indent=None, separators=(",", ":")) + "\n")
print(len(rows), "rows")

cases = {
    "llama-embedding": (llama, dict(target_modules=["embed_tokens", "q_proj"])),
    "gemma2-embedding": (gemma2, dict(target_modules=["embed_tokens", "v_proj"], use_rslora=True)),
    "gemma2-saved-embedding": (gemma2, dict(target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    "gemma2-saved-head": (gemma2, dict(target_modules=["q_proj"], modules_to_save=["lm_head"])),
}
shutil.rmtree(here / "whole", ignore_errors=True)
for number, (name, (make, fields)) in enumerate(cases.items()):
    torch.manual_seed(number)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    folder = here / "whole" / name
    model.save_pretrained(folder / "base")
    (folder / "base" / "generation_config.json").unlink(missing_ok=True)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, **fields))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    adapted.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    ids = torch.randint(3, 40, (2, 7))
    output = adapted(ids, labels=ids)
    output.loss.backward()
    tensors = {"input_ids": ids, "logits": output.logits.detach()}
    for key, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            plain = key.replace(".modules_to_save.default", "").replace(".default", "")
            tensors["gradient." + plain] = parameter.grad
    merged = adapted.merge_and_unload()
    tensors["merged.embedding"] = merged.get_input_embeddings().weight.detach().clone()
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps({"loss": float(output.loss)}) + "\n")
    print(name, float(output.loss), sorted(k for k in tensors if k.startswith("gradient")))
