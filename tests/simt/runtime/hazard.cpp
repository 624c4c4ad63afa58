// The hazard checker: every access of an instrumented kernel is held against what is known of the
// place.
//
// Two accesses to one place, one of them a write, race unless something orders them: a block
// barrier, a __syncwarp that both threads were part of, or being atomic both. For each granule of
// device memory and of shared memory the last write and the last reads are kept.
#include <link.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>

#include "simt/runtime/machine.h"

namespace simt {
namespace {

struct Access {
  uint32_t serial = 0;  // block; 0 for none
  uint32_t epoch = 0;   // barriers before it
  uint32_t time = 0;    // completed __syncwarps of the warp before it
  unsigned thread = 0;
  const void* pc = nullptr;
};

struct Cell {
  Access write, read;
  uint32_t readers = 0;     // lanes of the last reader's warp that have read
  bool more_warps = false;  // and other warps have, too
  bool atomic = false;      // the last write
  bool initialised = false;
};

struct Region {
  std::string name;
  uintptr_t begin = 0, end = 0;
  bool initialised = false, writable = true;
  unsigned granule = 2;
  std::vector<Cell> cells;
};

std::vector<Region> regions;
size_t last_region = 0;
Region dynamic{"dynamic shared memory", 0, 0, false, true, 2, {}};
// __shared__ variables are static ones, hence in the writable, zero-filled part of the program.
std::unordered_map<uintptr_t, Cell> static_shared;
constexpr unsigned kStaticGranule = 2;

bool instrumented_kernels = false;
uint32_t first_serial = 0;  // of the launch
std::set<std::tuple<std::string, const void*, const void*>> reported;

void hazard(const Thread& thread, const char* kind, const std::string& where, const void* pc,
            const Access* other) {
  // One report for each pair of places in the code.
  const void* code = pc != nullptr ? pc : static_cast<const void*>(thread.site.file);
  if (!reported.insert({kind, code, other != nullptr ? other->pc : nullptr}).second) return;
  std::string what = std::string(kind) + " on " + where + ": " + name_of(thread) + " at " +
                     (pc != nullptr ? place_of(pc) : at(thread.site));
  if (other != nullptr) {
    what += " against thread " + std::to_string(other->thread) + " at " + place_of(other->pc);
  }
  report(what);
}

// --- what kind of memory an address is

struct Segment {
  uintptr_t begin, file_end, end;
  bool writable;
};

std::vector<Segment> segments() {
  std::vector<Segment> all;
  const auto add = [](dl_phdr_info* info, size_t, void* data) {
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& header = info->dlpi_phdr[i];
      if (header.p_type != PT_LOAD) continue;
      const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
      static_cast<std::vector<Segment>*>(data)->push_back(
          {begin, begin + header.p_filesz, begin + header.p_memsz, (header.p_flags & PF_W) != 0});
    }
    return 0;
  };
  dl_iterate_phdr(add, &all);
  return all;
}

const Segment* segment_of(uintptr_t address) {
  static const std::vector<Segment> all = segments();
  for (const Segment& segment : all) {
    if (address >= segment.begin && address < segment.end) return &segment;
  }
  return nullptr;
}

Region* region_of(uintptr_t address) {
  const auto inside = [&](const Region& region) {
    return address >= region.begin && address < region.end;
  };
  if (last_region < regions.size() && inside(regions[last_region])) return &regions[last_region];
  const auto found = std::find_if(regions.begin(), regions.end(), inside);
  if (found == regions.end()) return nullptr;
  last_region = static_cast<size_t>(found - regions.begin());
  return &*found;
}

// " (12 bytes past the end of x)", of the region that is nearest.
std::string near(uintptr_t address) {
  uintptr_t best = UINTPTR_MAX;
  std::string text;
  for (const Region& region : regions) {
    const bool past = address >= region.end;
    const uintptr_t distance = past ? address - region.end : region.begin - address;
    if (distance >= best) continue;
    best = distance;
    text = " (" + std::to_string(distance) + (past ? " bytes past the end of " : " bytes before ") +
           region.name + ")";
  }
  return text;
}

// --- order

Access access_of(const Thread& thread, const void* pc) {
  return {block.serial, block.epoch, warps[thread.warp].time, thread.linear, pc};
}

bool of_this_launch(const Access& access) { return access.serial > first_serial; }

// Whether `before` has nothing to do with what this thread does now.
bool unordered(const Access& before, const Thread& thread, bool shared) {
  if (!of_this_launch(before)) return false;
  if (before.serial != block.serial) return !shared;  // another block, in no order with this one
  if (before.thread == thread.linear || before.epoch != block.epoch) return false;
  if (before.thread >> 5 != thread.warp) return true;
  return before.time >= warps[thread.warp].seen[thread.lane][before.thread & 31U];
}

// The same of all that have read since.
bool unordered_reads(const Cell& cell, const Thread& thread, bool shared) {
  if (!of_this_launch(cell.read)) return false;
  const bool here = cell.read.serial == block.serial && cell.read.epoch == block.epoch;
  if (!here) return unordered(cell.read, thread, shared);
  if (cell.more_warps || cell.read.thread >> 5 != thread.warp) return true;
  bool found = false;
  for_lanes(cell.readers & ~(1U << thread.lane), [&](unsigned lane) {
    found = found || cell.read.time >= warps[thread.warp].seen[thread.lane][lane];
  });
  return found;
}

void remember_read(Cell& cell, const Thread& thread, const void* pc) {
  const bool again = of_this_launch(cell.read) && cell.read.serial == block.serial &&
                     cell.read.epoch == block.epoch;
  const bool same_warp = again && cell.read.thread >> 5 == thread.warp;
  cell.more_warps = again && (cell.more_warps || !same_warp);
  cell.readers = (same_warp ? cell.readers : 0) | 1U << thread.lane;
  cell.read = access_of(thread, pc);
}

struct Place {
  Region* region;  // null for static shared memory
  uintptr_t address;
  bool shared, initialised;

