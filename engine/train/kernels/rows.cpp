// What a layer does to rows between its products: norm, gate, rotation; and the loss of logits.

#include <algorithm>
#include <cstdint>
#include <limits>

#include "bf16.h"

using namespace athanor;

namespace {

template <typename In, typename Weight>
void norm_forward_as(const In* rows, const Weight* weight, bf16* out, float* scales,
                     std::int64_t num_rows, std::int64_t width, float eps) {
#pragma omp parallel for
  for (std::int64_t t = 0; t < num_rows; ++t) {
    const In* row = rows + t * width;
    float sum = 0;
    for (std::int64_t e = 0; e < width; ++e) sum += widen(row[e]) * widen(row[e]);
    const float scale = 1 / std::sqrt(sum / width + eps);
    scales[t] = scale;
    bf16* to = out + t * width;
    for (std::int64_t e = 0; e < width; ++e)
      to[e] = narrow(widen(row[e]) * scale * widen(weight[e]));
  }
}

void put(float value, float* to) { *to = value; }
void put(float value, bf16* to) { *to = narrow(value); }

template <typename In, typename Weight>
void norm_backward_as(const bf16* grads, const In* rows, const Weight* weight, const float* scales,
                      In* grad_rows, float* grad_weight, std::int64_t num_rows, std::int64_t width,
                      std::int64_t num_parts) {
  const std::int64_t most = (num_rows + num_parts - 1) / num_parts;
#pragma omp parallel for
  for (std::int64_t part = 0; part < num_parts; ++part) {
    float* sums = grad_weight ? grad_weight + part * width : nullptr;
    for (std::int64_t t = part * most; t < std::min((part + 1) * most, num_rows); ++t) {
      const In* row = rows + t * width;
      const bf16* grad = grads + t * width;
      const float scale = scales[t];
      float mean = 0;
      for (std::int64_t e = 0; e < width; ++e)
        mean += widen(grad[e]) * widen(weight[e]) * widen(row[e]);
      mean *= scale * scale / width;
      In* to = grad_rows + t * width;
      for (std::int64_t e = 0; e < width; ++e)
        put((widen(grad[e]) * widen(weight[e]) - widen(row[e]) * mean) * scale, to + e);
      if (sums)
        for (std::int64_t e = 0; e < width; ++e) sums[e] += widen(grad[e]) * widen(row[e]) * scale;
    }
  }
}

}  // namespace

extern "C" {

// scales: one over each row's root mean square. in_float, weight_float: what is not bfloat16.
void norm_forward(const void* rows, const void* weight, bf16* out, float* scales,
                  std::int64_t num_rows, std::int64_t width, float eps, int in_float,
                  int weight_float) {
  const auto run = [&](auto* in, auto* by) {
    norm_forward_as(in, by, out, scales, num_rows, width, eps);
  };
  const auto with = [&](auto* in) {
    weight_float ? run(in, static_cast<const float*>(weight))
                 : run(in, static_cast<const bf16*>(weight));
  };
  in_float ? with(static_cast<const float*>(rows)) : with(static_cast<const bf16*>(rows));
}

// grad_rows: of the rows' type. grad_weight: zeros, parts x E, or null where it is not learnt.
void norm_backward(const bf16* grads, const void* rows, const void* weight, const float* scales,
                   void* grad_rows, float* grad_weight, std::int64_t num_rows, std::int64_t width,
                   std::int64_t num_parts, int in_float, int weight_float) {
  const auto run = [&](auto* in, auto* by, auto* to) {
    norm_backward_as(grads, in, by, scales, to, grad_weight, num_rows, width, num_parts);
  };
  const auto with = [&](auto* in, auto* to) {
    weight_float ? run(in, static_cast<const float*>(weight), to)
                 : run(in, static_cast<const bf16*>(weight), to);
  };
  in_float ? with(static_cast<const float*>(rows), static_cast<float*>(grad_rows))
           : with(static_cast<const bf16*>(rows), static_cast<bf16*>(grad_rows));
}

// silu(gate) * up.
void gate_forward(const bf16* gate, const bf16* up, bf16* out, std::int64_t count) {
#pragma omp parallel for
  for (std::int64_t i = 0; i < count; ++i) {
    const float x = widen(gate[i]);
    out[i] = narrow(x / (1 + fast_exp(-x)) * widen(up[i]));
  }
}

void gate_backward(const bf16* grad, const bf16* gate, const bf16* up, bf16* grad_gate,
                   bf16* grad_up, std::int64_t count) {
#pragma omp parallel for
  for (std::int64_t i = 0; i < count; ++i) {
    const float x = widen(gate[i]), g = widen(grad[i]);
    const float open = 1 / (1 + fast_exp(-x));
    grad_gate[i] = narrow(g * widen(up[i]) * open * (1 + x * (1 - open)));
    grad_up[i] = narrow(g * x * open);
  }
}

// Turns the pairs (d, d + D/2) of each head by its position's angle, back where sign is -1.
// rows: T x heads x D by steps; cos, sin: float32, the first D/2 of each T; out: T x heads x D.
void rotate(const bf16* rows, std::int64_t position_step, std::int64_t head_step, const float* cos,
            const float* sin, std::int64_t angle_step, bf16* out, std::int64_t num_positions,
            std::int64_t num_heads, std::int64_t width, float sign) {
  const std::int64_t half = width / 2;
#pragma omp parallel for
  for (std::int64_t t = 0; t < num_positions; ++t) {
    const float *c = cos + t * angle_step, *s = sin + t * angle_step;
    for (std::int64_t h = 0; h < num_heads; ++h) {
      const bf16* row = rows + t * position_step + h * head_step;
      bf16* to = out + (t * num_heads + h) * width;
      for (std::int64_t d = 0; d < half; ++d) {
        const float x = widen(row[d]), y = widen(row[half + d]);
        to[d] = narrow(x * c[d] - sign * y * s[d]);
        to[half + d] = narrow(y * c[d] + sign * x * s[d]);
      }
    }
  }
}

// Cross-entropy of each row of logits, which become weight * (softmax - onehot) in place. rights:
// the weight of a target that no other beats, else 0.
void learn_logits(bf16* logits, const std::int64_t* targets, const float* weights, float* losses,
                  float* rights, std::int64_t num_rows, std::int64_t width) {
#pragma omp parallel for
  for (std::int64_t b = 0; b < num_rows; ++b) {
    bf16* row = logits + b * width;
    float most = -std::numeric_limits<float>::infinity(), sum = 0;
    for (std::int64_t v = 0; v < width; ++v) most = std::max(most, widen(row[v]));
    for (std::int64_t v = 0; v < width; ++v) sum += fast_exp(widen(row[v]) - most);
    const float weight = weights ? weights[b] : 1, scale = weight / sum;
    const float picked = widen(row[targets[b]]) - most;
    losses[b] = (std::log(sum) - picked) * weight;
    rights[b] = picked >= 0 ? weight : 0;
    for (std::int64_t v = 0; v < width; ++v)
      row[v] = narrow(fast_exp(widen(row[v]) - most) * scale);
    row[targets[b]] = narrow((std::exp(picked) / sum - 1) * weight);
  }
}

}  // extern "C"
