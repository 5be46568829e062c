// Sixteen lanes in two AVX2 registers: for processors without AVX-512. Same sums as simd_avx512.h.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace athanor {

struct F16 {
  __m256 a, b;
};
struct I16 {
  __m256i a, b;
};
using Raw = I16;

constexpr int kIntRows = 2;  // 16 registers hold two rows of two tiles
constexpr int kFloatRows = 2;

#define ATHANOR_F1(name, call) \
  inline F16 name(F16 x) { return {call(x.a), call(x.b)}; }
#define ATHANOR_F2(name, call) \
  inline F16 name(F16 x, F16 y) { return {call(x.a, y.a), call(x.b, y.b)}; }
#define ATHANOR_I2(name, call) \
  inline I16 name(I16 x, I16 y) { return {call(x.a, y.a), call(x.b, y.b)}; }
ATHANOR_F2(f_add, _mm256_add_ps)
ATHANOR_F2(f_sub, _mm256_sub_ps)
ATHANOR_F2(f_mul, _mm256_mul_ps)
ATHANOR_F2(f_div, _mm256_div_ps)
ATHANOR_F2(f_max, _mm256_max_ps)
ATHANOR_F2(f_min, _mm256_min_ps)
ATHANOR_I2(i_add, _mm256_add_epi32)
ATHANOR_I2(i_mul, _mm256_mullo_epi32)
ATHANOR_I2(i_and, _mm256_and_si256)
#undef ATHANOR_F1
#undef ATHANOR_F2
#undef ATHANOR_I2

inline F16 f_set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F16 f_zero() { return f_set(0.0f); }
inline F16 f_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void f_store(float* p, F16 x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
inline F16 f_fma(F16 a, F16 b, F16 c) {
  return {_mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b)};
}
inline F16 f_abs(F16 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline F16 f_below(F16 a, F16 b, F16 x, F16 y) {
  return {_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ))};
}
inline F16 f_iota() {
  return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}
template <class Join>
inline float f_fold(F16 x, Join join) {
  alignas(32) float lanes[16];
  f_store(lanes, x);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] = join(lanes[i], lanes[i + width]);
  return lanes[0];
}
inline float f_sum(F16 x) {
  return f_fold(x, [](float p, float q) { return p + q; });
}
inline float f_largest(F16 x) {
  return f_fold(x, [](float p, float q) { return p > q ? p : q; });
}
inline float f_smallest(F16 x) {
  return f_fold(x, [](float p, float q) { return p < q ? p : q; });
}

inline I16 i_set(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline I16 i_zero() { return i_set(0); }
inline I16 i_shift_right_4(I16 x) {
  return {_mm256_srli_epi32(x.a, 4), _mm256_srli_epi32(x.b, 4)};
}
inline int32_t i_sum(I16 x) {
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi32(x.a, x.b));
  int32_t sum = 0;
  for (int32_t lane : lanes) sum += lane;
  return sum;
}
inline F16 to_float(I16 x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline I16 to_int(F16 x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline F16 f_power_of_two(I16 n) {
  const I16 biased = i_add(n, i_set(127));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(biased.a, 23)),
          _mm256_castsi256_ps(_mm256_slli_epi32(biased.b, 23))};
}

inline void store_int8(int8_t* p, I16 x) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
inline I16 load_int8(const int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
inline I16 load_uint8(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
inline __m128i load_8_words(const uint16_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
inline F16 load_half(const uint16_t* p) {
  return {_mm256_cvtph_ps(load_8_words(p)), _mm256_cvtph_ps(load_8_words(p + 8))};
}
inline __m256 widen_bf16(__m128i words) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(words), 16));
}
inline F16 load_bf16(const uint16_t* p) {
  return {widen_bf16(load_8_words(p)), widen_bf16(load_8_words(p + 8))};
}
inline __m256i round_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i rounded = _mm256_blendv_epi8(_mm256_add_epi32(bits, up),
                                             _mm256_set1_epi32(0x7fc00000), is_nan);
  return _mm256_srli_epi32(rounded, 16);
}
inline void store_bf16(uint16_t* p, F16 x) {
  const __m256i words = _mm256_packus_epi32(round_bf16(x.a), round_bf16(x.b));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(words, 0xd8));
}

inline Raw load_raw(const void* p) {
  const __m256i* halves = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}
inline void store_raw(void* p, Raw x) {
  __m256i* halves = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(halves, x.a);
  _mm256_storeu_si256(halves + 1, x.b);
}
inline Raw low_nibbles(Raw w) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(w.a, mask), _mm256_and_si256(w.b, mask)};
}
inline Raw high_nibbles(Raw w) {
  return low_nibbles({_mm256_srli_epi16(w.a, 4), _mm256_srli_epi16(w.b, 4)});
}
inline F16 as_floats(Raw w) { return {_mm256_castsi256_ps(w.a), _mm256_castsi256_ps(w.b)}; }

// maddubs would saturate on 8-bit weights, so even and odd bytes are multiplied as 16-bit words.
struct Quad {
  __m256i even, odd;
};
inline Quad load_quad(const int8_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  const __m256i all = _mm256_set1_epi32(bits);
  return {_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
}
inline __m256i dot_half(__m256i sum, __m256i w, const Quad& a) {
  const __m256i even = _mm256_and_si256(w, _mm256_set1_epi16(0xff));
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, a.even));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(w, 8), a.odd));
}
inline I16 dot_quads(I16 sum, Raw w, Quad a) {
  return {dot_half(sum.a, w.a, a), dot_half(sum.b, w.b, a)};
}

inline Raw load_pair(const uint16_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return i_set(bits);
}
inline __m256 dot_half(__m256 sum, __m256i w, __m256i a) {
  const __m256i high = _mm256_set1_epi32(static_cast<int32_t>(0xffff0000u));
  sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(w, 16)),
                        _mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), sum);
  return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(w, high)),
                         _mm256_castsi256_ps(_mm256_and_si256(a, high)), sum);
}
inline F16 dot_pairs(F16 sum, Raw w, Raw a) {
  return {dot_half(sum.a, w.a, a.a), dot_half(sum.b, w.b, a.b)};
}

}  // namespace athanor
