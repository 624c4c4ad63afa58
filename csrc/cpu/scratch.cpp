#include "common/scratch.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace rlmrec_fast {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

struct Pool {
  std::mutex mutex;
  std::vector<ScratchBlock> idle;  // the longest idle first
  size_t bytes = 0;

  void remove(size_t index) {
    bytes -= idle[index].capacity;
    idle.erase(idle.begin() + static_cast<std::ptrdiff_t>(index));
  }
};

// Never destroyed: threads may still run when static objects are.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

ScratchBlock allocate(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const size_t capacity = (bytes + kLine - 1) / kLine * kLine;
  void* data = nullptr;
  if (posix_memalign(&data, alignment, capacity) != 0) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // Only a hint, and not for the end: a huge page takes its memory whole.
  if (alignment == kHugePage) madvise(data, capacity / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return {data, capacity};
}

}  // namespace

ScratchBlock acquire_scratch(int64_t count, size_t element_bytes) {
  constexpr auto kMost = static_cast<uint64_t>(PTRDIFF_MAX) - kHugePage;
  if (count < 0 || static_cast<uint64_t>(count) > kMost / element_bytes) throw std::bad_alloc();
  const size_t bytes = std::max<size_t>(1, static_cast<size_t>(count) * element_bytes);
  {
    Pool& blocks = pool();
    const std::scoped_lock lock(blocks.mutex);
    for (size_t i = blocks.idle.size(); i-- > 0;) {
      const ScratchBlock block = blocks.idle[i];
      // A much larger block is left to those who need it.
      if (block.capacity < bytes || block.capacity > 2 * bytes + kHugePage) continue;
      blocks.remove(i);
      return block;
    }
  }
  return allocate(bytes);
}

void release_scratch(ScratchBlock block) {
  std::vector<void*> unwanted;
  {
    Pool& blocks = pool();
    const std::scoped_lock lock(blocks.mutex);
    if (block.capacity > kScratchKept) {
      unwanted.push_back(block.data);
    } else {
      blocks.idle.push_back(block);
      blocks.bytes += block.capacity;
    }
    while (blocks.bytes > kScratchKept) {
      unwanted.push_back(blocks.idle.front().data);
      blocks.remove(0);
    }
  }
  for (void* data : unwanted) std::free(data);
}

size_t release_idle_scratch() {
  std::vector<ScratchBlock> idle;
  {
    const std::scoped_lock lock(pool().mutex);
    idle.swap(pool().idle);
    pool().bytes = 0;
  }
  size_t bytes = 0;
  for (const ScratchBlock& block : idle) {
    bytes += block.capacity;
    std::free(block.data);
  }
  return bytes;
}

}  // namespace rlmrec_fast
