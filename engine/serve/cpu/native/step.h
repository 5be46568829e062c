// One step's batch as Python hands it over, checked, and cut into pieces that may run at once.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "attention.h"
#include "lora.h"
#include "model.h"

namespace athanor {

// Twin of binding.StepSource. All int32, without gaps.
struct StepSource {
  int32_t num_tokens, num_requests, num_rows, table_width;
  int32_t wants_hidden;  // the normed last hidden states instead of logits
  const int32_t* token_ids;
  const int32_t* positions;
  const int32_t* query_starts;
  const int32_t* context_lengths;
  const int32_t* block_tables;
  const int32_t* logits_rows;
  const int32_t* adapters;
  float* output;
};

using LoraSlots = std::vector<std::unique_ptr<LoraSlot>>;

// Refuse what would read or write outside of the decoder's memory, or what no caller can mean.
// Raises std::invalid_argument with a sentence that names the field.
void check_step(const ModelSource& model, const LoraSlots& slots, const StepSource& step);

// New tokens of one request that one thread writes into the pool: whole cells.
struct WriteTask {
  const int32_t* blocks;
  int first, last;
};

// Rows `first` to `last`, which go through a feed-forward together.
struct Strip {
  int first, last;
  std::vector<LoraRows> lora;  // rows counted from `first`
};

struct Plan {
  std::vector<WriteTask> writes;
  std::vector<AttentionTask> attention;
  std::vector<LoraRows> lora;
  std::vector<Strip> strips;
};

Plan plan_step(const ModelSource& model, const LoraSlots& slots, const StepSource& step);

}  // namespace athanor
