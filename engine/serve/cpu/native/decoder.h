// The forward pass: one call a step.
#pragma once
#include <memory>
#include <vector>

#include "kv_pool.h"
#include "model.h"
#include "pool.h"
#include "step.h"

namespace athanor {

class Decoder {
 public:
  explicit Decoder(std::unique_ptr<Model> model);

  void run(const StepSource& step);
  void set_adapter(int slot, std::unique_ptr<LoraSlot> adapter);
  void copy_block(int source, int target);
  const Model& model() const { return *model_; }

 private:
  // One linear layer and where its outputs go.
  struct Use {
    const Linear* linear;
    float* output;
    int64_t stride;
    bool adds;
  };

  void embed(const StepSource& step);
  void turn_positions(const StepSource& step);
  void run_layer(const StepSource& step, const Plan& plan, int index);
  void attend_layer(const StepSource& step, const Plan& plan, int index);
  void write_keys(const StepSource& step, const WriteTask& task, int index);
  void feed_forward(const Strip& strip, int index);
  void mix_experts(const Strip& strip, int index);
  void run_expert(const FeedForward& expert, const std::vector<int32_t>& rows, float* output);
  void join(const std::vector<float>& post_norm, int first, int rows);
  void give_rows(const StepSource& step);

  template <class Work>
  void each_row(int rows, int64_t row_numbers, const Work& work);
  // Outputs of some layers for the same inputs: make(row) gives a row of them.
  template <class Make>
  void project(const std::vector<Use>& uses, int rows, const Make& make);
  void activate(float* gate, const float* up, int width) const;

  std::unique_ptr<Model> model_;
  const ModelSource& shape_;
  Pool pool_;
  KvPool kv_;
  LoraSlots slots_;
  std::vector<Workspace> spaces_;
  std::vector<Activation> inputs_;
  int64_t query_width_, key_width_, qkv_width_;
  Buffer hidden_, normed_, qkv_, attended_, gate_, up_, added_, turns_, router_, mixed_;
};

}  // namespace athanor
