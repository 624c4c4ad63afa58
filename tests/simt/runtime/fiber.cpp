// Stacks and switching between them: a few instructions on x86-64, ucontext elsewhere.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "simt/runtime/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#  include <sanitizer/asan_interface.h>
#  include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
extern "C" void simt_switch(void** save, void* to);
// Saves what the calling convention asks a function to save; the stack pointer is the rest.
asm(R"(
.text
.globl simt_switch
.type simt_switch,@function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch,.-simt_switch
)");
#endif

namespace simt {
namespace {

Fiber launcher;  // the stack that launches are made from

#if defined(__SANITIZE_ADDRESS__)
bool left_launcher = false;

void leave(Fiber& from, Fiber& to, bool dying) {
  left_launcher = &from == &launcher;
  __sanitizer_start_switch_fiber(dying ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
}

void arrive(void* fake_stack) {
  const void* stack;
  size_t bytes;
  __sanitizer_finish_switch_fiber(fake_stack, &stack, &bytes);
  if (left_launcher) {
    launcher.stack = static_cast<char*>(const_cast<void*>(stack));
    launcher.stack_bytes = bytes;
  }
}
#else
void leave(Fiber& /*from*/, Fiber& /*to*/, bool /*dying*/) {}
void arrive(void* /*fake_stack*/) {}
#endif

}  // namespace

void make_stack(Fiber& fiber, size_t bytes, size_t number) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  bytes = (bytes + page - 1) / page * page;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* memory = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  mprotect(memory, page, PROT_NONE);  // what overflows the stack stops here
  fiber.stack = static_cast<char*>(memory) + page;
  // Staggered, because the tops of equal stacks would share a few cache sets.
  fiber.stack_bytes = bytes - number * 704 % 8128 / 64 * 64;
}

void prepare(Fiber& fiber, void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
  // Frames of the stack's last user, which may never have returned.
  ASAN_UNPOISON_MEMORY_REGION(fiber.stack, fiber.stack_bytes);
#endif
#if defined(__x86_64__)
  const auto top = reinterpret_cast<uintptr_t>(fiber.stack + fiber.stack_bytes) & ~uintptr_t{15};
  void** place = reinterpret_cast<void**>(top) - 2;  // entry finds the stack as after a call
  place[0] = reinterpret_cast<void*>(entry);
  place[1] = nullptr;
  for (int i = 0; i < 6; ++i) *--place = nullptr;
  fiber.stack_pointer = place;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = fiber.stack_bytes & ~size_t{15};
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
#endif
}

void entered() { arrive(nullptr); }

void switch_fiber(Fiber* from, Fiber* to, bool dying) {
  Fiber& source = from != nullptr ? *from : launcher;
  Fiber& target = to != nullptr ? *to : launcher;
  ++counters.switches;
  leave(source, target, dying);
#if defined(__x86_64__)
  simt_switch(&source.stack_pointer, target.stack_pointer);
#else
  swapcontext(&source.context, &target.context);
#endif
  arrive(source.fake_stack);
}

}  // namespace simt
