// Which instruction set the kernels use, and how a call reaches the right copy of a kernel.
//
// Files listed under isa_sources in CMakeLists.txt are compiled once per instruction set, with
// everything they define inside namespace rlmrec_fast::RLMREC_FAST_ISA (baseline, avx2 or avx512).
#pragma once

#if defined(__x86_64__)
#  define RLMREC_FAST_X86 1
#endif

namespace rlmrec_fast {

// Defined in common/cpu_features.h, which files that make calls include. Files that define kernels
// must not.
enum class Isa;

// The best instruction set of this machine, or what the environment variable RLMREC_FAST_ISA asks
// for. Throws std::invalid_argument when that is unknown or more than the machine has. Decided
// once.
Isa active_isa();

}  // namespace rlmrec_fast

// Declares a function (or a function template) in the namespace of every instruction set.
#ifdef RLMREC_FAST_X86
#  define RLMREC_FAST_PER_ISA(...) \
    namespace baseline {           \
    __VA_ARGS__                    \
    }                              \
    namespace avx2 {               \
    __VA_ARGS__                    \
    }                              \
    namespace avx512 {             \
    __VA_ARGS__                    \
    }
// Sanitized builds do without what the machine cannot run, because it takes minutes to compile.
#  ifdef RLMREC_FAST_WITHOUT_AVX512
#    define RLMREC_FAST_IF_AVX512(CALL, OTHERWISE) OTHERWISE
#  else
#    define RLMREC_FAST_IF_AVX512(CALL, OTHERWISE) \
      ::rlmrec_fast::active_isa() == ::rlmrec_fast::Isa::avx512 ? CALL : OTHERWISE
#  endif
#  define RLMREC_FAST_CALL(FUNCTION, ...)                                          \
    (RLMREC_FAST_IF_AVX512(::rlmrec_fast::avx512::FUNCTION(__VA_ARGS__),           \
                           ::rlmrec_fast::active_isa() == ::rlmrec_fast::Isa::avx2 \
                               ? ::rlmrec_fast::avx2::FUNCTION(__VA_ARGS__)        \
                               : ::rlmrec_fast::baseline::FUNCTION(__VA_ARGS__)))
#else
#  define RLMREC_FAST_PER_ISA(...) \
    namespace baseline {           \
    __VA_ARGS__                    \
    }
#  define RLMREC_FAST_CALL(FUNCTION, ...) ::rlmrec_fast::baseline::FUNCTION(__VA_ARGS__)
#endif
