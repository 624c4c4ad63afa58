// What kernels ask of the memory system: requests, sectors and passes through the banks, by line.
#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "simt/runtime/machine.h"

namespace simt {
namespace {

struct Request {
  unsigned lanes = 0;
  uint64_t address[32];
  unsigned bytes[32];
  bool shared = false, write = false;
};

// The requests of the block that is running: by warp, place in the code, and how often the lane has
// been there.
std::map<std::tuple<unsigned, const void*, uint32_t>, Request> requests;
std::map<std::pair<unsigned, const void*>, uint32_t> passed;
std::map<std::pair<std::string, const void*>, AccessRecord> records;
std::vector<LaunchRecord> launches;

// The distinct pieces of `size` bytes that lanes first .. last - 1 touch, sorted.
std::vector<uint64_t> pieces(const Request& request, unsigned first, unsigned last, uint64_t size) {
  std::vector<uint64_t> all;
  for (unsigned i = first; i < last; ++i) {
    const uint64_t end = (request.address[i] + request.bytes[i] - 1) / size;
    for (uint64_t piece = request.address[i] / size; piece <= end; ++piece) all.push_back(piece);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

struct Cost {
  uint64_t units = 0, ideal = 0;
};

Cost global_cost(const Request& request) {
  const uint64_t words = pieces(request, 0, request.lanes, 4).size();
  return {pieces(request, 0, request.lanes, 32).size(), (words * 4 + 31) / 32};
}

// 32 banks of 4 bytes; requests of 8 and 16 bytes a lane go by half and quarter warps.
Cost shared_cost(const Request& request) {
  const unsigned widest = *std::max_element(request.bytes, request.bytes + request.lanes);
  const unsigned group = widest >= 16 ? 8 : widest >= 8 ? 16 : 32;
  Cost cost;
  for (unsigned first = 0; first < request.lanes; first += group) {
    const auto words = pieces(request, first, std::min(request.lanes, first + group), 4);
    uint64_t banks[32] = {};
    for (const uint64_t word : words) ++banks[word % 32];
    cost.units += *std::max_element(std::begin(banks), std::end(banks));
    cost.ideal += (words.size() + 31) / 32;
  }
  return cost;
}

}  // namespace

void record_access(const Thread& thread, uintptr_t address, size_t bytes, bool write, bool shared,
                   const void* pc) {
  const uint32_t round = passed[{thread.linear, pc}]++;
  Request& request = requests[{thread.warp, pc, round}];
  request.shared = shared;
  request.write = write;
  if (request.lanes == 32) return;
  request.address[request.lanes] = address;
  request.bytes[request.lanes++] = static_cast<unsigned>(bytes);
}

void finish_block_records() {
  for (const auto& [key, request] : requests) {
    const void* pc = std::get<1>(key);
    AccessRecord& record = records[{block.kernel.name, pc}];
    if (record.requests++ == 0) {
      record.kernel = block.kernel.name;
      record.where = place_of(pc);
      record.shared = request.shared;
      record.write = request.write;
    }
    for (unsigned i = 0; i < request.lanes; ++i) record.bytes += request.bytes[i];
    const Cost cost = request.shared ? shared_cost(request) : global_cost(request);
    record.units += cost.units;
    record.ideal += cost.ideal;
    record.worst = std::max(record.worst, cost.units);
  }
  requests.clear();
  passed.clear();
}

void record_launch(const Kernel& kernel, dim3 grid, dim3 shape, size_t shared_bytes) {
  if (!config.record_accesses) return;
  launches.push_back({kernel.name, symbol_of(kernel.function), grid, shape, shared_bytes});
}

std::vector<AccessRecord> access_records() {
  std::vector<AccessRecord> all;
  for (const auto& [key, record] : records) all.push_back(record);
  return all;
}

void clear_access_records() {
  records.clear();
  launches.clear();
}

const std::vector<LaunchRecord>& launch_records() { return launches; }

}  // namespace simt
