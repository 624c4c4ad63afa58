// Kernels with and without planted mistakes: what the emulation must see, and where it must stay
// quiet. Compiled like the kernels of csrc/cuda, hence instrumented in the build with the checker.
#include "cuda/ptx.h"
#include "simt/compare.h"

namespace {

namespace ptx = rlmrec_fast::ptx;

enum Sync { kNone, kWarp, kBlock };

void synchronise(int sync, simt::Site site = simt::here()) {
  if (sync == kWarp) __syncwarp(kSimtFullWarp, site);
  if (sync == kBlock) __syncthreads(site);
}

__global__ void exchange(float* y, unsigned partner, int sync) {
  __shared__ float s[64];
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  synchronise(sync);
  y[t] = s[t ^ partner];
}

// Eight lanes meet among themselves and pass something on; the others do what they like.
__global__ void exchange_in_groups(float* y, unsigned partner) {
  __shared__ float s[64];
  const unsigned t = threadIdx.x;
  const unsigned group = 0xffU << (t & 24U);
  s[t] = static_cast<float>(t);
  if ((t & 8U) != 0) __syncwarp(group);
  __syncwarp(group);
  y[t] = s[t ^ partner];
}

// Everybody reads, then one lane overwrites.
__global__ void overwrite(float* y, int sync) {
  __shared__ float s[32];
  const unsigned t = threadIdx.x;
  s[t] = 1;
  __syncwarp();
  const float mine = s[0];
  synchronise(sync);
  if (t == 5) s[0] = 2;
  y[t] = mine;
}

__global__ void two_barriers(float* y) {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 1;
}

__global__ void early_exit(float* y) {
  if (threadIdx.x >= 48) return;
  __syncthreads();
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffU, static_cast<float>(threadIdx.x), 1);
}

__global__ void shuffle_from_the_gone(float* y) {
  if (threadIdx.x >= 16) return;
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffU, 1.0F, 16);
}

__global__ void shuffle_in_a_branch(float* y) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = __shfl_sync(0xffffffffU, 1.0F, 0);
  } else {
    __syncthreads();
  }
}

__global__ void different_operations(float* y) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = __shfl_sync(0xffffffffU, 1.0F, 0);
  } else {
    y[threadIdx.x] = static_cast<float>(__ballot_sync(0xffffffffU, 1));
  }
}

__global__ void not_in_the_mask(float* y) { y[threadIdx.x] = __shfl_sync(0xffffU, 1.0F, 0); }

__global__ void groups_at_their_own_pace(float* y) {
  const unsigned lane = threadIdx.x & 31U;
  const unsigned mask = 0xffU << (lane & ~7U);
  auto value = static_cast<float>(lane);
  for (unsigned i = 0; i <= lane >> 3; ++i) {
    for (int step = 4; step > 0; step >>= 1) value += __shfl_xor_sync(mask, value, step, 8);
  }
  y[threadIdx.x] = value;
}

__global__ void read_ahead(const float* x, float* y, unsigned n) {
  y[threadIdx.x] = x[threadIdx.x + n - 63];
}

__global__ void read_misaligned(const float* x, float* y) {
  y[threadIdx.x] = __ldg(reinterpret_cast<const float4*>(x + 1)).x;
}

__global__ void copy_misaligned(const float* x, float* y, int source, int target) {
  const float4 value = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + source);
  *reinterpret_cast<float4*>(y + 4 * threadIdx.x + target) = value;
}

__global__ void write_input(float* x) { x[threadIdx.x] = 0; }
__global__ void accumulate(float* y) { y[threadIdx.x] += 1.0F; }

__global__ void one_cell(float* y, int atomic) {
  if (atomic != 0) {
    atomicAdd(y, 1.0F);
  } else if (threadIdx.x == 0) {
    y[0] = static_cast<float>(blockIdx.x);
  }
}

__global__ void overlapping_tiles(float* y) { y[blockIdx.x * 32 + threadIdx.x] = 1.0F; }

__global__ void half_filled(float* y) {
  SIMT_DYN_SHARED(float, s);
  if (threadIdx.x < 32) s[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}

__global__ void left_by_the_last_block(float* y) {
  __shared__ float s[64];
  if (blockIdx.x == 0) s[threadIdx.x] = 1;
  __syncthreads();
  y[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x];
}

__global__ void past_dynamic(float* y) {
  SIMT_DYN_SHARED(float, s);
  s[threadIdx.x + 1] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x + 1];
}

__global__ void never_waits(const float* x, float* y) {
  SIMT_DYN_SHARED(float, s);
  if (threadIdx.x < 16) {
    ptx::cp_async16(s + threadIdx.x * 4, x + threadIdx.x * 4, 16);
    ptx::cp_async_commit();
  }
  y[threadIdx.x] = 0;
}

