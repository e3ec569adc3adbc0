"""Makes published.safetensors: what the published LoX code computes (safety/LoX.py of arXiv:2506.15606,
as described in its steps: bf16 difference, f32 SVD, f32 sum by promotion, bf16 result; rank 0 in bf16
throughout), on two small bf16 weights and a norm. Needs torch and safetensors.

    python published.py
"""
import os
import torch
from safetensors.torch import save_file

torch.manual_seed(20250613)
torch.set_num_threads(1)
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
            s[rank:] = 0
            change = u @ torch.diag(s) @ vt
        result = aligned + coefficient * change
        assert result.dtype == (torch.bfloat16 if rank == 0 else torch.float32)
        key = f"{name}.rank{rank}.coefficient{coefficient}"
        out[key] = result.bfloat16()
        if rank > 0:  # the low-rank matrix itself, and the same sum with an f64 SVD
            out[key + ".matrix"] = change
            u, s, vt = torch.linalg.svd(delta.double(), full_matrices=False)
            s[rank:] = 0
            change = (u @ torch.diag(s) @ vt).float()
        out[key + ".f64"] = (aligned + coefficient * change).bfloat16()
save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "published.safetensors"))
