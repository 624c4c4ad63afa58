// The products of cpu/contrast.h with bfloat16 factors and float32 sums, for processors with
// AVX-512-BF16: twice as many multiplications at a time, and half the memory for what waits.
//
// Everything is as in cpu/contrast.h for float, but for the forms of the factors. Neighbours along
// the summed dimension stand beside each other, two to a 32-bit word, padded with zeros:
//   strips   [strips][pairs of columns][strip][2]
//   panels   [tiles][pairs of columns][tile][2]
//   rows     tiles, blocked, [pairs of candidates][block][2]
//   sources  strips, blocked, [pairs of queries][block][2]
//   powers   [strips][tiles][pairs of queries][tile][2]
// Sums of powers are taken before rounding. pulls and pushes stay float32, laid out as there.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "cpu/contrast.h"

namespace rlmrec_fast {

struct ContrastBf16Args {
  ContrastShape shape;
  int64_t d;
  int64_t num_tiles;
  const BFloat16* strips;
  const BFloat16* panels;
  const BFloat16* rows;
  const float* weights;
  const float* shifts;
  BFloat16* powers;
  int64_t powers_stride;  // in elements
  int64_t first_strip;
  int64_t first_tile;
  double* sums;
  float* pulls;
  const BFloat16* sources;
  float* pushes;
};

namespace avx512bf16 {

// Whether this build has the kernels; only then may they be called.
bool compiled();
void pack_strips(const float* x, int64_t stride, int64_t num_rows, int64_t d, const float* inverse,
                 float scale, BFloat16* strips, int64_t begin, int64_t end);
void pack_tiles(const float* x, int64_t stride, int64_t num_rows, int64_t d, const float* inverse,
                BFloat16* panels, BFloat16* rows, int64_t begin, int64_t end);
void pack_sources(const float* x, int64_t stride, int64_t num_rows, int64_t d, const float* factor,
                  BFloat16* sources, int64_t begin, int64_t end);
void contrast_strips(const ContrastBf16Args& args, int64_t strip_begin, int64_t strip_end,
                     int64_t tile_begin, int64_t tile_end);
void contrast_push(const ContrastBf16Args& args, int64_t tile, int64_t strip_end);

}  // namespace avx512bf16
}  // namespace rlmrec_fast
