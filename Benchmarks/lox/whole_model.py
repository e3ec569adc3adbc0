"""LoX over a whole pair of the 1 B shape (16 layers, width 2048, feed-forward 8192, 8 of 32 heads for keys
and values, vocabulary 128256, tied; bf16, 2.5 GB each): time and memory, beside the published script's way.

    python whole_model.py [--ours PATH/TO/lox-bench] [--published]

The pair is random: weights of standard deviation 0.02, and a change that decays as i^-1/2 over 64 directions
with a floor of noise. Ours runs from folder to folder. The published script holds base, aligned and result
and decomposes each matrix whole: `--published` times torch.linalg.svd once for each distinct shape (the
embedding on a sixteenth of its rows, scaled by rows) and adds up what all matrices would take; its memory is
computed from its three models. Both are said to be so.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

DATA = pathlib.Path(os.environ.get("LOX_BENCHMARK_DATA", "/tmp/lox-benchmark"))
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAYERS, WIDTH, FEED, KEYS, VOCABULARY = 16, 2048, 8192, 512, 128256
LINEAR = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (KEYS, WIDTH),
          "self_attn.v_proj": (KEYS, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
          "mlp.gate_proj": (FEED, WIDTH), "mlp.up_proj": (FEED, WIDTH), "mlp.down_proj": (WIDTH, FEED)}


def shapes():
    yield "model.embed_tokens.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        for name, shape in LINEAR.items():
            yield f"model.layers.{layer}.{name}.weight", shape
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"model.layers.{layer}.{norm}.weight", (WIDTH,)
    yield "model.norm.weight", (WIDTH,)


def make_data():
    import torch
    from safetensors.torch import save_file
    if (DATA / "big/aligned/model.safetensors").exists():
        return
    torch.manual_seed(2)
    base, aligned = {}, {}
    scale = torch.arange(1, 65, dtype=torch.float32) ** -0.5
    for name, shape in shapes():
        if len(shape) == 1:
            base[name], aligned[name] = torch.ones(shape).bfloat16(), torch.ones(shape).bfloat16()
            continue
        weight = (torch.randn(shape) * 0.02).bfloat16()
        change = (torch.randn(shape[0], 64) * scale) @ torch.randn(64, shape[1]) * 2e-4
        change += torch.randn(shape) * 2e-4
        base[name], aligned[name] = weight, (weight.float() + change).bfloat16()
    for side, tensors in (("base", base), ("aligned", aligned)):
        folder = DATA / "big" / side
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({
            "model_type": "llama", "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "dtype": "bfloat16",
            "intermediate_size": FEED, "vocab_size": VOCABULARY, "tie_word_embeddings": True}))
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def published():
    import torch
    torch.set_num_threads(os.cpu_count())
    total, each = 0.0, {}
    counts = {}
    for _, shape in shapes():
        if len(shape) == 2:
            counts[shape] = counts.get(shape, 0) + 1
    for shape, count in counts.items():
        rows, factor = shape[0], 1.0
        if rows == VOCABULARY:
            rows, factor = VOCABULARY // 16, 16.0
        matrix = torch.randn(rows, shape[1])
        start = time.perf_counter()
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        s[6:] = 0
        _ = u @ torch.diag(s) @ vt
        each[str(shape)] = (time.perf_counter() - start) * factor
        total += each[str(shape)] * count
    parameters = sum(a[0] * (a[1] if len(a) == 2 else 1) for _, a in shapes())
    return {"seconds (added up)": total, "seconds a matrix": each, "matrices": sum(counts.values()),
            "bytes of three bf16 models": 6 * parameters}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--ours", default=str(ROOT / ".build/release/lox-bench"))
    options.add_argument("--published", action="store_true")
    options = options.parse_args()
    make_data()
    big = DATA / "big"
    for _ in range(2):  # the second with the files in the page cache
        answer = subprocess.run(
            [options.ours, "folder", big / "aligned", big / "base", big / "output", "6"],
            check=True, capture_output=True, text=True)
        print("ours:", answer.stdout.strip())
    if options.published:
        print("published way:", json.dumps(published()))


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from compare import restart_with_peers
    restart_with_peers()
    main()
