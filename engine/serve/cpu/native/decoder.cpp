#include "decoder.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "numbers.h"
#include "rows.h"

namespace athanor {
namespace {

// Work on fewer numbers than this is done before another thread would have woken to it.
constexpr int64_t kSerialNumbers = 16384;
constexpr int kRowChunk = 8;
constexpr int64_t kPad = 16;  // vectors may read past the last row's end

KvShape kv_shape(const ModelSource& shape) {
  return {shape.num_layers, shape.num_kv_heads, shape.head_dim, shape.num_blocks,
          shape.block_size, shape.is_fp32 != 0, static_cast<KvKind>(shape.kv_kind),
          shape.kv_kept_layers, shape.kv_keeps_sinks != 0};
}

float* floats(Buffer& buffer, int64_t rows, int64_t width) {
  buffer.reserve(static_cast<size_t>(rows * width + kPad) * sizeof(float));
  return buffer.as<float>();
}

}  // namespace

Decoder::Decoder(std::unique_ptr<Model> model)
    : model_(std::move(model)),
      shape_(model_->shape),
      pool_(shape_.num_threads),
      kv_(kv_shape(shape_)),
      slots_(shape_.max_adapters),
      spaces_(shape_.num_threads),
      query_width_(static_cast<int64_t>(shape_.num_heads) * shape_.head_dim),
      key_width_(static_cast<int64_t>(shape_.num_kv_heads) * shape_.head_dim),
      qkv_width_(query_width_ + 2 * key_width_) {}

void Decoder::set_adapter(int slot, std::unique_ptr<LoraSlot> adapter) {
  slots_.at(slot) = std::move(adapter);
}

void Decoder::copy_block(int source, int target) { kv_.copy_block(source, target); }

template <class Work>
void Decoder::each_row(int rows, int64_t row_numbers, const Work& work) {
  const int chunk = rows * row_numbers <= kSerialNumbers ? rows : kRowChunk;
  pool_.run((rows + chunk - 1) / chunk, [&](int index, int) {
    for (int row = index * chunk; row < std::min(rows, (index + 1) * chunk); ++row) work(row);
  });
}

template <class Make>
void Decoder::project(const std::vector<Use>& uses, int rows, const Make& make) {
  std::vector<Form> forms;
  std::vector<size_t> form_of;
  for (const Use& use : uses) {
    const auto found = std::find(forms.begin(), forms.end(), use.linear->form());
    form_of.push_back(found - forms.begin());
    if (found == forms.end()) forms.push_back(use.linear->form());
  }
  const int width = uses.front().linear->inputs;
  if (inputs_.size() < forms.size()) inputs_.resize(forms.size());
  for (size_t i = 0; i < forms.size(); ++i) inputs_[i].shape(forms[i], rows, width);
  each_row(rows, width, [&](int row) {
    const float* values = make(row);
    for (size_t i = 0; i < forms.size(); ++i) inputs_[i].fill_row(row, values);
  });
  std::vector<Gemm> gemms;
  for (size_t i = 0; i < uses.size(); ++i)
    gemms.push_back({uses[i].linear, &inputs_[form_of[i]], uses[i].output, uses[i].stride,
                     uses[i].adds});
  multiply(pool_, gemms, rows);
}

void Decoder::activate(float* gate, const float* up, int width) const {
  if (shape_.is_gelu)
    gelu_row(gate, up, width);
  else
    silu_row(gate, up, width);
}

void Decoder::run(const StepSource& step) {
  check_step(shape_, slots_, step);
  for (int request = 0; request < step.num_requests; ++request)
    if (step.positions[step.query_starts[request]] < shape_.block_size)
      kv_.prepare_sink(step.block_tables[static_cast<int64_t>(request) * step.table_width]);
  const Plan plan = plan_step(shape_, slots_, step);
  embed(step);
  turn_positions(step);
  for (int layer = 0; layer < shape_.num_layers; ++layer) run_layer(step, plan, layer);
  give_rows(step);
}

void Decoder::embed(const StepSource& step) {
  const int64_t width = shape_.hidden_size;
  float* hidden = floats(hidden_, step.num_tokens, width);
  each_row(step.num_tokens, width, [&](int row) {
    const int64_t from = step.token_ids[row] * width;
    float* out = hidden + row * width;
    if (shape_.is_embedding_bf16) {
      const uint16_t* values = static_cast<const uint16_t*>(shape_.embedding) + from;
      for (int64_t i = 0; i < width; ++i)
        out[i] = bf16_to_float(values[i]) * shape_.embedding_scale;
    } else {
      const float* values = static_cast<const float*>(shape_.embedding) + from;
      for (int64_t i = 0; i < width; ++i) out[i] = values[i] * shape_.embedding_scale;
    }
  });
}

// Cosines and sines of every new token: rope, token, then half a head of each.
void Decoder::turn_positions(const StepSource& step) {
  const int64_t width = shape_.head_dim;
  const int num_ropes = static_cast<int>(model_->ropes.size());
  float* turns = floats(turns_, static_cast<int64_t>(num_ropes) * step.num_tokens, width);
  each_row(num_ropes * step.num_tokens, 16 * width, [&](int index) {
    const Rope& rope = model_->ropes[index / step.num_tokens];
    const float position = static_cast<float>(step.positions[index % step.num_tokens]);
    const size_t half = rope.frequencies.size();
    float* out = turns + index * width;
    for (size_t i = 0; i < half; ++i) {
      const float angle = position * rope.frequencies[i];
      out[i] = std::cos(angle) * rope.factor;
      out[half + i] = std::sin(angle) * rope.factor;
    }
  });
}

void Decoder::run_layer(const StepSource& step, const Plan& plan, int index) {
  attend_layer(step, plan, index);
  for (const Strip& strip : plan.strips) {
    if (model_->layers[index].router != nullptr)
      mix_experts(strip, index);
    else
      feed_forward(strip, index);
  }
}

void Decoder::attend_layer(const StepSource& step, const Plan& plan, int index) {
  const Layer& layer = model_->layers[index];
  const int rows = step.num_tokens;
  const int64_t width = shape_.hidden_size;
  float* hidden = hidden_.as<float>();
  float* normed = floats(normed_, rows, width);
  float* qkv = floats(qkv_, rows, qkv_width_);
  float* key = qkv + query_width_;
  float* value = key + key_width_;
  project({{layer.query.get(), qkv, qkv_width_, false},
           {layer.key.get(), key, qkv_width_, false},
           {layer.value.get(), value, qkv_width_, false}},
          rows, [&](int row) {
            float* out = normed + row * width;
            norm_row(hidden + row * width, layer.attention_norm.data(), shape_.hidden_size,
                     shape_.norm_eps, out);
            return out;
          });
  if (!plan.lora.empty())
    apply_lora(pool_, spaces_, plan.lora, index,
               {{kQuery, normed, width, qkv, qkv_width_},
                {kKey, normed, width, key, qkv_width_},
                {kValue, normed, width, value, qkv_width_}});
  pool_.run(static_cast<int>(plan.writes.size()),
            [&](int chunk, int) { write_keys(step, plan.writes[chunk], index); });
  float* attended = floats(attended_, rows, query_width_);
  const AttentionLayer attention{&kv_, index, shape_.num_heads / shape_.num_kv_heads,
                                 layer.window, shape_.attention_scale, qkv, qkv_width_,
                                 attended, query_width_};
  pool_.run(static_cast<int>(plan.attention.size()), [&](int chunk, int thread) {
    attend(attention, plan.attention[chunk], spaces_[thread]);
  });
  const bool is_apart = !layer.attention_post_norm.empty();
  float* output = is_apart ? floats(added_, rows, width) : hidden;
  project({{layer.output.get(), output, width, !is_apart}}, rows,
          [&](int row) { return attended + row * query_width_; });
  if (!plan.lora.empty())
    apply_lora(pool_, spaces_, plan.lora, index,
               {{kOutput, attended, query_width_, output, width}});
  if (is_apart) join(layer.attention_post_norm, 0, rows);
}

void Decoder::write_keys(const StepSource& step, const WriteTask& task, int index) {
  const Layer& layer = model_->layers[index];
  const int head_dim = shape_.head_dim;
  const int half = static_cast<int>(model_->ropes[layer.rope_index].frequencies.size());
  for (int token = task.first; token < task.last; ++token) {
    float* qkv = qkv_.as<float>() + token * qkv_width_;
    const float* turn = turns_.as<float>() +
                        (static_cast<int64_t>(layer.rope_index) * step.num_tokens + token) *
                            head_dim;
    const auto finish = [&](float* x, const std::vector<float>& norm) {
      if (!norm.empty()) norm_row(x, norm.data(), head_dim, shape_.norm_eps, x);
      turn_row(x, turn, half);
    };
    for (int head = 0; head < shape_.num_heads; ++head)
      finish(qkv + head * head_dim, layer.query_norm);
    const int position = step.positions[token];
    const int entry = position / shape_.block_size;
    for (int head = 0; head < shape_.num_kv_heads; ++head) {
      float* key = qkv + query_width_ + head * head_dim;
      finish(key, layer.key_norm);
      kv_.write(index, task.blocks[entry], entry == 0, position % shape_.block_size, head, key,
                key + key_width_);
    }
  }
}

void Decoder::feed_forward(const Strip& strip, int index) {
  const Layer& layer = model_->layers[index];
  const FeedForward& parts = layer.feed_forward;
  const int rows = strip.last - strip.first;
  const int64_t width = shape_.hidden_size, inner = parts.gate->outputs;
  float* hidden = hidden_.as<float>() + strip.first * width;
  float* normed = floats(normed_, rows, width);
  float* gate = floats(gate_, rows, inner);
  float* up = floats(up_, rows, inner);
  project({{parts.gate.get(), gate, inner, false}, {parts.up.get(), up, inner, false}}, rows,
          [&](int row) {
            float* out = normed + row * width;
            norm_row(hidden + row * width, layer.ffn_norm.data(), shape_.hidden_size,
                     shape_.norm_eps, out);
            return out;
          });
  if (!strip.lora.empty())
    apply_lora(pool_, spaces_, strip.lora, index,
               {{kGate, normed, width, gate, inner}, {kUp, normed, width, up, inner}});
  const bool is_apart = !layer.ffn_post_norm.empty();
  float* output = is_apart ? floats(added_, rows, width) : hidden;
  project({{parts.down.get(), output, width, !is_apart}}, rows, [&](int row) {
    float* out = gate + row * inner;
    activate(out, up + row * inner, static_cast<int>(inner));
    return out;
  });
  if (!strip.lora.empty())
    apply_lora(pool_, spaces_, strip.lora, index, {{kDown, gate, inner, output, width}});
  if (is_apart) join(layer.ffn_post_norm, strip.first, rows);
}

void Decoder::mix_experts(const Strip& strip, int index) {
  const Layer& layer = model_->layers[index];
  const int rows = strip.last - strip.first, num_experts = static_cast<int>(layer.experts.size());
  const int count = shape_.num_experts_per_token;
  const int64_t width = shape_.hidden_size;
  float* hidden = hidden_.as<float>() + strip.first * width;
  float* normed = floats(normed_, rows, width);
  float* scores = floats(router_, rows, num_experts);
  project({{layer.router.get(), scores, num_experts, false}}, rows, [&](int row) {
    float* out = normed + row * width;
    norm_row(hidden + row * width, layer.ffn_norm.data(), shape_.hidden_size, shape_.norm_eps,
             out);
    return out;
  });
  std::vector<int32_t> chosen(static_cast<size_t>(rows) * count), place(chosen.size());
  std::vector<float> shares(chosen.size());
  std::vector<std::vector<int32_t>> rows_of(num_experts);
  for (int row = 0; row < rows; ++row) {
    choose_experts(scores + static_cast<int64_t>(row) * num_experts, num_experts, count,
                   &chosen[row * count], &shares[row * count]);
    for (int i = row * count; i < (row + 1) * count; ++i) {
      place[i] = static_cast<int32_t>(rows_of[chosen[i]].size());
      rows_of[chosen[i]].push_back(row);
    }
  }
  float* mixed = floats(mixed_, static_cast<int64_t>(rows) * count, width);
  std::vector<int64_t> start(num_experts, 0);
  int64_t next = 0;
  for (int expert = 0; expert < num_experts; ++expert) {
    start[expert] = next;
    next += static_cast<int64_t>(rows_of[expert].size());
    if (!rows_of[expert].empty())
      run_expert(layer.experts[expert], rows_of[expert], mixed + start[expert] * width);
  }
  // Each row adds its experts in the order of their scores, whatever the others chose.
  each_row(rows, width * count, [&](int row) {
    for (int i = row * count; i < (row + 1) * count; ++i)
      add_share(hidden + row * width, mixed + (start[chosen[i]] + place[i]) * width, shares[i],
                shape_.hidden_size);
  });
}

void Decoder::run_expert(const FeedForward& expert, const std::vector<int32_t>& rows,
                         float* output) {
  const int count = static_cast<int>(rows.size());
  const int64_t width = shape_.hidden_size, inner = expert.gate->outputs;
  float* gate = floats(gate_, count, inner);
  float* up = floats(up_, count, inner);
  const float* normed = normed_.as<float>();
  project({{expert.gate.get(), gate, inner, false}, {expert.up.get(), up, inner, false}}, count,
          [&](int row) { return normed + rows[row] * width; });
  project({{expert.down.get(), output, width, false}}, count, [&](int row) {
    float* out = gate + row * inner;
    activate(out, up + row * inner, static_cast<int>(inner));
    return out;
  });
}

// hidden += norm(added), for a sandwich norm.
void Decoder::join(const std::vector<float>& post_norm, int first, int rows) {
  const int64_t width = shape_.hidden_size;
  float* hidden = hidden_.as<float>() + first * width;
  float* added = added_.as<float>();
  each_row(rows, width, [&](int row) {
    float* x = added + row * width;
    norm_row(x, post_norm.data(), shape_.hidden_size, shape_.norm_eps, x);
    add_row(hidden + row * width, x, shape_.hidden_size);
  });
}

void Decoder::give_rows(const StepSource& step) {
  if (step.num_rows == 0) return;
  const int64_t width = shape_.hidden_size;
  const float* hidden = hidden_.as<float>();
  float* normed = step.wants_hidden ? step.output : floats(normed_, step.num_rows, width);
  const auto make = [&](int row) {
    float* out = normed + row * width;
    norm_row(hidden + step.logits_rows[row] * width, model_->norm.data(), shape_.hidden_size,
             shape_.norm_eps, out);
    return out;
  };
  if (step.wants_hidden)
    each_row(step.num_rows, width, make);
  else
    project({{model_->head.get(), step.output, shape_.vocab_size, false}}, step.num_rows, make);
}

}  // namespace athanor
