#include <algorithm>
#include <cstdint>
#include <string>

#include "check.h"
#include "common/cpu_features.h"
#include "native/cpu_info.h"

namespace {

using namespace rlmrec_fast;

constexpr std::uint64_t saves_everything = 0x600e7;
constexpr CpuidWords everything{~0U, ~0U, ~0U, ~0U, saves_everything};

TEST(a_feature_needs_its_registers_saved_by_the_system) {
  CpuidWords words = everything;
  CHECK(best_isa(decode_cpuid(words)) == Isa::avx512);
  CHECK(decode_cpuid(words).amx_bf16);
  words.xcr0 = 0x7;
  CHECK(best_isa(decode_cpuid(words)) == Isa::avx2);
  CHECK(!decode_cpuid(words).avx512f);
  CHECK(!decode_cpuid(words).amx_tile);
  words.xcr0 = 0x3;
  CHECK(best_isa(decode_cpuid(words)) == Isa::baseline);
  CHECK(!decode_cpuid(words).avx);
  CHECK(decode_cpuid(words).sse42);
}

TEST(an_instruction_set_needs_all_of_its_extensions) {
  for (const int bit : {12, 28, 29}) {  // FMA, AVX, F16C
    CpuidWords words = everything;
    words.leaf1_ecx &= ~(1U << bit);
    CHECK(best_isa(decode_cpuid(words)) == Isa::baseline);
  }
  for (const int bit : {16, 17, 30, 31}) {  // AVX-512 F, DQ, BW, VL
    CpuidWords words = everything;
    words.leaf7_ebx &= ~(1U << bit);
    CHECK(best_isa(decode_cpuid(words)) == Isa::avx2);
  }
  CHECK(best_isa(decode_cpuid({})) == Isa::baseline);
}

TEST(names_and_instruction_sets_match) {
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    CHECK(parse_isa(isa_name(isa)) == isa);
  }
  CHECK(!parse_isa("AVX2"));
  CHECK(!parse_isa(""));
}

TEST(this_machine_agrees_with_the_compiler_about_itself) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  CHECK(cpu_features().avx2 == (__builtin_cpu_supports("avx2") != 0));
  CHECK(cpu_features().fma == (__builtin_cpu_supports("fma") != 0));
  CHECK(cpu_features().avx512f == (__builtin_cpu_supports("avx512f") != 0));
  CHECK(cpu_features().avx512bw == (__builtin_cpu_supports("avx512bw") != 0));
#endif
  const auto names = native::feature_names(cpu_features());
  CHECK((std::find(names.begin(), names.end(), "avx2") != names.end()) == cpu_features().avx2);
  CHECK(!native::cpu_brand().empty());
}

}  // namespace
