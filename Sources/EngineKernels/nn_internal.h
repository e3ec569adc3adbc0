// What nn.c and the variants of its loops share and no caller sees.
#pragma once
#include "nn.h"
#include "simd_types.h"

typedef struct { float *x; float cap; } ek_softcap_t;
typedef struct { float *y; const float *a, *b; } ek_add_t;
typedef struct { float *y; const float *x; long yStride, xStride, dim; float factor; } ek_scale_t;
typedef struct {
    float *y, *gradient;
    const float *dy;
    const void *table;
    const int32_t *ids;
    long rows, dim;
    int dtype;
    float scale;
} ek_embed_t;

// One table of loops a variant; nn.c takes the one chosen for this process.
typedef struct {
    void (*rmsnorm)(const ek_rmsnorm_t *, long, long);
    void (*rmsnormBackward)(const ek_rmsnorm_backward_t *, long, long);
    void (*rmsnormWeight)(const ek_rmsnorm_backward_t *, long, long);
    void (*rope)(const ek_rope_t *, long, long);
    void (*glu)(const ek_glu_t *, long, long);
    void (*gluBackward)(const ek_glu_t *, long, long);
    void (*softcap)(const ek_softcap_t *, long, long);
    void (*crossEntropy)(const ek_cross_entropy_t *, long, long);
    void (*adamw)(const ek_adamw_t *, long, long);
    void (*add)(const ek_add_t *, long, long);
    void (*scaleRows)(const ek_scale_t *, long, long);
    void (*embed)(const ek_embed_t *, long, long);
    void (*embedBackward)(const ek_embed_t *, long, long);
    void (*attention)(const ek_attention_t *, long);
    void (*attentionBackward)(const ek_attention_t *, long);
    void (*cachedAttention)(const ek_cached_attention_t *, long);
    double (*squares)(const float *, long);
    long (*nonFinite)(const float *, long);
} ek_nn_loops;

#define EK_NN_LOOPS                                                                              \
    {EK(rmsnorm_range), EK(rmsnorm_backward_range), EK(rmsnorm_weight_range), EK(rope_range),    \
     EK(glu_range), EK(glu_backward_range), EK(softcap_range), EK(cross_entropy_range),          \
     EK(adamw_range), EK(add_range), EK(scale_rows_range), EK(embed_range),                      \
     EK(embed_backward_range), EK(attention_task), EK(attention_backward_task),                  \
     EK(cached_attention_task), EK(square_block), EK(non_finite)}
