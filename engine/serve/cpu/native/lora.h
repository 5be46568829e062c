// Low-rank updates by request: rows of one step may each use the adapter of another slot.
//
// Rows are grouped by slot, so an adapter's matrices are read once for up to eight rows; each row's
// sums have one order whatever its group is.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "gemm.h"

namespace athanor {

// The linear layers of one layer that may have an update, in the order of `Part`.
enum Part : int { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown, kNumParts };

struct LoraSource {
  int32_t rank, inputs, outputs;
  const float* a;  // R x I
  const float* b;  // O x R
};

struct LoraUpdate {
  int rank = 0, inputs = 0, outputs = 0;
  bool is_fp32 = false;
  int64_t a_stride = 0;  // numbers in a row of A
  int64_t b_stride = 0;  // numbers in a row of B, which is stored by rank
  Buffer a;
  Buffer b;

  LoraUpdate(const LoraSource& source, bool is_fp32);
};

struct LoraSlot {
  std::vector<std::unique_ptr<LoraUpdate>> updates;  // layer * kNumParts + part
};

// Up to eight rows of one slot.
struct LoraRows {
  const LoraSlot* slot;
  int count;
  int32_t rows[8];
};

// What one update adds to: rows of `input` give rows of `output`.
struct LoraTarget {
  Part part;
  const float* input;
  int64_t input_stride;
  float* output;
  int64_t output_stride;
};

void apply_lora(Pool& pool, std::vector<Workspace>& spaces, const std::vector<LoraRows>& groups,
                int layer, const std::vector<LoraTarget>& targets);

}  // namespace athanor
