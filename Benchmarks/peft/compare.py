"""Adapters there and back: what PEFT saves, we load and give its logits; what we save, PEFT loads and gives the same.

Installs peft, transformers and torch from PyPI where it can, and says so where it cannot (peers.install).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

CHECK = r'''
import json, os, subprocess, sys
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
import peft
from peft import LoraConfig, PeftModel, get_peft_model
driver, folder = sys.argv[1], sys.argv[2]
torch.manual_seed(0)
config = LlamaConfig(vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                     num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)
base = LlamaForCausalLM(config)
base.save_pretrained(folder + "/base")
tokens = torch.tensor([[(i * 7 + row * 13) % 60 for i in range(12)] for row in range(2)])
cases = {
    "plain": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "all-linear, rsLoRA": dict(r=4, lora_alpha=6, target_modules="all-linear", use_rslora=True),
    "patterns": dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "down_proj"],
                     rank_pattern={r"layers\.1\..*q_proj": 2, "down_proj": 6}, alpha_pattern={"k_proj": 3, r"layers\.0\..*": 5}),
    "regex": dict(r=2, lora_alpha=4, target_modules=r".*layers\.[02]\.(self_attn|mlp)\.(o_proj|up_proj)"),
    "layers, excluded": dict(r=2, lora_alpha=4, target_modules=["q_proj", "up_proj", "gate_proj"],
                             layers_to_transform=[0, 2], layers_pattern="layers", exclude_modules=["gate_proj"]),
    "modules_to_save": dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "embedding": dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "v_proj"]),
    "embedding whole": dict(r=4, lora_alpha=8, target_modules=["q_proj"], modules_to_save=["embed_tokens"]),
}
worst = 0.0
for name, options in cases.items():
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder + "/base"), LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        expected = model.eval()(tokens).logits
    case = folder + "/" + name.replace(" ", "_").replace(",", "")
    model.save_pretrained(case)
    os.makedirs(case + "/out")
    ran = subprocess.run([driver, folder + "/base", case, case + "/out"], capture_output=True, text=True)
    if ran.returncode != 0:
        print(f"{name}: we refused it: {ran.stderr.strip()[-600:]}")
        sys.exit(1)
    ours = load_file(case + "/out/logits.safetensors")["logits"]
    difference = float((ours - expected).abs().max() / expected.abs().max())
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder + "/base"), case + "/out/adapter").eval()
    with torch.no_grad():
        same = torch.equal(again(tokens).logits, expected)
    files = [open(case + part + "adapter_model.safetensors", "rb").read() for part in ("/", "/out/adapter/")]
    texts = [open(case + part + "adapter_config.json").read().rstrip() for part in ("/", "/out/adapter/")]
    print(f"{name:20} our logits differ by {difference:.1e} of the largest; PEFT with what we saved: "
          f"{'the same bits' if same else 'DIFFERENT'}; tensors {'byte-equal' if files[0] == files[1] else 'DIFFER'}; "
          f"configuration {'byte-equal' if texts[0] == texts[1] else 'as JSON ' + ('equal' if json.loads(texts[0]) == json.loads(texts[1]) else 'DIFFERS')}",
          ran.stdout.strip())
    if not same or difference > 2e-5:
        sys.exit(1)
print("peft", peft.__version__, "torch", torch.__version__)
'''


def main():
    python = peers.install("torch", "transformers", "peft", "safetensors")
    driver = os.environ.get("PEFT_ROUNDTRIP")
    if not driver:
        subprocess.run(["swift", "build", "-c", "release", "--product", "peft-roundtrip"], cwd=peers.ROOT, check=True)
        driver = str(peers.ROOT / ".build/release/peft-roundtrip")
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(subprocess.run([python, "-c", CHECK, driver, folder], env=peers.clean_environment()).returncode)


if __name__ == "__main__":
    main()
