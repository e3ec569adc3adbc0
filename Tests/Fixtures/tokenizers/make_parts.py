#!/usr/bin/env python3
"""Makes parts.json: every part of tokenizer.json that the engine reads, alone, with what tokenizers makes of it.

    pip install tokenizers
    python Tests/Fixtures/tokenizers/make_parts.py

Each entry: a row's name, a whole tokenizer.json in small, and texts with their ids and what the ids decode to.
"""
import json, pathlib
import tokenizers
from tokenizers import Tokenizer

here = pathlib.Path(__file__).parent
MARK = "\u2581"
letters = ["?", "a", "b", "c", "d", "e", " ", MARK, "-", ".", "1", "2", "3", "A", "B", "\u00e9", "e\u0301", "\u0301", "fi", "f", "i",
           "x", "2x", "ab", "abc", "bc", MARK + "a", MARK + "ab", "12", "--", "a-", "-b", "'", "s", "'s", "k", "\u212a", "m", "(", ")", "o", "O", "\u03c3",
           "\u03c2", "\u2075", "5", "\uff21", "\u30ac", "\u30ab\u3099", "\ud55c", "\u01c4", "D", "Z", "\u030c", "\u017d", "\u00bd", "/", "\u2044", "\u2026", "\u00b5", "\u03bc",
           "<s>", "</s>", "<t>", "<tt>", "word", "the", "##s", "##ing", "<t><tt>"]
vocabulary = {token: i for i, token in enumerate(letters)}
merges = [["a", "b"], ["ab", "c"], ["b", "c"], [MARK, "a"], [MARK + "a", "b"], ["1", "2"], ["-", "-"], ["'", "s"]]
bpe = {"type": "BPE", "dropout": None, "unk_token": "?", "continuing_subword_prefix": None, "end_of_word_suffix": None,
       "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": merges}
words = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "?"}


def with_bytes(**changes):
    table = dict(vocabulary)
    for byte in range(256):
        table[f"<0x{byte:02X}>"] = len(table)
    return {**bpe, "vocab": table, "byte_fallback": True, **changes}


def byte_level(**changes):
    from tokenizers.pre_tokenizers import ByteLevel
    table = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    pairs = [["a", "b"], ["\u0120", "a"], ["\u0120", "ab"], ["c", "a"], ["1", "2"]]
    for left, right in pairs:
        table.setdefault(left + right, len(table))
    return {**bpe, "vocab": table, "merges": pairs, "unk_token": None, **changes}


def added(content, id, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}


metaspace = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
template = {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 1}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [vocabulary["<s>"]], "tokens": ["<s>"]},
                               "</s>": {"id": "</s>", "ids": [vocabulary["</s>"]], "tokens": ["</s>"]}}}
level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
plain = ["", "abc", "ab c", "a  b", " ab", "ab ", "xyz", "12a3", "a--b-c", "abcabc"]
accents = ["\u00e9", "e\u0301", "\ufb01", "x\u00b2", "\u212a", "\u00bd", "\uff21", "\u30ac", "\u30ab\uff9e", "\u01c4", "\u2026", "\u00b5", "\u2075", "a\u0301\u0323", "\ud55c",
           "\u1112\u1161\u11ab", "\u3392", "\ufdfa"[:1], "\u2075\u00e9"]
rows = []


def row(name, texts=plain, **parts):
    rows.append((name, {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
                        "post_processor": None, "decoder": None, "model": bpe, **parts}, texts))


# The model.
row("BPE: merges by rank, then from the left")
row("BPE: merges as strings", model={**bpe, "merges": [" ".join(m) for m in merges if " " not in m[0] + m[1]]})
row("BPE: unk_token", ["zzz", "azb"])
row("BPE: no unk_token", ["zzz", "azb"], model={**bpe, "unk_token": None})
row("BPE: fuse_unk", ["zzz", "azzb", "z z"], model={**bpe, "fuse_unk": True})
row("BPE: byte_fallback", ["z", "az\u00fcb", "\U0001f600", "\u00e9"], model=with_bytes(), decoder={"type": "ByteFallback"})
row("BPE: byte_fallback with fuse_unk", ["zz", "azzb\u00fc"], model=with_bytes(fuse_unk=True), decoder={"type": "ByteFallback"})
row("BPE: byte_fallback where a byte's token is missing", ["z", "y\u00fc"],
    model={**with_bytes(), "vocab": {k: v for k, v in with_bytes()["vocab"].items() if k != "<0x7A>"}})
row("BPE: ignore_merges", ["abc", "word", "words", "the"], model={**bpe, "ignore_merges": True})
row("WordLevel", ["ab", "word", "nothing", ""], model=words)

