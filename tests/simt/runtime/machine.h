// What the parts of the emulation share: the threads, warps and the block that is running.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "simt/api.h"

#if !defined(__x86_64__)
#  include <ucontext.h>
#endif

namespace simt {

struct Copy {
  void* shared;
  const void* global;
  int bytes, source_bytes;
  unsigned group;
  const void* pc;
};

// A fiber's stack and where it stopped.
struct Fiber {
  char* stack = nullptr;
  size_t stack_bytes = 0;
  void* stack_pointer = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
#if !defined(__x86_64__)
  ucontext_t context;
#endif
};

enum class State : uint8_t { ready, waiting, done };

struct Thread : Self {
  Fiber fiber;
  State state = State::done;
  // What it waits for: a barrier (Op::none) or a warp operation, and where it said so.
  Op op = Op::none;
  Site site{};
  Vote vote = Vote::any;
  int predicate = 0;
  uint32_t mask = 0, argument = 0, width = 32;
  uint32_t in[10], out[4];
  // cp.async.
  unsigned copy_group = 0;
  std::vector<Copy> copies;
};

struct Warp {
  uint32_t alive = 0, ready = 0, waiting = 0;  // sets of lanes
  // Order of memory accesses within the warp, for the hazard checker: `time` counts completed
  // __syncwarps, and lane i comes after what lane j did before time seen[i][j].
  uint32_t time = 0;
  uint32_t seen[32][32];
};

struct Block {
  Kernel kernel{};
  unsigned num_threads = 0;
  unsigned alive = 0;
  unsigned at_barrier = 0;
  uint32_t epoch = 0;        // barriers passed
  uint32_t serial = 0;       // which block, counted over all launches
  uint64_t warps_ready = 0;  // set of warps
  char* shared = nullptr;    // dynamic shared memory
  size_t shared_bytes = 0;
  bool aborted = false;
};

extern Block block;
extern std::vector<std::unique_ptr<Thread>> threads;
extern std::vector<Warp> warps;

inline Thread* running() { return static_cast<Thread*>(self); }
inline Thread* lane_of(unsigned warp, unsigned lane) { return threads[warp * 32 + lane].get(); }

// Calls f(lane) for each lane of a set.
template <class F>
void for_lanes(uint32_t lanes, F f) {
  for (; lanes != 0; lanes &= lanes - 1) f(static_cast<unsigned>(__builtin_ctz(lanes)));
}

// --- fiber.cpp

// A stack for the thread; kept until the program ends.
void make_stack(Fiber& fiber, size_t bytes, size_t number);
// The fiber will begin with entry().
void prepare(Fiber& fiber, void (*entry)());
// First thing that a new fiber does.
void entered();
// From one fiber to another; null is where the launch was made. A dying fiber never comes back.
void switch_fiber(Fiber* from, Fiber* to, bool dying);

// --- schedule.cpp

void set_ready(Thread& thread);
// Lets others run until this thread is ready again.
void wait(Thread& thread);

// --- warp.cpp

// Runs the operation of the lanes of `mask`, if all of them that still run have arrived.
bool complete(unsigned warp, uint32_t mask);
// The same for every operation that has lanes waiting.
void complete_waiting(unsigned warp);

// --- matrix.cpp: the operation of a whole warp

void multiply(unsigned warp, Op op);
void load_matrices(unsigned warp, Op op, uint32_t tiles);

// --- errors.cpp

void report(const std::string& what);
std::string at(Site site);
std::string place_of(const void* pc);   // file:line
std::string symbol_of(const void* pc);  // function
std::string name_of(const Thread& thread);

// --- hazard.cpp

// Some file of this program is instrumented.
void note_instrumented();
void begin_hazards(size_t shared_bytes);
void begin_block_hazards();
// Lanes have met at __syncwarp.
void order_lanes(unsigned warp, uint32_t lanes);
void check_access(uintptr_t address, size_t bytes, bool write, bool atomic, const void* pc);

// --- record.cpp

void record_access(const Thread& thread, uintptr_t address, size_t bytes, bool write, bool shared,
                   const void* pc);
void finish_block_records();
void record_launch(const Kernel& kernel, dim3 grid, dim3 block, size_t shared_bytes);

}  // namespace simt
