// The one way in which this library refuses an argument.
#pragma once

#include <sstream>
#include <stdexcept>

namespace rlmrec_fast::native {

/// Throws std::invalid_argument (ValueError in Python) with the parts written one after another.
/// Messages read `where: NAME must ... (got ...)`.
template <typename... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

}  // namespace rlmrec_fast::native
