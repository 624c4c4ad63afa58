// Runs every test, or those whose names contain one of the arguments, in three schedules: threads,
// warps and blocks forward with copies as late as allowed, in reverse with copies at once, and at
// random. Errors of the emulation fail the test that they happen in, and so do results that depend
// on the schedule.
//
//   --record   one schedule only, and the requests and launches of every kernel as lines of JSON;
//              of the tests named record_... where no names are given
//   --part I/N every N-th test from the I-th on, so that N processes share them; I from 1
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#define CHECK_OWN_MAIN
#include "simt/compare.h"

namespace {

struct Schedule {
  const char* name;
  simt::Order order;
  bool lazy_copies;
};

constexpr Schedule kSchedules[] = {
    {"forward", simt::Order::forward, true},
    {"reverse", simt::Order::reverse, false},
    {"random", simt::Order::random, true},
};

// FNV-1a of all that the test has compared so far.
constexpr uint64_t kNothing = 0xcbf29ce484222325ULL;
uint64_t bits = kNothing;

void take_errors() {
  for (const std::string& error : simt::errors()) std::printf("%s\n", error.c_str());
  if (!simt::errors().empty()) check::failed() = true;
  simt::errors().clear();
  simt::last_error(true);
}

bool run(const check::Test& test, const Schedule& schedule) {
  static std::map<std::string, uint64_t> seen;
  check::failed() = false;
  bits = kNothing;
  simt::config.order = schedule.order;
  simt::config.lazy_copies = schedule.lazy_copies;
  ++simt::config.seed;
  try {
    test.body();
  } catch (const std::exception& error) {
    check::expect(false, test.name, 0, std::string("threw ") + error.what());
  }
  take_errors();
  const uint64_t first = seen.emplace(test.name, bits).first->second;
  check::expect(first == bits, test.name, 0, "results depend on the schedule");
  if (check::failed()) std::printf("FAILED %s, schedule %s\n", test.name, schedule.name);
  return !check::failed();
}

struct Options {
  bool record = false;
  int part = 1, parts = 1;
};

// Takes the options off the front of the arguments.
Options take_options(int& argc, char**& argv) {
  Options options;
  int taken = 0;
  for (; taken + 1 < argc && std::strncmp(argv[taken + 1], "--", 2) == 0; ++taken) {
    const char* word = argv[taken + 1];
    if (std::strcmp(word, "--record") == 0) {
      options.record = true;
      continue;
    }
    const char* value = std::strcmp(word, "--part") == 0 ? argv[++taken + 1] : nullptr;
    const bool whole = value != nullptr &&
                       std::sscanf(value, "%d/%d", &options.part, &options.parts) == 2 &&
                       1 <= options.part && options.part <= options.parts;
    if (!whole) {
      std::fprintf(stderr, "%s: must be --record or --part I/N with 1 <= I <= N\n", word);
      std::exit(2);
    }
  }
  argv[taken] = argv[0];
  argc -= taken;
  argv += taken;
  return options;
}

void print_records() {
  for (const simt::LaunchRecord& launch : simt::launch_records()) {
    std::printf(
        "{\"launch\": \"%s\", \"function\": \"%s\", \"grid\": [%u, %u, %u], "
        "\"block\": [%u, %u, %u], \"dynamic_shared\": %zu}\n",
        launch.kernel.c_str(), launch.function.c_str(), launch.grid.x, launch.grid.y, launch.grid.z,
        launch.block.x, launch.block.y, launch.block.z, launch.dynamic_shared);
  }
  for (const simt::AccessRecord& record : simt::access_records()) {
    std::printf(
        "{\"access\": \"%s\", \"where\": \"%s\", \"shared\": %s, \"write\": %s, "
        "\"requests\": %llu, \"bytes\": %llu, \"units\": %llu, \"ideal\": %llu, \"worst\": %llu}\n",
        record.kernel.c_str(), record.where.c_str(), record.shared ? "true" : "false",
        record.write ? "true" : "false", static_cast<unsigned long long>(record.requests),
        static_cast<unsigned long long>(record.bytes),
        static_cast<unsigned long long>(record.units),
        static_cast<unsigned long long>(record.ideal),
        static_cast<unsigned long long>(record.worst));
  }
}

}  // namespace

void simt::note_bits(const void* data, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    bits = (bits ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3ULL;
  }
}

int main(int argc, char** argv) {
  const Options options = take_options(argc, argv);
  const bool record = options.record;
  simt::config.record_accesses = record;
  const auto chosen = [&](const check::Test& test) {
    if (record && argc <= 1) return std::strncmp(test.name, "record_", 7) == 0;
    return check::selected(test, argc, argv);
  };
  int passes = 0;
  int failures = 0;
  for (const Schedule& schedule : kSchedules) {
    int number = 0;
    for (const check::Test& test : check::tests()) {
      if (!chosen(test) || ++number % options.parts != options.part % options.parts) continue;
      ++(run(test, schedule) ? passes : failures);
    }
    if (record) break;
  }
  if (record) print_records();
  std::fprintf(record ? stderr : stdout, "%d passed, %d failed; %llu launches, %s\n", passes,
               failures, static_cast<unsigned long long>(simt::counters.launches),
               simt::instrumented() ? "every access checked" : "accesses not checked");
  return failures == 0 && passes > 0 ? 0 : 1;
}
