// The C functions that binding.py calls. None lets an exception out: each returns what went wrong
// as a number, and athanor_error says it in words.
#include <new>
#include <stdexcept>
#include <string>

#include "decoder.h"
#include "simd.h"

namespace {

using namespace athanor;

thread_local std::string last_error;

enum Outcome : int { kDone = 0, kBadArgument = 1, kNoMemory = 2, kFailed = 3 };

template <class Work>
int guarded(const Work& work) {
  try {
    work();
    return kDone;
  } catch (const std::invalid_argument& error) {
    last_error = error.what();
    return kBadArgument;
  } catch (const std::bad_alloc&) {
    last_error = "not enough memory";
    return kNoMemory;
  } catch (const std::exception& error) {
    last_error = error.what();
    return kFailed;
  }
}

}  // namespace

#define ATHANOR_API __attribute__((visibility("default")))

extern "C" {

ATHANOR_API const char* athanor_error() { return last_error.c_str(); }
ATHANOR_API const char* athanor_simd() { return ATHANOR_SIMD; }

ATHANOR_API int athanor_make_linear(const LinearSource* source, Linear** out) {
  return guarded([&] { *out = new Linear(*source); });
}
ATHANOR_API void athanor_drop_linear(Linear* linear) { delete linear; }

ATHANOR_API int athanor_open(const ModelSource* source, const RopeSource* ropes, int num_ropes,
                 const LayerSource* layers, Decoder** out) {
  return guarded(
      [&] { *out = new Decoder(make_model(*source, ropes, num_ropes, layers)); });
}
ATHANOR_API void athanor_close(Decoder* decoder) { delete decoder; }

ATHANOR_API int athanor_run(Decoder* decoder, const StepSource* step) {
  return guarded([&] { decoder->run(*step); });
}

ATHANOR_API int athanor_copy_block(Decoder* decoder, int source, int target) {
  return guarded([&] { decoder->copy_block(source, target); });
}

// `updates`: for every layer and part in order, one with rank 0 where there is none.
ATHANOR_API int athanor_set_adapter(Decoder* decoder, int slot, const LoraSource* updates) {
  return guarded([&] {
    const ModelSource& shape = decoder->model().shape;
    auto adapter =
        std::make_unique<LoraSlot>(updates, shape.num_layers * kNumParts, shape.is_fp32 != 0);
    decoder->set_adapter(slot, std::move(adapter));
  });
}

ATHANOR_API int athanor_drop_adapter(Decoder* decoder, int slot) {
  return guarded([&] { decoder->set_adapter(slot, nullptr); });
}

}  // extern "C"
