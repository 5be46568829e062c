// The innermost kernels: a few rows of inputs against one or two panels, all sums in registers.
#pragma once
#include "gemm.h"
#include "simd.h"

namespace athanor {

// Far enough that a line has come from memory when it is needed, near enough to be kept till then.
constexpr int kPrefetchBytes = 1024;

inline void write_tile(const Gemm& gemm, int row, int column, F16 value) {
  float* out = gemm.output + row * gemm.stride + column;
  const int left = gemm.linear->outputs - column;
  if (left >= kTile) {
    f_store(out, gemm.adds ? f_add(f_load(out), value) : value);
    return;
  }
  alignas(64) float lanes[kTile];
  f_store(lanes, value);
  for (int i = 0; i < left; ++i) out[i] = gemm.adds ? out[i] + lanes[i] : lanes[i];
}

// Sums of `Rows` rows over the steps of one group. `first_step` counts steps of four inputs.
template <bool kNibbles, int Rows, int Tiles>
inline void dot_group(I16 (&sums)[Rows][Tiles], const uint8_t* const (&weight)[Tiles / 2],
                      const int8_t* input, int64_t stride, int num_steps) {
  constexpr int kHalves = kNibbles ? 2 : 1;
  for (int step = 0; step < num_steps; step += kHalves) {
    Raw packed[Tiles];
#pragma GCC unroll 4
    for (int tile = 0; tile < Tiles; ++tile) {
      const uint8_t* from = weight[tile / 2] + (step / kHalves * 2 + tile % 2) * 64;
      __builtin_prefetch(from + kPrefetchBytes);
      packed[tile] = load_raw(from);
    }
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      Raw w[Tiles];
#pragma GCC unroll 4
      for (int tile = 0; tile < Tiles; ++tile)
        w[tile] = !kNibbles   ? packed[tile]
                  : half == 0 ? low_nibbles(packed[tile])
                              : high_nibbles(packed[tile]);
#pragma GCC unroll 16
      for (int row = 0; row < Rows; ++row) {
        const Quad a = load_quad(input + row * stride + (step + half) * 4);
#pragma GCC unroll 4
        for (int tile = 0; tile < Tiles; ++tile)
          sums[row][tile] = dot_quads(sums[row][tile], w[tile], a);
      }
    }
  }
}

// Nibbles are spread to bytes in registers for every block of rows: once for all rows, through
// memory, was slower at 16 rows and no faster at 512.
template <bool kIsInt4, int Rows, int Panels>
void integer_block(const Gemm& gemm, int panel, int first_row) {
  constexpr int Tiles = 2 * Panels;
  const Linear& linear = *gemm.linear;
  const Activation& input = *gemm.input;
  const int groups = linear.num_groups;
  const int steps = (linear.group + 3) / 4;
  const int64_t group_bytes = static_cast<int64_t>(steps) * (kIsInt4 ? 64 : 128);
  const uint8_t* weight[Panels];
#pragma GCC unroll 4
  for (int i = 0; i < Panels; ++i)
    weight[i] = linear.panel(panel + i);
  const uint16_t* zeros = linear.zero.as<uint16_t>();
  const bool has_zeros = kIsInt4 && zeros != nullptr;
  F16 sums[Rows][Tiles];
#pragma GCC unroll 16
  for (auto& row : sums)
#pragma GCC unroll 4
    for (F16& sum : row) sum = f_zero();
  for (int group = 0; group < groups; ++group) {
    I16 dots[Rows][Tiles];
    const int64_t first_cell = static_cast<int64_t>(first_row) * groups + group;
    const int32_t* row_sums = input.sums.as<int32_t>() + first_cell;
    const int64_t group_cell = (static_cast<int64_t>(panel) * groups + group) * kPanel;
    const int64_t next_panel = static_cast<int64_t>(groups) * kPanel;
    const int32_t middle = has_zeros ? 0 : kIsInt4 ? -8 : -128;
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row)
#pragma GCC unroll 4
      for (int tile = 0; tile < Tiles; ++tile)
        dots[row][tile] = i_set(middle * row_sums[row * groups]);
    dot_group<kIsInt4, Rows, Tiles>(
        dots, weight, reinterpret_cast<const int8_t*>(input.row(first_row)) + group * linear.group,
        input.stride_bytes, steps);
#pragma GCC unroll 4
    for (int i = 0; i < Panels; ++i) weight[i] += group_bytes;
    F16 scale[Tiles], zero[Tiles];
    if (kIsInt4) {
#pragma GCC unroll 4
      for (int tile = 0; tile < Tiles; ++tile) {
        const int64_t cell = group_cell + tile / 2 * next_panel + tile % 2 * kTile;
        scale[tile] = load_half(linear.scale.as<uint16_t>() + cell);
        if (has_zeros) zero[tile] = load_half(zeros + cell);
      }
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const F16 factor = f_set(input.scales.as<float>()[first_cell + row * groups]);
      const F16 row_sum = f_set(-static_cast<float>(row_sums[row * groups]));
#pragma GCC unroll 4
      for (int tile = 0; tile < Tiles; ++tile) {
        F16 dot = to_float(dots[row][tile]);
        // sum (w - zero) a = sum w a - zero sum a
        if (has_zeros) dot = f_fma(zero[tile], row_sum, dot);
        sums[row][tile] = kIsInt4
                              ? f_fma(f_mul(dot, factor), scale[tile], sums[row][tile])
                              : f_fma(dot, factor, sums[row][tile]);
      }
    }
  }
