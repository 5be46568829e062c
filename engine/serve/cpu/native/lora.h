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

// Numbers are bf16 or floats. A lies in blocks of four ranks, sixteen inputs of each in turn; B in
// tiles of sixteen outputs, one rank after the other: both are read from front to back.
struct LoraUpdate {
  int rank = 0;  // 0: none
  int inputs = 0, outputs = 0;
  int64_t a = 0, b = 0;  // where they begin in the slot's memory, in bytes
};

// All updates of one adapter in one piece, in the order in which a step reads them.
struct LoraSlot {
  LoraSlot(const LoraSource* sources, int count, bool is_fp32);

  bool is_fp32;
  std::vector<LoraUpdate> updates;  // layer * kNumParts + part
  Buffer memory;
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