  std::string text() const {
    if (region == nullptr) return "static shared memory";
    return region->name + "+" + std::to_string(address - region->begin);
  }
};

void check_cell(const Thread& thread, Cell& cell, const Place& place, bool write, bool atomic,
                const void* pc) {
  const bool known =
      place.initialised || (place.shared ? cell.write.serial == block.serial : cell.initialised);
  if (!known && (!write || atomic)) {
    hazard(thread, "uninitialised read", place.text(), pc, nullptr);
    cell.initialised = true;
  }
  if (unordered(cell.write, thread, place.shared) && !(atomic && cell.atomic)) {
    const char* kind = write ? "write-after-write race" : "read-after-write race";
    hazard(thread, kind, place.text(), pc, &cell.write);
  }
  if (!write) return remember_read(cell, thread, pc);
  if (unordered_reads(cell, thread, place.shared)) {
    hazard(thread, "write-after-read race", place.text(), pc, &cell.read);
  }
  cell.write = access_of(thread, pc);
  cell.atomic = atomic;
  cell.initialised = true;
}

void check_region(const Thread& thread, Region& region, uintptr_t address, size_t bytes, bool write,
                  bool atomic, const void* pc) {
  const bool shared = &region == &dynamic;
  const Place place{&region, address, shared, region.initialised};
  if (address + bytes > region.end) {
    return hazard(thread, "out of bounds", place.text(), pc, nullptr);
  }
  if (write && !region.writable) {
    return hazard(thread, "write to a read-only buffer", place.text(), pc, nullptr);
  }
  const size_t first = (address - region.begin) / region.granule;
  const size_t last = (address + bytes - 1 - region.begin) / region.granule;
  for (size_t i = first; i <= last; ++i) {
    check_cell(thread, region.cells[i], place, write, atomic, pc);
  }
  if (config.record_accesses) record_access(thread, address, bytes, write, shared, pc);
}

void check_static(const Thread& thread, const Segment& segment, uintptr_t address, size_t bytes,
                  bool write, bool atomic, const void* pc) {
  if (address < segment.file_end || !segment.writable) {
    if (write) hazard(thread, "write to a global variable", "the program's data", pc, nullptr);
    return;  // constants
  }
  const Place place{nullptr, address, true, false};
  for (size_t i = address / kStaticGranule; i <= (address + bytes - 1) / kStaticGranule; ++i) {
    check_cell(thread, static_shared[i], place, write, atomic, pc);
  }
  if (config.record_accesses) record_access(thread, address, bytes, write, true, pc);
}

// The thread's own variables, the emulation's, and the kernel's parameters.
bool private_to(const Thread& thread, uintptr_t address, bool write) {
  const auto within = [address](const void* begin, size_t bytes) {
    return address - reinterpret_cast<uintptr_t>(begin) < bytes;
  };
  return within(thread.fiber.stack, thread.fiber.stack_bytes) ||
         within(static_cast<const Self*>(&thread), sizeof(Self)) || within(&self, sizeof self) ||
         (!write && within(block.kernel.arguments, block.kernel.argument_bytes));
}

}  // namespace

