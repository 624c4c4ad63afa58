// What this processor and operating system can run, and which instruction set the kernels use.
//
// Include from files that are compiled for the baseline only: an inline function emitted by a file
// compiled for AVX-512 could be the copy that the linker keeps, and would then fault elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#if defined(__x86_64__) || defined(__i386__)
#  include <cpuid.h>
#endif

namespace rlmrec_fast {

/// Instruction sets that kernels are compiled for, each a superset of the one before.
enum class Isa { baseline, avx2, avx512 };

/// Extensions that both the processor and the operating system (saved registers) support.
struct CpuFeatures {
  bool sse42 = false;
  bool avx = false;
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512dq = false;
  bool avx512bf16 = false;
  bool amx_tile = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
};

/// The words of CPUID and XCR0 that features are read from.
struct CpuidWords {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t leaf7_edx = 0;
  std::uint32_t leaf7_1_eax = 0;
  std::uint64_t xcr0 = 0;
};

/// Reads features out of CPUID's words. A feature whose registers the system does not save is off.
constexpr CpuFeatures decode_cpuid(const CpuidWords& words) {
  const auto bit = [](std::uint32_t word, int index) { return ((word >> index) & 1U) != 0; };
  const auto saves = [&words](std::uint64_t state) { return (words.xcr0 & state) == state; };
  const bool ymm = saves(0x6);
  const bool zmm = saves(0xe6);
  const bool tiles = saves(0x60000);
  CpuFeatures features;
  features.sse42 = bit(words.leaf1_ecx, 20);
  features.avx = ymm && bit(words.leaf1_ecx, 28);
  features.fma = features.avx && bit(words.leaf1_ecx, 12);
  features.f16c = features.avx && bit(words.leaf1_ecx, 29);
  features.avx2 = features.avx && bit(words.leaf7_ebx, 5);
  features.avx512f = zmm && features.avx2 && bit(words.leaf7_ebx, 16);
  features.avx512dq = features.avx512f && bit(words.leaf7_ebx, 17);
  features.avx512bw = features.avx512f && bit(words.leaf7_ebx, 30);
  features.avx512vl = features.avx512f && bit(words.leaf7_ebx, 31);
  features.avx512bf16 = features.avx512f && bit(words.leaf7_1_eax, 5);
  features.amx_tile = tiles && bit(words.leaf7_edx, 24);
  features.amx_bf16 = features.amx_tile && bit(words.leaf7_edx, 22);
  features.amx_int8 = features.amx_tile && bit(words.leaf7_edx, 25);
  return features;
}

/// Asks the processor. Architectures other than x86 report nothing.
inline CpuidWords read_cpuid() {
  CpuidWords words;
#if defined(__x86_64__) || defined(__i386__)
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return words;
  words.leaf1_ecx = ecx;
  if (((ecx >> 27) & 1U) != 0) {  // OSXSAVE: XGETBV faults without it
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    words.xcr0 = (static_cast<std::uint64_t>(high) << 32) | low;
  }
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return words;
  words.leaf7_ebx = ebx;
  words.leaf7_edx = edx;
  const std::uint32_t last_subleaf = eax;
  if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) {
    words.leaf7_1_eax = eax;
  }
#endif
  return words;
}

/// Features of the running machine, read once.
inline const CpuFeatures& cpu_features() {
  static const CpuFeatures features = decode_cpuid(read_cpuid());
  return features;
}

/// The largest instruction set that these features can run: avx2 needs AVX2, FMA and F16C;
/// avx512 needs those and AVX-512 F, BW, VL and DQ.
constexpr Isa best_isa(const CpuFeatures& features) {
  if (!(features.avx2 && features.fma && features.f16c)) return Isa::baseline;
  const bool avx512 =
      features.avx512f && features.avx512bw && features.avx512vl && features.avx512dq;
  return avx512 ? Isa::avx512 : Isa::avx2;
}

inline Isa best_isa() { return best_isa(cpu_features()); }

constexpr const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

/// The instruction set of that name, or nothing for a name that isa_name never gives.
constexpr std::optional<Isa> parse_isa(std::string_view name) {
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (name == isa_name(isa)) return isa;
  }
  return std::nullopt;
}

}  // namespace rlmrec_fast
