#!/usr/bin/env python3
"""The same-bits protocol: one LoRA training run, again and again; how many different results are there?

    python3 Benchmarks/samebits/compare.py [--runs 20] [--steps 3] [--threads 1,2,3,7] [--save FILE [--for SECONDS]]

Ours: `training-bench 15m hash`, a process a run, at each thread count, uninterrupted and stopped and resumed after each
step; the hash is of every loss and the trained adapter. The peer: PEFT's LoRA on the same shape with the seed fixed, a
model made anew for each run, at each thread count (no resumption: torch.save of all its state is left to the user); SHA-256
of losses and adapter. Prints the distinct hashes of each. With --save each run's hashes are kept in FILE, one JSON line a
run, and a later call makes only the runs that FILE lacks; --for stops beginning new ones after so many seconds.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import time

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
    parser.add_argument("--save", metavar="FILE")
    parser.add_argument("--for", dest="seconds", type=float, default=float("inf"), metavar="SECONDS")
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
    runs = Runs(options.save, options.steps)
    deadline = time.monotonic() + options.seconds
    thread_counts = [int(t) for t in options.threads.split(",")]
    for threads in thread_counts:
        while runs.count("ours", threads) < options.runs and time.monotonic() < deadline:
            out = subprocess.run([driver, "15m", "hash", str(options.steps)], env=peers.clean_environment(STUDY_THREADS=threads),
                                 stdout=subprocess.PIPE, check=True)
            answer = json.loads(out.stdout)
            runs.add("ours", threads, [answer["hash"], *answer["resumed"]])
        missing = options.runs - runs.count("PEFT", threads)
        if missing == 0 or time.monotonic() >= deadline:
            continue
        with subprocess.Popen(
            [python, os.path.abspath(__file__), "--peer", str(threads), "--runs", str(missing), "--steps", str(options.steps)],
            env=peers.clean_environment(HF_HUB_OFFLINE=1, TRANSFORMERS_VERBOSITY="error"), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout:
                runs.add("PEFT", threads, [json.loads(line)])
                if time.monotonic() >= deadline:
                    process.terminate()
                    break
        if process.returncode != 0 and time.monotonic() < deadline:
            sys.exit(f"the peer ended with status {process.returncode}")
    print(f"runs of {options.steps} steps, by threads:")
    for who in ("ours", "PEFT"):
        kept = [run for run in runs.all if run["who"] == who and run["threads"] in thread_counts]
        hashes = {}
        for run in kept:
            for value in run["hashes"]:
                hashes.setdefault(value, set()).add(run["threads"])
        resumed = sum(len(run["hashes"]) - 1 for run in kept)
        counts = ", ".join(f"{runs.count(who, threads)} at {threads}" for threads in thread_counts)
        print(f"{who}: {len(hashes)} distinct of {len(kept)} uninterrupted and {resumed} resumed runs ({counts}): {hashes}")


class Runs:
    """The runs made so far, each on record in a file where there is one."""

    def __init__(self, path, steps):
        self.path, self.steps, self.all = path, steps, []
        if path and os.path.exists(path):
            with open(path) as file:
                self.all = [run for run in map(json.loads, file) if run["steps"] == steps]

    def add(self, who, threads, hashes):
        run = {"who": who, "threads": threads, "steps": self.steps, "hashes": hashes}
        self.all.append(run)
        if self.path:
            with open(self.path, "a") as file:
                file.write(json.dumps(run) + "\n")

    def count(self, who, threads):
        return sum(run["who"] == who and run["threads"] == threads for run in self.all)


if __name__ == "__main__":
    main()
