// Memory that an operator needs while it runs and the next call will need again.
//
// Tables of some MiB that are freed go back to the system, which hands them out anew as zeroed
// pages, and on Amazon's graph those page faults cost more than a layer of propagation. So up to
// kScratchKept bytes stay with the process; what is larger, or more, is freed at once. Safe from
// any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace rlmrec_fast {

constexpr size_t kScratchKept = size_t{64} << 20;

struct ScratchBlock {
  void* data = nullptr;
  size_t capacity = 0;
};

// Room for `count` elements, aligned to a cache line at least. Throws std::bad_alloc.
ScratchBlock acquire_scratch(int64_t count, size_t element_bytes);
void release_scratch(ScratchBlock block);

// Frees what no one uses at the moment; returns its bytes.
size_t release_idle_scratch();

// `count` elements, uninitialised; none at first.
template <class T>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Scratch() = default;
  explicit Scratch(int64_t count) : block_(acquire_scratch(count, sizeof(T))) {}
  Scratch(Scratch&& other) noexcept : block_(other.block_) { other.block_ = {}; }
  Scratch& operator=(Scratch&& other) noexcept {
    const ScratchBlock mine = block_;
    block_ = other.block_;
    other.block_ = mine;
    return *this;
  }
  ~Scratch() {
    if (block_.data != nullptr) release_scratch(block_);
  }

  T* get() const { return static_cast<T*>(block_.data); }
  explicit operator bool() const { return block_.data != nullptr; }

 private:
  ScratchBlock block_;
};

}  // namespace rlmrec_fast
