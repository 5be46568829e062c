#include "gemm.h"

#include <algorithm>

#include "gemm_blocks.h"

namespace athanor {
namespace {

// One or two rows leave too few sums under way to fill the multipliers: two panels at once then.
constexpr int kPairRows = 2;

template <bool kIsInt4, int Rows>
void run_integer(int rows, const Gemm& gemm, int panel, int first_row, bool is_pair) {
  if constexpr (Rows > 0) {
    if (rows != Rows)
      return run_integer<kIsInt4, Rows - 1>(rows, gemm, panel, first_row, is_pair);
    if constexpr (Rows <= kPairRows)
      if (is_pair) return integer_block<kIsInt4, Rows, 2>(gemm, panel, first_row);
    integer_block<kIsInt4, Rows, 1>(gemm, panel, first_row);
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

void run_block(int rows, const Gemm& gemm, int panel, int first_row, bool is_pair) {
  switch (gemm.linear->kind) {
    case Kind::kFloat32:
      return run_float<false, kFloatRows>(rows, gemm, panel, first_row, is_pair);
    case Kind::kBf16:
      return run_float<true, kFloatRows>(rows, gemm, panel, first_row, is_pair);
    case Kind::kInt8:
      return run_integer<false, kIntRows>(rows, gemm, panel, first_row, is_pair);
    case Kind::kInt4:
      return run_integer<true, kIntRows>(rows, gemm, panel, first_row, is_pair);
  }
}

void run_panels(const Gemm& gemm, int from, int to, int num_rows) {
  const Linear& linear = *gemm.linear;
  const int most = linear.is_integer() ? kIntRows : kFloatRows;
  const int num_blocks = (num_rows + most - 1) / most;
  for (int panel = from; panel < to;) {
    const bool is_pair = num_rows <= kPairRows && panel + 2 <= to;
    for (int block = 0; block < num_blocks; ++block) {
      // Blocks of nearly one size: five and five run faster than eight and two.
      const int first = static_cast<int>(static_cast<int64_t>(num_rows) * block / num_blocks);
      const int last = static_cast<int>(static_cast<int64_t>(num_rows) * (block + 1) / num_blocks);
      run_block(last - first, gemm, panel, first, is_pair);
    }
    panel += is_pair ? 2 : 1;
  }
}

}  // namespace

void multiply(Pool& pool, const std::vector<Gemm>& gemms, int num_rows) {
  int num_panels = 0;
  for (const Gemm& gemm : gemms) num_panels += gemm.linear->num_panels;
  const int threads = pool.num_threads();
  // Four chunks a thread: fine enough to share out evenly, coarse enough that claims cost nothing.
  const int64_t share = (num_panels + 4 * threads - 1) / (4 * threads);
  const int chunk = threads == 1 ? num_panels : static_cast<int>(round_up(share, 2));
  pool.run((num_panels + chunk - 1) / chunk, [&](int index, int) {
    int from = index * chunk, to = std::min(num_panels, from + chunk);
    for (const Gemm& gemm : gemms) {
      const int panels = gemm.linear->num_panels;
      if (from < panels && to > 0)
        run_panels(gemm, std::max(from, 0), std::min(to, panels), num_rows);
      from -= panels;
      to -= panels;
    }
  });
}

}  // namespace athanor
