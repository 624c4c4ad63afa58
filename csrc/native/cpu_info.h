// What to tell a reader about the processor.
#pragma once

#include <string>
#include <vector>

#include "common/cpu_features.h"

namespace rlmrec_fast::native {

/// Names of the supported extensions, oldest first, e.g. {"sse4.2", "avx", "avx2"}.
std::vector<std::string> feature_names(const CpuFeatures& features);

/// "x86_64", "aarch64" or "unknown".
std::string architecture();

/// The processor's own name for itself, or "unknown".
std::string cpu_brand();

}  // namespace rlmrec_fast::native
