#include "step.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <unordered_set>

namespace athanor {
namespace {

constexpr int kStripRows = 132;  // whole blocks of six; 66 to 516 ran within 5 %
constexpr int kWritePositions = 64;

void refuse(const std::string& sentence) { throw std::invalid_argument(sentence); }

std::string name(const char* field, int64_t index, int64_t value) {
  return std::string(field) + "[" + std::to_string(index) + "] is " + std::to_string(value);
}

void check_request(const ModelSource& model, const StepSource& step, int request,
                   std::unordered_set<int32_t>& written) {
  const int first = step.query_starts[request], last = step.query_starts[request + 1];
  const int length = step.context_lengths[request];
  if (length < last - first || length > model.max_positions)
    refuse(name("context_lengths_S", request, length) + ", which must hold the request's " +
           std::to_string(last - first) + " new tokens and at most " +
           std::to_string(model.max_positions) + " positions");
  for (int token = first; token < last; ++token)
    if (step.positions[token] != length - last + token)
      refuse(name("positions_N", token, step.positions[token]) + ", and " +
             std::to_string(length - last + token) + " follows from context_lengths_S");
  const int used = (length + model.block_size - 1) / model.block_size;
  if (used > step.table_width)
    refuse("block_tables_SB has " + std::to_string(step.table_width) + " columns, and request " +
           std::to_string(request) + " needs " + std::to_string(used));
  const int32_t* blocks = step.block_tables + static_cast<int64_t>(request) * step.table_width;
  const int first_written = (length - (last - first)) / model.block_size;
  for (int entry = 0; entry < used; ++entry) {
    if (blocks[entry] < 0 || blocks[entry] >= model.num_blocks)
      refuse(name("block_tables_SB", request, blocks[entry]) + " at column " +
             std::to_string(entry) + ", and blocks are 0 to " +
             std::to_string(model.num_blocks - 1));
    if (entry >= first_written && !written.insert(blocks[entry]).second)
      refuse("block_tables_SB: block " + std::to_string(blocks[entry]) +
             " would be written from two places in one step");
  }
}

std::vector<LoraRows> group_rows(const LoraSlots& slots, const StepSource& step, int first,
                                 int last) {
  std::map<int32_t, std::vector<int32_t>> rows;
  for (int request = 0; request < step.num_requests; ++request) {
    if (step.adapters[request] < 0) continue;
    const int from = std::max(first, step.query_starts[request]);
    const int to = std::min(last, step.query_starts[request + 1]);
    for (int row = from; row < to; ++row) rows[step.adapters[request]].push_back(row - first);
  }
  std::vector<LoraRows> groups;
  for (const auto& [slot, members] : rows)
    for (size_t i = 0; i < members.size(); ++i) {
      if (i % 8 == 0) groups.push_back({slots[slot].get(), 0, {}});
      LoraRows& group = groups.back();
      group.rows[group.count++] = members[i];
    }
  return groups;
}

}  // namespace

void check_step(const ModelSource& model, const LoraSlots& slots, const StepSource& step) {
  if (step.num_tokens < 1 || step.num_requests < 1) refuse("token_ids_N holds no token");
  if (step.query_starts[0] != 0)
    refuse(name("query_starts_S1", 0, step.query_starts[0]) + ", not 0");
  for (int request = 0; request < step.num_requests; ++request) {
    const int end = step.query_starts[request + 1];
    if (end < step.query_starts[request] || end > step.num_tokens)
      refuse(name("query_starts_S1", request + 1, end) + ", which is out of order");
    if (end == step.query_starts[request])
      refuse("query_starts_S1: request " + std::to_string(request) + " has no token");
  }
  if (step.query_starts[step.num_requests] != step.num_tokens)
    refuse("query_starts_S1 does not end at the number of tokens");
  for (int token = 0; token < step.num_tokens; ++token)
    if (step.token_ids[token] < 0 || step.token_ids[token] >= model.vocab_size)
      refuse(name("token_ids_N", token, step.token_ids[token]) + ", and the vocabulary has " +
             std::to_string(model.vocab_size));
  std::unordered_set<int32_t> written;
  for (int request = 0; request < step.num_requests; ++request) {
    check_request(model, step, request, written);
    const int slot = step.adapters[request];
    if (slot < -1 || slot >= static_cast<int>(slots.size()) ||
        (slot >= 0 && slots[slot] == nullptr))
      refuse(name("adapters_S", request, slot) + ", and no adapter is in that slot");
  }
  for (int row = 0; row < step.num_rows; ++row)
    if (step.logits_rows[row] < 0 || step.logits_rows[row] >= step.num_tokens)
      refuse(name("logits_rows_R", row, step.logits_rows[row]) + ", and there are " +
             std::to_string(step.num_tokens) + " tokens");
}

Plan plan_step(const ModelSource& model, const LoraSlots& slots, const StepSource& step) {
  Plan plan;
  const int tokens = attention_tokens(model.num_heads / model.num_kv_heads);
  for (int request = 0; request < step.num_requests; ++request) {
    const int32_t* blocks = step.block_tables + static_cast<int64_t>(request) * step.table_width;
    const int first = step.query_starts[request], last = step.query_starts[request + 1];
    for (int from = first; from < last;) {
      const int room = kWritePositions - step.positions[from] % kWritePositions;
      const int to = std::min(last, from + room);
      plan.writes.push_back({blocks, from, to});
      from = to;
    }
    for (int from = first; from < last; from += tokens)
      for (int head = 0; head < model.num_kv_heads; ++head)
        plan.attention.push_back(
            {blocks, step.positions, from, std::min(last, from + tokens), head});
  }
  plan.lora = group_rows(slots, step, 0, step.num_tokens);
  for (int from = 0; from < step.num_tokens; from += kStripRows) {
    const int to = std::min(step.num_tokens, from + kStripRows);
    plan.strips.push_back({from, to, group_rows(slots, step, from, to)});
  }
  return plan;
}

}  // namespace athanor
