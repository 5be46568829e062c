#include "linear.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "numbers.h"
#include "simd.h"

namespace athanor {
namespace {

constexpr int kMostInputs = 65536;  // 255 * 127 * 65536 still fits an int32 sum

int step_inputs(Kind kind) {
  switch (kind) {
    case Kind::kFloat32: return 1;
    case Kind::kBf16: return 2;
    case Kind::kInt8: return 4;
    default: return 8;
  }
}

// The 64 / 16 = 4 bytes of one column in one step.
void pack_column(const Linear& linear, const LinearSource& source, int column, int step,
                 uint8_t* out) {
  const int first = step * step_inputs(linear.kind);
  const int64_t row = static_cast<int64_t>(column) * linear.inputs;
  if (linear.kind == Kind::kFloat32) {
    std::memcpy(out, static_cast<const float*>(source.weight) + row + first, 4);
  } else if (linear.kind == Kind::kBf16) {
    const int count = std::min(2, linear.inputs - first);
    std::memcpy(out, static_cast<const uint16_t*>(source.weight) + row + first, 2 * count);
  } else if (linear.kind == Kind::kInt8) {
    const int8_t* weight = static_cast<const int8_t*>(source.weight) + row;
    for (int i = 0; i < 4 && first + i < linear.inputs; ++i)
      out[i] = static_cast<uint8_t>(weight[first + i] + 128);
  } else {
    // A byte holds an input of the step's first half low and of its second half high, so that one
    // mask and one shift give two steps of four.
    const uint8_t* weight = static_cast<const uint8_t*>(source.weight) + row / 2;
    const auto nibble = [&](int i) { return weight[i / 2] >> (i % 2 * 4) & 15; };
    for (int i = 0; i < 4; ++i)
      out[i] = static_cast<uint8_t>(nibble(first + i) | nibble(first + 4 + i) << 4);
  }
}

void pack_weight(Linear& linear, const LinearSource& source) {
  linear.weight.reserve(static_cast<size_t>(linear.num_panels) * linear.num_steps * 2 * 64);
  uint8_t* out = linear.weight.as<uint8_t>();
  for (int panel = 0; panel < linear.num_panels; ++panel)
    for (int step = 0; step < linear.num_steps; ++step)
      for (int lane = 0; lane < kPanel; ++lane, out += 4) {
        const int column = panel * kPanel + lane;
        if (column < linear.outputs) pack_column(linear, source, column, step, out);
      }
}

// Halves have 11 bits over 2^-14 to 2^16; in units of a power of two chosen by the largest scale,
// one 2^27 times smaller is still exact to half a thousandth.
void pack_group_scales(Linear& linear, const LinearSource& source) {
  const int64_t count = static_cast<int64_t>(linear.outputs) * linear.num_groups;
  float largest = 0.0f;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(source.scale[i]));
  int exponent = 0;
  if (largest > 0.0f) std::frexp(largest, &exponent);
  linear.unit = std::ldexp(1.0f, exponent - 14);
  const size_t cells = static_cast<size_t>(linear.num_panels) * linear.num_groups * kPanel;
  linear.scale.reserve(cells * 2);
  if (source.zero != nullptr) linear.zero.reserve(cells * 2);
  for (int column = 0; column < linear.outputs; ++column)
    for (int group = 0; group < linear.num_groups; ++group) {
      const int64_t from = static_cast<int64_t>(column) * linear.num_groups + group;
      const int64_t to =
          (static_cast<int64_t>(column / kPanel) * linear.num_groups + group) * kPanel +
          column % kPanel;
      linear.scale.as<uint16_t>()[to] = float_to_half(source.scale[from] / linear.unit);
      if (source.zero != nullptr)
        linear.zero.as<uint16_t>()[to] = float_to_half(source.zero[from]);
    }
}

Buffer copy_padded(const float* values, int count, int num_panels) {
  Buffer out(static_cast<size_t>(num_panels) * kPanel * sizeof(float));
  std::memcpy(out.as<float>(), values, count * sizeof(float));
  return out;
}

}  // namespace

