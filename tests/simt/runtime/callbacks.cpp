// The calls that -fsanitize=thread puts before every access of the kernels. Its own run-time
// library is not linked; these take its place and lead to the hazard checker.
#include "simt/runtime/machine.h"

namespace {

void access(const volatile void* data, size_t bytes, bool write, const void* pc) {
  simt::check_access(reinterpret_cast<uintptr_t>(data), bytes, write, false, pc);
}

}  // namespace

extern "C" {

#define SIMT_CALLBACK(name, bytes, write) \
  void __tsan_##name(void* data);         \
  void __tsan_##name(void* data) { access(data, bytes, write, __builtin_return_address(0)); }
#define SIMT_CALLBACKS(bytes)                        \
  SIMT_CALLBACK(read##bytes, bytes, false)           \
  SIMT_CALLBACK(write##bytes, bytes, true)           \
  SIMT_CALLBACK(unaligned_read##bytes, bytes, false) \
  SIMT_CALLBACK(unaligned_write##bytes, bytes, true) \
  SIMT_CALLBACK(volatile_read##bytes, bytes, false)  \
  SIMT_CALLBACK(volatile_write##bytes, bytes, true)
SIMT_CALLBACKS(1)
SIMT_CALLBACKS(2)
SIMT_CALLBACKS(4)
SIMT_CALLBACKS(8)
SIMT_CALLBACKS(16)

void __tsan_read_range(void* data, size_t bytes);
void __tsan_read_range(void* data, size_t bytes) {
  access(data, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* data, size_t bytes);
void __tsan_write_range(void* data, size_t bytes) {
  access(data, bytes, true, __builtin_return_address(0));
}

// Guards of static variables.
unsigned char __tsan_atomic8_load(const volatile unsigned char* data, int order);
unsigned char __tsan_atomic8_load(const volatile unsigned char* data, int /*order*/) {
  return __atomic_load_n(data, __ATOMIC_ACQUIRE);
}

void __tsan_func_entry(void* pc);
void __tsan_func_entry(void* /*pc*/) {}
void __tsan_func_exit();
void __tsan_func_exit() {}
void __tsan_init();
void __tsan_init() { simt::note_instrumented(); }  // when the program starts, by each such file
void __tsan_vptr_update(void* vptr, void* value);
void __tsan_vptr_update(void* /*vptr*/, void* /*value*/) {}
void __tsan_vptr_read(void* vptr);
void __tsan_vptr_read(void* /*vptr*/) {}
}
