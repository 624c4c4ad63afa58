#include <type_traits>

#include "cuda/edges.cuh"
#include "cuda/edges_tables.cuh"
#include "cuda/edges_wide.cuh"

namespace rlmrec_fast::cuda {
namespace {

template <bool kValue>
using Flag = std::bool_constant<kValue>;

int64_t windows_of(int64_t num_entries) { return (num_entries + kEdgeWindow - 1) / kEdgeWindow; }

// Blocks for so many groups of kLanes.
template <int kLanes>
dim3 grid_of(int64_t groups, int threads) {
  const int64_t of_block = threads / kLanes;
  return dim3(static_cast<unsigned>((groups + of_block - 1) / of_block));
}

// Whether all tables, heads included, can be read in groups of four elements.
template <class T>
bool all_aligned(const EdgeArgs<T>& args) {
  const auto aligned = [](Table<T> table) { return rows_aligned(table.rows, table.stride); };
  return args.head_width % 4 == 0 && aligned(args.own.first) && aligned(args.own.second) &&
         aligned(args.others.first) && aligned(args.others.second) &&
         aligned({args.slopes, args.d()}) && aligned({args.powers, args.d()}) &&
         aligned({args.pieces, args.d()});
}

// Calls work(slope, power) with flags for what is wanted.
template <class T, class Work>
void choose_sums(const EdgeArgs<T>& args, Work work) {
  if (args.slopes == nullptr) {
    work(Flag<false>{}, Flag<true>{});
  } else if (args.powers == nullptr) {
    work(Flag<true>{}, Flag<false>{});
  } else {
    work(Flag<true>{}, Flag<true>{});
  }
}

// Both launches, for heads that groups of kLanes have four elements a lane of.
template <int kLanes, class T>
LaunchResult run_narrow(const EdgeArgs<T>& args, cudaStream_t stream) {
  LaunchResult result;
  choose_sums(args, [&](auto slope, auto power) {
    if (args.pieces != nullptr) {
      const int64_t groups = 2 * windows_of(args.num_entries) * args.num_heads;
      SIMT_LAUNCH((edge_pieces<kLanes, 4, slope.value, power.value, T>),
                  grid_of<kLanes>(groups, kEdgeThreads), dim3(kEdgeThreads), 0, stream, args);
      result.note("edge_pieces");
    }
    SIMT_LAUNCH((edge_rows<kLanes, 4, slope.value, power.value, T>),
                grid_of<kLanes>(args.num_rows * args.num_heads, kEdgeThreads), dim3(kEdgeThreads),
                0, stream, args);
    result.note("edge_rows");
  });
  return result;
}

template <class T>
LaunchResult run_wide(const EdgeArgs<T>& args, cudaStream_t stream) {
  LaunchResult result;
  choose_sums(args, [&](auto slope, auto power) {
    if (args.pieces != nullptr) {
      const int64_t groups = 2 * windows_of(args.num_entries) * args.num_heads;
      SIMT_LAUNCH((wide_edge_pieces<slope.value, power.value, T>),
                  grid_of<kWarp>(groups, kEdgeThreads), dim3(kEdgeThreads), 0, stream, args);
      result.note("wide_edge_pieces");
    }
    SIMT_LAUNCH((wide_edge_rows<slope.value, power.value, T>),
                grid_of<kWarp>(args.num_rows * args.num_heads, kEdgeThreads), dim3(kEdgeThreads), 0,
                stream, args);
    result.note("wide_edge_rows");
  });
  return result;
}

}  // namespace

template <class T>
int64_t edge_pieces_size(const EdgeArgs<T>& args) {
  if (args.num_entries <= kLongEdgeRow) return 0;
  return 2 * windows_of(args.num_entries) * (2 * args.d() + args.num_heads);
}

template <class T>
LaunchResult launch_edges(const EdgeArgs<T>& args, cudaStream_t stream) {
  if constexpr (std::is_same_v<T, float>) {
    if (all_aligned(args)) {
      if (args.head_width <= 8) return run_narrow<2>(args, stream);
      if (args.head_width <= 32) return run_narrow<8>(args, stream);
      if (args.head_width <= 128) return run_narrow<32>(args, stream);
    }
  }
  return run_wide(args, stream);
}

template <class T>
cudaError_t launch_edge_scale(const EdgeScaleArgs<T>& args, cudaStream_t stream) {
  const dim3 grid = grid_of<kTableLanes>(args.num_rows * args.num_heads, kTableThreads);
  SIMT_LAUNCH(edge_scale<T>, grid, dim3(kTableThreads), 0, stream, args);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_unit_rows(const UnitArgs<T>& args, cudaStream_t stream) {
  const dim3 grid = grid_of<kTableLanes>(args.num_rows, kTableThreads);
  SIMT_LAUNCH(unit_rows<T>, grid, dim3(kTableThreads), 0, stream, args);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_unit_backward(const UnitArgs<T>& args, cudaStream_t stream) {
  const dim3 grid = grid_of<kTableLanes>(args.num_rows, kTableThreads);
  SIMT_LAUNCH(unit_backward<T>, grid, dim3(kTableThreads), 0, stream, args);
  return cudaGetLastError();
}

#define RLMREC_FAST_INSTANTIATE(T)                                               \
  template int64_t edge_pieces_size(const EdgeArgs<T>&);                         \
  template LaunchResult launch_edges(const EdgeArgs<T>&, cudaStream_t);          \
  template cudaError_t launch_edge_scale(const EdgeScaleArgs<T>&, cudaStream_t); \
  template cudaError_t launch_unit_rows(const UnitArgs<T>&, cudaStream_t);       \
  template cudaError_t launch_unit_backward(const UnitArgs<T>&, cudaStream_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)

}  // namespace rlmrec_fast::cuda
