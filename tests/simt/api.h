// The emulation as tests and the emulated CUDA language (language.h) see it.
//
// A launch runs block after block; a block is one fiber per CUDA thread on the calling thread.
// Fibers give way only where CUDA threads may wait: at barriers and warp operations. In what order
// they go on is `config.order`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
};

namespace simt {

enum class Order { forward, reverse, random };

struct Config {
  Order order = Order::forward;
  uint64_t seed = 1;                       // of the random order
  bool lazy_copies = true;                 // cp.async lands as late as the rules allow, or at once
  bool record_accesses = false;            // see access_records
  size_t stack_bytes = size_t{256} << 10;  // of a thread
  size_t max_dynamic_shared = size_t{227} << 10;
  int multiprocessors = 2;
};
extern Config config;

// Everything that went wrong, in order, at most 64 entries. A launch that goes wrong also leaves an
// error for cudaGetLastError.
std::vector<std::string>& errors();

// Device memory. Builds with the hazard checker report every access elsewhere, writes where
// `writable` is false, and reads of what nobody wrote where `initialised` is false. Two threads
// race for an element if they race for any of the `granule` bytes around an access.
void add_region(const char* name, const void* data, size_t bytes, bool initialised, bool writable,
                unsigned granule = 4);
void remove_region(const void* data);
void clear_regions();

// Whether kernels of this program were compiled with the checker's callbacks.
bool instrumented();

struct Counters {
  uint64_t launches, threads, switches, barriers, collectives, accesses;
};
extern Counters counters;

// With config.record_accesses, in builds with the checker: what the requests of each line of a
// kernel came to. The k-th time that the lanes of a warp pass an access is taken as one request.
struct AccessRecord {
  std::string kernel;
  std::string where;   // file:line
  bool shared, write;  // else global, read
  uint64_t requests;
  uint64_t bytes;  // asked for, by all lanes
  uint64_t units;  // 32-byte sectors of global memory, passes through the banks of shared memory
  uint64_t ideal;  // fewest units that the distinct bytes of the requests could do with
  uint64_t worst;  // most units of one request
};
std::vector<AccessRecord> access_records();
void clear_access_records();

// Every launch so far, if config.record_accesses.
struct LaunchRecord {
  std::string kernel;    // as spelled in the launch
  std::string function;  // its symbol, "" where unknown
  dim3 grid, block;
  size_t dynamic_shared;
};
const std::vector<LaunchRecord>& launch_records();

// --- what the emulated language calls

// What a running thread knows of itself; null outside kernels.
struct Self {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
  unsigned lane, warp, linear;
};
extern Self* self;

struct Site {
  const char* file;
  int line;
};
inline Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return {file, line};
}

enum class Op : uint8_t {
  none,
  syncwarp,
  shfl,
  shfl_up,
  shfl_down,
  shfl_xor,
  ballot,
  all,
  match_any,
  reduce_add,
  reduce_max,
  reduce_min,
  reduce_and,
  reduce_or,
  reduce_xor,
  mma_tf32,
  mma_bf16,
  ldmatrix,
  ldmatrix_trans,
};

enum class Vote { any, all, count };

int sync_block(int predicate, Vote vote, Site site);
// Runs the operation together with the other lanes of the mask: inputs and outputs of this lane.
void collective(Op op, uint32_t mask, uint32_t argument, uint32_t width, const uint32_t* in,
                int num_in, uint32_t* out, int num_out, Site site);
uint32_t collective1(Op op, uint32_t mask, uint32_t value, uint32_t argument, int width, Site site);
void copy_async(void* shared, const void* global, int bytes, int source_bytes);
void copy_commit();
void copy_vector(void* to, const void* from, size_t bytes);
void copy_wait(int pending);
void memset_device(void* data, int value, size_t bytes);
void memcpy_device(void* data, const void* source, size_t bytes);
[[noreturn]] void trap(const char* what, Site site);
void* dynamic_shared();
// An access that the language makes on a kernel's behalf.
void touch(const void* data, size_t bytes, bool write, bool atomic, const void* pc);

cudaError_t last_error(bool clear);
cudaError_t allow_dynamic_shared(const void* kernel, int bytes);

struct Kernel {
  const char* name;
  const void* function;
  void (*run)(void* arguments);
  void* arguments;
  size_t argument_bytes;
};
cudaError_t run_grid(const Kernel& kernel, dim3 grid, dim3 block, size_t dynamic_shared);

template <class... Parameters, class... Arguments>
cudaError_t launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                   size_t dynamic_shared, void* /*stream*/, Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> arguments;
  } call{kernel, {static_cast<std::decay_t<Parameters>>(arguments)...}};
  const auto run = [](void* data) {
    const Call* call = static_cast<Call*>(data);
    std::apply(call->kernel, call->arguments);
  };
  const Kernel described{name, reinterpret_cast<const void*>(kernel), run, &call, sizeof call};
  return run_grid(described, grid, block, dynamic_shared);
}

}  // namespace simt
