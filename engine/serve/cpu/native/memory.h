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
  ~Buffer() { release(); }

  // At least so many bytes, zeroed when it has to grow; what was there is lost then.
  void reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    release();
    if (bytes >= kHugePage)
      map(bytes);
    else
      allocate(bytes);
    bytes_ = bytes;
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kHugePage = size_t{1} << 21;
  static constexpr size_t kSlack = 256;  // vectors may read past the end

  void allocate(size_t bytes) {
    const size_t rounded = static_cast<size_t>(round_up(static_cast<int64_t>(bytes + kSlack), 64));
    data_ = std::aligned_alloc(64, rounded);
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_, 0, rounded);
  }
  // The kernel gives zeroed pages when they are first touched: a pool takes what is used of it.
  void map(size_t bytes) {
    const size_t wanted = bytes + kSlack + kHugePage;
    void* start = mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) throw std::bad_alloc();
    mapping_ = start;
    mapped_ = wanted;
    const uintptr_t address = reinterpret_cast<uintptr_t>(start);
    data_ = reinterpret_cast<void*>((address + kHugePage - 1) / kHugePage * kHugePage);
    madvise(data_, bytes + kSlack, MADV_HUGEPAGE);
  }
  void release() {
    if (mapping_ != nullptr)
      munmap(mapping_, mapped_);
    else
      std::free(data_);
    data_ = mapping_ = nullptr;
    bytes_ = mapped_ = 0;
  }
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapping_, other.mapping_);
    std::swap(mapped_, other.mapped_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
  void* mapping_ = nullptr;  // of a large one, with room to align it in
  size_t mapped_ = 0;
};

// Memory that a thread works in, one per thread.
struct Workspace {
  Buffer attention;
  Buffer reduced;
};

}  // namespace athanor
