#include <initializer_list>

#include "cuda/propagate.cuh"

namespace rlmrec_fast::cuda {
namespace {

// Calls work(width, lanes), integral constants, with the shape of groups for tables of d columns.
// Tables of double are no matter of speed: one shape saves compiling.
template <class T, class Work>
void choose_group(bool aligned, int64_t d, Work work) {
  using std::integral_constant;
  if (sizeof(T) == 8 || !aligned || d % 4 != 0) {
    work(integral_constant<int, 1>{}, integral_constant<int, 32>{});
  } else if constexpr (sizeof(T) < 8) {
    if (d <= 32) {
      work(integral_constant<int, 4>{}, integral_constant<int, 8>{});
    } else if (d <= 64) {
      work(integral_constant<int, 4>{}, integral_constant<int, 16>{});
    } else {
      work(integral_constant<int, 4>{}, integral_constant<int, 32>{});
    }
  }
}

// The same for kernels in which few lanes do as well as many.
template <class T, class Work>
void choose_narrow_group(bool aligned, int64_t d, Work work) {
  using std::integral_constant;
  if (sizeof(T) == 8 || !aligned || d % 4 != 0) {
    work(integral_constant<int, 1>{}, integral_constant<int, 32>{});
  } else if constexpr (sizeof(T) < 8) {
    work(integral_constant<int, 4>{}, integral_constant<int, 8>{});
  }
}

template <class T>
bool all_aligned(const LayerArgs<T>& args) {
  return rows_aligned(args.x, args.x_stride) && rows_aligned(args.base, args.base_stride) &&
         rows_aligned(args.accumulator, args.accumulator_stride) &&
         rows_aligned(args.y, args.y_stride) && rows_aligned(args.pieces, args.d);
}

// Blocks for so many groups, times as many as the columns need.
template <int kWidth, int kLanes>
dim3 grid_of(int64_t groups, int64_t d) {
  constexpr int64_t kGroups = kThreads / kLanes;
  constexpr int64_t kColumns = kLanes * kWidth;
  return dim3(static_cast<unsigned>((groups + kGroups - 1) / kGroups),
              static_cast<unsigned>((d + kColumns - 1) / kColumns));
}

}  // namespace

template <class T>
cudaError_t launch_propagate_pieces(const LayerArgs<T>& args, cudaStream_t stream) {
  choose_group<T>(all_aligned(args), args.d, [&](auto width, auto lanes) {
    const dim3 grid = grid_of<width, lanes>((args.num_entries + kWindow - 1) / kWindow, args.d);
    SIMT_LAUNCH((propagate_pieces<width, lanes, T>), grid, dim3(kThreads), 0, stream, args);
  });
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_propagate_rows(const LayerArgs<T>& args, cudaStream_t stream) {
  choose_group<T>(all_aligned(args), args.d, [&](auto width, auto lanes) {
    const dim3 grid = grid_of<width, lanes>(args.num_wanted, args.d);
    SIMT_LAUNCH((propagate_rows<width, lanes, T>), grid, dim3(kThreads), 0, stream, args);
  });
  return cudaGetLastError();
}

cudaError_t launch_edge_mask(const LayerArgs<float>& args, bool* kept, cudaStream_t stream) {
  const dim3 grid = grid_of<1, 1>(args.num_entries, 1);
  SIMT_LAUNCH(edge_mask, grid, dim3(kThreads), 0, stream, args, kept);
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_entry_dots(const LayerArgs<T>& args, Accumulate<T>* grad_values,
                              cudaStream_t stream) {
  choose_narrow_group<T>(all_aligned(args), args.d, [&](auto width, auto lanes) {
    const dim3 grid = grid_of<width, lanes>((args.num_entries + kDots - 1) / kDots, 1);
    SIMT_LAUNCH((entry_dots<width, lanes, T>), grid, dim3(kThreads), 0, stream, args, grad_values);
  });
  return cudaGetLastError();
}

template <class T>
cudaError_t launch_copy_rows(const LayerArgs<T>& args, cudaStream_t stream) {
  choose_narrow_group<T>(all_aligned(args), args.d, [&](auto width, auto lanes) {
    const dim3 grid = grid_of<width, lanes>(args.num_wanted, args.d);
    SIMT_LAUNCH((copy_rows<width, lanes, T>), grid, dim3(kThreads), 0, stream, args);
  });
  return cudaGetLastError();
}

#define RLMREC_FAST_INSTANTIATE(T)                                                           \
  template cudaError_t launch_propagate_pieces(const LayerArgs<T>&, cudaStream_t);           \
  template cudaError_t launch_propagate_rows(const LayerArgs<T>&, cudaStream_t);             \
  template cudaError_t launch_entry_dots(const LayerArgs<T>&, Accumulate<T>*, cudaStream_t); \
  template cudaError_t launch_copy_rows(const LayerArgs<T>&, cudaStream_t);
RLMREC_FAST_INSTANTIATE(float)
RLMREC_FAST_INSTANTIATE(double)
RLMREC_FAST_INSTANTIATE(BFloat16)
RLMREC_FAST_INSTANTIATE(Float16)

}  // namespace rlmrec_fast::cuda
