// What went wrong, and the names of places for it.
#include <dlfcn.h>

#include <cstdio>
#include <map>
#include <sstream>

#include "simt/runtime/machine.h"

namespace simt {
namespace {

cudaError_t last = cudaSuccess;

// What addr2line says of an address: function and file:line.
struct Place {
  std::string function, line;
};

Place ask(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {"", "?"};
  std::string answer;
  char part[512];
  while (std::fgets(part, sizeof part, pipe) != nullptr) answer += part;
  pclose(pipe);
  // A function and a place each, from the innermost inlined one outwards. What the emulated
  // language does, the kernel has asked for.
  Place found{"", "?"};
  std::istringstream lines(answer);
  for (Place place; std::getline(lines, place.function) && std::getline(lines, place.line);) {
    place.line = place.line.substr(0, place.line.find(" ("));
    found = place;
    const bool language = place.line.starts_with("language.h") || place.line.starts_with("ptx.h");
    if (!language) break;
  }
  return found;
}

const Place& find(const void* pc) {
  static std::map<const void*, Place> known;
  const auto found = known.find(pc);
  if (found != known.end()) return found->second;
  Dl_info info;
  if (pc == nullptr || dladdr(pc, &info) == 0 || info.dli_fname == nullptr) return known[pc];
  const auto offset = reinterpret_cast<uintptr_t>(pc) - reinterpret_cast<uintptr_t>(info.dli_fbase);
  char command[1024];
  std::snprintf(command, sizeof command, "addr2line -s -i -f -e '%s' 0x%zx 2>/dev/null",
                info.dli_fname, static_cast<size_t>(offset));
  return known[pc] = ask(command);
}

}  // namespace

std::vector<std::string>& errors() {
  static std::vector<std::string> all;
  return all;
}

cudaError_t last_error(bool clear) {
  const cudaError_t error = last;
  if (clear) last = cudaSuccess;
  return error;
}

void report(const std::string& what) {
  last = cudaErrorLaunchFailure;
  if (errors().size() < 64) errors().push_back(std::string(block.kernel.name) + ": " + what);
}

std::string at(Site site) {
  if (site.file == nullptr) return "?";
  const char* slash = std::strrchr(site.file, '/');
  return std::string(slash != nullptr ? slash + 1 : site.file) + ":" + std::to_string(site.line);
}

// A return address is behind the call; the byte before belongs to it.
std::string place_of(const void* pc) { return find(static_cast<const char*>(pc) - 1).line; }
std::string symbol_of(const void* pc) { return find(pc).function; }

std::string name_of(const Thread& thread) {
  return "block (" + std::to_string(thread.block.x) + "," + std::to_string(thread.block.y) +
         ") thread " + std::to_string(thread.linear);
}

}  // namespace simt
