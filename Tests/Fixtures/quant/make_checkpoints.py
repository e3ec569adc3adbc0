#!/usr/bin/env python3
"""Makes checkpoint-nf4/ and checkpoint-int8/: a small Llama as bitsandbytes and transformers save it quantized.

    pip install torch transformers bitsandbytes accelerate safetensors
    python Tests/Fixtures/quant/make_checkpoints.py

expected.safetensors: logits, and one weight as the library decodes it. Rows are multiples of 64 long: for others
the library's AVX-512 dequantize_4bit is wrong. In 4 bits the logits are those of the decoded weights in f32: the
library's own forward on the CPU packs weights anew, with scales in bf16 (and would save them so).
"""
import pathlib, shutil, tempfile, torch
import bitsandbytes as bnb
from bitsandbytes import functional as F
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

here = pathlib.Path(__file__).parent
torch.manual_seed(5)
dense = LlamaForCausalLM(LlamaConfig(vocab_size=40, hidden_size=128, intermediate_size=192, num_hidden_layers=1, num_attention_heads=4,
                                     num_key_value_heads=2, head_dim=32, tie_word_embeddings=False, max_position_embeddings=64,
                                     pad_token_id=0, bos_token_id=1, eos_token_id=2))
with torch.no_grad():
    for parameter in dense.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.ndim == 2 else 0.5))
ids = torch.randint(3, 40, (8, 9))
forms = {
    "nf4": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32),
    "nf4-plain": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32),
    "int8": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=2.0),
}
with tempfile.TemporaryDirectory() as source:
    dense.save_pretrained(source)
    for name, form in forms.items():
        folder = here / f"checkpoint-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        model = AutoModelForCausalLM.from_pretrained(source, quantization_config=form, dtype=torch.float32, device_map="cpu").eval()
        model.save_pretrained(folder)
        layer = model.model.layers[0].mlp.down_proj
        if name == "int8":
            with torch.no_grad():  # each text alone: the columns with outliers depend on the batch
                logits = torch.cat([model(row[None]).logits for row in ids])
            decoded = layer.state.CB.float() * (layer.state.SCB / 127).unsqueeze(1)
        else:
            decoded = F.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            for path, module in list(model.named_modules()):
                if isinstance(module, bnb.nn.Linear4bit):
                    plain = torch.nn.Linear(module.in_features, module.out_features, bias=False)
                    plain.weight.data = F.dequantize_4bit(module.weight.data, module.weight.quant_state).float()
                    parent, last = path.rsplit(".", 1)
                    setattr(model.get_submodule(parent), last, plain)
            with torch.no_grad():
                logits = model(ids).logits
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file({"input_ids": ids, "logits": logits.contiguous(), "down_proj": decoded.float().contiguous()}, folder / "expected.safetensors")
        print(name, sorted(p.name for p in folder.iterdir()), float(logits.std()))
