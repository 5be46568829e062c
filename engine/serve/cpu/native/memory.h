// Memory aligned for vectors, in huge pages where it is large.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace athanor {

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

class Buffer {
 public:
  Buffer() = default;
  // Zeroed.
  explicit Buffer(size_t bytes) { reserve(bytes); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  // At least so many bytes, zeroed when it has to grow; what was there is lost then.
  void reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const size_t rounded = round_up(static_cast<int64_t>(bytes) + 256, alignment);
    void* fresh = std::aligned_alloc(alignment, rounded);
    if (fresh == nullptr) throw std::bad_alloc();
    if (alignment == kHugePage) madvise(fresh, rounded, MADV_HUGEPAGE);
    std::memset(fresh, 0, rounded);
    std::free(data_);
    data_ = fresh;
    bytes_ = bytes;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kHugePage = size_t{1} << 21;
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Memory that a thread works in, one per thread.
struct Workspace {
  Buffer attention;
  Buffer reduced;
};

}  // namespace athanor
