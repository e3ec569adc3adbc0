// Reads a base model and an adapter that PEFT saved, writes the logits with the adapter attached, and saves
// the adapter again. compare.py holds both against PEFT.
// usage: peft-roundtrip BASE ADAPTER OUT (OUT gets logits.safetensors and adapter/)

import Engine

let arguments = CommandLine.arguments
guard arguments.count == 4 else { fatalError("usage: peft-roundtrip BASE ADAPTER OUT") }
let (base, folder, out) = (arguments[1], arguments[2], arguments[3])
let adapter = try LoRAAdapter(peft: folder)
for warning in adapter.origin?.warnings ?? [] { print("warning:", warning) }
var model = try LanguageModel(base)
try model.attach(adapter)
let tokens: [[Int32]] = (0..<2).map { row in (0..<12).map { Int32(($0 * 7 + row * 13) % 60) } }
try Safetensors.write(["logits": model.logits(tokens)], to: out + "/logits.safetensors")
try adapter.save(peft: out + "/adapter")