__global__ void waits_without_a_barrier(const float* x, float* y, int sync) {
  SIMT_DYN_SHARED(float, s);
  const unsigned t = threadIdx.x;
  if (t < 16) ptx::cp_async16(s + t * 4, x + t * 4, 16);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  synchronise(sync);
  y[t] = s[63 - t];
}

// Readers may still be in the buffer that the next copy fills.
__global__ void copies_over_readers(const float* x, float* y, int sync) {
  SIMT_DYN_SHARED(float, s);
  const unsigned t = threadIdx.x;
  float sum = 0;
  for (int k = 0; k < 3; ++k) {
    if (t < 16) ptx::cp_async16(s + t * 4, x + t * 4, 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();
    sum += s[63 - t];
    synchronise(sync);
  }
  y[t] = sum;
}

__global__ void halves(uint16_t* h) { h[threadIdx.x] = 1; }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), unsigned grid, unsigned threads,
            Arguments... arguments) {
  simt::launch("control", kernel, grid, threads, 256, nullptr, arguments...);
}

// Whether the run since the last call went wrong in the way that `text` names; with "" not at all.
void expect_seen(const char* text, int line) {
  bool seen = simt::errors().empty() == (*text == '\0');
  if (*text != '\0') {
    seen = false;
    for (const std::string& error : simt::errors()) {
      seen = seen || error.find(text) != std::string::npos;
    }
  }
  check::expect(seen, __FILE__, line, std::string("seen: ") + (*text != '\0' ? text : "nothing"));
  for (const std::string& error : simt::errors()) {
    if (!seen) std::printf("  instead: %s\n", error.c_str());
  }
  simt::errors().clear();
  simt::last_error(true);
}
#define EXPECT_SEEN(text) expect_seen(text, __LINE__)

}  // namespace

TEST(control_divergence_is_seen) {
  auto y = simt::output<float>("y", 128);
  launch(two_barriers, 1, 64, y.data());
  EXPECT_SEEN("different barriers");
  launch(early_exit, 1, 64, y.data());
  EXPECT_SEEN("");
  launch(shuffle_from_the_gone, 1, 32, y.data());
  EXPECT_SEEN("does not take part");
  launch(shuffle_in_a_branch, 1, 32, y.data());
  EXPECT_SEEN("deadlock");
  launch(different_operations, 1, 32, y.data());
  EXPECT_SEEN("different operations");
  launch(not_in_the_mask, 1, 32, y.data());
  EXPECT_SEEN("not in its own mask");
  launch(groups_at_their_own_pace, 1, 64, y.data());
  EXPECT_SEEN("");
}

TEST(control_launches_that_a_device_refuses_are_seen) {
  auto y = simt::output<float>("y", 128);
  launch(write_input, 1, 1025, y.data());
  EXPECT_SEEN("cannot be launched");
  launch(write_input, 0, 32, y.data());
  EXPECT_SEEN("cannot be launched");
  const auto allow = [](size_t bytes) {
    return cudaFuncSetAttribute(write_input, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(bytes));
  };
  const size_t bytes = size_t{64} << 10;
  CHECK(allow(size_t{48} << 10) == cudaSuccess);
  simt::launch("control", write_input, 1, 32, bytes, nullptr, y.data());
  EXPECT_SEEN("cannot be launched");
  CHECK(allow(bytes) == cudaSuccess);
  simt::launch("control", write_input, 1, 32, bytes, nullptr, y.data());
  EXPECT_SEEN("");
}

TEST(control_copies_that_nobody_waits_for_are_seen) {
  const auto x = simt::input("x", simt::random_values<float>(64, 1));
  auto y = simt::output<float>("y", 64);
  launch(never_waits, 1, 64, x.data(), y.data());
  EXPECT_SEEN(simt::config.lazy_copies ? "never waited" : "");
}

#if !defined(__SANITIZE_ADDRESS__)
TEST(control_writes_just_outside_are_seen) {
  if (simt::instrumented()) return;
  {
    auto y = simt::output<float>("y", 31);
    launch(write_input, 1, 32, y.data());
  }
  EXPECT_SEEN("just outside of y");
}
#endif

TEST(control_races_in_shared_memory_are_seen) {
  if (!simt::instrumented()) return;
  auto y = simt::output<float>("y", 64);
  launch(exchange, 1, 64, y.data(), 1U, kNone);
  EXPECT_SEEN("race");
  launch(exchange, 1, 64, y.data(), 1U, kWarp);
  EXPECT_SEEN("");
  launch(exchange, 1, 64, y.data(), 63U, kNone);
  EXPECT_SEEN("race");
  launch(exchange, 1, 64, y.data(), 63U, kWarp);
  EXPECT_SEEN("race");
  launch(exchange, 1, 64, y.data(), 63U, kBlock);
  EXPECT_SEEN("");
  launch(exchange_in_groups, 1, 64, y.data(), 7U);
  EXPECT_SEEN("");
  launch(exchange_in_groups, 1, 64, y.data(), 16U);
  EXPECT_SEEN("race");
  launch(overwrite, 1, 32, y.data(), kNone);
  // Which access comes first is the schedule's choice.
  EXPECT_SEEN("race");
  launch(overwrite, 1, 32, y.data(), kWarp);
  EXPECT_SEEN("");
}

