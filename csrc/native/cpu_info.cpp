#include "native/cpu_info.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

namespace rlmrec_fast::native {

std::vector<std::string> feature_names(const CpuFeatures& features) {
  const std::array<std::pair<const char*, bool>, 13> known{{
      {"sse4.2", features.sse42},
      {"avx", features.avx},
      {"avx2", features.avx2},
      {"fma", features.fma},
      {"f16c", features.f16c},
      {"avx512f", features.avx512f},
      {"avx512bw", features.avx512bw},
      {"avx512vl", features.avx512vl},
      {"avx512dq", features.avx512dq},
      {"avx512bf16", features.avx512bf16},
      {"amx_tile", features.amx_tile},
      {"amx_bf16", features.amx_bf16},
      {"amx_int8", features.amx_int8},
  }};
  std::vector<std::string> names;
  for (const auto& [name, present] : known) {
    if (present) names.emplace_back(name);
  }
  return names;
}

std::string architecture() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "unknown";
#endif
}

std::string cpu_brand() {
  std::string brand;
#if defined(__x86_64__) || defined(__i386__)
  constexpr std::uint32_t first_leaf = 0x80000002;
  std::array<std::uint32_t, 12> words{};
  bool known = true;
  for (std::uint32_t i = 0; i < 3; ++i) {
    std::uint32_t* w = words.data() + 4 * i;
    known = known && __get_cpuid(first_leaf + i, &w[0], &w[1], &w[2], &w[3]) != 0;
  }
  if (known) {
    std::array<char, sizeof(words) + 1> text{};
    std::memcpy(text.data(), words.data(), sizeof(words));
    brand = text.data();
  }
#endif
  const std::size_t begin = brand.find_first_not_of(' ');
  if (begin == std::string::npos) return "unknown";
  return brand.substr(begin, brand.find_last_not_of(' ') - begin + 1);
}

}  // namespace rlmrec_fast::native
