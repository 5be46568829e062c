#include "rows.h"

#include <algorithm>
#include <cmath>

#include "simd.h"

namespace athanor {
namespace {


// call(i, x, y) for every vector of a row; the tail goes through memory of its own.
template <class Call>
void over_row(float* x, const float* y, int width, Call call) {
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) f_store(x + i, call(f_load(x + i), f_load(y + i)));
  if (i == width) return;
  float left[kLanes] = {}, right[kLanes] = {};
  std::copy(x + i, x + width, left);
  std::copy(y + i, y + width, right);
  f_store(left, call(f_load(left), f_load(right)));
  std::copy(left, left + (width - i), x + i);
}

}  // namespace

void norm_row(const float* x, const float* weight, int width, float eps, float* out) {
  F16 squares = f_zero();
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    const F16 v = f_load(x + i);
    squares = f_fma(v, v, squares);
  }
  float sum = f_sum(squares);
  for (; i < width; ++i) sum += x[i] * x[i];
  const float factor = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
  for (i = 0; i + kLanes <= width; i += kLanes)
    f_store(out + i, f_mul(f_mul(f_load(x + i), f_set(factor)), f_load(weight + i)));
  for (; i < width; ++i) out[i] = x[i] * factor * weight[i];
}

void add_row(float* x, const float* y, int width) {
  over_row(x, y, width, [](F16 a, F16 b) { return f_add(a, b); });
}

void add_share(float* x, const float* y, float share, int width) {
  over_row(x, y, width, [&](F16 a, F16 b) { return f_fma(b, f_set(share), a); });
}

void silu_row(float* gate, const float* up, int width) {
  over_row(gate, up, width, [](F16 g, F16 u) {
    const F16 below = f_add(f_set(1.0f), f_exp(f_sub(f_zero(), g)));
    return f_mul(f_div(g, below), u);
  });
}

void gelu_row(float* gate, const float* up, int width) {
  // 0.5 (1 + tanh z) = 1 / (1 + e^-2z), z = sqrt(2/pi) (x + 0.044715 x^3)
  over_row(gate, up, width, [](F16 g, F16 u) {
    const F16 cube = f_mul(f_mul(g, g), g);
    const F16 z = f_mul(f_set(-2.0f * 0.7978845608f), f_fma(cube, f_set(0.044715f), g));
    return f_mul(f_div(g, f_add(f_set(1.0f), f_exp(z))), u);
  });
}

void turn_row(float* x, const float* turn, int half) {
  const float* cosines = turn;
  const float* sines = turn + half;
  int i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const F16 a = f_load(x + i), b = f_load(x + half + i);
    const F16 c = f_load(cosines + i), s = f_load(sines + i);
    f_store(x + i, f_sub(f_mul(a, c), f_mul(b, s)));
    f_store(x + half + i, f_add(f_mul(b, c), f_mul(a, s)));
  }
  for (; i < half; ++i) {
    const float a = x[i], b = x[half + i];
    x[i] = a * cosines[i] - b * sines[i];
    x[half + i] = b * cosines[i] + a * sines[i];
  }
}

void choose_experts(const float* scores, int num_experts, int count, int32_t* chosen,
                    float* shares) {
  for (int i = 0; i < count; ++i) {
    int best = -1;
    for (int expert = 0; expert < num_experts; ++expert)
      if (std::find(chosen, chosen + i, expert) == chosen + i &&
          (best < 0 || scores[expert] > scores[best]))
        best = expert;
    chosen[i] = best;
  }
  float sum = 0.0f;
  for (int i = 0; i < count; ++i) {
    shares[i] = std::exp(scores[chosen[i]] - scores[chosen[0]]);
    sum += shares[i];
  }
  for (int i = 0; i < count; ++i) shares[i] /= sum;
}

}  // namespace athanor
