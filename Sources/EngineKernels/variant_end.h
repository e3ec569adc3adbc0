// Closes what a variant_*.h opened.
#if !EK_SCALAR
#pragma clang attribute pop
#endif
