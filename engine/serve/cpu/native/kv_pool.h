// The keys and values of every block, laid out as attention reads them.
//
// A cell holds 16 positions of one head in one layer: keys with positions as lanes, values with the
// head's width as lanes, both in 4-byte pieces (two bf16 or one float), so that one kernel shape
// serves scores, sums and linear layers. Quantized cells keep that order, one byte or half a byte
// for each number, with a scale for each position (KIVI, arXiv 2402.02750, keeps keys by channel;
// by token each new one is written once and never again).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "memory.h"

namespace athanor {

constexpr int kCell = 16;  // positions

enum class KvKind : int { kFull = 0, kInt8 = 1, kInt4 = 2 };

struct KvShape {
  int num_layers, num_heads, head_dim, num_blocks, block_size;
  bool is_fp32;
  KvKind kind;
  int kept_layers;   // the first so many are held in full
  bool keeps_sinks;  // each request's first block is held in full (arXiv 2309.17453)
};

// Where attention finds a cell: numbers to multiply, and what to multiply scores and weights by.
struct CellView {
  const uint8_t* keys;
  const uint8_t* values;
};

class KvPool {
 public:
  explicit KvPool(const KvShape& shape);

  int width() const { return width_; }  // head_dim up to a multiple of 16, zeros behind
  const KvShape& shape() const { return shape_; }
  bool is_quantized(int layer) const {
    return shape_.kind != KvKind::kFull && layer >= shape_.kept_layers;
  }
  int64_t matrix_bytes() const { return full_bytes_; }  // keys or values of a full cell

  // Before a step writes there: makes room for a block that will hold a request's first positions.
  void prepare_sink(int block);
  // One head of one position. All positions of a cell are written by one thread, in order.
  void write(int layer, int block, bool is_first, int offset, int head, const float* key,
             const float* value);
  // `space` has room for two full matrices, `scales` for 32 floats: keys' 16, then values' 16.
  CellView read(int layer, int block, bool is_first, int cell, int head, uint8_t* space,
                float* scales) const;
  void copy_block(int source, int target);

 private:
  KvKind kind_at(int layer, int block, bool is_first) const;
  int64_t cell_bytes(KvKind kind) const;
  uint8_t* cell_at(int layer, int block, bool is_first, int cell, int head) const;
  bool is_sink(int layer, int block, bool is_first) const {
    return is_first && is_quantized(layer) && shape_.keeps_sinks && sinks_[block] != nullptr;
  }

  KvShape shape_;
  int width_;
  int cells_per_block_;
  int64_t full_bytes_;
  std::vector<Buffer> layers_;
  std::vector<std::unique_ptr<Buffer>> sinks_;  // by block: full cells of all quantized layers
};

}  // namespace athanor
