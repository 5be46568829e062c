// A linear layer packed for streaming, and its inputs in the form that its kernel multiplies.
//
// Columns (outputs) go in panels of 32, two tiles of 16 lanes. Along the inputs a panel is a run of
// steps; each step is 64 bytes per tile: 16 columns of 1 float32, 2 bf16, 4 bytes, or 8 nibbles.
// A whole panel lies in one piece, so a pass over it is one forward read of memory.
#pragma once
#include <cstdint>

#include "memory.h"

namespace athanor {

constexpr int kTile = 16;
constexpr int kPanel = 2 * kTile;

enum class Kind : int { kFloat32 = 0, kBf16 = 1, kInt8 = 2, kInt4 = 3 };

// What a linear layer wants its inputs to be: floats, bf16, or int8 with a scale per `group`.
struct Form {
  Kind kind = Kind::kFloat32;
  int group = 0;
  bool operator==(const Form& other) const {
    return kind == other.kind && group == other.group;
  }
};

// The arguments of one layer as Python hands them over; nothing is kept of the pointers.
struct LinearSource {
  int32_t kind;
  int32_t outputs;
  int32_t inputs;
  int32_t group;          // int4: inputs that share a scale. int8: inputs quantized together.
  const void* weight;     // as LinearWeights has it
  const float* scale;     // int8: O; int4: O x I/G
  const float* zero;      // int4: O x I/G or null for 8
  const float* bias;      // O or null
};

struct Linear {
  Kind kind = Kind::kFloat32;
  int outputs = 0;
  int inputs = 0;
  int group = 0;       // inputs of a group: all of them where there is one scale
  int num_groups = 0;
  int num_panels = 0;
  int num_steps = 0;   // 64-byte steps of a tile
  float unit = 1.0f;   // int4: what the halves in `scale` are multiples of, a power of two
  Buffer weight;       // panel, step, tile, 64 bytes
  Buffer scale;        // int4: panel, group, 32 halves. int8: 32 floats a panel
  Buffer zero;         // int4: panel, group, 32 halves; empty for 8
  Buffer bias;         // 32 floats a panel; empty for none

  explicit Linear(const LinearSource& source);
  Form form() const;
  bool is_integer() const { return kind == Kind::kInt8 || kind == Kind::kInt4; }
  const uint8_t* panel(int index) const {
    return weight.as<uint8_t>() + static_cast<int64_t>(index) * num_steps * 2 * 64;
  }
};

// Rows of inputs in one form.
struct Activation {
  Form form;
  int width = 0;
  int num_groups = 0;
  int64_t stride_bytes = 0;
  Buffer data;
  Buffer scales;  // row, group: float
  Buffer sums;    // row, group: int32, the sum of its int8

  void shape(const Form& wanted, int rows, int inputs);
  // Fill one row from floats; may read up to 15 floats past the row's end.
  void fill_row(int row, const float* values);
  const uint8_t* row(int index) const {
    return data.as<uint8_t>() + static_cast<int64_t>(index) * stride_bytes;
  }
};

}  // namespace athanor
