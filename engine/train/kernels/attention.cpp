// Causal attention within each sample of a packed row, in float32 between bfloat16 ends.
//
// T positions of the row, H heads, K key-value heads, D head width (a multiple of 16), U units. A
// unit is a stretch of own tokens behind others that it sees and that answer elsewhere: five
// numbers, {shared, lent_start, lent, own_start, own}. Its keys are the first `shared` positions,
// `lent` from `lent_start`, and its own, in this order; its queries are its own. A window bounds the
// keys that a query sees, itself among them; a cap turns scores s into cap tanh(s / cap). 0 is none.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "bf16.h"

using namespace athanor;

namespace {

#ifdef __AVX512F__
constexpr int kLane = 16;
#else
constexpr int kLane = 8;
#endif
constexpr int kRows = 4;       // rows of a product that are summed at once
constexpr int kTile = 32;      // queries whose weights exist at once
constexpr int kUnit = 5;       // numbers that tell a unit
typedef float Lane __attribute__((vector_size(4 * kLane)));

struct Matrix {
  const float* at;
  std::int64_t row, column;  // steps
};

template <int kHeight, int kWidth>
void multiply_block(Matrix a, const float* b, std::int64_t b_row, float* c, std::int64_t c_row,
                    std::int64_t depth, bool adds) {
  Lane sum[kHeight][kWidth] = {};
  for (std::int64_t k = 0; k < depth; ++k, b += b_row, a.at += a.column) {
    Lane right[kWidth];
#pragma GCC unroll 8
    for (int j = 0; j < kWidth; ++j) right[j] = reinterpret_cast<const Lane*>(b)[j];
#pragma GCC unroll 8
    for (int i = 0; i < kHeight; ++i) {
      const float left = a.at[i * a.row];
#pragma GCC unroll 8
      for (int j = 0; j < kWidth; ++j) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kHeight; ++i) {
    Lane* row = reinterpret_cast<Lane*>(c + i * c_row);
#pragma GCC unroll 8
    for (int j = 0; j < kWidth; ++j) row[j] = adds ? row[j] + sum[i][j] : sum[i][j];
  }
}

template <int kHeight>
void multiply_rows(std::int64_t width, Matrix a, const float* b, std::int64_t b_row, float* c,
                   std::int64_t c_row, std::int64_t depth, bool adds) {
  std::int64_t j = 0;
  for (; j + 4 * kLane <= width; j += 4 * kLane)
    multiply_block<kHeight, 4>(a, b + j, b_row, c + j, c_row, depth, adds);
  for (; j + 2 * kLane <= width; j += 2 * kLane)
    multiply_block<kHeight, 2>(a, b + j, b_row, c + j, c_row, depth, adds);
  for (; j < width; j += kLane)
    multiply_block<kHeight, 1>(a, b + j, b_row, c + j, c_row, depth, adds);
}

// c = a b, or c += a b; `width` and the steps of rows of b and c are multiples of 16.
void multiply(std::int64_t height, std::int64_t width, Matrix a, const float* b,
              std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t depth, bool adds) {
  std::int64_t i = 0;
  for (; i + kRows <= height; i += kRows)
    multiply_rows<kRows>(width, {a.at + i * a.row, a.row, a.column}, b, b_row, c + i * c_row,
                         c_row, depth, adds);
  for (; i < height; ++i)
    multiply_rows<1>(width, {a.at + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row,
                     depth, adds);
}

std::int64_t round_up(std::int64_t count) { return (count + 15) / 16 * 16; }

struct Heads {  // of one tensor, T x heads x D
  const bf16* at;
  std::int64_t position, head;  // steps
  const bf16* find(std::int64_t t, std::int64_t h) const { return at + t * position + h * head; }
};

struct Unit {
  std::int64_t shared, lent_start, lent, own_start, own;
  explicit Unit(const std::int64_t* told)
      : shared(told[0]), lent_start(told[1]), lent(told[2]), own_start(told[3]), own(told[4]) {}
  std::int64_t num_before() const { return shared + lent; }
  std::int64_t num_keys() const { return shared + lent + own; }
  std::int64_t place(std::int64_t key) const {
    if (key < shared) return key;
    if (key < shared + lent) return lent_start + key - shared;
    return own_start + key - shared - lent;
  }
};

struct Scoring {
  float scaling, cap;
  std::int64_t window;
  float rate() const { return cap > 0 ? 1 : scaling; }  // of a score, once it is read
  std::int64_t first_of(std::int64_t end) const {  // key that the query before `end` sees
    return window > 0 ? std::max<std::int64_t>(0, end - window) : 0;
  }
};

// Puts capped scores in place of products, and their slopes by the product beside them.
void cap_row(const Scoring& how, float* row, float* slopes, std::int64_t from, std::int64_t to) {
  const float inward = how.scaling / how.cap;
  for (std::int64_t j = from; j < to; ++j) {
    const float bent = 1 - 2 / (fast_exp(2 * inward * row[j]) + 1);  // tanh
    row[j] = how.cap * bent;
    slopes[j] = 1 - bent * bent;
  }
}

struct Line {  // of a cache: where each row of a product begins
  alignas(64) float numbers[16];
};
using Scratch = std::vector<Line>;

float* take(Scratch& room, std::int64_t count) {
  const std::size_t lines = (count + 15) / 16;
  if (room.size() < lines) room.resize(lines);
  return room[0].numbers;
}

struct Room {  // what one thread works in
  Scratch keys, turned_keys, values, turned_values, query, grad, weights, pulls, out, slopes;
};

void gather(const Heads& from, std::int64_t head, const Unit& unit, std::int64_t width,
            float* rows) {
  for (std::int64_t j = 0; j < unit.num_keys(); ++j) {
    const bf16* row = from.find(unit.place(j), head);
    for (std::int64_t d = 0; d < width; ++d) rows[j * width + d] = widen(row[d]);
  }
}

void turn(const float* rows, std::int64_t height, std::int64_t width, float* turned,
          std::int64_t padded) {
  for (std::int64_t d = 0; d < width; ++d) {
    for (std::int64_t j = 0; j < height; ++j) turned[d * padded + j] = rows[j * width + d];
    for (std::int64_t j = height; j < padded; ++j) turned[d * padded + j] = 0;
  }
}

void read_tile(const Heads& from, std::int64_t head, std::int64_t start, std::int64_t count,
               std::int64_t width, float* rows) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bf16* row = from.find(start + i, head);
    for (std::int64_t d = 0; d < width; ++d) rows[i * width + d] = widen(row[d]);
  }
}

}  // namespace

