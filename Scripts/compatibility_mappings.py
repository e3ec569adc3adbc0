#!/usr/bin/env python3
"""Writes Sources/Engine/Tokenizers/CompatibilityMappings.swift from Python's copy of the Unicode Character Database.

    python3 Scripts/compatibility_mappings.py

An entry is a scalar and its full compatibility decomposition, where that is not the canonical one. Runs in which
both sides go up by one are written once.
"""
import pathlib, textwrap, unicodedata as u

entries = []
for code in range(0x110000):
    if 0xD800 <= code < 0xE000:
        continue
    c = chr(code)
    wide = u.normalize("NFKD", c)
    if wide != u.normalize("NFD", c):
        entries.append((code, [ord(x) for x in wide]))
words, i = [], 0
while i < len(entries):
    code, target = entries[i]
    n = 1
    while len(target) == 1 and i + n < len(entries) and entries[i + n] == (code + n, [target[0] + n]):
        n += 1
    words.append(f"{code:X}" + (f"+{n:X}" if n > 1 else "") + ">" + ",".join(f"{t:X}" for t in target))
    i += n
lines = textwrap.wrap(" ".join(words), 116)
body = "\n".join("        " + line for line in lines)
path = pathlib.Path(__file__).parent.parent / "Sources/Engine/Tokenizers/CompatibilityMappings.swift"
path.write_text(f'''// Compatibility decompositions (Unicode {u.unidata_version}, UnicodeData.txt), which the standard library does not have. Made by
// Scripts/compatibility_mappings.py; do not edit.

enum CompatibilityMappings {{
    /// `scalar>decomposition` in hexadecimal; `scalar+count>first` where both sides go up by one.
    static let text = """
{body}
        """
}}
''')
print(len(entries), "mappings in", len(words), "entries,", len(lines), "lines")
