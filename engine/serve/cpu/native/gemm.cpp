#include "gemm.h"

#include <algorithm>

#include "gemm_blocks.h"

namespace athanor {
namespace {

// With more rows than this an int4 panel is spread to bytes once instead of for every block of rows.
constexpr int kUnpackRows = 2 * kIntRows;
// One or two rows leave too few sums under way to fill the multipliers: two panels at once then.
constexpr int kPairRows = 2;

template <bool kNibbles, bool kGroupScales, int Rows>
void run_integer(int rows, const Gemm& gemm, int panel, int first_row, const uint8_t* bytes,
                 bool is_pair) {
  if constexpr (Rows > 0) {
    if (rows != Rows)
      return run_integer<kNibbles, kGroupScales, Rows - 1>(rows, gemm, panel, first_row, bytes,
                                                           is_pair);
    if constexpr (Rows <= kPairRows)
      if (is_pair)
        return integer_block<kNibbles, kGroupScales, Rows, 2>(gemm, panel, first_row, bytes);
    integer_block<kNibbles, kGroupScales, Rows, 1>(gemm, panel, first_row, bytes);
  }
}

template <bool kIsBf16, int Rows>
void run_float(int rows, const Gemm& gemm, int panel, int first_row, bool is_pair) {
  if constexpr (Rows > 0) {
    if (rows != Rows)
      return run_float<kIsBf16, Rows - 1>(rows, gemm, panel, first_row, is_pair);
    if constexpr (Rows <= kPairRows)
      if (is_pair) return float_block<kIsBf16, Rows, 2>(gemm, panel, first_row);
    float_block<kIsBf16, Rows, 1>(gemm, panel, first_row);
  }
}

void run_block(int rows, const Gemm& gemm, int panel, int first_row, const uint8_t* bytes,
               bool is_pair) {
  switch (gemm.linear->kind) {
    case Kind::kFloat32:
      return run_float<false, kFloatRows>(rows, gemm, panel, first_row, is_pair);
    case Kind::kBf16:
      return run_float<true, kFloatRows>(rows, gemm, panel, first_row, is_pair);
    case Kind::kInt8:
      return run_integer<false, false, kIntRows>(rows, gemm, panel, first_row, nullptr, is_pair);
    case Kind::kInt4:
      if (bytes != nullptr)
        return run_integer<false, true, kIntRows>(rows, gemm, panel, first_row, bytes, is_pair);
      return run_integer<true, true, kIntRows>(rows, gemm, panel, first_row, nullptr, is_pair);
  }
}

const uint8_t* spread_panel(const Linear& linear, int panel, Buffer& space) {
  space.reserve(static_cast<size_t>(linear.num_steps) * 4 * 64 + kPrefetchBytes);
  const uint8_t* from = linear.panel(panel);
  uint8_t* to = space.as<uint8_t>();
  for (int step = 0; step < linear.num_steps; ++step, from += 128, to += 256) {
    const Raw left = load_raw(from), right = load_raw(from + 64);
    __builtin_prefetch(from + kPrefetchBytes);
    __builtin_prefetch(from + kPrefetchBytes + 64);
    store_raw(to, low_nibbles(left));
    store_raw(to + 64, low_nibbles(right));
    store_raw(to + 128, high_nibbles(left));
    store_raw(to + 192, high_nibbles(right));
  }
  return space.as<uint8_t>();
}

void run_panels(const Gemm& gemm, int from, int to, int num_rows, Workspace& space) {
  const Linear& linear = *gemm.linear;
  const int most = linear.is_integer() ? kIntRows : kFloatRows;
  const int num_blocks = (num_rows + most - 1) / most;
  const bool spreads = linear.kind == Kind::kInt4 && num_rows > kUnpackRows;
  for (int panel = from; panel < to;) {
    const bool is_pair = num_rows <= kPairRows && panel + 2 <= to;
    const uint8_t* bytes = spreads ? spread_panel(linear, panel, space.panel) : nullptr;
    for (int block = 0; block < num_blocks; ++block) {
      // Blocks of nearly one size: five and five run faster than eight and two.
      const int first = static_cast<int>(static_cast<int64_t>(num_rows) * block / num_blocks);
      const int last = static_cast<int>(static_cast<int64_t>(num_rows) * (block + 1) / num_blocks);
      run_block(last - first, gemm, panel, first, bytes, is_pair);
    }
    panel += is_pair ? 2 : 1;
  }
}

}  // namespace

void multiply(Pool& pool, std::vector<Workspace>& spaces, const std::vector<Gemm>& gemms,
              int num_rows) {
  int num_panels = 0;
  for (const Gemm& gemm : gemms) num_panels += gemm.linear->num_panels;
  const int threads = pool.num_threads();
  // Four chunks a thread: fine enough to share out evenly, coarse enough that claims cost nothing.
  const int chunk = threads == 1 ? num_panels
                                 : std::max(2, static_cast<int>(round_up(
                                                   (num_panels + 4 * threads - 1) / (4 * threads), 2)));
  pool.run((num_panels + chunk - 1) / chunk, [&](int index, int thread) {
    int from = index * chunk, to = std::min(num_panels, from + chunk);
    for (const Gemm& gemm : gemms) {
      const int panels = gemm.linear->num_panels;
      if (from < panels && to > 0)
        run_panels(gemm, std::max(from, 0), std::min(to, panels), num_rows, spaces[thread]);
      from -= panels;
      to -= panels;
    }
  });
}

}  // namespace athanor
