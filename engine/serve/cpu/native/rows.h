// What is done to one row of hidden states at a time. A row's result depends on that row alone.
#pragma once
#include <cstdint>

namespace athanor {

// out = x / rms(x) * weight; `out` may be `x`.
void norm_row(const float* x, const float* weight, int width, float eps, float* out);
// x += y
void add_row(float* x, const float* y, int width);
// x += share * y
void add_share(float* x, const float* y, float share, int width);
// gate = silu(gate) * up, or the tanh form of gelu
void silu_row(float* gate, const float* up, int width);
void gelu_row(float* gate, const float* up, int width);
// Turn pairs (i, i + half) of one head; `turn` holds `half` cosines and then as many sines.
void turn_row(float* x, const float* turn, int half);
// The probabilities of the `count` largest of `scores`, summing to one, and their indexes; the
// first of equals wins (Mixtral, arXiv 2401.04088, section 2.1).
void choose_experts(const float* scores, int num_experts, int count, int32_t* chosen,
                    float* shares);

}  // namespace athanor
