#!/usr/bin/env python3
"""The same-bits protocol: one LoRA training run, again and again; how many different results are there?

    python3 Benchmarks/samebits/compare.py [--runs 20] [--steps 3] [--threads 1,2,3,7]

Ours: `training-bench 15m hash`, a process a run, at each thread count, uninterrupted and stopped and resumed after each
step; the hash is of every loss and the trained adapter. The peer: PEFT's LoRA on the same shape with the seed fixed, a
model made anew for each run, at each thread count (no resumption: torch.save of all its state is left to the user); SHA-256
of losses and adapter. Prints the distinct hashes of each.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import peers


def peer(runs, steps, threads):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    for _ in range(runs):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=32000, hidden_size=288, num_hidden_layers=6, num_attention_heads=6, num_key_value_heads=6,
            intermediate_size=768, tie_word_embeddings=True))
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)
        digest = hashlib.sha256()
        for _ in range(steps):
            ids = torch.randint(0, 32000, (8, 256))
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            digest.update(loss.detach().numpy().tobytes())
        for p in trained:
            digest.update(p.detach().numpy().tobytes())
        print(json.dumps(digest.hexdigest()[:16]), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", default="1,2,3,7")
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options.runs, options.steps, options.peer)
    python = peers.install("torch", "transformers", "peft")
    driver = os.environ.get("STUDY_TRAINING_BENCH")
    if not driver:
        subprocess.run(["swift", "build", "-c", "release", "--product", "training-bench"], cwd=peers.ROOT, check=True)
        driver = os.path.join(peers.ROOT, ".build", "release", "training-bench")
    print(peers.machine())
    ours, theirs, resumed = {}, {}, 0
    for threads in map(int, options.threads.split(",")):
        for _ in range(options.runs):
            out = subprocess.run([driver, "15m", "hash", str(options.steps)], env=peers.clean_environment(STUDY_THREADS=threads),
                                 stdout=subprocess.PIPE, check=True)
            answer = json.loads(out.stdout)
            for value in [answer["hash"], *answer["resumed"]]:
                ours.setdefault(value, set()).add(threads)
            resumed += len(answer["resumed"])
        out = subprocess.run(
            [python, os.path.abspath(__file__), "--peer", str(threads), "--runs", str(options.runs), "--steps", str(options.steps)],
            env=peers.clean_environment(HF_HUB_OFFLINE=1, TRANSFORMERS_VERBOSITY="error"), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, check=True)
        for line in out.stdout.decode().splitlines():
            theirs.setdefault(json.loads(line), set()).add(threads)
    count = options.runs * len(options.threads.split(","))
    print(f"{options.runs} runs of {options.steps} steps at each of {options.threads} threads")
    print(f"ours: {len(ours)} distinct of {count} uninterrupted and {resumed} resumed runs: {ours}")
    print(f"PEFT: {len(theirs)} distinct of {count} runs: {theirs}")


if __name__ == "__main__":
    main()