extern "C" {

// out: T x H x D. lse: H x T, the logarithm of each query's sum of exponentials.
void attend_forward(const bf16* query, const bf16* key, const bf16* value, bf16* out, float* lse,
                    const std::int64_t* units, const std::int64_t* sizes, float scaling,
                    float cap, std::int64_t window) {
  const Scoring how{scaling, cap, window};
  const std::int64_t num_positions = sizes[0], num_heads = sizes[1], num_keys = sizes[2];
  const std::int64_t width = sizes[3], num_units = sizes[4], served = num_heads / num_keys;
  const Heads queries{query, sizes[5], sizes[6]}, keys{key, sizes[7], sizes[8]};
  const Heads values{value, sizes[9], sizes[10]};
#pragma omp parallel
  {
    Room room;
#pragma omp for schedule(dynamic) collapse(2)
    for (std::int64_t u = 0; u < num_units; ++u) {
      for (std::int64_t k = 0; k < num_keys; ++k) {
        const Unit unit(units + u * kUnit);
        const std::int64_t count = unit.num_keys(), padded = round_up(count);
        float* value_rows = take(room.values, count * width);
        float* key_rows = take(room.keys, count * width);
        float* turned = take(room.turned_keys, padded * width);
        gather(values, k, unit, width, value_rows);
        gather(keys, k, unit, width, key_rows);
        turn(key_rows, count, width, turned, padded);
        float* tile = take(room.query, kTile * width);
        float* weights = take(room.weights, kTile * padded);
        float* sums = take(room.out, kTile * width);
        float* slopes = take(room.slopes, padded);
        for (std::int64_t h = k * served; h < (k + 1) * served; ++h) {
          for (std::int64_t first = 0; first < unit.own; first += kTile) {
            const std::int64_t num = std::min<std::int64_t>(kTile, unit.own - first);
            const std::int64_t start = unit.own_start + first;
            const std::int64_t seen = unit.num_before() + first + num, wide = round_up(seen);
            const std::int64_t low = how.first_of(unit.num_before() + first + 1) / 16 * 16;
            read_tile(queries, h, start, num, width, tile);
            multiply(num, wide - low, {tile, width, 1}, turned + low, padded, weights + low,
                     padded, width, false);
            float inverse[kTile];
            for (std::int64_t i = 0; i < num; ++i) {
              float* row = weights + i * padded;
              const std::int64_t here = unit.num_before() + first + i + 1;
              const std::int64_t from = how.first_of(here);
              const float rate = how.rate();
              if (cap > 0) cap_row(how, row, slopes, from, here);
              float most = -std::numeric_limits<float>::infinity(), sum = 0;
              for (std::int64_t j = from; j < here; ++j) most = std::max(most, row[j]);
              for (std::int64_t j = from; j < here; ++j) {
                row[j] = fast_exp((row[j] - most) * rate);
                sum += row[j];
              }
              for (std::int64_t j = low; j < from; ++j) row[j] = 0;
              for (std::int64_t j = here; j < wide; ++j) row[j] = 0;
              inverse[i] = 1 / sum;
              lse[h * num_positions + start + i] = most * rate + std::log(sum);
            }
            multiply(num, width, {weights + low, padded, 1}, value_rows + low * width, width, sums,
                     width, seen - low, false);
            for (std::int64_t i = 0; i < num; ++i) {
              bf16* row = out + ((start + i) * num_heads + h) * width;
              for (std::int64_t d = 0; d < width; ++d)
                row[d] = narrow(sums[i * width + d] * inverse[i]);
            }
          }
        }
      }
    }
  }
}

// grad: like out. grad_query: T x H x D; grad_key, grad_value: T x K x D; sums: zeros, parts x K x
// T x 2 x D. A part is every so-manieth unit, so that the same number of parts gives the same sums.
void attend_backward(const bf16* grad, const bf16* query, const bf16* key, const bf16* value,
                     const float* lse, bf16* grad_query, bf16* grad_key, bf16* grad_value,
                     float* sums, const std::int64_t* units, const std::int64_t* sizes,
                     float scaling, float cap, std::int64_t window) {
  const Scoring how{scaling, cap, window};
  const std::int64_t num_positions = sizes[0], num_heads = sizes[1], num_keys = sizes[2];
  const std::int64_t width = sizes[3], num_units = sizes[4], served = num_heads / num_keys;
  const Heads queries{query, sizes[5], sizes[6]}, keys{key, sizes[7], sizes[8]};
  const Heads values{value, sizes[9], sizes[10]}, grads{grad, sizes[11], sizes[12]};
  const std::int64_t num_parts = sizes[13], part_size = num_keys * num_positions * 2 * width;
#pragma omp parallel
  {
    Room room;
#pragma omp for schedule(dynamic) collapse(2)
    for (std::int64_t part = 0; part < num_parts; ++part) {
      for (std::int64_t k = 0; k < num_keys; ++k) {
        for (std::int64_t u = part; u < num_units; u += num_parts) {
          const Unit unit(units + u * kUnit);
          const std::int64_t count = unit.num_keys(), padded = round_up(count);
          float* key_rows = take(room.keys, count * width);
          float* turned_keys = take(room.turned_keys, padded * width);
          float* turned_values = take(room.turned_values, padded * width);
          float* both = take(room.values, count * 2 * width);  // values first, then both gradients
          gather(values, k, unit, width, both);
          turn(both, count, width, turned_values, padded);
          gather(keys, k, unit, width, key_rows);
          turn(key_rows, count, width, turned_keys, padded);
          std::fill(both, both + count * 2 * width, 0.0f);
          float* query_tile = take(room.query, kTile * width);
          float* grad_tile = take(room.grad, kTile * width);
          float* weights = take(room.weights, kTile * padded);
          float* pulls = take(room.pulls, kTile * padded);
          float* tile = take(room.out, kTile * width);
          float* slopes = take(room.slopes, padded);
          for (std::int64_t h = k * served; h < (k + 1) * served; ++h) {
            for (std::int64_t first = 0; first < unit.own; first += kTile) {
              const std::int64_t num = std::min<std::int64_t>(kTile, unit.own - first);
              const std::int64_t start = unit.own_start + first;
              const std::int64_t seen = unit.num_before() + first + num, wide = round_up(seen);
              const std::int64_t low = how.first_of(unit.num_before() + first + 1) / 16 * 16;
              read_tile(queries, h, start, num, width, query_tile);
              read_tile(grads, h, start, num, width, grad_tile);
              multiply(num, wide - low, {query_tile, width, 1}, turned_keys + low, padded,
                       weights + low, padded, width, false);
              multiply(num, wide - low, {grad_tile, width, 1}, turned_values + low, padded,
                       pulls + low, padded, width, false);
              for (std::int64_t i = 0; i < num; ++i) {
                float *row = weights + i * padded, *pull = pulls + i * padded;
                const std::int64_t here = unit.num_before() + first + i + 1;
                const std::int64_t from = how.first_of(here);
                const float base = lse[h * num_positions + start + i], rate = how.rate();
                if (cap > 0) cap_row(how, row, slopes, from, here);
                float mean = 0;
                for (std::int64_t j = from; j < here; ++j) {
                  row[j] = fast_exp(row[j] * rate - base);
                  mean += row[j] * pull[j];
                }
                for (std::int64_t j = from; j < here; ++j)
                  pull[j] = row[j] * (pull[j] - mean) * scaling;
                if (cap > 0)
                  for (std::int64_t j = from; j < here; ++j) pull[j] *= slopes[j];
                for (std::int64_t j = low; j < from; ++j) row[j] = pull[j] = 0;
                for (std::int64_t j = here; j < wide; ++j) row[j] = pull[j] = 0;
              }
              float* grad_both = both + low * 2 * width;
              multiply(seen - low, width, {weights + low, 1, padded}, grad_tile, width,
                       grad_both + width, 2 * width, num, true);
              multiply(seen - low, width, {pulls + low, 1, padded}, query_tile, width, grad_both,
                       2 * width, num, true);
              multiply(num, width, {pulls + low, padded, 1}, key_rows + low * width, width, tile,
                       width, seen - low, false);
              for (std::int64_t i = 0; i < num; ++i) {
                bf16* row = grad_query + ((start + i) * num_heads + h) * width;
                for (std::int64_t d = 0; d < width; ++d) row[d] = narrow(tile[i * width + d]);
              }
            }
          }
          float* into = sums + part * part_size + k * num_positions * 2 * width;
          for (std::int64_t j = 0; j < count; ++j) {
            float* row = into + unit.place(j) * 2 * width;
            for (std::int64_t d = 0; d < 2 * width; ++d) row[d] += both[j * 2 * width + d];
          }
        }
      }
    }
#pragma omp for
    for (std::int64_t t = 0; t < num_positions; ++t) {
      for (std::int64_t k = 0; k < num_keys; ++k) {
        for (std::int64_t d = 0; d < width; ++d) {
          float of_key = 0, of_value = 0;
          for (std::int64_t part = 0; part < num_parts; ++part) {
            const float* row =
                sums + part * part_size + (k * num_positions + t) * 2 * width;
            of_key += row[d];
            of_value += row[width + d];
          }
          grad_key[(t * num_keys + k) * width + d] = narrow(of_key);
          grad_value[(t * num_keys + k) * width + d] = narrow(of_value);
        }
      }
    }
  }
}

}  // extern "C"
