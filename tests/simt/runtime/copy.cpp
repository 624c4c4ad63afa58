// cp.async, copies of vectors, and those that the runtime library makes between kernels.
#include <algorithm>

#include "simt/runtime/machine.h"

namespace simt {
namespace {

void perform(const Copy& copy) {
  const auto bytes = static_cast<size_t>(copy.bytes);
  const auto taken = static_cast<size_t>(copy.source_bytes);
  touch(copy.shared, bytes, true, false, copy.pc);
  if (taken != 0) touch(copy.global, taken, false, false, copy.pc);
  std::memcpy(copy.shared, copy.global, taken);
  std::memset(static_cast<char*>(copy.shared) + taken, 0, bytes - taken);
}

}  // namespace

void copy_async(void* shared, const void* global, int bytes, int source_bytes) {
  Thread& thread = *running();
  const auto places = reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global);
  const void* pc = __builtin_return_address(0);
  if (places % static_cast<uintptr_t>(bytes) != 0) {
    report(name_of(thread) + ": cp.async address not aligned at " + place_of(pc));
    return;
  }
  if (source_bytes < 0 || source_bytes > bytes) {
    report(name_of(thread) + ": cp.async of more bytes than it copies at " + place_of(pc));
    return;
  }
  const Copy copy{shared, global, bytes, source_bytes, thread.copy_group, pc};
  if (!config.lazy_copies) return perform(copy);
  // From here on nobody may use the place.
  touch(shared, static_cast<size_t>(bytes), true, false, pc);
  thread.copies.push_back(copy);
}

void copy_commit() { ++running()->copy_group; }

void copy_wait(int pending) {
  Thread& thread = *running();
  const auto landed = [&](const Copy& copy) {
    return copy.group + static_cast<unsigned>(pending) < thread.copy_group;
  };
  const auto end = std::find_if_not(thread.copies.begin(), thread.copies.end(), landed);
  std::for_each(thread.copies.begin(), end, perform);
  thread.copies.erase(thread.copies.begin(), end);
}

void copy_vector(void* to, const void* from, size_t bytes) {
  if (self != nullptr && instrumented()) {
    const void* pc = __builtin_return_address(0);
    check_access(reinterpret_cast<uintptr_t>(from), bytes, false, false, pc);
    check_access(reinterpret_cast<uintptr_t>(to), bytes, true, false, pc);
  }
  std::memcpy(to, from, bytes);
}

void memset_device(void* data, int value, size_t bytes) {
  touch(data, bytes, true, false, __builtin_return_address(0));
  std::memset(data, value, bytes);
}

void memcpy_device(void* data, const void* source, size_t bytes) {
  touch(source, bytes, false, false, __builtin_return_address(0));
  touch(data, bytes, true, false, __builtin_return_address(0));
  std::memcpy(data, source, bytes);
}

}  // namespace simt
