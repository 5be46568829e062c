// Sixteen lanes of floats and int32 and what the kernels do with them, for the processor at hand.
// The three headers give one set of names, so that each kernel is written once.
#pragma once

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "simd_avx512.h"
#define ATHANOR_SIMD "avx512"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd_avx2.h"
#define ATHANOR_SIMD "avx2"
#else
#include "simd_scalar.h"
#define ATHANOR_SIMD "scalar"
#endif

namespace athanor {

constexpr int kLanes = 16;

// e^x; exactly 1 at 0, exactly 0 below -87 (so a masked score of -infinity weighs nothing), with a
// relative error below 3e-7. Cephes' expf: e^r as a polynomial on |r| <= ln(2)/2, times a power of
// two.
inline F16 f_exp(F16 x) {
  const F16 clamped = f_min(f_max(x, f_set(-87.0f)), f_set(88.0f));
  const I16 whole = to_int(f_mul(clamped, f_set(1.44269504f)));
  const F16 n = to_float(whole);
  F16 r = f_fma(n, f_set(-0.693359375f), clamped);
  r = f_fma(n, f_set(2.12194440e-4f), r);
  F16 p = f_set(1.9875691500e-4f);
  p = f_fma(p, r, f_set(1.3981999507e-3f));
  p = f_fma(p, r, f_set(8.3334519073e-3f));
  p = f_fma(p, r, f_set(4.1665795894e-2f));
  p = f_fma(p, r, f_set(1.6666665459e-1f));
  p = f_fma(p, r, f_set(5.0000001201e-1f));
  p = f_fma(p, f_mul(r, r), f_add(r, f_set(1.0f)));
  return f_below(x, f_set(-87.0f), f_zero(), f_mul(p, f_power_of_two(whole)));
}

}  // namespace athanor
