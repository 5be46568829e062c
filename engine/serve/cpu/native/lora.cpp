#include "lora.h"

#include "numbers.h"
#include "simd.h"

namespace athanor {
namespace {

constexpr int kBlockRows = 4;

void store_number(Buffer& buffer, int64_t index, float value, bool is_fp32) {
  if (is_fp32)
    buffer.as<float>()[index] = value;
  else
    buffer.as<uint16_t>()[index] = float_to_bf16(value);
}

inline F16 load_numbers(const Buffer& buffer, int64_t index, bool is_fp32) {
  return is_fp32 ? f_load(buffer.as<float>() + index) : load_bf16(buffer.as<uint16_t>() + index);
}

// One row's product with one row of A: sixteen running sums along the inputs, then their total.
void reduce(const LoraUpdate& update, const float* input, float* out) {
  for (int r = 0; r < update.rank; ++r) {
    F16 sums = f_zero();
    const int64_t row = r * update.a_stride;
    int i = 0;
    for (; i + kLanes <= update.inputs; i += kLanes)
      sums = f_fma(f_load(input + i), load_numbers(update.a, row + i, update.is_fp32), sums);
    if (i < update.inputs) {
      float tail[kLanes] = {};
      for (int j = i; j < update.inputs; ++j) tail[j - i] = input[j];
      sums = f_fma(f_load(tail), load_numbers(update.a, row + i, update.is_fp32), sums);
    }
    out[r] = f_sum(sums);
  }
}

// output += reduced B, a vector of outputs at a time for a few rows.
template <int Count>
void expand(const LoraUpdate& update, const float* reduced, float* const* outputs) {
  for (int column = 0; column < update.outputs; column += kLanes) {
    F16 sums[Count];
    for (F16& sum : sums) sum = f_zero();
    for (int r = 0; r < update.rank; ++r) {
      const F16 b = load_numbers(update.b, r * update.b_stride + column, update.is_fp32);
      for (int row = 0; row < Count; ++row)
        sums[row] = f_fma(f_set(reduced[row * update.rank + r]), b, sums[row]);
    }
    const int left = update.outputs - column;
    for (int row = 0; row < Count; ++row) {
      float* out = outputs[row] + column;
      if (left >= kLanes) {
        f_store(out, f_add(f_load(out), sums[row]));
      } else {
        float lanes[kLanes];
        f_store(lanes, sums[row]);
        for (int i = 0; i < left; ++i) out[i] += lanes[i];
      }
    }
  }
}

void expand_some(int count, const LoraUpdate& update, const float* reduced, float* const* outputs) {
  switch (count) {
    case 1: return expand<1>(update, reduced, outputs);
    case 2: return expand<2>(update, reduced, outputs);
    case 3: return expand<3>(update, reduced, outputs);
    default: return expand<4>(update, reduced, outputs);
  }
}

void apply_update(const LoraUpdate& update, const LoraRows& group, const LoraTarget& target,
                  Workspace& space) {
  space.reduced.reserve(static_cast<size_t>(group.count) * update.rank * sizeof(float));
  float* reduced = space.reduced.as<float>();
  for (int i = 0; i < group.count; ++i)
    reduce(update, target.input + group.rows[i] * target.input_stride, reduced + i * update.rank);
  for (int first = 0; first < group.count; first += kBlockRows) {
    const int count = group.count - first < kBlockRows ? group.count - first : kBlockRows;
    float* outputs[kBlockRows] = {};
    for (int i = 0; i < count; ++i)
      outputs[i] = target.output + group.rows[first + i] * target.output_stride;
    expand_some(count, update, reduced + first * update.rank, outputs);
  }
}

}  // namespace

LoraUpdate::LoraUpdate(const LoraSource& source, bool fp32)
    : rank(source.rank), inputs(source.inputs), outputs(source.outputs), is_fp32(fp32),
      a_stride(round_up(source.inputs, kLanes)), b_stride(round_up(source.outputs, kLanes)) {
  const size_t size = is_fp32 ? 4 : 2;
  a.reserve(static_cast<size_t>(rank) * a_stride * size);
  b.reserve(static_cast<size_t>(rank) * b_stride * size);
  for (int r = 0; r < rank; ++r) {
    for (int i = 0; i < inputs; ++i)
      store_number(a, r * a_stride + i, source.a[static_cast<int64_t>(r) * inputs + i], is_fp32);
    for (int o = 0; o < outputs; ++o)
      store_number(b, r * b_stride + o, source.b[static_cast<int64_t>(o) * rank + r], is_fp32);
  }
}

void apply_lora(Pool& pool, std::vector<Workspace>& spaces, const std::vector<LoraRows>& groups,
                int layer, const std::vector<LoraTarget>& targets) {
  const int num_targets = static_cast<int>(targets.size());
  const int num_groups = static_cast<int>(groups.size());
  // Targets are outputs apart from each other and groups are rows apart, so all may run at once.
  pool.run(num_targets * num_groups, [&](int chunk, int thread) {
    const LoraRows& group = groups[chunk / num_targets];
    const LoraTarget& target = targets[chunk % num_targets];
    const auto& update = group.slot->updates[layer * kNumParts + target.part];
    if (update != nullptr) apply_update(*update, group, target, spaces[thread]);
  });
}

}  // namespace athanor
