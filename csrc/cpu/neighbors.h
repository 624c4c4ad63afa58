// The k nearest rows of every row of a table by cosine, without the matrix of all cosines.
//
// Rows become directions: divided by their largest element, then by their length, in the type of
// the table; so proportional rows become equal ones. The cosine of two rows is the dot product of
// their directions in float64, summed in an order that depends on d alone, and neighbours are those
// of the highest cosines, equal ones by lower row number. For a float32 table products are exact
// and the sum is the same on every instruction set.
//
// Most pairs never get that far. A screen estimates every pair once, for both of its rows, from
// 16-bit integers, of which processors multiply twice as many at a time as float32, and a row
// collects the pairs that may be among its k best, within a bound on the error of estimates. The
// integers are what directions differ in from their mean, so that errors are small where all
// directions are alike; their sums are exact.
//
// Rows stand in an order of their own, at places; a random one tells early what to collect: of the
// first m places, no more than about k m / num_rows are among the k best. Whether that was right
// shows in the end, and where it was not, a row is screened once more, for its own part. So which
// pairs a row happens to collect depends on the order of rows and of the work; that they include
// the k best does not, and so neither does the result.
//
// A zero row has cosine 0 with every other one. Rows must be finite, and no more than
// kMostNeighborColumns wide.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "cpu/isa.h"

namespace rlmrec_fast {

// Rows that one piece of the screen's work takes from either side.
constexpr int64_t kNeighborBlock = 192;
// Directions are padded with zeros to a multiple of this.
constexpr int64_t kDirectionLanes = 16;
// Bytes of a collected pair, and how many pairs are collected at a time at most.
constexpr int64_t kCollectedBytes = 8, kCollectedLanes = 16;
// So that what rounding adds to the integers' length stays small beside it.
constexpr int64_t kMostNeighborColumns = int64_t{1} << 28;

inline int64_t neighbor_blocks(int64_t num_rows) {
  return (num_rows + kNeighborBlock - 1) / kNeighborBlock;
}

// "By place" below means as many elements as places in whole blocks.
template <class T>
struct NeighborArgs {
  int64_t num_rows;
  int64_t d;
  int64_t k;             // in [1, num_rows)
  const int32_t* order;  // num_rows: the rows in another order
  const T* directions;   // num_rows x stride, in that order, as everything up to neighbors
  int64_t stride;
  const double* mean;  // stride, padded with zeros. Any numbers do; the mean does best
  float* shifts;       // by place: estimate = scale * sum of integers' products + both shifts
  float* radii;        // by place: at least the length of its difference from the mean
  float* steps;        // by place: integers that stand for less would be too large
  double step;         // what one of the integers stands for
  float* errors;       // by place: at least the length of what rounding to integers loses
  int16_t* integers;   // by place, padded to an even number of columns, packed
  float* margins;      // by place: how far an estimate can be from the cosine
  float* limits;       // by place: lower estimates are not collected
  float* guesses;      // by place: the highest limit that was only likely to leave the k best
  int32_t* counts;     // by place: how many pairs are collected
  int64_t* compared;   // by block: the most that one of its places has been compared with
  void* collected;     // num_rows x capacity x kCollectedBytes
  int64_t capacity;    // more than k by kCollectedLanes or more, and a multiple of that
  int64_t* neighbors;  // num_rows x width, by row; columns from k on become -1
  int64_t width;
};

// In this order. Those on places and blocks may run at once if they touch no place in common.
RLMREC_FAST_PER_ISA(
    // Directions of the places [begin, end), rows of a table with a stride of its own. Returns the
    // first row that is not finite, or -1.
    template <class T>
    int64_t find_directions(const T* table, int64_t table_stride, int64_t d, const int32_t* order,
                            int64_t begin, int64_t end, T* directions, int64_t stride);
    // Shifts, radii and steps of a block.
    template <class T> void measure_block(const NeighborArgs<T>& args, int64_t block);
    // The step.
    template <class T> void choose_step(NeighborArgs<T>& args);
    // Integers and errors of a block.
    template <class T> void pack_block(const NeighborArgs<T>& args, int64_t block);
    // Margins, and that nothing is collected or compared yet.
    template <class T> void start_screen(const NeighborArgs<T>& args);
    // Estimates each pair of places of two blocks, which may be the same one, and collects: changes
    // what is by place or block of theirs, and what they collected.
    template <class T>
    void screen_blocks(const NeighborArgs<T>& args, int64_t first, int64_t second);
    // Neighbours of the rows at the places [begin, end), once all pairs are screened.
    template <class T>
    void write_neighbors(const NeighborArgs<T>& args, int64_t begin, int64_t end);)

}  // namespace rlmrec_fast