# Normalizers.
row("Prepend", normalizer={"type": "Prepend", "prepend": MARK})
row("Replace: String", normalizer={"type": "Replace", "pattern": {"String": " "}, "content": MARK})
row("Replace: Regex", normalizer={"type": "Replace", "pattern": {"Regex": "-+"}, "content": "."})
row("Sequence of normalizers", normalizer={"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]})
for kind in ["NFC", "NFD", "NFKC", "NFKD"]:
    row(kind, accents, normalizer={"type": kind})
row("Lowercase", ["AB", "aBc", "\u00c9", "\u03a3", "O\u03a3"], normalizer={"type": "Lowercase"})
for left, right in [(True, True), (True, False), (False, True)]:
    row(f"Strip: {left}, {right}", ["  ab  ", "\tab\u00a0", "a b", "   "], normalizer={"type": "Strip", "strip_left": left, "strip_right": right})

# Pre-tokenizers.
for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    for invert in [False, True]:
        row(f"Split: {behavior}, invert {invert}", ["a--b-c", "--a", "a--", "-", "ab"], model=words,
            pre_tokenizer={"type": "Split", "pattern": {"String": "-"}, "behavior": behavior, "invert": invert})
row("Split: Regex", ["ab12ab", "12", "a1b2"], model=words,
    pre_tokenizer={"type": "Split", "pattern": {"Regex": "[a-z]+|[0-9]+"}, "behavior": "Isolated", "invert": False})
row("Split: Gemma's space", ["ab ab", " a  b", "a "], normalizer={"type": "Replace", "pattern": {"String": " "}, "content": MARK},
    pre_tokenizer={"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False})
for prefix in [False, True]:
    for regex in [False, True]:
        row(f"ByteLevel: add_prefix_space {prefix}, use_regex {regex}", ["ab", " ab", "ab ab  ab", "12 ab's", "\u00e9\U0001f600", ""],
            model=byte_level(), pre_tokenizer={**level, "add_prefix_space": prefix, "use_regex": regex}, decoder=level)
for scheme in ["always", "first", "never"]:
    for split in [False, True]:
        part = {**metaspace, "prepend_scheme": scheme, "split": split}
        row(f"Metaspace: {scheme}, split {split}", ["ab", " ab", "ab ab", "a<t>ab", "<t> ab", "", "  "], pre_tokenizer=part, decoder=part,
            added_tokens=[added("<t>", vocabulary["<t>"], special=True)])
for individual in [False, True]:
    row(f"Digits: individual {individual}", ["12a3", "123", "a\u2075b", "1"], model=words, pre_tokenizer={"type": "Digits", "individual_digits": individual})
row("WhitespaceSplit", ["ab word", "  a\tb\n", "ab\u00a0a"], model=words, pre_tokenizer={"type": "WhitespaceSplit"})
row("Whitespace", ["ab-a word", "a--b", "(ab)"], model=words, pre_tokenizer={"type": "Whitespace"})
for behavior in ["Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"]:
    row(f"Punctuation: {behavior}", ["a--b", "(ab).", "a$b"], model=words, pre_tokenizer={"type": "Punctuation", "behavior": behavior})
row("Sequence of pre-tokenizers", ["12a3 word", "a1 2"], model=words, pre_tokenizer={"type": "Sequence", "pretokenizers": [
    {"type": "WhitespaceSplit"}, {"type": "Digits", "individual_digits": True}]})
row("Sequence ending in ByteLevel", ["12ab 1", "ab's"], model=byte_level(), decoder=level, pre_tokenizer={"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": False}, {**level, "use_regex": False}]})

# Decoders.
pieces = ["ab a", MARK + "ab", "a b c", "word"]
row("decoder Replace", pieces, decoder={"type": "Replace", "pattern": {"String": MARK}, "content": " "})
row("decoder Fuse", pieces, decoder={"type": "Fuse"})
row("decoder Strip", [" ab", "  a b ", "ab"], decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 1}]})
row("decoder Sequence: Llama 2's", ["ab a", " a", "\u00fc"], model=with_bytes(), normalizer={"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]},
    decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"},
                                              {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})
row("decoder WordPiece", ["word ##s", "the ##ing . a", "a ' s"], model=words, pre_tokenizer={"type": "WhitespaceSplit"},
    decoder={"type": "WordPiece", "prefix": "##", "cleanup": True})
row("decoder WordPiece without cleanup", ["word ##s", "a . b"], model=words, pre_tokenizer={"type": "WhitespaceSplit"},
    decoder={"type": "WordPiece", "prefix": "##", "cleanup": False})
row("no decoder", ["ab a", "abc"])

# Post-processors and added tokens.
row("TemplateProcessing", ["ab", ""], post_processor=template)
row("post-processor ByteLevel", ["ab", ""], post_processor=level)
row("Sequence of post-processors", ["ab", ""], post_processor={"type": "Sequence", "processors": [level, template]})
t, tt = vocabulary["<t>"], vocabulary["<tt>"]
row("added: the longest at the leftmost place", ["a<t>b", "<tt>", "<t<tt>", "a<t><tt>"], added_tokens=[added("<t>", t), added("<t><tt>", vocabulary["<t><tt>"]), added("<tt>", tt)])
row("added: single_word", ["word", "words", "a word", "word."], added_tokens=[added("word", vocabulary["word"], single_word=True)])
row("added: lstrip", ["a  <t> b", "<t>"], added_tokens=[added("<t>", t, lstrip=True)])
row("added: rstrip", ["a  <t>  b", "<t>"], added_tokens=[added("<t>", t, rstrip=True)])
row("added: normalized", ["WORD", "word", "Word a"], normalizer={"type": "Lowercase"}, added_tokens=[added("word", vocabulary["word"], normalized=True)])
row("added: not normalized", ["WORD", "word", "Word a"], normalizer={"type": "Lowercase"}, added_tokens=[added("word", vocabulary["word"])])
row("added: special, skipped in decoding", ["a<t>b", "<t>"], added_tokens=[added("<t>", t, special=True)])

result = []
for name, parts, texts in rows:
    tokenizer = Tokenizer.from_str(json.dumps(parts))
    cases = []
    for text in texts:
        encoding = tokenizer.encode(text)
        cases.append({"text": text, "ids": encoding.ids, "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False),
                      "skipped": tokenizer.decode(encoding.ids, skip_special_tokens=True)})
    pair = tokenizer.encode("ab", "a")
    result.append({"name": name, "tokenizer": parts, "cases": cases, "pair": {"ids": pair.ids, "type_ids": pair.type_ids}})
(here / "parts.json").write_text(json.dumps({"tokenizers": tokenizers.__version__, "rows": result}, ensure_ascii=True, separators=(",", ":")) + "\n")
print(len(result), "rows")
