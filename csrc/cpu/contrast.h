// clang-format off
// Every query against every candidate, without the matrix between them:
//
//   t[i][j]   = log2(e) / temperature * q[i] . k[j]          q, k: rows, normalised where asked
//   sum[i]    = sum_j w[j] 2^(t[i][j] - shift[i])
//   pull[i]   = sum_j w[j] 2^(t[i][j] - shift[i]) k[j]       what the gradient of q[i] is made of
//   push[j]   = sum_i w[j] 2^(t[i][j] - shift[i]) s[i]       s[i]: q[i] times its share of the loss
// clang-format on
//
// Queries are taken in strips of kStripRows rows, candidates in tiles of two vectors; a strip and a
// tile meet in registers. `pull` needs nothing but its own strip. `push` needs sum[i] before it can
// start, and so the exponentials of a block of strips are kept until their sums are known: three
// products in all. Order of summation, whoever computes them: `sum` and `pull` over tiles in
// order, each tile by itself first; `push` over groups of strips in order, likewise.
//
// Packed forms, all zero where they are padded. A group of rows (a strip or a tile) is [d][rows],
// or
// blocked: its columns by blocks of two vectors (the last one may be one vector), each
// [rows][block],
// so that every loop walks through memory in order whatever d is.
//   strips   [strips][d][strip]            queries times log2(e) / temperature / norm
//   panels   [tiles][d][tile]              candidates / norm
//   rows     tiles, blocked                the same
//   weights  [tiles * tile]                w, or 1; null if it is 1 for all and the last tile is
//   full
//   powers   [strips][tiles][strip][tile]  w[j] 2^(t[i][j] - shift[i])
//   pulls, sources: strips, blocked; pushes: tiles, blocked
#pragma once

#include <cstdint>

#include "common/contrast.h"
#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

// Sizes that depend on the instruction set.
struct ContrastShape {
  int64_t strip;  // rows of a strip
  int64_t tile;   // candidates of a tile
  int64_t width;  // d, padded to whole vectors
};

template <class T>
struct ContrastArgs {
  ContrastShape shape;
  int64_t d;
  int64_t num_tiles;
  const T* strips;
  const T* panels;
  const T* rows;
  const T* weights;
  const T* shifts;  // [strips * kStripRows]
  // Those of first_strip and first_tile first, strips powers_stride elements apart; null to keep
  // none.
  T* powers;
  int64_t powers_stride;
  int64_t first_strip;
  int64_t first_tile;
  double* sums;      // [strips * kStripRows], added to; null to leave alone
  T* pulls;          // added to; null to leave alone
  const T* sources;  // the s[i]
  T* pushes;         // added to
};

template <class T>
struct NormalizeBackwardArgs {
  const T* x;
  int64_t x_stride;
  int64_t d;
  const T* inverse;
  bool project;
  const T* blocked;
  int64_t group;  // rows of a group of blocked
  const T* factor;
  const T* other;
  int64_t other_stride;
  const T* other_factor;
  // Above 0: products took n rounded to bfloat16, scaled by this. A row's gradient is nearly all
  // along n, so the projection must take the same n or what it leaves is mostly rounding.
  T round_scale;
  T* y;  // contiguous
};

RLMREC_FAST_PER_ISA(
    template <class T> ContrastShape contrast_shape(int64_t d);
    // 1 / norm of rows [begin, end).
    template <class T>
    void inverse_norms(const T* x, int64_t stride, int64_t d, Normalize normalize, double eps,
                       T* inverse, int64_t begin, int64_t end);
    template <class T>
    void pack_strips(const T* x, int64_t stride, int64_t num_rows, int64_t d, const T* inverse,
                     T scale, T* strips, int64_t begin, int64_t end);
    // rows may be null.
    template <class T>
    void pack_tiles(const T* x, int64_t stride, int64_t num_rows, int64_t d, const T* inverse,
                    T* panels, T* rows, int64_t begin, int64_t end);
    // sources of strips: factor[i] * x[i].
    template <class T> void pack_sources(const T* x, int64_t stride, int64_t num_rows, int64_t d,
                                         const T* factor, T* sources, int64_t begin, int64_t end);
    // dots[i] = x[i] . y[i].
    template <class T> void row_dots(const T* x, int64_t x_stride, const T* y, int64_t y_stride,
                                     int64_t d, T* dots, int64_t begin, int64_t end);
    // maxima[i] = max over candidates of positive weight of t[i][j].
    template <class T> void contrast_maxima(const ContrastArgs<T>& args, T* maxima,
                                            int64_t strip_begin, int64_t strip_end);
    // sums, pulls and powers of strips against the tiles [tile_begin, tile_end).
    template <class T>
    void contrast_strips(const ContrastArgs<T>& args, int64_t strip_begin, int64_t strip_end,
                         int64_t tile_begin, int64_t tile_end);
    // pushes of one tile from the powers and sources of the strips from first_strip to strip_end.
    template <class T>
    void contrast_push(const ContrastArgs<T>& args, int64_t tile, int64_t strip_end);
    // The derivative of normalising rows [begin, end):
    //   g = factor[i] * blocked[i] + other_factor[i] * other[i],  n = x[i] * inverse[i]
    //   y[i] = inverse[i] * (g - n (n . g)), or g itself without `project`.
    // blocked or other may be null; a null factor of blocked is 1.
    template <class T>
    void normalize_backward(const NormalizeBackwardArgs<T>& args, int64_t begin, int64_t end);)

}  // namespace rlmrec_fast
