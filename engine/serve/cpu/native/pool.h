// A team of threads that share out numbered chunks of work.
//
// Chunks are claimed one by one, so a thread whose core is taken by another process delays only the
// chunk that it holds. Which thread runs a chunk never changes a number: chunks write apart.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace athanor {

class Pool {
 public:
  explicit Pool(int num_threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int num_threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Call work(chunk, thread) for every chunk below num_chunks; returns when all are done.
  template <class Work>
  void run(int num_chunks, const Work& work) {
    if (helpers_.empty() || num_chunks <= 1) {
      for (int chunk = 0; chunk < num_chunks; ++chunk) work(chunk, 0);
      return;
    }
    share(
        num_chunks,
        [](const void* context, int chunk, int thread) {
          (*static_cast<const Work*>(context))(chunk, thread);
        },
        &work);
  }

 private:
  using Call = void (*)(const void* context, int chunk, int thread);

  void share(int num_chunks, Call call, const void* context);
  bool claim_and_run(int thread);
  void help(int thread);

  // One word holds the job's number, its chunks and the next one to claim, so that a claim can
  // never take a chunk of another job than the one whose fields the claimant then reads.
  std::atomic<uint64_t> state_{0};
  std::atomic<int> num_done_{0};
  std::atomic<uint32_t> job_{0};  // what sleepers wait on
  std::atomic<int> num_asleep_{0};
  std::atomic<bool> is_closing_{false};
  Call call_ = nullptr;
  const void* context_ = nullptr;
  std::vector<std::thread> helpers_;
};

}  // namespace athanor
