#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "numbers.h"
#include "simd.h"

namespace athanor {
namespace {

constexpr int kTileCells = 4;
constexpr int kTilePositions = kTileCells * kCell;
constexpr int kMostRows = 48;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

// One tile of positions: where its cells' numbers are, and their scales.
struct KvTile {
  int first;  // position
  int num_cells;
  CellView cells[kTileCells];
  float key_scales[kTilePositions];
  float value_scales[kTilePositions];
};

// A task's rows and all that is kept of them between tiles.
struct Rows {
  int count = 0;
  int width = 0;
  int64_t query_bytes = 0;
  uint8_t* queries = nullptr;
  float* sums = nullptr;  // row, width
  float* scores = nullptr;
  uint8_t* weights = nullptr;
  uint8_t* cells = nullptr;
  int last[kMostRows];   // the last position that the row sees
  int first[kMostRows];  // and the first
  float largest[kMostRows];
  float total[kMostRows * kLanes];  // of the weights: sixteen partial sums of each row
};

template <bool kIsBf16>
inline void dot_step(F16& sum, Raw w, const uint8_t* a) {
  if (kIsBf16)
    sum = dot_pairs(sum, w, load_pair(reinterpret_cast<const uint16_t*>(a)));
  else
    sum = f_fma(as_floats(w), f_set(*reinterpret_cast<const float*>(a)), sum);
}

// Queries times the keys of two cells.
template <bool kIsBf16, int Count>
void score_cells(const uint8_t* left, const uint8_t* right, const uint8_t* queries,
                 int64_t query_bytes, int num_steps, float* out) {
  F16 sums[Count][2];
#pragma GCC unroll 16
  for (auto& row : sums) row[0] = row[1] = f_zero();
  for (int step = 0; step < num_steps; ++step) {
    const Raw a = load_raw(left + step * 64), b = load_raw(right + step * 64);
#pragma GCC unroll 16
    for (int row = 0; row < Count; ++row) {
      const uint8_t* q = queries + row * query_bytes + step * 4;
      dot_step<kIsBf16>(sums[row][0], a, q);
      dot_step<kIsBf16>(sums[row][1], b, q);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < Count; ++row) {
    f_store(out + row * kTilePositions, sums[row][0]);
    f_store(out + row * kTilePositions + kCell, sums[row][1]);
  }
}

// sums = sums * shrink + weights times values, for 16 * Tiles of the head's width.
template <bool kIsBf16, int Count, int Tiles>
void sum_values(const KvTile& tile, int width, int from, const uint8_t* weights,
                const float* shrink, float* out) {
  constexpr int kSteps = kIsBf16 ? kCell / 2 : kCell;
  F16 sums[Count][Tiles];
#pragma GCC unroll 16
  for (int row = 0; row < Count; ++row)
#pragma GCC unroll 4
    for (int i = 0; i < Tiles; ++i)
      sums[row][i] =
          f_mul(f_load(out + static_cast<int64_t>(row) * width + from + i * kLanes),
                f_set(shrink[row]));
  for (int cell = 0; cell < tile.num_cells; ++cell) {
    const uint8_t* values = tile.cells[cell].values + from * 4;
    const uint8_t* cell_weights = weights + cell * kSteps * 4;
    for (int step = 0; step < kSteps; ++step) {
      Raw v[Tiles];
#pragma GCC unroll 4
      for (int i = 0; i < Tiles; ++i)
        v[i] = load_raw(values + (static_cast<int64_t>(step) * width + i * kLanes) * 4);
#pragma GCC unroll 16
      for (int row = 0; row < Count; ++row)
#pragma GCC unroll 4
        for (int i = 0; i < Tiles; ++i)
          dot_step<kIsBf16>(sums[row][i], v[i],
                            cell_weights + row * kTilePositions * (kIsBf16 ? 2 : 4) + step * 4);
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < Count; ++row)
#pragma GCC unroll 4
    for (int i = 0; i < Tiles; ++i)
      f_store(out + static_cast<int64_t>(row) * width + from + i * kLanes, sums[row][i]);
}

// Scale one row's scores, hide what it does not see, and return the largest.
float mask_scores(const KvTile& tile, const Rows& rows, int row, bool is_quantized, float scale,
                  float* scores) {
  F16 largest = f_set(kNothing);
  for (int cell = 0; cell < tile.num_cells; ++cell) {
    const int start = tile.first + cell * kCell;
    F16 s = f_set(kNothing);
    if (start <= rows.last[row] && start + kCell > rows.first[row]) {
      s = f_mul(f_load(scores + cell * kCell), f_set(scale));
      if (is_quantized) s = f_mul(s, f_load(tile.key_scales + cell * kCell));
      const F16 position = f_add(f_iota(), f_set(static_cast<float>(start)));
      if (start + kCell > rows.last[row] + 1)
        s = f_below(f_set(static_cast<float>(rows.last[row])), position, f_set(kNothing), s);
      if (start < rows.first[row])
        s = f_below(position, f_set(static_cast<float>(rows.first[row])), f_set(kNothing), s);
      largest = f_max(largest, s);
    }
    f_store(scores + cell * kCell, s);
  }
  return f_largest(largest);
}

// Turn one row's scores to weights; `shrink` is what its earlier sums shrink by.
template <bool kIsBf16>
void weigh(const KvTile& tile, bool is_quantized, float base, float shrink, const float* scores,
           uint8_t* weights, float* total) {
  F16 sum = f_mul(f_load(total), f_set(shrink));
  for (int cell = 0; cell < tile.num_cells; ++cell) {
    F16 p = f_exp(f_sub(f_load(scores + cell * kCell), f_set(base)));
    sum = f_add(sum, p);
    if (is_quantized) p = f_mul(p, f_load(tile.value_scales + cell * kCell));
    if (kIsBf16)
      store_bf16(reinterpret_cast<uint16_t*>(weights) + cell * kCell, p);
    else
      f_store(reinterpret_cast<float*>(weights) + cell * kCell, p);
  }
  f_store(total, sum);
}

// The online softmax of some rows over one tile.
template <bool kIsBf16, int Count>
void soften(const KvTile& tile, Rows& rows, int first, bool is_quantized, float scale,
            float* shrink) {
  constexpr int kBytes = kIsBf16 ? 2 : 4;
  static_assert(Count <= kLanes, "one vector holds what all rows shrink by");
  alignas(64) float base[kLanes] = {}, change[kLanes] = {};
  for (int i = 0; i < Count; ++i) {
    float& largest = rows.largest[first + i];
    const float now = std::max(largest, mask_scores(tile, rows, first + i, is_quantized, scale,
                                                    rows.scores + i * kTilePositions));
    base[i] = now == kNothing ? 0.0f : now;  // nothing seen yet: all weights are zero
    change[i] = largest - base[i];
    largest = now;
  }
  f_store(shrink, f_exp(f_load(change)));
  for (int i = 0; i < Count; ++i)
    weigh<kIsBf16>(tile, is_quantized, base[i], shrink[i], rows.scores + i * kTilePositions,
                   rows.weights + i * kTilePositions * kBytes,
                   rows.total + (first + i) * kLanes);
}

template <bool kIsBf16, int Count>
void attend_rows(const KvTile& tile, Rows& rows, int first, bool is_quantized, float scale) {
  constexpr int kBytes = kIsBf16 ? 2 : 4;
  const uint8_t* queries = rows.queries + first * rows.query_bytes;
  for (int cell = 0; cell < tile.num_cells; cell += 2) {
    const int other = std::min(cell + 1, tile.num_cells - 1);
    score_cells<kIsBf16, Count>(tile.cells[cell].keys, tile.cells[other].keys, queries,
                                rows.query_bytes, rows.width * kBytes / 4,
                                rows.scores + cell * kCell);
  }
  alignas(64) float shrink[kLanes];
  soften<kIsBf16, Count>(tile, rows, first, is_quantized, scale, shrink);
  float* sums = rows.sums + static_cast<int64_t>(first) * rows.width;
  int from = 0;
  for (; from + 2 * kLanes <= rows.width; from += 2 * kLanes)
    sum_values<kIsBf16, Count, 2>(tile, rows.width, from, rows.weights, shrink, sums);
  if (from < rows.width)
    sum_values<kIsBf16, Count, 1>(tile, rows.width, from, rows.weights, shrink, sums);
}

template <bool kIsBf16, int Count = kFloatRows>
void attend_some(int count, const KvTile& tile, Rows& rows, int first, bool is_quantized,
                 float scale) {
  if constexpr (Count > 0) {
    if (count != Count)
      return attend_some<kIsBf16, Count - 1>(count, tile, rows, first, is_quantized, scale);
    attend_rows<kIsBf16, Count>(tile, rows, first, is_quantized, scale);
  }
}

Rows lay_out(const KvPool& pool, Buffer& space) {
  Rows rows;
  rows.width = pool.width();
  const bool is_fp32 = pool.shape().is_fp32;
  rows.query_bytes = round_up(static_cast<int64_t>(rows.width) * (is_fp32 ? 4 : 2), 64) + 64;
  const int64_t query_bytes = kMostRows * rows.query_bytes;
  const int64_t sum_bytes = static_cast<int64_t>(kMostRows) * rows.width * 4;
  const int64_t score_bytes = static_cast<int64_t>(kFloatRows) * kTilePositions * 4;
  space.reserve(static_cast<size_t>(query_bytes + sum_bytes + 2 * score_bytes +
                                    2 * kTileCells * pool.matrix_bytes()));
  rows.queries = space.as<uint8_t>();
  rows.sums = reinterpret_cast<float*>(rows.queries + query_bytes);
  rows.scores = reinterpret_cast<float*>(rows.queries + query_bytes + sum_bytes);
  rows.weights = rows.queries + query_bytes + sum_bytes + score_bytes;
  rows.cells = rows.weights + score_bytes;
  return rows;
}

void take_queries(const AttentionLayer& layer, const AttentionTask& task, Rows& rows) {
  const int head_dim = layer.pool->shape().head_dim;
  const bool is_fp32 = layer.pool->shape().is_fp32;
  for (int token = task.first; token < task.last; ++token)
    for (int i = 0; i < layer.group; ++i) {
      const int row = rows.count++;
      const float* from = layer.queries + token * layer.query_stride +
                          static_cast<int64_t>(task.kv_head * layer.group + i) * head_dim;
      uint8_t* to = rows.queries + row * rows.query_bytes;
      std::memset(to, 0, static_cast<size_t>(rows.query_bytes));
      if (is_fp32) {
        std::memcpy(to, from, head_dim * sizeof(float));
      } else {
        uint16_t* words = reinterpret_cast<uint16_t*>(to);
        int d = 0;
        for (; d + kLanes <= head_dim; d += kLanes) store_bf16(words + d, f_load(from + d));
        for (; d < head_dim; ++d) words[d] = float_to_bf16(from[d]);
      }
      rows.last[row] = task.positions[token];
      rows.first[row] = layer.window > 0 ? std::max(0, rows.last[row] - layer.window + 1) : 0;
      rows.largest[row] = kNothing;
    }
  std::memset(rows.total, 0, sizeof rows.total);
  std::memset(rows.sums, 0, static_cast<size_t>(rows.count) * rows.width * sizeof(float));
}

void give_outputs(const AttentionLayer& layer, const AttentionTask& task, const Rows& rows) {
  const int head_dim = layer.pool->shape().head_dim;
  int row = 0;
  for (int token = task.first; token < task.last; ++token)
    for (int i = 0; i < layer.group; ++i, ++row) {
      float* to = layer.output + token * layer.output_stride +
                  static_cast<int64_t>(task.kv_head * layer.group + i) * head_dim;
      const float* from = rows.sums + static_cast<int64_t>(row) * rows.width;
      const float share = 1.0f / f_sum(f_load(rows.total + row * kLanes));
      for (int d = 0; d < head_dim; ++d) to[d] = from[d] * share;
    }
}

void open_tile(const AttentionLayer& layer, const AttentionTask& task, const Rows& rows, int last,
               KvTile& tile) {
  const int block_size = layer.pool->shape().block_size;
  tile.num_cells = std::min(kTileCells, (last - tile.first) / kCell + 1);
  for (int cell = 0; cell < tile.num_cells; ++cell) {
    const int position = tile.first + cell * kCell;
    const int entry = position / block_size;
    float scales[2 * kCell];
    tile.cells[cell] = layer.pool->read(layer.layer, task.blocks[entry], entry == 0,
                                        position % block_size / kCell, task.kv_head,
                                        rows.cells + cell * 2 * layer.pool->matrix_bytes(), scales);
    std::copy(scales, scales + kCell, tile.key_scales + cell * kCell);
    std::copy(scales + kCell, scales + 2 * kCell, tile.value_scales + cell * kCell);
  }
}

template <bool kIsBf16>
void attend_task(const AttentionLayer& layer, const AttentionTask& task, Workspace& space) {
  Rows rows = lay_out(*layer.pool, space.attention);
  take_queries(layer, task, rows);
  const bool is_quantized = layer.pool->is_quantized(layer.layer);
  const int last = rows.last[rows.count - 1];
  KvTile tile;
  for (tile.first = rows.first[0] / kTilePositions * kTilePositions; tile.first <= last;
       tile.first += kTilePositions) {
    open_tile(layer, task, rows, last, tile);
    const int blocks = (rows.count + kFloatRows - 1) / kFloatRows;
    for (int block = 0; block < blocks; ++block) {
      const int from = rows.count * block / blocks, to = rows.count * (block + 1) / blocks;
      if (rows.last[to - 1] < tile.first) continue;
      attend_some<kIsBf16>(to - from, tile, rows, from, is_quantized, layer.scale);
    }
  }
  give_outputs(layer, task, rows);
}

}  // namespace

int attention_tokens(int group) { return std::max(1, kMostRows / group); }

void attend(const AttentionLayer& layer, const AttentionTask& task, Workspace& space) {
  if (layer.pool->shape().is_fp32)
    attend_task<false>(layer, task, space);
  else
    attend_task<true>(layer, task, space);
}

}  // namespace athanor
