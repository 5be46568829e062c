// A whole model as it lies in memory, and the plain structures that Python fills to make it.
// Every structure here has its twin in binding.py, field by field.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "linear.h"
#include "lora.h"

namespace athanor {

struct ModelSource {
  int32_t vocab_size, hidden_size, num_heads, num_kv_heads, head_dim, num_layers;
  int32_t num_experts_per_token;
  int32_t is_gelu;
  int32_t max_positions;
  int32_t is_fp32;  // keys, values and adapters as floats instead of bf16
  int32_t num_blocks, block_size, kv_kind, kv_kept_layers, kv_keeps_sinks;
  int32_t num_threads, max_adapters;
  float norm_eps, attention_scale, embedding_scale;
  int32_t is_embedding_bf16;
  const void* embedding;  // V x E; kept by the caller as long as the decoder lives
  const float* norm;      // E
  Linear* head;           // taken over; so is every linear layer below
};

struct RopeSource {
  int32_t num_frequencies;
  float attention_factor;
  const float* frequencies;
};

struct LayerSource {
  int32_t rope_index;
  int32_t window;  // 0: none
  const float* attention_norm;
  const float* ffn_norm;
  const float* query_norm;  // or null; so may be all below
  const float* key_norm;
  const float* attention_post_norm;
  const float* ffn_post_norm;
  Linear* parts[kNumParts];  // gate, up and down null in a mixture of experts
  Linear* router;
  int32_t num_experts;
  Linear** experts;  // gate, up, down of each
};

struct FeedForward {
  std::unique_ptr<Linear> gate, up, down;
};

struct Layer {
  int rope_index = 0;
  int window = 0;
  std::vector<float> attention_norm, ffn_norm, query_norm, key_norm;
  std::vector<float> attention_post_norm, ffn_post_norm;
  std::unique_ptr<Linear> query, key, value, output;
  FeedForward feed_forward;
  std::unique_ptr<Linear> router;
  std::vector<FeedForward> experts;
};

struct Rope {
  std::vector<float> frequencies;
  float factor = 1.0f;
};

struct Model {
  ModelSource shape;
  std::vector<float> norm;
  std::unique_ptr<Linear> head;
  std::vector<Rope> ropes;
  std::vector<Layer> layers;
};

std::unique_ptr<Model> make_model(const ModelSource& source, const RopeSource* ropes,
                                  int num_ropes, const LayerSource* layers);

}  // namespace athanor
