#include "kv_pool.h"

#include <algorithm>
#include <cmath>

#include "numbers.h"
#include "simd.h"

namespace athanor {
namespace {

// Behind a quantized cell's numbers: bf16 scales and byte zeros of 16 keys, then of 16 values.
constexpr int64_t kTailBytes = 2 * (kCell * 2 + kCell);

struct Tail {
  uint16_t* scale;
  uint8_t* zero;
};
Tail tail_of(uint8_t* cell, int64_t numbers_bytes, bool is_value) {
  uint8_t* start = cell + numbers_bytes + (is_value ? kTailBytes / 2 : 0);
  return {reinterpret_cast<uint16_t*>(start), start + kCell * 2};
}

// Index, in two-byte order, of dimension d at position p of the cell.
inline int64_t key_index(int d, int p) { return (d / 2 * kCell + p) * 2 + d % 2; }
inline int64_t value_index(int width, int d, int p) {
  return (static_cast<int64_t>(p / 2) * width + d) * 2 + p % 2;
}

struct Range {
  float low, high;
};
Range range_of(const float* values, int count) {
  Range range{values[0], values[0]};
  for (int i = 1; i < count; ++i) {
    range.low = std::min(range.low, values[i]);
    range.high = std::max(range.high, values[i]);
  }
  return range;
}

// The next bf16 that is not smaller, so that the grid still spans the range.
float round_up_bf16(float x) {
  const uint32_t bits = float_bits(x);
  return bits & 0xffff ? float_of_bits((bits & 0xffff0000u) + 0x10000u) : x;
}

struct Grid {
  float scale;
  int zero;
  int top;
};
Grid grid_of(KvKind kind, Range range) {
  if (kind == KvKind::kInt8) {
    const float largest = std::max(-range.low, range.high);
    return {round_up_bf16(largest / 127.0f), 128, 255};
  }
  const float low = std::min(range.low, 0.0f), high = std::max(range.high, 0.0f);
  const float scale = round_up_bf16((high - low) / 15.0f);
  const int zero = scale > 0.0f ? static_cast<int>(std::nearbyint(-low / scale)) : 0;
  return {scale, std::clamp(zero, 0, 15), 15};
}

void put(KvKind kind, uint8_t* numbers, int64_t index, int level) {
  if (kind == KvKind::kInt8) {
    numbers[index] = static_cast<uint8_t>(level);
    return;
  }
  // Nibbles of 32 numbers in 16 bytes: the first 16 low, the others high.
  uint8_t& byte = numbers[index / 32 * 16 + index % 16];
  byte = index % 32 < 16 ? static_cast<uint8_t>((byte & 0xf0) | level)
                         : static_cast<uint8_t>((byte & 0x0f) | level << 4);
}

template <class Index>
void quantize(KvKind kind, uint8_t* numbers, Tail tail, int position, const float* values,
              int count, Index index) {
  const Grid grid = grid_of(kind, range_of(values, count));
  const float factor = grid.scale > 0.0f ? 1.0f / grid.scale : 0.0f;
  tail.scale[position] = static_cast<uint16_t>(float_bits(grid.scale) >> 16);
  tail.zero[position] = static_cast<uint8_t>(grid.zero);
  for (int d = 0; d < count; ++d) {
    const float level = std::nearbyint(values[d] * factor) + static_cast<float>(grid.zero);
    const float top = static_cast<float>(grid.top);
    put(kind, numbers, index(d), level > 0.0f ? static_cast<int>(std::min(level, top)) : 0);
  }
}

// 16 whole numbers minus their zeros are exact in bf16.
inline void store_levels(uint16_t* out, I16 levels, F16 zeros) {
  store_bf16(out, f_sub(to_float(levels), zeros));
}

void expand(KvKind kind, const uint8_t* numbers, int64_t index, F16 low_zeros, F16 high_zeros,
            uint16_t* out) {
  if (kind == KvKind::kInt8) {
    store_levels(out + index, load_uint8(numbers + index), low_zeros);
    store_levels(out + index + 16, load_uint8(numbers + index + 16), high_zeros);
    return;
  }
  const I16 both = load_uint8(numbers + index / 2);
  store_levels(out + index, i_and(both, i_set(15)), low_zeros);
  store_levels(out + index + 16, i_shift_right_4(both), high_zeros);
}

}  // namespace

KvPool::KvPool(const KvShape& shape)
    : shape_(shape),
      width_(static_cast<int>(round_up(shape.head_dim, 16))),
      cells_per_block_(shape.block_size / kCell),
      full_bytes_(static_cast<int64_t>(width_) * kCell * (shape.is_fp32 ? 4 : 2)) {
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    const int64_t cells =
        static_cast<int64_t>(shape.num_blocks) * cells_per_block_ * shape.num_heads;
    layers_.emplace_back(static_cast<size_t>(cells * cell_bytes(kind_at(layer, 0, false))));
  }
  sinks_.resize(shape.num_blocks);
}

KvKind KvPool::kind_at(int layer, int block, bool is_first) const {
  return is_quantized(layer) && !is_sink(layer, block, is_first) ? shape_.kind : KvKind::kFull;
}

int64_t KvPool::cell_bytes(KvKind kind) const {
  if (kind == KvKind::kFull) return 2 * full_bytes_;
  const int64_t numbers = static_cast<int64_t>(width_) * kCell;
  return round_up((kind == KvKind::kInt8 ? 2 * numbers : numbers) + kTailBytes, 64);
}

