#!/usr/bin/env python3
"""PEFT's half of `PEFT itself` (PEFTItselfTests.swift).

usage: Tests/EngineTests/peft_itself.py make FOLDER     small bases, and adapters of every kind saved by PEFT, with their logits
       Tests/EngineTests/peft_itself.py check FOLDER    what our side wrote beside them, loaded by PeftModel.from_pretrained

Runs in the Python that STUDY_PEERS names (a folder with bin/python), where peft, transformers, torch and safetensors are
installed from PyPI if they are missing. Leaves with 77 and a sentence where that cannot be done. `check` ends with one line of JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("torch", "transformers", "peft", "safetensors")

if os.environ.get("STUDY_PEERS_READY") != "1":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "Benchmarks"))
    import peers

    try:
        python = peers.install(*PACKAGES)
    except SystemExit:
        print("pip cannot install " + ", ".join(PACKAGES) + " from PyPI here")
        sys.exit(77)
    except Exception as error:
        print(f"no Python environment can be made in {os.environ.get('STUDY_PEERS')}: {error}")
        sys.exit(77)
    variables = peers.clean_environment(STUDY_PEERS_READY=1, HF_HUB_OFFLINE=1, TOKENIZERS_PARALLELISM="false")
    sys.exit(subprocess.run([python, *sys.argv], env=variables).returncode)

import peft  # noqa: E402
import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

torch.set_num_threads(1)
folder = Path(sys.argv[2])
TOKENS = torch.tensor([[(i * 7 + row * 13) % 60 for i in range(12)] for row in range(2)])

BASES = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=8, sliding_window=8, max_position_embeddings=64)),
}
CASES = {
    ("llama", "LoRA"): dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    ("llama", "rsLoRA on all linear layers"): dict(r=4, lora_alpha=6, target_modules="all-linear", use_rslora=True),
    ("llama", "rank and alpha patterns"): dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "down_proj"],
        rank_pattern={r"layers\.1\..*q_proj": 2, "down_proj": 6}, alpha_pattern={"k_proj": 3, r"layers\.0\..*": 5}),
    ("llama", "targets by expression"): dict(
        r=2, lora_alpha=4, target_modules=r".*layers\.[02]\.(self_attn|mlp)\.(o_proj|up_proj)"),
    ("llama", "some layers, some excluded"): dict(
        r=2, lora_alpha=4, target_modules=["q_proj", "up_proj", "gate_proj"], layers_to_transform=[0, 2],
        layers_pattern="layers", exclude_modules=["gate_proj"]),
    ("llama", "head saved whole"): dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["lm_head"]),
    ("llama", "norms saved whole"): dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["input_layernorm", "norm"]),
    ("llama", "embedding"): dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "v_proj"]),
    ("llama", "embedding saved whole"): dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
    ("gemma2", "tied, all linear layers"): dict(r=3, lora_alpha=5, target_modules="all-linear"),
    ("gemma2", "tied, embedding"): dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "down_proj"]),
    ("gemma2", "tied, embedding saved whole"): dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
    ("gemma2", "tied, head saved whole"): dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["lm_head"]),
}


def base(name):
    return AutoModelForCausalLM.from_pretrained(folder / "bases" / name, dtype=torch.float32).eval()


def logits(model):
    with torch.no_grad():
        return model.eval()(TOKENS).logits.contiguous()


def make():
    torch.manual_seed(0)
    for name, build in BASES.items():
        build().save_pretrained(folder / "bases" / name)
    notes = {"versions": f"peft {peft.__version__}, torch {torch.__version__}", "cases": []}
    for number, ((name, what), options) in enumerate(CASES.items()):
        model = get_peft_model(base(name), LoraConfig(task_type="CAUSAL_LM", **options))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        home = folder / "peft" / str(number)
        model.save_pretrained(home)
        save_file({"logits": logits(model)}, home / "expected.safetensors")
        notes["cases"].append({"name": f"{name}: {what}", "base": name, "folder": str(home)})
    save_file({"input_ids": TOKENS}, folder / "tokens.safetensors")
    (folder / "notes.json").write_text(json.dumps(notes))


def check():
    found = {"theirs": [], "ours": []}
    for case in json.loads((folder / "notes.json").read_text())["cases"]:
        home = Path(case["folder"])
        again = logits(PeftModel.from_pretrained(base(case["base"]), home / "ours"))
        found["theirs"].append(bool(torch.equal(again, load_file(home / "expected.safetensors")["logits"])))
    for home in sorted((folder / "made").iterdir(), key=lambda path: int(path.name)):
        name = (home / "base").read_text()
        theirs = logits(PeftModel.from_pretrained(base(name), home / "adapter"))
        ours = load_file(home / "logits.safetensors")["logits"]
        plain = logits(base(name))
        found["ours"].append({
            "difference": float((theirs - ours).abs().max() / theirs.abs().max()),
            "effect": float((theirs - plain).abs().max() / plain.abs().max()),
        })
    print(json.dumps(found))


{"make": make, "check": check}[sys.argv[1]]()