TEST(control_races_between_blocks_are_seen) {
  if (!simt::instrumented()) return;
  auto y = simt::inout("y", std::vector<float>(256, 0));
  launch(one_cell, 4, 32, y.data(), 0);
  EXPECT_SEEN("write-after-write");
  launch(one_cell, 4, 32, y.data(), 1);
  EXPECT_SEEN("");
  launch(overlapping_tiles, 3, 64, y.data());
  EXPECT_SEEN("write-after-write");
  launch(overlapping_tiles, 3, 32, y.data());
  EXPECT_SEEN("");
  auto h = simt::output<uint16_t>("h", 64);
  launch(halves, 1, 64, h.data());
  EXPECT_SEEN("");
}

TEST(control_accesses_elsewhere_are_seen) {
  if (!simt::instrumented()) return;
  auto x = simt::input("x", simt::random_values<float>(64, 1));
  auto y = simt::output<float>("y", 64);
  launch(read_ahead, 1, 64, x.data(), y.data(), 63U);
  EXPECT_SEEN("");
  launch(read_ahead, 1, 64, x.data(), y.data(), 64U);
  EXPECT_SEEN("out of bounds");
  launch(read_misaligned, 1, 32, x.data(), y.data());
  EXPECT_SEEN("misaligned");
  launch(copy_misaligned, 1, 8, x.data(), y.data(), 1, 0);
  EXPECT_SEEN("misaligned access on 16 bytes");
  launch(copy_misaligned, 1, 8, x.data(), y.data(), 0, 2);
  EXPECT_SEEN("misaligned access on 16 bytes");
  launch(copy_misaligned, 1, 8, x.data(), y.data(), 4, 4);
  EXPECT_SEEN("");
  launch(write_input, 1, 32, x.data());
  EXPECT_SEEN("read-only");
  launch(past_dynamic, 1, 64, y.data());
  EXPECT_SEEN("out of bounds");
}

TEST(control_vectors_are_single_requests) {
  if (!simt::instrumented() || simt::config.record_accesses) return;
  const auto x = simt::input("x", simt::random_values<float>(64, 1));
  auto y = simt::output<float>("y", 64);
  simt::config.record_accesses = true;
  launch(copy_misaligned, 1, 16, x.data(), y.data(), 0, 0);
  simt::config.record_accesses = false;
  CHECK(simt::access_records().size() == 2);
  for (const simt::AccessRecord& record : simt::access_records()) {
    CHECK(record.requests == 1);
    CHECK(record.bytes == 256);
    CHECK(record.units == 8);
    CHECK(record.where.starts_with("controls.cu:"));
  }
  simt::clear_access_records();
}

TEST(control_uninitialised_reads_are_seen) {
  if (!simt::instrumented()) return;
  auto y = simt::output<float>("y", 64);
  launch(accumulate, 1, 32, y.data());
  EXPECT_SEEN("uninitialised");
  auto z = simt::output<float>("z", 64);
  launch(one_cell, 4, 32, z.data(), 1);
  EXPECT_SEEN("uninitialised");
  cudaMemsetAsync(y.data(), 0, 256, nullptr);
  launch(accumulate, 1, 64, y.data());
  EXPECT_SEEN("");
  launch(half_filled, 2, 64, y.data());
  EXPECT_SEEN("uninitialised");
  auto two = simt::output<float>("two", 128);
  launch(left_by_the_last_block, 2, 64, two.data());
  EXPECT_SEEN("uninitialised");
}

TEST(control_races_with_copies_are_seen) {
  if (!simt::instrumented()) return;
  const auto x = simt::input("x", simt::random_values<float>(64, 1));
  auto y = simt::output<float>("y", 64);
  launch(waits_without_a_barrier, 1, 64, x.data(), y.data(), kNone);
  EXPECT_SEEN("race");
  launch(waits_without_a_barrier, 1, 64, x.data(), y.data(), kBlock);
  EXPECT_SEEN("");
  launch(copies_over_readers, 1, 64, x.data(), y.data(), kNone);
  EXPECT_SEEN("race");
  launch(copies_over_readers, 1, 64, x.data(), y.data(), kBlock);
  EXPECT_SEEN("");
}
