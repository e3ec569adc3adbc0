"""Writes the golden files of this folder with the reference library: pip install safetensors numpy.

SafetensorsTests holds our writer to these bytes.
"""
import numpy as np
from safetensors.numpy import save_file
from safetensors import TensorSpec, serialize_file

save_file({}, "empty.safetensors")
save_file({"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, "one.safetensors")
kinds = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32,
         "i16": np.int16, "i8": np.int8, "u8": np.uint8, "bool": np.bool_}
tensors = {}
for number, (name, kind) in enumerate(kinds.items()):
    tensors[name + ".weight"] = (np.arange(3 + number) % 2).astype(kind)
    tensors["Zz." + name] = np.zeros((0, number), kind)
tensors["scalar"] = np.array(2.5, dtype=np.float32)
tensors["quote\"back\\slash\n\t\x01"] = np.ones(1, np.float32)
tensors["caf\u00e9"] = np.ones(2, np.float32)
tensors["cafe\u0301"] = np.zeros(2, np.float32)
save_file(tensors, "kinds.safetensors", metadata={"format": "pt"})
halves, single = np.arange(4, dtype=np.uint16), np.zeros(1, np.float32)
specs = {"w": ("bfloat16", [2, 2], halves), "x": ("float32", [1], single)}
serialize_file({name: TensorSpec(dtype=dtype, shape=shape, data_ptr=data.ctypes.data, data_len=data.nbytes)
                for name, (dtype, shape, data) in specs.items()}, "bf16.safetensors", {"only": "one \u00e9"})
