#include "lora.h"

#include <algorithm>

#include "numbers.h"
#include "simd.h"

namespace athanor {
namespace {

constexpr int kRanks = 4;      // rows of A at once: as many sums under way hide each one's latency
constexpr int kBlockRows = 4;  // rows of inputs at once
constexpr int kPrefetchBytes = 4096;  // reaches into the next part's update, which lies behind

int64_t count_a(const LoraSource& source) {
  return round_up(source.rank, kRanks) * round_up(source.inputs, kLanes);
}
int64_t count_b(const LoraSource& source) {
  return static_cast<int64_t>(source.rank) * round_up(source.outputs, kLanes);
}
int64_t a_index(const LoraUpdate& update, int r, int i) {
  const int64_t steps = round_up(update.inputs, kLanes) / kLanes;
  return ((r / kRanks * steps + i / kLanes) * kRanks + r % kRanks) * kLanes + i % kLanes;
}
int64_t b_index(const LoraUpdate& update, int o, int r) {
  return (static_cast<int64_t>(o / kLanes) * update.rank + r) * kLanes + o % kLanes;
}

void store_number(uint8_t* start, int64_t index, float value, bool is_fp32) {
  if (is_fp32)
    reinterpret_cast<float*>(start)[index] = value;
  else
    reinterpret_cast<uint16_t*>(start)[index] = float_to_bf16(value);
}

template <bool kIsFp32>
inline F16 load_next(const uint8_t*& from) {
  constexpr int kBytes = kLanes * (kIsFp32 ? 4 : 2);
  __builtin_prefetch(from + kPrefetchBytes);
  const F16 numbers = kIsFp32 ? f_load(reinterpret_cast<const float*>(from))
                              : load_bf16(reinterpret_cast<const uint16_t*>(from));
  from += kBytes;
  return numbers;
}

// reduced = input A^T: sixteen running sums along the inputs of each rank, then their total.
template <bool kIsFp32, int Count>
void reduce(const LoraUpdate& update, const uint8_t* a, const float* const* inputs,
            float* reduced) {
  for (int first = 0; first < update.rank; first += kRanks) {
    F16 sums[Count][kRanks];
#pragma GCC unroll 4
    for (auto& row : sums)
#pragma GCC unroll 4
      for (F16& sum : row) sum = f_zero();
    for (int i = 0; i < update.inputs; i += kLanes) {
      F16 x[Count];
#pragma GCC unroll 4
      for (int row = 0; row < Count; ++row) x[row] = f_load(inputs[row] + i);
      if (update.inputs - i < kLanes) {  // what lies past a row's end is another row
        const F16 left = f_set(static_cast<float>(update.inputs - i));
#pragma GCC unroll 4
        for (int row = 0; row < Count; ++row) x[row] = f_below(f_iota(), left, x[row], f_zero());
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRanks; ++r) {
        const F16 numbers = load_next<kIsFp32>(a);
#pragma GCC unroll 4
        for (int row = 0; row < Count; ++row)
          sums[row][r] = f_fma(x[row], numbers, sums[row][r]);
      }
    }
#pragma GCC unroll 4
    for (int row = 0; row < Count; ++row)
#pragma GCC unroll 4
      for (int r = 0; r < kRanks; ++r)
        if (first + r < update.rank) reduced[row * update.rank + first + r] = f_sum(sums[row][r]);
  }
}

// output += reduced B^T, a vector of outputs at a time.
template <bool kIsFp32, int Count>
void expand(const LoraUpdate& update, const uint8_t* b, const float* reduced,
            float* const* outputs) {
  for (int column = 0; column < update.outputs; column += kLanes) {
    F16 sums[Count];
#pragma GCC unroll 4
    for (F16& sum : sums) sum = f_zero();
    for (int r = 0; r < update.rank; ++r) {
      const F16 numbers = load_next<kIsFp32>(b);
#pragma GCC unroll 4
      for (int row = 0; row < Count; ++row)
        sums[row] = f_fma(f_set(reduced[row * update.rank + r]), numbers, sums[row]);
    }
    const int left = update.outputs - column;
#pragma GCC unroll 4
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

template <bool kIsFp32, int Count>
void apply_rows(const LoraSlot& slot, const LoraUpdate& update, const int32_t* rows,
                const LoraTarget& target, float* reduced) {
  const uint8_t* memory = slot.memory.as<uint8_t>();
  const float* inputs[Count];
  float* outputs[Count];
  for (int row = 0; row < Count; ++row) {
    inputs[row] = target.input + rows[row] * target.input_stride;
    outputs[row] = target.output + rows[row] * target.output_stride;
  }
  reduce<kIsFp32, Count>(update, memory + update.a, inputs, reduced);
  expand<kIsFp32, Count>(update, memory + update.b, reduced, outputs);
}

template <bool kIsFp32, int Count = kBlockRows>
void apply_some(int count, const LoraSlot& slot, const LoraUpdate& update, const int32_t* rows,
                const LoraTarget& target, float* reduced) {
  if constexpr (Count > 0) {
    if (count != Count)
      return apply_some<kIsFp32, Count - 1>(count, slot, update, rows, target, reduced);
    apply_rows<kIsFp32, Count>(slot, update, rows, target, reduced);
  }
}

void apply_update(const LoraUpdate& update, const LoraRows& group, const LoraTarget& target,
                  Workspace& space) {
  space.reduced.reserve(static_cast<size_t>(kBlockRows) * update.rank * sizeof(float));
  float* reduced = space.reduced.as<float>();
  for (int first = 0; first < group.count; first += kBlockRows) {
    const int count = std::min(kBlockRows, group.count - first);
    if (group.slot->is_fp32)
      apply_some<true>(count, *group.slot, update, group.rows + first, target, reduced);
    else
      apply_some<false>(count, *group.slot, update, group.rows + first, target, reduced);
  }
}

}  // namespace

LoraSlot::LoraSlot(const LoraSource* sources, int count, bool fp32) : is_fp32(fp32) {
  const int64_t size = is_fp32 ? 4 : 2;
  int64_t bytes = 0;
  for (int i = 0; i < count; ++i) {
    const LoraSource& source = sources[i];
    LoraUpdate update{source.rank, source.inputs, source.outputs, bytes, 0};
    if (update.rank > 0) {
      update.b = bytes += count_a(source) * size;
      bytes += count_b(source) * size;
    }
    updates.push_back(update);
  }
  memory.reserve(static_cast<size_t>(bytes));
  for (int i = 0; i < count; ++i) {
    const LoraUpdate& update = updates[i];
    uint8_t* a = memory.as<uint8_t>() + update.a;
    uint8_t* b = memory.as<uint8_t>() + update.b;
    for (int r = 0; r < update.rank; ++r) {
      const float* from = sources[i].a + static_cast<int64_t>(r) * update.inputs;
      for (int j = 0; j < update.inputs; ++j)
        store_number(a, a_index(update, r, j), from[j], is_fp32);
      for (int o = 0; o < update.outputs; ++o)
        store_number(b, b_index(update, o, r),
                     sources[i].b[static_cast<int64_t>(o) * update.rank + r], is_fp32);
    }
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
    const LoraUpdate& update = group.slot->updates[layer * kNumParts + target.part];
    if (update.rank > 0) apply_update(update, group, target, spaces[thread]);
  });
}

}  // namespace athanor
