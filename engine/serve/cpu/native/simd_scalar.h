// Sixteen lanes in plain C++: right on every processor, and what the two others are tested against.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "numbers.h"

namespace athanor {

struct F16 {
  float v[16];
};
struct I16 {
  int32_t v[16];
};
struct Raw {
  uint8_t v[64];
};

constexpr int kIntRows = 2;
constexpr int kFloatRows = 2;

template <class Call>
inline F16 each_float(Call call) {
  F16 out;
  for (int i = 0; i < 16; ++i) out.v[i] = call(i);
  return out;
}
template <class Call>
inline I16 each_int(Call call) {
  I16 out;
  for (int i = 0; i < 16; ++i) out.v[i] = call(i);
  return out;
}

inline F16 f_set(float x) {
  return each_float([&](int) { return x; });
}
inline F16 f_zero() { return f_set(0.0f); }
inline F16 f_load(const float* p) {
  return each_float([&](int i) { return p[i]; });
}
inline void f_store(float* p, const F16& x) { std::memcpy(p, x.v, sizeof x.v); }
inline F16 f_add(const F16& a, const F16& b) {
  return each_float([&](int i) { return a.v[i] + b.v[i]; });
}
inline F16 f_sub(const F16& a, const F16& b) {
  return each_float([&](int i) { return a.v[i] - b.v[i]; });
}
inline F16 f_mul(const F16& a, const F16& b) {
  return each_float([&](int i) { return a.v[i] * b.v[i]; });
}
inline F16 f_div(const F16& a, const F16& b) {
  return each_float([&](int i) { return a.v[i] / b.v[i]; });
}
inline F16 f_fma(const F16& a, const F16& b, const F16& c) {
  return each_float([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline F16 f_max(const F16& a, const F16& b) {
  return each_float([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline F16 f_min(const F16& a, const F16& b) {
  return each_float([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline F16 f_abs(const F16& a) {
  return each_float([&](int i) { return std::fabs(a.v[i]); });
}
inline F16 f_below(const F16& a, const F16& b, const F16& x, const F16& y) {
  return each_float([&](int i) { return a.v[i] < b.v[i] ? x.v[i] : y.v[i]; });
}
inline F16 f_iota() {
  return each_float([](int i) { return static_cast<float>(i); });
}
inline float f_sum(const F16& a) {
  float sum = 0.0f;
  for (float x : a.v) sum += x;
  return sum;
}
inline float f_largest(const F16& a) {
  float best = a.v[0];
  for (float x : a.v) best = x > best ? x : best;
  return best;
}
inline float f_smallest(const F16& a) {
  float best = a.v[0];
  for (float x : a.v) best = x < best ? x : best;
  return best;
}

inline I16 i_set(int32_t x) {
  return each_int([&](int) { return x; });
}
inline I16 i_zero() { return i_set(0); }
inline I16 i_add(const I16& a, const I16& b) {
  return each_int([&](int i) { return a.v[i] + b.v[i]; });
}
inline I16 i_mul(const I16& a, const I16& b) {
  return each_int([&](int i) { return a.v[i] * b.v[i]; });
}
inline I16 i_and(const I16& a, const I16& b) {
  return each_int([&](int i) { return a.v[i] & b.v[i]; });
}
inline I16 i_shift_right_4(const I16& a) {
  return each_int([&](int i) { return a.v[i] >> 4; });
}
inline int32_t i_sum(const I16& a) {
  int32_t sum = 0;
  for (int32_t x : a.v) sum += x;
  return sum;
}
inline F16 to_float(const I16& a) {
  return each_float([&](int i) { return static_cast<float>(a.v[i]); });
}
inline I16 to_int(const F16& a) {
  // What no int32 holds becomes the smallest, as the vector instructions have it.
  return each_int([&](int i) {
    return std::fabs(a.v[i]) < 2.0e9f ? static_cast<int32_t>(std::nearbyint(a.v[i])) : INT32_MIN;
  });
}
inline F16 f_power_of_two(const I16& n) {
  return each_float([&](int i) { return std::ldexp(1.0f, n.v[i]); });
}

inline void store_int8(int8_t* p, const I16& a) {
  for (int i = 0; i < 16; ++i)
    p[i] = static_cast<int8_t>(a.v[i] > 127 ? 127 : a.v[i] < -128 ? -128 : a.v[i]);
}
inline I16 load_int8(const int8_t* p) {
  return each_int([&](int i) { return p[i]; });
}
inline I16 load_uint8(const uint8_t* p) {
  return each_int([&](int i) { return p[i]; });
}
inline F16 load_half(const uint16_t* p) {
  return each_float([&](int i) { return half_to_float(p[i]); });
}
inline F16 load_bf16(const uint16_t* p) {
  return each_float([&](int i) { return bf16_to_float(p[i]); });
}
inline void store_bf16(uint16_t* p, const F16& x) {
  for (int i = 0; i < 16; ++i) p[i] = float_to_bf16(x.v[i]);
}

inline Raw load_raw(const void* p) {
  Raw out;
  std::memcpy(out.v, p, 64);
  return out;
}
inline void store_raw(void* p, const Raw& x) { std::memcpy(p, x.v, 64); }
inline Raw low_nibbles(Raw w) {
  for (uint8_t& byte : w.v) byte &= 15;
  return w;
}
inline Raw high_nibbles(Raw w) {
  for (uint8_t& byte : w.v) byte >>= 4;
  return w;
}
inline F16 as_floats(const Raw& w) {
  F16 out;
  std::memcpy(out.v, w.v, 64);
  return out;
}

struct Quad {
  int32_t v[4];
};
inline Quad load_quad(const int8_t* p) { return {{p[0], p[1], p[2], p[3]}}; }
inline I16 dot_quads(I16 sum, const Raw& w, const Quad& a) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 4; ++j) sum.v[i] += w.v[4 * i + j] * a.v[j];
  return sum;
}

inline Raw load_pair(const uint16_t* p) {
  Raw out;
  for (int i = 0; i < 16; ++i) std::memcpy(out.v + 4 * i, p, 4);
  return out;
}
inline F16 dot_pairs(F16 sum, const Raw& w, const Raw& a) {
  uint16_t left[32], right[32];
  std::memcpy(left, w.v, 64);
  std::memcpy(right, a.v, 64);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 2; ++j)
      sum.v[i] += bf16_to_float(left[2 * i + j]) * bf16_to_float(right[2 * i + j]);
  return sum;
}

}  // namespace athanor
