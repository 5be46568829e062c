// Inputs times packed weights, for any number of rows.
//
// The sum of one output runs over its inputs in one order: step by step inside a group, exactly in
// integers or by fused multiply-add in floats, then group by group. How many rows and columns a
// kernel holds at once, and on which thread, changes nothing in it: results are equal bit for bit
// whatever shares the batch.
#pragma once
#include <vector>

#include "linear.h"
#include "pool.h"

namespace athanor {

struct Gemm {
  const Linear* linear;
  const Activation* input;  // its rows 0 to num_rows
  float* output;            // row 0
  int64_t stride;           // floats from one output row to the next
  bool adds;                // onto what is there
};

void multiply(Pool& pool, const std::vector<Gemm>& gemms, int num_rows);

}  // namespace athanor
