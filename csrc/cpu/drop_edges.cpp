// Which entries of a graph are kept: edge dropout and places of cpu/propagate.h.
#include <cstring>

#include "common/random.h"
#include "cpu/lanes.h"
#include "cpu/parts.h"
#include "cpu/propagate.h"
#include "cpu/vec.h"

namespace rlmrec_fast::RLMREC_FAST_ISA {
namespace {

// Copies the kept ones of the entries [begin, end) of one row to `kept` on; returns their end.
int64_t compact(const DropoutArgs& args, PairHash hash, uint32_t threshold, int64_t row,
                int64_t begin, int64_t end, int64_t kept) {
  const auto node = static_cast<uint32_t>(row);
  const uint32_t hashed_row = hash_first(hash, node);
  const uint32_t hashed_second = mix32(node ^ hash.second_key);
  const auto hashes = [&](auto columns) __attribute__((always_inline)) {
    return args.transpose ? mix32(mix32(columns ^ hash.first_key) ^ hashed_second)
                          : hash_second(hash, hashed_row, columns);
  };
#ifdef __AVX512F__
  const __m512i limit = _mm512_set1_epi32(static_cast<int>(threshold));
  for (int64_t entry = begin; entry < end; entry += 16) {
    const int64_t left = end - entry;
    const auto lanes = static_cast<__mmask16>(left >= 16 ? 0xffffU : (1U << left) - 1U);
    const __m512i loaded = _mm512_maskz_loadu_epi32(lanes, args.columns + entry);
    const Words columns = load_bits<Words>(&loaded);
    const Words bits = hashes(columns);
    const __mmask16 keep = _mm512_mask_cmplt_epu32_mask(lanes, load_bits<__m512i>(&bits), limit);
    const int count = __builtin_popcount(keep);
    _mm512_mask_storeu_epi32(args.kept_columns + kept, static_cast<__mmask16>((1U << count) - 1U),
                             _mm512_maskz_compress_epi32(keep, loaded));
    kept += count;
  }
#else
  int64_t entry = begin;
#  ifdef __AVX2__
  // Unsigned numbers compare as signed ones do once their highest bit is turned.
  const __m256i turn = _mm256_set1_epi32(INT32_MIN);
  const __m256i limit = _mm256_xor_si256(_mm256_set1_epi32(static_cast<int>(threshold)), turn);
  for (; entry + 8 <= end; entry += 8) {
    const auto columns = load_bits<Words>(args.columns + entry);
    const Words bits = hashes(columns);
    const __m256i keep =
        _mm256_cmpgt_epi32(limit, _mm256_xor_si256(load_bits<__m256i>(&bits), turn));
    const auto marked = static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(keep)));
    // Eight are written, and there is room for them: kept <= entry.
    const __m256i front =
        _mm256_permutevar8x32_epi32(load_bits<__m256i>(&columns), marked_first(marked));
    std::memcpy(args.kept_columns + kept, &front, sizeof front);
    kept += __builtin_popcount(marked);
  }
#  endif
  for (; entry < end; ++entry) {
    const auto column = static_cast<uint32_t>(args.columns[entry]);
    const uint32_t bits = hashes(column);
    // There is room for this entry whether it is kept or not: kept <= entry.
    args.kept_columns[kept] = args.columns[entry];
    kept += bits < threshold;
  }
#endif
  return kept;
}

}  // namespace

void drop_edges(const DropoutArgs& args, int64_t part_begin, int64_t part_end) {
  const PairHash hash = pair_hash(args.seed);
  const uint32_t threshold = rate_threshold(args.keep_rate);
  for (int64_t part = part_begin; part < part_end; ++part) {
    const int64_t* bounds = args.partition + 2 * part;
    int64_t kept = bounds[1];
    if (is_chunk(args, part)) {
      kept = compact(args, hash, threshold, bounds[0], bounds[1], bounds[3], kept);
    } else {
      for (int64_t row = bounds[0]; row < bounds[2]; ++row) {
        const int64_t begin = kept;
        kept = compact(args, hash, threshold, row, args.offsets[row], args.offsets[row + 1], kept);
        args.row_begin[row] = begin;
        args.row_end[row] = kept;
      }
    }
    args.part_end[part] = kept;
  }
}

void place_edges(const PlaceArgs& args, int64_t part_begin, int64_t part_end) {
  for (int64_t part = part_begin; part < part_end; ++part) {
    const int64_t* bounds = args.partition + 2 * part;
    int64_t kept = bounds[1];
    const auto keep = [&](int64_t begin, int64_t end) {
      for (int64_t entry = begin; entry < end; ++entry) {
        const int32_t place = args.places[args.columns[entry]];
        args.kept_places[kept] = place;  // there is room: kept <= entry
        kept += place >= 0;
      }
    };
    if (is_chunk(args, part)) {
      keep(bounds[1], args.part_end != nullptr ? args.part_end[part] : bounds[3]);
    } else {
      for (int64_t row = bounds[0]; row < bounds[2]; ++row) {
        args.kept_begin[row] = kept;
        keep(args.row_begin != nullptr ? args.row_begin[row] : args.offsets[row],
             args.row_end != nullptr ? args.row_end[row] : args.offsets[row + 1]);
        args.kept_end[row] = kept;
      }
    }
    args.kept_part_end[part] = kept;
  }
}

}  // namespace rlmrec_fast::RLMREC_FAST_ISA
