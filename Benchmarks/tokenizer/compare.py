"""Our tokenizer beside Hugging Face's `tokenizers`, on one thread, rounds paired A B A B.

Vocabularies of 32,000 are trained here, on the text that is then encoded: this machine's Python sources and documentation.
Ids must agree on every document. usage: compare.py [MEGABYTES]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

ROUNDS = 7

PEER = r'''
import json, os, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers, AddedToken
import tokenizers
folder, documents_path, vocabulary = sys.argv[1], sys.argv[2], int(sys.argv[3])
documents = [d.decode() for d in open(documents_path, "rb").read().split(b"\0") if d]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

def make(kind):
    if kind.startswith("bpe"):
        t = Tokenizer(models.BPE(ignore_merges=kind == "bpe-llama3"))
        if kind == "bpe-llama3":
            t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        else:
            t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, show_progress=False,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        t.train_from_iterator(documents, trainer)
        return t
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    # Trained on words as SentencePiece cuts them; used without a pre-tokenizer, as the published files are.
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<unk>", "<s>", "</s>"] + bytes_,
                                  show_progress=False, limit_alphabet=1000)
    t.train_from_iterator(documents, trainer)
    state = json.loads(t.to_str())
    state["pre_tokenizer"] = None
    state["added_tokens"] = [a for a in state["added_tokens"] if a["id"] < 3]
    state["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return Tokenizer.from_str(json.dumps(state))

for kind in ["bpe-gpt2", "bpe-llama3", "sp-llama2"]:
    make(kind).save(f"{folder}/{kind}.json")
print(json.dumps({"version": tokenizers.__version__, "bytes": sum(len(d.encode()) for d in documents), "documents": len(documents)}),
      flush=True)
loaded = {}
for line in sys.stdin:
    command, kind = line.split()
    if kind not in loaded:
        loaded = {kind: Tokenizer.from_file(f"{folder}/{kind}.json")}  # one at a time, as ours
    t = loaded[kind]
    start = time.perf_counter()
    encoded = t.encode_batch_fast(documents)
    fast = time.perf_counter() - start
    start = time.perf_counter()
    for d in documents: t.encode(d)
    plain = time.perf_counter() - start
    ids = [e.ids for e in encoded]
    start = time.perf_counter()
    for i in ids: t.decode(i, skip_special_tokens=False)
    decoding = time.perf_counter() - start
    h = 0xcbf29ce484222325
    if command == "hash":
        for i in ids:
            for x in i: h = ((h ^ x) * 0x100000001b3) & 0xffffffffffffffff
    print(fast, plain, decoding, sum(map(len, ids)), h, flush=True)
'''


def corpus(path, limit):
    """Sources and texts of this machine's Python, in a fixed order, up to `limit` bytes."""
    written = 0
    with open(path, "wb") as out:
        for folder in sorted({os.path.dirname(os.__file__), "/usr/share/doc"}):
            for file in sorted(Path(folder).rglob("*")):
                if file.suffix not in (".py", ".txt", ".rst", ".md", ".html") or not file.is_file() or "test" in file.parts:
                    continue
                data = file.read_bytes()
                try:
                    data.decode()
                except UnicodeDecodeError:
                    continue
                if b"\0" in data or not data:
                    continue
                out.write(data + b"\0")
                written += len(data)
                if written > limit:
                    return


def main():
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 4
    python = peers.install("tokenizers")
    driver = os.environ.get("TOKENIZER_BENCHMARK")
    if not driver:
        subprocess.run(["swift", "build", "-c", "release", "--product", "tokenizer-benchmark"], cwd=peers.ROOT, check=True)
        driver = str(peers.ROOT / ".build/release/tokenizer-benchmark")
    with tempfile.TemporaryDirectory() as folder:
        documents = folder + "/documents"
        corpus(documents, megabytes * 1e6)
        pipe = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        environment = peers.clean_environment(STUDY_THREADS=1, RAYON_NUM_THREADS=1, TOKENIZERS_PARALLELISM="false")
        peer = subprocess.Popen([python, "-c", PEER, folder, documents, "32000"], env=environment, **pipe)
        about = json.loads(peer.stdout.readline())
        size = about["bytes"] / 1e6
        print(f"{peers.machine()}; tokenizers {about['version']}; {about['documents']} documents, {size:.2f} MB; one thread; "
              f"medians of {ROUNDS} paired rounds (half the range), MB/s")
        for kind in ["bpe-gpt2", "bpe-llama3", "sp-llama2"]:
            ours = subprocess.Popen([driver, f"{folder}/{kind}.json", documents], env=environment, **pipe)
            loading = float(ours.stdout.readline().split()[1])

            def ask(process, line):
                process.stdin.write(line + "\n")
                process.stdin.flush()
                return process.stdout.readline().split()

            first, theirs_first = ask(ours, "hash"), ask(peer, "hash " + kind)
            same = first[2:] == theirs_first[3:]
            rounds = [(ask(ours, "time"), ask(peer, "time " + kind)) for _ in range(ROUNDS)]
            rates = {
                "ours": [size / float(a[0]) for a, _ in rounds],
                "peer, encode_batch_fast": [size / float(b[0]) for _, b in rounds],
                "peer, encode": [size / float(b[1]) for _, b in rounds],
                "ours, decode": [size / float(a[1]) for a, _ in rounds],
                "peer, decode": [size / float(b[2]) for _, b in rounds],
            }
            print(f"{kind}: ids {'agree' if same else 'DIFFER'} ({first[2]} tokens); loaded in {loading * 1e3:.0f} ms; "
                  f"first round {size / float(first[0]):.1f} and {size / float(theirs_first[0]):.1f}")
            for name, values in rates.items():
                median = statistics.median(values)
                print(f"  {name:<26} {median:8.1f} (± {(max(values) - min(values)) / 2:.1f})")
            best = max(statistics.median(rates["peer, encode_batch_fast"]), statistics.median(rates["peer, encode"]))
            print(f"  ratio to the best peer     {statistics.median(rates['ours']) / best:8.2f}")
            ours.stdin.close()
            ours.wait()
            if not same:
                sys.exit(1)
        peer.stdin.close()
        peer.wait()


if __name__ == "__main__":
    main()
