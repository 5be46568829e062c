// Attention of new tokens over block tables: causal, grouped queries, with an optional window.
#pragma once
#include <cstdint>
#include <vector>

#include "kv_pool.h"
#include "memory.h"

namespace athanor {

// New tokens `first` to `last` (excluded) of one request, all of the query heads of one key head.
struct AttentionTask {
  const int32_t* blocks;  // the request's table
  const int32_t* positions;
  int first, last;
  int kv_head;
};

struct AttentionLayer {
  const KvPool* pool;
  int layer;
  int group;     // query heads of a key head
  int window;    // 0: none
  float scale;
  const float* queries;  // token, head, head_dim
  int64_t query_stride;
  float* output;         // token, head, head_dim
  int64_t output_stride;
};

// Tokens of a task, so that its rows fill the kernel.
int attention_tokens(int group);

// Online softmax (arXiv 1805.02867) over tiles of 64 positions that begin at multiples of 64: the
// order of a row's sums depends on its position alone.
void attend(const AttentionLayer& layer, const AttentionTask& task, Workspace& space);

}  // namespace athanor
