// Memory of the emulated device that is watched: kernels may read inputs, write outputs, and read
// of those what they have written. Writes just outside are found when a buffer goes.
#pragma once

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "simt/api.h"

namespace simt {

template <class T>
class Buffer {
 public:
  // `offset` elements lie between a 256-byte boundary and the data, as in a view of a tensor.
  Buffer(const char* name, size_t count, bool initialised, bool writable, size_t offset)
      : name_(name), count_(count) {
#if defined(__SANITIZE_ADDRESS__)
    constexpr size_t kGuard = 0;  // AddressSanitizer guards exactly what is asked for
#else
    constexpr size_t kGuard = 4096;
#endif
    bytes_ = 2 * kGuard + (offset + count) * sizeof(T);
    if (posix_memalign(&memory_, 256, bytes_ > 0 ? bytes_ : 1) != 0) std::abort();
    std::memset(memory_, kGuarded, bytes_);
    data_ = reinterpret_cast<T*>(static_cast<char*>(memory_) + kGuard) + offset;
    // Every bit set: NaN.
    if (count > 0) std::memset(static_cast<void*>(data_), 0xff, count * sizeof(T));
    constexpr unsigned kGranule = sizeof(T) < 4 ? sizeof(T) : 4;
    add_region(name, data_, count * sizeof(T), initialised, writable, kGranule);
  }
  Buffer(const char* name, const std::vector<T>& values, bool writable, size_t offset)
      : Buffer(name, values.size(), true, writable, offset) {
    if (count_ > 0) std::memcpy(data_, values.data(), count_ * sizeof(T));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    const char* begin = reinterpret_cast<const char*>(data_);
    const char* end = begin + count_ * sizeof(T);
    const char* memory = static_cast<const char*>(memory_);
    bool intact = true;
    for (const char* p = memory; p < begin; ++p) intact = intact && *p == kGuarded;
    for (const char* p = end; p < memory + bytes_; ++p) intact = intact && *p == kGuarded;
    if (!intact) errors().push_back("written just outside of " + name_);
    remove_region(data_);
    std::free(memory_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return count_; }
  const T& operator[](size_t i) const { return data_[i]; }
  std::vector<T> values() const { return {data_, data_ + count_}; }
  const std::string& name() const { return name_; }

 private:
  static constexpr char kGuarded = 0x5a;

  std::string name_;
  size_t count_, bytes_;
  void* memory_;
  T* data_;
};

// What kernels may only read.
template <class T>
Buffer<T> input(const char* name, const std::vector<T>& values, size_t offset = 0) {
  return Buffer<T>(name, values, false, offset);
}
// What they read and change.
template <class T>
Buffer<T> inout(const char* name, const std::vector<T>& values, size_t offset = 0) {
  return Buffer<T>(name, values, true, offset);
}
// What they must write before they read it, such as results and working memory.
template <class T>
Buffer<T> output(const char* name, int64_t count, size_t offset = 0) {
  return Buffer<T>(name, static_cast<size_t>(count), false, true, offset);
}

}  // namespace simt
