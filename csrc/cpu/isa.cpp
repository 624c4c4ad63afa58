#include "cpu/isa.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "common/cpu_features.h"

namespace rlmrec_fast {
namespace {

#ifdef RLMREC_FAST_WITHOUT_AVX512
constexpr Isa kNewest = Isa::avx2;
#else
constexpr Isa kNewest = Isa::avx512;
#endif

Isa choose_isa() {
  const char* wanted = std::getenv("RLMREC_FAST_ISA");
  const Isa best = std::min(best_isa(), kNewest);
  if (wanted == nullptr || *wanted == '\0') return best;
  const std::optional<Isa> isa = parse_isa(wanted);
  if (!isa) {
    throw std::invalid_argument("RLMREC_FAST_ISA must be baseline, avx2 or avx512 (got " +
                                std::string(wanted) + ")");
  }
  if (*isa > best) {
    throw std::invalid_argument("RLMREC_FAST_ISA must be at most " + std::string(isa_name(best)) +
                                ", the best of this machine (got " + wanted + ")");
  }
  return *isa;
}

}  // namespace

Isa active_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

}  // namespace rlmrec_fast