uint8_t* KvPool::cell_at(int layer, int block, bool is_first, int cell, int head) const {
  if (is_sink(layer, block, is_first)) {
    const int64_t index =
        (static_cast<int64_t>(layer - shape_.kept_layers) * cells_per_block_ + cell) *
            shape_.num_heads + head;
    return sinks_[block]->as<uint8_t>() + index * cell_bytes(KvKind::kFull);
  }
  const int64_t index =
      (static_cast<int64_t>(block) * cells_per_block_ + cell) * shape_.num_heads + head;
  return layers_[layer].as<uint8_t>() + index * cell_bytes(kind_at(layer, block, false));
}

void KvPool::prepare_sink(int block) {
  if (shape_.kind == KvKind::kFull || !shape_.keeps_sinks || sinks_[block] != nullptr) return;
  const int64_t cells = static_cast<int64_t>(shape_.num_layers - shape_.kept_layers) *
                        cells_per_block_ * shape_.num_heads;
  if (cells > 0)
    sinks_[block] =
        std::make_unique<Buffer>(static_cast<size_t>(cells * cell_bytes(KvKind::kFull)));
}

void KvPool::write(int layer, int block, bool is_first, int offset, int head, const float* key,
                   const float* value) {
  const KvKind kind = kind_at(layer, block, is_first);
  uint8_t* cell = cell_at(layer, block, is_first, offset / kCell, head);
  const int p = offset % kCell;
  // A block's last owner may have left what is not a number, and zero times that is not zero.
  if (p == 0) std::memset(cell, 0, static_cast<size_t>(cell_bytes(kind)));
  const int count = shape_.head_dim;
  if (kind != KvKind::kFull) {
    const int64_t numbers = static_cast<int64_t>(width_) * kCell / (kind == KvKind::kInt4 ? 2 : 1);
    quantize(kind, cell, tail_of(cell, 2 * numbers, false), p, key, count,
             [&](int d) { return key_index(d, p); });
    quantize(kind, cell + numbers, tail_of(cell, 2 * numbers, true), p, value, count,
             [&](int d) { return value_index(width_, d, p); });
  } else if (shape_.is_fp32) {
    float* keys = reinterpret_cast<float*>(cell);
    float* values = reinterpret_cast<float*>(cell + full_bytes_);
    for (int d = 0; d < count; ++d) keys[d * kCell + p] = key[d];
    std::memcpy(values + static_cast<int64_t>(p) * width_, value, count * sizeof(float));
  } else {
    uint16_t* keys = reinterpret_cast<uint16_t*>(cell);
    uint16_t* values = reinterpret_cast<uint16_t*>(cell + full_bytes_);
    for (int d = 0; d < count; ++d) keys[key_index(d, p)] = float_to_bf16(key[d]);
    for (int d = 0; d < count; ++d) values[value_index(width_, d, p)] = float_to_bf16(value[d]);
  }
}

CellView KvPool::read(int layer, int block, bool is_first, int cell, int head, uint8_t* space,
                      float* scales) const {
  const KvKind kind = kind_at(layer, block, is_first);
  uint8_t* from = cell_at(layer, block, is_first, cell, head);
  if (kind == KvKind::kFull) {
    std::fill(scales, scales + 2 * kCell, 1.0f);
    return {from, from + full_bytes_};
  }
  const int64_t count = static_cast<int64_t>(width_) * kCell;
  const int64_t bytes = kind == KvKind::kInt4 ? count / 2 : count;
  const Tail key_tail = tail_of(from, 2 * bytes, false);
  const Tail value_tail = tail_of(from, 2 * bytes, true);
  f_store(scales, load_bf16(key_tail.scale));
  f_store(scales + kCell, load_bf16(value_tail.scale));
  // In a row of keys two neighbours share a position; in a row of values positions alternate.
  float zeros[2 * kCell];
  for (int i = 0; i < 2 * kCell; ++i) zeros[i] = key_tail.zero[i / 2];
  uint16_t* keys = reinterpret_cast<uint16_t*>(space);
  const F16 low = f_load(zeros), high = f_load(zeros + kCell);
  for (int64_t i = 0; i < count; i += 32) expand(kind, from, i, low, high, keys);
  uint16_t* values = reinterpret_cast<uint16_t*>(space + full_bytes_);
  for (int pair = 0; pair < kCell / 2; ++pair) {
    for (int i = 0; i < kCell; ++i) zeros[i] = value_tail.zero[2 * pair + i % 2];
    const F16 both = f_load(zeros);
    for (int64_t i = 0; i < 2 * width_; i += 32)
      expand(kind, from + bytes, static_cast<int64_t>(pair) * 2 * width_ + i, both, both, values);
  }
  return {space, space + full_bytes_};
}

void KvPool::copy_block(int source, int target) {
  if (source == target) return;
  for (int layer = 0; layer < shape_.num_layers; ++layer) {
    const int64_t bytes = cell_bytes(kind_at(layer, source, false)) * cells_per_block_ *
                          shape_.num_heads;
    uint8_t* base = layers_[layer].as<uint8_t>();
    std::memcpy(base + target * bytes, base + source * bytes, static_cast<size_t>(bytes));
  }
  if (sinks_[source] == nullptr) {
    sinks_[target] = nullptr;
    return;
  }
  prepare_sink(target);
  std::memcpy(sinks_[target]->as<uint8_t>(), sinks_[source]->as<uint8_t>(),
              sinks_[source]->bytes());
}

}  // namespace athanor