Linear::Linear(const LinearSource& source)
    : kind(static_cast<Kind>(source.kind)), outputs(source.outputs), inputs(source.inputs) {
  if (outputs < 1 || inputs < 1) throw std::invalid_argument("a linear layer without a size");
  if (is_integer() && inputs > kMostInputs)
    throw std::invalid_argument("a quantized layer of more than 65536 inputs");
  group = is_integer() && source.group > 0 ? source.group : inputs;
  num_groups = inputs / group;
  num_panels = static_cast<int>(round_up(outputs, kPanel)) / kPanel;
  num_steps = (inputs + step_inputs(kind) - 1) / step_inputs(kind);
  pack_weight(*this, source);
  if (kind == Kind::kInt8) scale = copy_padded(source.scale, outputs, num_panels);
  if (kind == Kind::kInt4) pack_group_scales(*this, source);
  if (source.bias != nullptr) bias = copy_padded(source.bias, outputs, num_panels);
}

Form Linear::form() const {
  return is_integer() ? Form{Kind::kInt8, group} : Form{kind, 0};
}

void Activation::shape(const Form& wanted, int rows, int inputs) {
  const int64_t size = wanted.kind == Kind::kFloat32 ? 4 : wanted.kind == Kind::kBf16 ? 2 : 1;
  const int64_t stride = round_up(inputs * size, 64) + 64;
  form = wanted;
  width = inputs;
  stride_bytes = stride;
  data.reserve(static_cast<size_t>(rows) * stride);
  if (form.kind != Kind::kInt8) return;
  num_groups = inputs / form.group;
  scales.reserve(static_cast<size_t>(rows) * num_groups * 4);
  sums.reserve(static_cast<size_t>(rows) * num_groups * 4);
}

namespace {

// Round one group to int8 by its largest magnitude. Values past `count` in the last vector of a row
// are cut off; inside a row groups are multiples of 8 wide, so a vector may hold half of the next.
void quantize_group(const float* values, int count, int8_t* out, float* scale, int32_t* sum) {
  const F16 lanes = f_iota();
  const auto load = [&](int i) {
    const F16 x = f_load(values + i);
    const float left = static_cast<float>(count - i);
    return left >= 16.0f ? x : f_below(lanes, f_set(left), x, f_zero());
  };
  F16 largest = f_zero();
  for (int i = 0; i < count; i += kTile) largest = f_max(largest, f_abs(load(i)));
  const float top = f_largest(largest);
  const F16 factor = f_set(top > 0.0f ? 127.0f / top : 0.0f);
  I16 total = i_zero();
  for (int i = 0; i < count; i += kTile) {
    const I16 rounded = to_int(f_mul(load(i), factor));
    total = i_add(total, rounded);
    if (count - i >= kTile) {
      store_int8(out + i, rounded);
    } else {
      int8_t tail[kTile];
      store_int8(tail, rounded);
      std::memcpy(out + i, tail, count - i);
    }
  }
  *scale = top / 127.0f;
  *sum = i_sum(total);
}

}  // namespace

void Activation::fill_row(int index, const float* values) {
  uint8_t* out = data.as<uint8_t>() + static_cast<int64_t>(index) * stride_bytes;
  // A kernel's last step may read past the row's end: it must meet zeros there.
  const int64_t size = form.kind == Kind::kFloat32 ? 4 : form.kind == Kind::kBf16 ? 2 : 1;
  std::memset(out + width * size, 0, 8);
  if (form.kind == Kind::kFloat32) {
    std::memcpy(out, values, static_cast<size_t>(width) * 4);
  } else if (form.kind == Kind::kBf16) {
    uint16_t* to = reinterpret_cast<uint16_t*>(out);
    int i = 0;
    for (; i + kTile <= width; i += kTile) store_bf16(to + i, f_load(values + i));
    for (; i < width; ++i) to[i] = float_to_bf16(values[i]);
  } else {
    const int64_t cell = static_cast<int64_t>(index) * num_groups;
    for (int group = 0; group < num_groups; ++group)
      quantize_group(values + group * form.group, form.group,
                     reinterpret_cast<int8_t*>(out) + group * form.group,
                     scales.as<float>() + cell + group, sums.as<int32_t>() + cell + group);
  }
}

}  // namespace athanor
