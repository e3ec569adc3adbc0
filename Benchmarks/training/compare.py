#!/usr/bin/env python3
"""Training and generation beside PyTorch + PEFT, ours and the peer in turn (A B A B), on two threads.

    python3 Benchmarks/training/compare.py [--rounds 7] [--sizes 15m,110m] [--steps 4] [--only lora,full,generate]

Builds our driver (swift build -c release --product training-bench), takes torch, transformers and peft from PyPI
(Benchmarks/peers.py), and prints medians, spread and ratios. Peers run as installed, and again with MKL's AVX-512 path
(peers.tuned_mkl), in bf16, under bf16 autocast, and over bitsandbytes' NF4 and int8 weights on the CPU.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import peers
SIZES = {
    "15m": dict(hidden_size=288, num_hidden_layers=6, num_attention_heads=6, intermediate_size=768, batch=8),
    "110m": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=2048, batch=4),
}
LENGTH, THREADS, NEW = 256, 2, 64


def peer(size, mode, count):
    """One peer measurement, in this process."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    shape = dict(SIZES[size])
    batch = shape.pop("batch")
    begin = time.time()
    config = LlamaConfig(vocab_size=32000, tie_word_embeddings=True, num_key_value_heads=shape["num_attention_heads"],
                         max_position_embeddings=2048, **shape)
    model = LlamaForCausalLM(config)
    if mode.endswith("bf16"):
        model = model.to(torch.bfloat16)
    result = {"mode": mode, "torch": torch.__version__}
    if mode.startswith("generate"):
        model.eval()
        prompts = torch.randint(3, 32000, (count, 16))
        rates = []
        for _ in range(3):
            start = time.time()
            with torch.no_grad():
                model.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=NEW, min_new_tokens=NEW,
                               do_sample=False, pad_token_id=0)
            rates.append(count * NEW / (time.time() - start))
        result["tokens_per_s"] = sorted(rates)[1]
    else:
        if mode.startswith("lora"):
            from peft import LoraConfig, get_peft_model
            if "bnb" in mode:
                quantize(model, mode)
            model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
        times = []
        for step in range(count):
            ids = torch.randint(0, 32000, (batch, LENGTH))
            start = time.time() if step else begin
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode.endswith("autocast")):
                loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.time() - start)
        median = statistics.median(times[1:] or times)
        result.update(first_step_s=times[0], step_s=median, tokens_per_s=batch * LENGTH / median)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def quantize(model, mode):
    """The linear layers over bitsandbytes' weights, as transformers would load them, with f32 arithmetic."""
    import bitsandbytes as bnb
    import torch

    four = mode.endswith("nf4")
    for name, layer in list(model.model.layers.named_modules()):
        if not isinstance(layer, torch.nn.Linear):
            continue
        if four:
            made = bnb.nn.Linear4bit(layer.in_features, layer.out_features, bias=False, compute_dtype=torch.float32,
                                     quant_type="nf4", compress_statistics=True)
            made.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4",
                                            compress_statistics=True)
        else:
            made = bnb.nn.Linear8bitLt(layer.in_features, layer.out_features, bias=False, has_fp16_weights=False,
                                       threshold=6.0)
            made.weight = bnb.nn.Int8Params(layer.weight.data.clone(), requires_grad=False, has_fp16_weights=False)
        parent, _, leaf = name.rpartition(".")
        setattr(model.model.layers.get_submodule(parent), leaf, made.to("cpu"))
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = four, not four


def last_line(command, **extra):
    out = subprocess.run(
        command, env=peers.clean_environment(OMP_NUM_THREADS=THREADS, STUDY_THREADS=THREADS, HF_HUB_OFFLINE=1, TRANSFORMERS_VERBOSITY="error", **extra),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(out.stdout.decode().strip().splitlines()[-1])


def setup():
    python = peers.install("torch", "transformers", "peft", "bitsandbytes")
    driver = os.environ.get("STUDY_TRAINING_BENCH")
    if not driver:
        subprocess.run(["swift", "build", "-c", "release", "--product", "training-bench"], cwd=peers.ROOT, check=True)
        driver = os.path.join(peers.ROOT, ".build", "release", "training-bench")
    return python, driver


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--sizes", default="15m,110m")
    parser.add_argument("--only", default="lora,full,generate")
    parser.add_argument("--json", help="also write every measurement to this file")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options.peer[0], options.peer[1], int(options.peer[2]))
    python, driver = setup()
    tuned = peers.tuned_mkl()

    def ours(size, mode, count):
        return lambda: last_line([driver, size, mode, str(count)])

    def theirs(size, mode, count, **extra):
        return lambda: last_line([python, os.path.abspath(__file__), "--peer", size, mode, str(count)], **extra)

    measurements = {}
    for size in options.sizes.split(","):
        n = options.steps
        groups = {
            "lora": {"ours f32": ours(size, "lora", n), "PEFT f32": theirs(size, "lora", n),
                     "PEFT f32, MKL AVX-512": theirs(size, "lora", n, **tuned), "PEFT bf16": theirs(size, "lora-bf16", n),
                     "PEFT autocast bf16": theirs(size, "lora-autocast", n), "ours bf16 storage": ours(size, "lora-bf16", n),
                     "ours NF4": ours(size, "lora-nf4", n), "bitsandbytes NF4": theirs(size, "lora-bnb-nf4", n),
                     "ours int8": ours(size, "lora-int8", n), "bitsandbytes int8": theirs(size, "lora-bnb-int8", n)},
            "full": {"ours f32": ours(size, "full", n), "torch f32": theirs(size, "full", n),
                     "torch f32, MKL AVX-512": theirs(size, "full", n, **tuned)},
        }
        for batch in (1, 8):
            groups[f"generate, batch {batch}"] = {
                "ours f32": ours(size, "generate", batch), "transformers f32": theirs(size, "generate", batch),
                "transformers f32, MKL AVX-512": theirs(size, "generate", batch, **tuned),
                "ours bf16": ours(size, "generate-bf16", batch), "transformers bf16": theirs(size, "generate-bf16", batch),
                "ours int8": ours(size, "generate-int8", batch)}
        for group, runs in groups.items():
            if not group.startswith(tuple(options.only.split(","))):
                continue
            for _ in range(options.rounds):
                for name, run in runs.items():
                    measurements.setdefault((size, group, name), []).append(run())
    print(peers.machine())
    works = dict.fromkeys((size, work) for size, work, _ in measurements)
    for size, work in works:
        rows = {who: r for (s, w, who), r in measurements.items() if (s, w) == (size, work)}
        peers.table(f"{size}, {work}", "tokens/s", [(who, [r["tokens_per_s"] for r in runs]) for who, runs in rows.items()])
        for who, runs in rows.items():
            first = f", first step done after {statistics.median(r['first_step_s'] for r in runs):.2f} s" if "first_step_s" in runs[0] else ""
            print(f"    {who}: peak {statistics.median(r['peak_mb'] for r in runs):,.0f} MB{first}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump([{"size": s, "work": g, "who": w, "runs": r} for (s, g, w), r in measurements.items()], f, indent=1)


if __name__ == "__main__":
    main()
