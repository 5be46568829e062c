#include "pool.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace athanor {
namespace {

constexpr int kSpins = 2000;  // some 30 us: longer than the serial parts between two jobs of a step
constexpr uint64_t kField = (1u << 20) - 1;

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// The wait of std::atomic spins on its own and differs between libraries: the system call is plain.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr,
          nullptr, 0);
}
void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 1 << 30, nullptr,
          nullptr, 0);
}

}  // namespace

Pool::Pool(int num_threads) {
  for (int thread = 1; thread < num_threads; ++thread)
    helpers_.emplace_back([this, thread] { help(thread); });
}

Pool::~Pool() {
  is_closing_.store(true);
  job_.fetch_add(1);
  wake_all(job_);
  for (std::thread& helper : helpers_) helper.join();
}

void Pool::share(int num_chunks, Call call, const void* context) {
  call_ = call;
  context_ = context;
  num_done_.store(0, std::memory_order_relaxed);
  const uint64_t number = (state_.load(std::memory_order_relaxed) >> 40) + 1;
  state_.store(number << 40 | static_cast<uint64_t>(num_chunks) << 20, std::memory_order_seq_cst);
  job_.fetch_add(1);
  if (num_asleep_.load() > 0) wake_all(job_);
  while (claim_and_run(0)) {
  }
  // Others may still be in their last chunk, or put off their core in it: spin, then let them run.
  for (int spins = 0; num_done_.load(std::memory_order_acquire) < num_chunks; ++spins) {
    if (spins < kSpins)
      pause_briefly();
    else
      std::this_thread::yield();
  }
}

bool Pool::claim_and_run(int thread) {
  uint64_t seen = state_.load(std::memory_order_acquire);
  do {
    if ((seen & kField) >= (seen >> 20 & kField)) return false;
  } while (!state_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel));
  call_(context_, static_cast<int>(seen & kField), thread);
  num_done_.fetch_add(1, std::memory_order_release);
  return true;
}

void Pool::help(int thread) {
  uint32_t seen = 0;
  while (!is_closing_.load(std::memory_order_acquire)) {
    while (claim_and_run(thread)) {
    }
    int spins = 0;
    while (job_.load(std::memory_order_acquire) == seen && spins < kSpins) {
      pause_briefly();
      ++spins;
    }
    if (spins == kSpins) {
      num_asleep_.fetch_add(1);
      sleep_while(job_, seen);
      num_asleep_.fetch_sub(1);
    }
    seen = job_.load(std::memory_order_acquire);
  }
}

}  // namespace athanor
