// Who runs next; block barriers; launches.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>
#include <random>

#include "simt/runtime/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#  include <sanitizer/asan_interface.h>
#endif

namespace simt {

Self* self = nullptr;
Config config;
Counters counters{};
Block block;
std::vector<std::unique_ptr<Thread>> threads;
std::vector<Warp> warps;

namespace {

constexpr size_t kSharedByDefault = size_t{48} << 10;
std::map<const void*, size_t> allowed_shared;
std::mt19937_64 generator;

unsigned below(unsigned bound) { return static_cast<unsigned>(generator() % bound); }

// One of a non-empty set: the next after `last` going forward or backward, or any.
unsigned pick(uint64_t set, int last) {
  switch (config.order) {
    case Order::random:
      for (unsigned skip = below(static_cast<unsigned>(__builtin_popcountll(set))); skip > 0;
           --skip) {
        set &= set - 1;
      }
      return static_cast<unsigned>(__builtin_ctzll(set));
    case Order::reverse: {
      const uint64_t lower = last <= 0 ? 0 : last > 63 ? set : set & ((uint64_t{1} << last) - 1);
      return 63U - static_cast<unsigned>(__builtin_clzll(lower != 0 ? lower : set));
    }
    case Order::forward:
      break;
  }
  const uint64_t higher = last >= 63 ? 0 : set & (~uint64_t{0} << (last + 1));
  return static_cast<unsigned>(__builtin_ctzll(higher != 0 ? higher : set));
}

const char* name_of(Op op) {
  static const char* const names[] = {
      "__syncthreads",     "__syncwarp",        "__shfl_sync",       "__shfl_up_sync",
      "__shfl_down_sync",  "__shfl_xor_sync",   "__ballot_sync",     "__all_sync",
      "__match_any_sync",  "__reduce_add_sync", "__reduce_max_sync", "__reduce_min_sync",
      "__reduce_and_sync", "__reduce_or_sync",  "__reduce_xor_sync", "mma tf32",
      "mma bf16",          "ldmatrix",          "ldmatrix.trans"};
  return names[static_cast<int>(op)];
}

void report_deadlock() {
  std::string what = "deadlock:";
  int shown = 0;
  for (unsigned i = 0; i < block.num_threads && shown < 6; ++i) {
    const Thread& thread = *threads[i];
    if (thread.state != State::waiting) continue;
    what += "\n    " + simt::name_of(thread) + " at " + name_of(thread.op) + " ";
    if (thread.op != Op::none) {
      char mask[32];
      std::snprintf(mask, sizeof mask, "of lanes 0x%08x ", thread.mask);
      what += mask;
    }
    what += at(thread.site);
    ++shown;
  }
  report(what);
}

// Whoever is to run after `thread`, or null where the block is over.
Thread* next_after(const Thread& thread) {
  if (block.aborted || block.alive == 0) return nullptr;
  if (block.warps_ready == 0) {
    report_deadlock();
    block.aborted = true;
    return nullptr;
  }
  const bool stay = warps[thread.warp].ready != 0 && config.order != Order::random;
  const unsigned warp = stay ? thread.warp : pick(block.warps_ready, static_cast<int>(thread.warp));
  const int start = config.order == Order::reverse ? 32 : -1;
  const int last = warp == thread.warp ? static_cast<int>(thread.lane) : start;
  return lane_of(warp, pick(warps[warp].ready, last));
}

void give_way(Thread& thread, bool dying) {
  Thread* next = next_after(thread);
  if (next == &thread) return;
  self = next;
  switch_fiber(&thread.fiber, next != nullptr ? &next->fiber : nullptr, dying);
}

void unready(Thread& thread) {
  Warp& warp = warps[thread.warp];
  warp.ready &= ~(1U << thread.lane);
  if (warp.ready == 0) block.warps_ready &= ~(uint64_t{1} << thread.warp);
}

void release_barrier() {
  int any = 0;
  int all = 1;
  int count = 0;
  const Site* first = nullptr;
  for (unsigned i = 0; i < block.num_threads; ++i) {
    const Thread& thread = *threads[i];
    if (thread.state == State::done) continue;
    any |= thread.predicate;
    all &= thread.predicate;
    count += thread.predicate;
    if (first == nullptr) first = &thread.site;
    if (first->line != thread.site.line || first->file != thread.site.file) {
      report("threads meet at different barriers: " + at(*first) + " and " + at(thread.site));
      first = &thread.site;
    }
  }
  for (unsigned i = 0; i < block.num_threads; ++i) {
    Thread& thread = *threads[i];
    if (thread.state == State::done) continue;
    thread.predicate = thread.vote == Vote::any ? any : thread.vote == Vote::all ? all : count;
    set_ready(thread);
  }
  block.at_barrier = 0;
  ++block.epoch;
  ++counters.barriers;
}

// The life of a thread.
void run_thread() {
  entered();
  block.kernel.run(block.kernel.arguments);
  Thread& thread = *running();
  if (!thread.copies.empty()) {
    report(simt::name_of(thread) + " ends with cp.async copies it never waited for");
  }
  thread.state = State::done;
  unready(thread);
  warps[thread.warp].alive &= ~(1U << thread.lane);
  --block.alive;
  complete_waiting(thread.warp);
  if (block.at_barrier != 0 && block.at_barrier == block.alive) release_barrier();
  give_way(thread, true);
  std::abort();  // nobody comes back to a thread that is done
}

void start_threads(dim3 grid, dim3 shape, uint64_t number) {
  const uint3 place{static_cast<unsigned>(number % grid.x),
                    static_cast<unsigned>(number / grid.x % grid.y),
                    static_cast<unsigned>(number / grid.x / grid.y)};
  for (Warp& warp : warps) warp.alive = warp.ready = warp.waiting = 0;
  for (unsigned i = 0; i < block.num_threads; ++i) {
    Thread& thread = *threads[i];
    thread.thread = {i % shape.x, i / shape.x % shape.y, i / (shape.x * shape.y)};
    thread.block = place;
    thread.block_dim = shape;
    thread.grid_dim = grid;
    thread.linear = i;
    thread.lane = i & 31U;
    thread.warp = i >> 5;
    thread.op = Op::none;
    thread.copy_group = 0;
    thread.copies.clear();
    warps[thread.warp].alive |= 1U << thread.lane;
    set_ready(thread);
    prepare(thread.fiber, run_thread);
  }
}

void run_block(dim3 grid, dim3 shape, uint64_t number) {
  ++block.serial;
  block.alive = block.num_threads;
  block.at_barrier = 0;
  block.epoch = 0;
  block.warps_ready = 0;
  // NaN in every floating-point format.
  if (block.shared_bytes != 0) std::memset(block.shared, 0xff, block.shared_bytes);
  start_threads(grid, shape, number);
  begin_block_hazards();
  const int start = config.order == Order::reverse ? 64 : -1;
  const unsigned warp = pick(block.warps_ready, start);
  Thread* first = lane_of(warp, pick(warps[warp].ready, start));
  self = first;
  switch_fiber(nullptr, &first->fiber, false);
  self = nullptr;
  finish_block_records();
}

// A device refuses these, too.
bool launchable(const Kernel& kernel, dim3 grid, dim3 shape, size_t shared_bytes) {
  constexpr unsigned kMost = 65535;
  const auto found = allowed_shared.find(kernel.function);
  const size_t allowed = found != allowed_shared.end() ? found->second : kSharedByDefault;
  const uint64_t size = uint64_t{shape.x} * shape.y * shape.z;
  return size > 0 && size <= 1024 && shape.z <= 64 && grid.x > 0 && grid.y > 0 && grid.z > 0 &&
         grid.x <= 0x7fffffffU && grid.y <= kMost && grid.z <= kMost && shared_bytes <= allowed &&
         shared_bytes <= config.max_dynamic_shared;
}

std::vector<uint64_t> order_of_blocks(uint64_t count) {
  std::vector<uint64_t> order(count);
  std::iota(order.begin(), order.end(), uint64_t{0});
  if (config.order == Order::reverse) std::reverse(order.begin(), order.end());
  if (config.order == Order::random) std::shuffle(order.begin(), order.end(), generator);
  return order;
}

}  // namespace

void set_ready(Thread& thread) {
  thread.state = State::ready;
  warps[thread.warp].ready |= 1U << thread.lane;
  block.warps_ready |= uint64_t{1} << thread.warp;
}

void wait(Thread& thread) {
  thread.state = State::waiting;
  unready(thread);
  give_way(thread, false);
}

int sync_block(int predicate, Vote vote, Site site) {
  Thread& thread = *running();
  thread.predicate = predicate;
  thread.vote = vote;
  thread.site = site;
  thread.op = Op::none;
  if (++block.at_barrier == block.alive) {
    release_barrier();
  } else {
    wait(thread);
  }
  return thread.predicate;
}

void trap(const char* what, Site site) {
  report(std::string(what) + " in " + name_of(*running()) + " at " + at(site));
  block.aborted = true;
  give_way(*running(), true);
  std::abort();
}

void* dynamic_shared() { return block.shared; }

cudaError_t allow_dynamic_shared(const void* kernel, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > config.max_dynamic_shared) {
    return cudaErrorInvalidValue;
  }
  allowed_shared[kernel] = static_cast<size_t>(bytes);
  return cudaSuccess;
}

