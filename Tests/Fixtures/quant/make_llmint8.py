#!/usr/bin/env python3
"""Makes llmint8.safetensors and llmint8.json: LLM.int8 as bitsandbytes computes it on the CPU.

    pip install torch transformers peft bitsandbytes safetensors numpy
    python Tests/Fixtures/quant/make_llmint8.py

Products: x, weight, what int8_vectorwise_quant makes of both, and MatMul8bitLt's result and gradient.
Model: Fixtures/models/llama-mha with every linear layer of its blocks in Linear8bitLt, threshold 2.5 (so that
a small model has outliers), the logits, losses and gradient norms of PEFT training on it, and before the steps 0, 2 and 5
the adapter and its gradients. The adapter is Fixtures/lora/llama-mha's.

    python Tests/Fixtures/quant/make_llmint8.py --itself

prints instead how far the library's training strays from itself, its adapter perturbed at random by 1e-8 to 1e-5 (relative).
"""
import json, pathlib, sys, torch, bitsandbytes as bnb
from bitsandbytes import functional as F
from safetensors.torch import load_file, save_file

# In training on the CPU the library multiplies with decoded weights (MatMul8bitFp); LLM.int8 is what it does
# elsewhere, and that is what is wanted here.
lt = bnb.autograd._functions.MatMul8bitLt
bnb.matmul = lambda A, B, out=None, state=None, threshold=0.0, bias=None: lt.apply(A, B, out, bias, state)

here = pathlib.Path(__file__).parent
generator = torch.Generator().manual_seed(31)
out, notes = {}, {"torch": torch.__version__, "bitsandbytes": bnb.__version__, "products": []}


def product(rows, inputs, outputs, threshold, outliers):
    n = len(notes["products"])
    x = torch.randn(rows, inputs, generator=generator)
    for (r, c), value in outliers.items():
        x[r, c] = value
    w = torch.randn(outputs, inputs, generator=generator) * 0.3
    ca, sca, columns = F.int8_vectorwise_quant(x.half(), threshold=threshold)
    cb, scb, _ = F.int8_vectorwise_quant(w.half())
    state = bnb.MatmulLtState()
    state.threshold, state.has_fp16_weights, state.CB, state.SCB = threshold, False, cb, scb
    leaf = x.clone().requires_grad_()
    y = bnb.matmul(leaf, w, state=state)
    g = torch.randn(rows, outputs, generator=generator)
    y.backward(g)
    for name, tensor in dict(x=x, weight_codes=cb, weight_absmax=scb, x_codes=ca, x_absmax=sca, y=y.detach(), g=g, dx=leaf.grad).items():
        out[f"{n}.{name}"] = tensor.contiguous()
    found = [] if columns is None else columns.tolist()
    notes["products"].append({"threshold": threshold, "outlier_columns": found})


product(6, 96, 20, 6.0, {(2, 10): 40.0, (4, 50): -6.0, (2, 50): 3.0, (5, 95): 7.5})
product(1, 64, 5, 6.0, {(0, 3): -9.0})
product(33, 130, 17, 6.0, {})
product(9, 48, 31, 0.0, {(1, 1): 25.0})
product(5, 40, 8, 1.0, {})

from transformers import AutoModelForCausalLM
from peft import PeftModel

threshold = 2.5


def quantized():
    """The fixture's model with LLM.int8 in every linear layer of its blocks."""
    model = AutoModelForCausalLM.from_pretrained(here / "../models/llama-mha", dtype=torch.float32)
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        new = bnb.nn.Linear8bitLt(module.in_features, module.out_features, bias=False, has_fp16_weights=False, threshold=threshold)
        new.weight = bnb.nn.Int8Params(module.weight.data.clone(), requires_grad=False, has_fp16_weights=False)
        cb, scb, _ = F.int8_vectorwise_quant(module.weight.data.half())
        new.weight.data, new.weight.CB, new.weight.SCB = cb, cb, scb
        new.state.CB, new.state.SCB, new.state.threshold, new.state.has_fp16_weights = cb, scb, threshold, False
        parent = model.get_submodule(name.rsplit(".", 1)[0])
        setattr(parent, name.rsplit(".", 1)[1], new)
    return model.eval()


def trained(ids, perturbation=0.0, seed=0):
    """Losses and gradient norms of six steps; before the steps 0, 2 and 5 the adapter and its gradients."""
    peft = PeftModel.from_pretrained(quantized(), here / "../lora/llama-mha/adapter", is_trainable=True)
    own = [(name.removeprefix("base_model.model.").replace(".default.weight", ".weight"), p)
           for name, p in peft.named_parameters() if p.requires_grad]
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in own:
            p.mul_(1 + perturbation * torch.randn(p.shape, generator=noise))
    optimizer = torch.optim.AdamW([p for _, p in own], lr=1e-3, weight_decay=0)
    losses, norms, seen = [], [], {}
    for step in range(6):
        loss = peft(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        if step in (0, 2, 5):
            for name, p in own:
                if step > 0:
                    seen[f"model.state.{step}.{name}"] = p.detach().clone()
                seen[f"model.gradient.{step}.{name}"] = p.grad.clone()
        norms.append(float(torch.nn.utils.clip_grad_norm_(peft.parameters(), 1e9)))
        losses.append(float(loss))
        optimizer.step()
    return losses, norms, seen


ids = torch.randint(3, 600, (2, 24), generator=generator)
losses, norms, states = trained(ids)
if sys.argv[1:] == ["--itself"]:
    for size in (1e-8, 1e-7, 1e-6, 1e-5):
        worst = [0.0, 0.0, 0.0]
        for seed in range(8):
            l, n, s = trained(ids, size, seed)
            worst[0] = max(worst[0], max(abs(a - b) for a, b in zip(l, losses)))
            worst[1] = max(worst[1], max(abs(a / b - 1) for a, b in zip(n, norms)))
            worst[2] = max(worst[2], max(float((s[k] - states[k]).abs().max() / states[k].abs().max()) for k in s if ".gradient.0." in k))
        print(f"perturbed by {size:.0e}: a loss strays by {worst[0]:.1e}, a norm by {worst[1]:.1e}, a first gradient by {worst[2]:.1e}", flush=True)
    sys.exit()
model = quantized()
seen = []
def count(module, args, output):
    seen.append(int((args[0].reshape(-1, args[0].shape[-1]).half().abs() >= threshold).any(0).sum()))
handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, bnb.nn.Linear8bitLt)]
with torch.no_grad():
    out["model.logits"] = model(ids).logits
for handle in handles:
    handle.remove()
out["model.input_ids"] = ids
out.update(states)
notes["model"] = {"threshold": threshold, "outlier_columns_by_layer": seen, "lr": 1e-3, "losses": losses, "gradient_norms": norms}
save_file({k: v.contiguous() for k, v in out.items()}, here / "llmint8.safetensors")
(here / "llmint8.json").write_text(json.dumps(notes, indent=1) + "\n")
print(json.dumps(notes))
