#include "model.h"

namespace athanor {
namespace {

std::vector<float> copy_floats(const float* values, int count) {
  return values == nullptr ? std::vector<float>() : std::vector<float>(values, values + count);
}

FeedForward take_feed_forward(Linear* const* parts) {
  FeedForward taken;
  taken.gate.reset(parts[0]);
  taken.up.reset(parts[1]);
  taken.down.reset(parts[2]);
  return taken;
}

Layer make_layer(const ModelSource& model, const LayerSource& source) {
  Layer layer;
  layer.rope_index = source.rope_index;
  layer.window = source.window;
  layer.attention_norm = copy_floats(source.attention_norm, model.hidden_size);
  layer.ffn_norm = copy_floats(source.ffn_norm, model.hidden_size);
  layer.query_norm = copy_floats(source.query_norm, model.head_dim);
  layer.key_norm = copy_floats(source.key_norm, model.head_dim);
  layer.attention_post_norm = copy_floats(source.attention_post_norm, model.hidden_size);
  layer.ffn_post_norm = copy_floats(source.ffn_post_norm, model.hidden_size);
  layer.query.reset(source.parts[kQuery]);
  layer.key.reset(source.parts[kKey]);
  layer.value.reset(source.parts[kValue]);
  layer.output.reset(source.parts[kOutput]);
  layer.feed_forward = take_feed_forward(source.parts + kGate);
  layer.router.reset(source.router);
  for (int expert = 0; expert < source.num_experts; ++expert)
    layer.experts.push_back(take_feed_forward(source.experts + 3 * expert));
  return layer;
}

}  // namespace

std::unique_ptr<Model> make_model(const ModelSource& source, const RopeSource* ropes,
                                  int num_ropes, const LayerSource* layers) {
  auto model = std::make_unique<Model>();
  model->shape = source;
  model->norm = copy_floats(source.norm, source.hidden_size);
  model->head.reset(source.head);
  for (int i = 0; i < num_ropes; ++i)
    model->ropes.push_back({copy_floats(ropes[i].frequencies, ropes[i].num_frequencies),
                            ropes[i].attention_factor});
  for (int i = 0; i < source.num_layers; ++i)
    model->layers.push_back(make_layer(source, layers[i]));
  return model;
}

}  // namespace athanor