#pragma GCC unroll 4
  for (int tile = 0; tile < Tiles; ++tile) {
    const int column = panel * kPanel + tile * kTile;
    if (column >= linear.outputs) break;
    const F16 last =
        kIsInt4 ? f_set(linear.unit) : f_load(linear.scale.as<float>() + column);
    const F16 bias = linear.bias.bytes() ? f_load(linear.bias.as<float>() + column) : f_zero();
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row)
      write_tile(gemm, first_row + row, column, f_fma(sums[row][tile], last, bias));
  }
}

template <bool kIsBf16, int Rows, int Panels>
void float_block(const Gemm& gemm, int panel, int first_row) {
  constexpr int Tiles = 2 * Panels;
  const Linear& linear = *gemm.linear;
  const uint8_t* input = gemm.input->row(first_row);
  const int64_t stride = gemm.input->stride_bytes;
  F16 sums[Rows][Tiles];
#pragma GCC unroll 16
  for (auto& row : sums)
#pragma GCC unroll 4
    for (F16& sum : row) sum = f_zero();
  const uint8_t* weight[Panels];
#pragma GCC unroll 4
  for (int i = 0; i < Panels; ++i) weight[i] = linear.panel(panel + i);
  for (int step = 0; step < linear.num_steps; ++step) {
    Raw w[Tiles];
#pragma GCC unroll 4
    for (int tile = 0; tile < Tiles; ++tile) {
      const uint8_t* from = weight[tile / 2] + (step * 2 + tile % 2) * 64;
      __builtin_prefetch(from + kPrefetchBytes);
      w[tile] = load_raw(from);
    }
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row) {
      const uint8_t* a = input + row * stride + step * 4;
      if (kIsBf16) {
        const Raw pair = load_pair(reinterpret_cast<const uint16_t*>(a));
#pragma GCC unroll 4
        for (int tile = 0; tile < Tiles; ++tile)
          sums[row][tile] = dot_pairs(sums[row][tile], w[tile], pair);
      } else {
        const F16 x = f_set(*reinterpret_cast<const float*>(a));
#pragma GCC unroll 4
        for (int tile = 0; tile < Tiles; ++tile)
          sums[row][tile] = f_fma(as_floats(w[tile]), x, sums[row][tile]);
      }
    }
  }
#pragma GCC unroll 4
  for (int tile = 0; tile < Tiles; ++tile) {
    const int column = panel * kPanel + tile * kTile;
    if (column >= linear.outputs) break;
    const F16 bias = linear.bias.bytes() ? f_load(linear.bias.as<float>() + column) : f_zero();
#pragma GCC unroll 16
    for (int row = 0; row < Rows; ++row)
      write_tile(gemm, first_row + row, column, f_add(sums[row][tile], bias));
  }
}

}  // namespace athanor
