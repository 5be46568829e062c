// One number at a time between float and its two-byte forms.
#pragma once
#include <cstdint>
#include <cstring>

namespace athanor {

inline uint32_t float_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float float_of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline float bf16_to_float(uint16_t x) { return float_of_bits(static_cast<uint32_t>(x) << 16); }
inline uint16_t float_to_bf16(float x) {
  const uint32_t bits = float_bits(x);
  if (x != x) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline float half_to_float(uint16_t x) {
  const uint32_t sign = static_cast<uint32_t>(x & 0x8000) << 16;
  const uint32_t exponent = (x >> 10) & 31, fraction = x & 1023;
  if (exponent == 0) {  // subnormal: the fraction in units of 2^-24
    const float small = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return float_of_bits(float_bits(small) | sign);
  }
  if (exponent == 31) return float_of_bits(sign | 0x7f800000 | (fraction << 13));
  return float_of_bits(sign | ((exponent + 112) << 23) | (fraction << 13));
}
// Of normal results only: the caller scales its numbers so that they are.
inline uint16_t float_to_half(float x) {
  const uint32_t bits = float_bits(x), sign = (bits >> 16) & 0x8000;
  const uint32_t rounded = (bits & 0x7fffffff) + 0xfff + ((bits >> 13) & 1);
  if (rounded < (113u << 23)) {  // subnormal or zero
    const float units = float_of_bits(bits & 0x7fffffff) * 16777216.0f;
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(units + 0.5f));
  }
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

}  // namespace athanor
