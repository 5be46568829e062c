// Sixteen lanes in one AVX-512 register. VNNI and BF16 are used where the compiler targets them.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace athanor {

using F16 = __m512;   // 16 floats
using I16 = __m512i;  // 16 int32
using Raw = __m512i;  // 64 bytes of packed weights

constexpr int kIntRows = 6;     // 6 rows x 2 tiles: 12 integer and 12 float sums fit 32 registers
constexpr int kFloatRows = 8;   // 16 sums, and room for weights: 12 rows ran 8 % slower

inline F16 f_zero() { return _mm512_setzero_ps(); }
inline F16 f_set(float x) { return _mm512_set1_ps(x); }
inline F16 f_load(const float* p) { return _mm512_loadu_ps(p); }
inline void f_store(float* p, F16 x) { _mm512_storeu_ps(p, x); }
inline F16 f_add(F16 a, F16 b) { return _mm512_add_ps(a, b); }
inline F16 f_sub(F16 a, F16 b) { return _mm512_sub_ps(a, b); }
inline F16 f_mul(F16 a, F16 b) { return _mm512_mul_ps(a, b); }
inline F16 f_div(F16 a, F16 b) { return _mm512_div_ps(a, b); }
inline F16 f_fma(F16 a, F16 b, F16 c) { return _mm512_fmadd_ps(a, b, c); }
inline F16 f_max(F16 a, F16 b) { return _mm512_max_ps(a, b); }
inline F16 f_min(F16 a, F16 b) { return _mm512_min_ps(a, b); }
inline F16 f_abs(F16 a) { return _mm512_abs_ps(a); }
inline float f_sum(F16 a) { return _mm512_reduce_add_ps(a); }
inline float f_largest(F16 a) { return _mm512_reduce_max_ps(a); }
inline float f_smallest(F16 a) { return _mm512_reduce_min_ps(a); }
// Lane by lane a < b ? x : y.
inline F16 f_below(F16 a, F16 b, F16 x, F16 y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
inline F16 f_iota() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

inline I16 i_zero() { return _mm512_setzero_si512(); }
inline I16 i_set(int32_t x) { return _mm512_set1_epi32(x); }
inline I16 i_add(I16 a, I16 b) { return _mm512_add_epi32(a, b); }
inline I16 i_mul(I16 a, I16 b) { return _mm512_mullo_epi32(a, b); }
inline I16 i_and(I16 a, I16 b) { return _mm512_and_si512(a, b); }
inline I16 i_shift_right_4(I16 a) { return _mm512_srli_epi32(a, 4); }
inline int32_t i_sum(I16 a) { return _mm512_reduce_add_epi32(a); }
inline F16 to_float(I16 a) { return _mm512_cvtepi32_ps(a); }
inline I16 to_int(F16 a) { return _mm512_cvtps_epi32(a); }
// 2^n of whole n in [-126, 127].
inline F16 f_power_of_two(I16 n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, i_set(127)), 23));
}

inline void store_int8(int8_t* p, I16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a));
}
inline I16 load_int8(const int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline I16 load_uint8(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline F16 load_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F16 load_bf16(const uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
// Round to nearest even by arithmetic, so that every processor gives the same bits.
inline void store_bf16(uint16_t* p, F16 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), i_set(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, i_set(0x7fff)));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_blend_epi32(is_nan, rounded, i_set(0x7fc00000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

inline Raw load_raw(const void* p) { return _mm512_loadu_si512(p); }
inline void store_raw(void* p, Raw x) { _mm512_storeu_si512(p, x); }
inline Raw low_nibbles(Raw w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
inline Raw high_nibbles(Raw w) {
  return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15));
}
inline F16 as_floats(Raw w) { return _mm512_castsi512_ps(w); }

// Four int8 of an input, in every lane.
#ifdef __AVX512VNNI__
using Quad = __m512i;
inline Quad load_quad(const int8_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm512_set1_epi32(bits);
}
inline I16 dot_quads(I16 sum, Raw w, Quad a) { return _mm512_dpbusd_epi32(sum, w, a); }
#else
struct Quad {
  __m512i even, odd;  // each two int16
};
inline Quad load_quad(const int8_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  const __m512i all = _mm512_set1_epi32(bits);
  return {_mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8), _mm512_srai_epi16(all, 8)};
}
inline I16 dot_quads(I16 sum, Raw w, Quad a) {
  const __m512i even = _mm512_and_si512(w, _mm512_set1_epi16(0xff));
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(even, a.even));
  return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_srli_epi16(w, 8), a.odd));
}
#endif

// Two bf16 of an input, in every lane; and two times 16 of them.
inline Raw load_pair(const uint16_t* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm512_set1_epi32(bits);
}
inline F16 dot_pairs(F16 sum, Raw w, Raw a) {
#ifdef __AVX512BF16__
  return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)a);
#else
  const __m512i high = i_set(static_cast<int32_t>(0xffff0000u));
  sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(w, 16)),
                        _mm512_castsi512_ps(_mm512_slli_epi32(a, 16)), sum);
  return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(w, high)),
                         _mm512_castsi512_ps(_mm512_and_si512(a, high)), sum);
#endif
}

}  // namespace athanor