void check_access(uintptr_t address, size_t bytes, bool write, bool atomic, const void* pc) {
  if (self == nullptr || bytes == 0) return;
  const Thread& thread = *running();
  if (private_to(thread, address, write)) return;
  ++counters.accesses;
  const bool aligned = address % bytes == 0;
  if (!aligned && bytes <= 16 && (bytes & (bytes - 1)) == 0) {
    hazard(thread, "misaligned access", std::to_string(bytes) + " bytes", pc, nullptr);
  }
  if (address >= dynamic.begin && address < dynamic.end) {
    check_region(thread, dynamic, address, bytes, write, atomic, pc);
  } else if (Region* region = region_of(address)) {
    check_region(thread, *region, address, bytes, write, atomic, pc);
  } else if (const Segment* segment = segment_of(address)) {
    check_static(thread, *segment, address, bytes, write, atomic, pc);
  } else {
    char text[32];
    std::snprintf(text, sizeof text, "0x%zx", static_cast<size_t>(address));
    hazard(thread, "out of bounds", text + near(address), pc, nullptr);
  }
}

void touch(const void* data, size_t bytes, bool write, bool atomic, const void* pc) {
  if (!instrumented_kernels) return;
  if (self != nullptr) {
    return check_access(reinterpret_cast<uintptr_t>(data), bytes, write, atomic, pc);
  }
  // The runtime library between launches.
  const auto address = reinterpret_cast<uintptr_t>(data);
  Region* region = region_of(address);
  if (region == nullptr || address + bytes > region->end || (write && !region->writable)) {
    return report("memset or memcpy outside of a buffer that it may use" + near(address));
  }
  if (!write) return;
  for (size_t i = 0; i < bytes; ++i) {
    region->cells[(address + i - region->begin) / region->granule].initialised = true;
  }
}

bool instrumented() { return instrumented_kernels; }
void note_instrumented() { instrumented_kernels = true; }

void add_region(const char* name, const void* data, size_t bytes, bool initialised, bool writable,
                unsigned granule) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  regions.push_back({name, begin, begin + bytes, initialised, writable, granule,
                     std::vector<Cell>(bytes / granule + 1)});
}

void remove_region(const void* data) {
  std::erase_if(regions, [data](const Region& region) {
    return region.begin == reinterpret_cast<uintptr_t>(data);
  });
  last_region = 0;
}

void clear_regions() {
  regions.clear();
  last_region = 0;
}

void begin_hazards(size_t shared_bytes) {
  reported.clear();
  first_serial = block.serial;
  dynamic.begin = reinterpret_cast<uintptr_t>(block.shared);
  dynamic.end = dynamic.begin + shared_bytes;
  static_shared.clear();
  if (instrumented_kernels) dynamic.cells.assign(shared_bytes / dynamic.granule + 1, Cell{});
}

void begin_block_hazards() {
  if (!instrumented_kernels) return;
  for (Warp& warp : warps) {
    warp.time = 0;
    std::memset(warp.seen, 0, sizeof warp.seen);
  }
}

void order_lanes(unsigned warp, uint32_t lanes) {
  if (!instrumented_kernels) return;
  Warp& state = warps[warp];
  ++state.time;
  // Everybody now comes after whatever anybody of them came after.
  uint32_t merged[32] = {};
  for_lanes(lanes, [&](unsigned lane) {
    for (unsigned i = 0; i < 32; ++i) merged[i] = std::max(merged[i], state.seen[lane][i]);
  });
  for_lanes(lanes, [&](unsigned lane) { merged[lane] = state.time; });
  for_lanes(lanes, [&](unsigned lane) {
    std::copy(std::begin(merged), std::end(merged), state.seen[lane]);
  });
}

}  // namespace simt
