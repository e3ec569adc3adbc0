#!/usr/bin/env python3
"""Makes precompiled.json and nmt_nfkc.charsmap: SentencePiece's tables of replacements, and what tokenizers makes of text by them.

    pip install tokenizers sentencepiece
    python Tests/Fixtures/tokenizers/make_precompiled.py

Two tables, both compiled by sentencepiece itself: `nmt_nfkc`, which T5 and XLM-R carry and every model trained with sentencepiece's
defaults (data of the SentencePiece project, Apache-2.0, made of Unicode's), and a small one of rules that show each oddity of how a
table is applied. Texts with their normal forms by the tokenizers crate; then all of Unicode's assigned blocks, a hash a line of 256 scalars.
"""
import base64, json, pathlib, tempfile
import sentencepiece, tokenizers
from tokenizers.normalizers import Precompiled

here = pathlib.Path(__file__).parent

# Source and target in hexadecimal scalars, as spm_train --normalization_rule_tsv reads them.
RULES = """41\t61
66 69\t78
61 62 63\t31
61 62\t32
65 301\tE9
67 301\t
2026\t2E 2E 2E
AD\t
1F600\t3A 29
AC00\t47 61
20 20\t20
E9\t45
"""


def field(data, wanted):
    """The bytes of one length-delimited field of a protocol buffer."""
    def varint(at):
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at
    at, found = 0, b""
    while at < len(data):
        key, at = varint(at)
        if key & 7 == 2:
            size, at = varint(at)
            if key >> 3 == wanted:
                found = data[at:at + size]
            at += size
        elif key & 7 == 0:
            _, at = varint(at)
        else:
            at += {1: 8, 5: 4}[key & 7]
    return found


def charsmap(**options):
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder, "text")
        text.write_text("\n".join(f"the quick brown fox {i} jumps over the lazy dog" for i in range(200)))
        rules = pathlib.Path(folder, "rules.tsv")
        rules.write_text(RULES)
        if options.pop("own", False):
            options["normalization_rule_tsv"] = str(rules)
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=folder + "/m", vocab_size=60, model_type="bpe", minloglevel=2, **options)
        return field(field(pathlib.Path(folder, "m.model").read_bytes(), 3), 2)


def fnv(data):
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


texts = {
    "own": ["", "A", "ABBA", "fi", "f", "afib", "abc", "ab", "abd", "abcabc", "e\u0301", "ae\u0301", "g\u0301", "x\u0301", "\u2026", "a\u2026b", "a\u00adb",
            "\u00ad", "\U0001f600", "\U0001f600\ufe0f", "\U0001f600\u200d\U0001f600", "\uac00", "\uac00\u11a8", "a  b", "a   b", "    ", "\u00e9", "\u00e9\u0301",
            "A\u0301", "A\u0301\u0301", "A\u0301\u0301\u0301", "\r\n", "A\r\nA", "a\u0000A", "\u0000", "\u0301A", "\u1112\u1161\u11ab"],
    "nmt_nfkc": ["", "Hello, world", "\uff28\uff45\uff4c\uff4c\uff4f", "\ufb01\ufb02", "\u00bd\u2075", "e\u0301\u0323", "a\u0301", "\u3392\u339e", "\u30ab\uff9e", "\uff76\uff9e",
                 "\u1112\u1161\u11ab", "\u01c4", "\u2026", "a\u200bb", "a\u00a0b", "tab\there", "line\nbreak", "\r\n", "zero\u200dwidth", "\ufeffbom", "\u2028", "\u0007bell",
                 "\ufdfa", "\u0e33", "\u0e40\u0e33", "\u0b94\u0bd7", "\u0915\u093c", "\u09c7\u09be", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea",
                 "\U0001d400\U0001d7ce", "\u1e9b\u0323", "\u212b", "\u2126", "\uac01", "\u1100\u1161\u11a8", "\u3000", "\uff5e", "\u301c", "\u2460", "\u33c2", "\ufffd", "q\u0307\u0323"],
}
tables = {"own": charsmap(own=True), "nmt_nfkc": charsmap(normalization_rule_name="nmt_nfkc")}
(here / "nmt_nfkc.charsmap").write_bytes(tables["nmt_nfkc"])
blocks = [range(1, 0x3400), range(0xA000, 0xD800), range(0xE000, 0x10000), range(0x10000, 0x20000), range(0xE0000, 0xE0200)]
scalars = [value for block in blocks for value in block]
normalizer = Precompiled(tables["nmt_nfkc"])
sweep = []
for start in range(0, len(scalars), 256):
    line = "".join(chr(value) + "x" for value in scalars[start:start + 256])
    sweep.append(fnv(normalizer.normalize_str(line).encode()))
result = {
    "tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__,
    "own": base64.b64encode(tables["own"]).decode(),
    "cases": [{"table": name, "text": text, "normal": Precompiled(tables[name]).normalize_str(text)} for name in texts for text in texts[name]],
    "blocks": [[block.start, block.stop] for block in blocks], "sweep": sweep,
}
(here / "precompiled.json").write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")
print(len(result["cases"]), "cases,", len(sweep), "lines,", {name: len(table) for name, table in tables.items()}, "bytes")