cudaError_t run_grid(const Kernel& kernel, dim3 grid, dim3 shape, size_t shared_bytes) {
  block.kernel = kernel;
  if (!launchable(kernel, grid, shape, shared_bytes)) {
    report("cannot be launched with this grid, block or shared memory");
    return last_error(false);
  }
  ++counters.launches;
  record_launch(kernel, grid, shape, shared_bytes);
  generator.seed(config.seed);
  block.aborted = false;
  block.num_threads = shape.x * shape.y * shape.z;
  while (threads.size() < block.num_threads) {
    threads.push_back(std::make_unique<Thread>());
    make_stack(threads.back()->fiber, config.stack_bytes, threads.size());
  }
  warps.resize((block.num_threads + 31) / 32);
  const size_t allocated = (shared_bytes + 127) / 128 * 128;
  block.shared_bytes = shared_bytes;
  block.shared = static_cast<char*>(std::aligned_alloc(128, std::max<size_t>(allocated, 128)));
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(block.shared + shared_bytes, allocated - shared_bytes);
#endif
  begin_hazards(shared_bytes);
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  counters.threads += blocks * block.num_threads;
  for (const uint64_t number : order_of_blocks(blocks)) {
    if (!block.aborted) run_block(grid, shape, number);
  }
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(block.shared, allocated);
#endif
  std::free(block.shared);
  block.shared = nullptr;
  block.shared_bytes = 0;
  begin_hazards(0);
  return last_error(false);
}

}  // namespace simt
