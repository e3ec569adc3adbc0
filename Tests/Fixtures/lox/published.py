"""Makes published.safetensors: what the published LoX code computes (safety/LoX.py of arXiv:2506.15606,
as described in its steps: bf16 difference, f32 SVD, f32 sum by promotion, bf16 result; rank 0 in bf16
throughout), on three small bf16 weights. Needs torch and safetensors.

    python published.py

Beside each result: `.matrix`, its low-rank matrix U diag(S) V; `.f32`, the same steps from an f64 SVD rounded to f32 (with a chain of
f32 multiply-adds as the product, whatever the library's own product does). Beside each weight: `.u`, `.s`, `.v`, the leading
factors of the f32 SVD. The f32 SVD's own bits depend on torch's LAPACK (MKL 2024.2 here) and on the CPU.
"""
import ctypes
import os
import torch
from safetensors.torch import save_file

torch.manual_seed(20250613)
torch.set_num_threads(1)
fma = ctypes.CDLL("libm.so.6").fmaf
fma.restype, fma.argtypes = ctypes.c_float, [ctypes.c_float] * 3


def chain(left, right):
    """left @ right, each element one ascending chain of f32 multiply-adds."""
    result = torch.zeros(left.shape[0], right.shape[1])
    for i, row in enumerate(left.tolist()):
        for j, column in enumerate(right.T.tolist()):
            sum = 0.0
            for x, y in zip(row, column):
                sum = fma(x, y, sum)
            result[i, j] = sum
    return result


out = {}
for name, (rows, columns) in {"square": (40, 40), "wide": (72, 120), "few": (3, 50)}.items():
    base = (torch.randn(rows, columns) * 0.05).bfloat16()
    aligned = (base.float() + torch.randn(rows, 4) @ torch.randn(4, columns) * 0.004
               + torch.randn(rows, columns) * 0.001).bfloat16()
    out[name + ".base"], out[name + ".aligned"] = base, aligned
    delta = aligned - base
    assert delta.dtype == torch.bfloat16
    for rank, coefficient in ((0, 1.0), (0, 1.25), (3, 1.25), (6, 0.7)):
        if rank == 0:
            change = delta
        else:
            u, s, vt = torch.linalg.svd(delta.float(), full_matrices=False)
            out[name + ".u"], out[name + ".s"] = u[:, :6].contiguous(), s[:6].clone()
            out[name + ".v"] = vt[:6].T.contiguous()
            s[rank:] = 0
            change = u @ torch.diag(s) @ vt
        result = aligned + coefficient * change
        assert result.dtype == (torch.bfloat16 if rank == 0 else torch.float32)
        key = f"{name}.rank{rank}.coefficient{coefficient}"
        out[key] = result.bfloat16()
        if rank > 0:
            out[key + ".matrix"] = change
            u, s, vt = (part.float() for part in torch.linalg.svd(delta.double(), full_matrices=False))
            change = chain(u[:, :rank] * s[:rank], vt[:rank])
            out[key + ".f32"] = (aligned + coefficient * change).bfloat16()
save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "published.safetensors"))
