// The output layer with its loss; see EngineKernels.h, which includes this.
#pragma once
#include "EngineKernels.h"

/// An output layer that is not trained and the cross-entropy of its logits `x Wᵀ`, in one: the same bits as
/// ``ek_gemm``, ``ek_cross_entropy`` and ``ek_gemm``, with a few rows' logits held at a time.
typedef struct {
    long rows, hidden, vocabulary;
    const float *_Nullable x;              // [rows, hidden]
    ek_matrix w;                           // as stored, [vocabulary, hidden]; f32, bf16 or f16
    float softcap;                         // of the logits; 0 for none
    const int32_t *_Nullable labels;       // [rows]
    const float *_Nullable weights;        // [rows], of the losses in what dx is the gradient of; or NULL
    double *_Nullable losses;              // [rows], written: -ln p(label), in nats
    bool *_Nullable isGreedy;              // [rows], written: whether the label is the first of the largest
    float *_Nullable dx;                   // [rows, hidden], written: the gradient of the weighted sum; or NULL
    float *_Nullable room;                 // ek_head_room() floats, at a multiple of 64 bytes
} ek_head_t;
/// Floats that ``ek_head_loss`` needs besides; `room` and what it writes are not looked at.
ptrdiff_t ek_head_room(const ek_head_t *_Nonnull h);
void ek_head_loss(const ek_head_t *_Nonnull h);
