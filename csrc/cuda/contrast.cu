#include <algorithm>
#include <type_traits>

#include "cuda/contrast.h"
#include "cuda/contrast_fma.cuh"
#include "cuda/contrast_mma.cuh"
#include "cuda/contrast_rows.cuh"

namespace rlmrec_fast::cuda {
namespace {

constexpr double kLog2e = 1.44269504088896340736;

// Bytes of sums that the splits of a pass may take: more would cost more than they gain.
constexpr int64_t kSumBytes = int64_t{32} << 20;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t padded(int64_t count, int64_t to) { return divide_up(count, to) * to; }

// How the others of a pass are cut.
struct Splits {
  int64_t count;
  int64_t tiles;  // of each

  Splits(int64_t own_rows, int64_t other_rows, int64_t row_bytes, int64_t blocks) {
    const int64_t num_tiles = std::max<int64_t>(1, other_rows / kTileRows);
    own_rows = std::max<int64_t>(own_rows, kTileRows);
    const int64_t most = std::max<int64_t>(1, kSumBytes / (own_rows * row_bytes));
    const int64_t wanted = divide_up(blocks, own_rows / kTileRows);
    tiles = divide_up(num_tiles, std::min({most, wanted, num_tiles}));
    count = divide_up(num_tiles, tiles);
  }
};

// Hands out parts of the working memory; with none it only adds up their sizes.
class Workspace {
 public:
  explicit Workspace(void* memory) : memory_(static_cast<char*>(memory)) {}
  template <class T>
  T* take(int64_t count) {
    char* place = memory_ == nullptr ? nullptr : memory_ + size_;
    size_ += padded(count * static_cast<int64_t>(sizeof(T)), 256);
    return reinterpret_cast<T*>(place);
  }
  int64_t size() const { return size_; }

 private:
  char* memory_;
  int64_t size_ = 0;
};

dim3 blocks_of(int64_t rows, int64_t rows_of_block) {
  return dim3(static_cast<unsigned>(divide_up(rows, rows_of_block)));
}

// One call with factors stored in one form.
template <class T, class Stored>
class Contrast {
 public:
  Contrast(const ContrastCall<T>& call, void* memory)
      : call_(call),
        width_(std::max<int64_t>(1, divide_up(call.d, kChunk)) * kChunk),
        query_rows_(padded(call.num_queries, kTileRows)),
        candidate_rows_(padded(call.num_candidates, kTileRows)),
        pull_(query_rows_, candidate_rows_, width_ * kSize, call.blocks),
        push_(candidate_rows_, query_rows_, width_ * kSize, call.blocks),
        workspace_(memory) {
    queries_ = workspace_.take<Stored>(query_rows_ * width_);
    candidates_ = workspace_.take<Stored>(candidate_rows_ * width_);
    inverse_q_ = workspace_.take<T>(query_rows_);
    inverse_k_ = workspace_.take<T>(candidate_rows_);
    weights_ = workspace_.take<T>(candidate_rows_);
    if (call.positive.rows != nullptr) {
      inverse_p_ = workspace_.take<T>(query_rows_);
      logits_ = workspace_.take<T>(query_rows_);
    }
    totals_ = workspace_.take<double>(pull_.count * query_rows_);
    if (!fixed_shift()) maxima_ = workspace_.take<T>(pull_.count * query_rows_);
    if (call.coefficients != nullptr) {
      shifts_ = workspace_.take<T>(query_rows_);
      shares_ = workspace_.take<T>(query_rows_);
      own_factors_ = workspace_.take<T>(query_rows_);
    }
    // The query's gradient is done with its sums before the push begins.
    const int64_t pulls = call.grad_query ? pull_.count * query_rows_ : 0;
    const int64_t pushes = call.grad_candidates ? push_.count * candidate_rows_ : 0;
    sums_ = workspace_.take<T>(std::max(pulls, pushes) * width_);
  }

  int64_t bytes() const { return workspace_.size(); }

  LaunchResult run(cudaStream_t stream) {
    stream_ = stream;
    if (call_.num_queries == 0) return run_empty();
    prepare(call_.query, call_.num_queries, query_rows_, scale(), nullptr, inverse_q_, queries_,
            nullptr);
    prepare(call_.candidates, call_.num_candidates, candidate_rows_, T(1), call_.weights,
            inverse_k_, candidates_, weights_);
    if (call_.positive.rows != nullptr) positives();
    forward();
    finish();
    if (call_.grad_query != nullptr) query_gradient();
    if (call_.grad_positive != nullptr) positive_gradient();
    if (call_.grad_candidates != nullptr) {
      push();
      candidate_gradient();
    }
    return result_;
  }

 private:
  static constexpr int64_t kSize = sizeof(T);
  static constexpr int64_t kChunk = kChunkBytes / static_cast<int64_t>(sizeof(Stored));
  static constexpr bool kExact = std::is_same_v<T, Stored>;

  T scale() const { return static_cast<T>(kLog2e / call_.temperature); }
  // As on the CPU: cosines are at most 1, and 2^(-2 log2(e) / temperature) far from vanishing.
  bool fixed_shift() const {
    const double range = std::is_same_v<T, double> ? 900 : 100;
    return call_.normalize != Normalize::none && 2 * kLog2e / call_.temperature <= range;
  }

  // Without queries the total and all gradients are 0.
  LaunchResult run_empty() {
    if (call_.total != nullptr) add_up();
    if (call_.grad_candidates != nullptr) {
      GradientArgs<T> args =
          gradient(call_.candidates, call_.num_candidates, nullptr, call_.grad_candidates);
      args.project = false;
      differentiate(args);
    }
    return result_;
  }

  void prepare(Table<T> table, int64_t rows, int64_t padded_rows, T scale, const T* weights,
               T* inverse, Stored* out, T* factors) {
    const PrepareArgs<T, Stored> args{
        table,     rows,  padded_rows, call_.d, width_, call_.normalize,
        call_.eps, scale, weights,     inverse, out,    factors};
    SIMT_LAUNCH((prepare_rows<T, Stored>), blocks_of(padded_rows, kRowWarps), dim3(kRowThreads), 0,
                stream_, args);
    result_.note("prepare_rows");
  }

  void positives() {
    const PositiveArgs<T> args{call_.query,
                               call_.positive,
                               call_.num_queries,
                               call_.d,
                               call_.normalize,
                               call_.eps,
                               static_cast<T>(call_.temperature),
                               inverse_q_,
                               inverse_p_,
                               logits_};
    SIMT_LAUNCH(positive_logits<T>, blocks_of(call_.num_queries, kRowWarps), dim3(kRowThreads), 0,
                stream_, args);
    result_.note("positive_logits");
  }

  template <int kChunks, bool kPush>
  void pass_of(const PassArgs<Stored, T>& args, const Splits& splits) {
    constexpr int64_t kRows = [] {
      if constexpr (kExact) {
        return FmaShape<T>::kOwnRows;
      } else {
        return kMmaOwnRows;
      }
    }();
    const dim3 grid(static_cast<unsigned>(args.own_rows / kRows),
                    static_cast<unsigned>(splits.count));
    if constexpr (kExact) {
      SIMT_LAUNCH((contrast_fma<T, kChunks, kPush>), grid, dim3(kPassThreads), 0, stream_, args);
      result_.note("contrast_fma");
    } else {
      SIMT_LAUNCH((contrast_mma<sizeof(Stored) == 2, kChunks, kPush>), grid, dim3(kPassThreads), 0,
                  stream_, args);
      result_.note("contrast_mma");
    }
  }

  template <bool kPush>
  void pass(const PassArgs<Stored, T>& args, const Splits& splits) {
    // More kernels in registers would only help widths that are rare.
    if (args.sums != nullptr && width_ == kChunk) return pass_of<1, kPush>(args, splits);
    if constexpr (!std::is_same_v<T, double>) {
      if (args.sums != nullptr && width_ == 2 * kChunk) return pass_of<2, kPush>(args, splits);
    }
    if (args.sums != nullptr) return pass_of<kSumsInMemory, kPush>(args, splits);
    if constexpr (!kPush) pass_of<kNoSums, kPush>(args, splits);
  }

  void forward() {
    PassArgs<Stored, T> args{};
    args.own = queries_;
    args.others = candidates_;
    args.num_tiles = candidate_rows_ / kTileRows;
    args.tiles_per_split = pull_.tiles;
    args.own_rows = query_rows_;
    args.width = width_;
    args.factors = weights_;
    args.shift = scale();
    args.running = !fixed_shift();
    args.totals = totals_;
    args.maxima = maxima_;
    args.sums = call_.grad_query != nullptr ? sums_ : nullptr;
    pass<false>(args, pull_);
  }

  void push() {
    PassArgs<Stored, T> args{};
    args.own = candidates_;
    args.others = queries_;
    args.num_tiles = query_rows_ / kTileRows;
    args.tiles_per_split = push_.tiles;
    args.own_rows = candidate_rows_;
    args.width = width_;
    args.factors = shares_;
    args.shifts = shifts_;
    args.sums = sums_;
    pass<true>(args, push_);
  }

  void finish() {
    const FinishArgs<T> args{
        call_.num_queries, query_rows_, pull_.count,       totals_,     maxima_,
        scale(),           logits_,     call_.temperature, call_.delta, call_.coefficients,
        call_.losses,      shifts_,     shares_,           own_factors_};
    SIMT_LAUNCH(finish_queries<T>, blocks_of(query_rows_, kRowThreads), dim3(kRowThreads), 0,
                stream_, args);
    result_.note("finish_queries");
    if (call_.total != nullptr) add_up();
  }

  void add_up() {
    SIMT_LAUNCH(weighted_sum<T>, dim3(1), dim3(kRowThreads), 0, stream_, call_.coefficients,
                call_.losses, call_.num_queries, call_.total);
    result_.note("weighted_sum");
  }

  GradientArgs<T> gradient(Table<T> x, int64_t rows, const T* inverse, T* y) const {
    GradientArgs<T> args{};
    args.num_rows = rows;
    args.d = call_.d;
    args.width = width_;
    args.x = x;
    args.inverse = inverse;
    args.project = call_.normalize != Normalize::none;
    args.y = y;
    return args;
  }

  void differentiate(const GradientArgs<T>& args) {
    SIMT_LAUNCH(gradient_rows<T>, blocks_of(args.num_rows, kRowWarps), dim3(kRowThreads), 0,
                stream_, args);
    result_.note("gradient_rows");
  }

  void query_gradient() {
    GradientArgs<T> args = gradient(call_.query, call_.num_queries, inverse_q_, call_.grad_query);
    args.padded_rows = query_rows_;
    args.sums = sums_;
    args.splits = pull_.count;
    args.maxima = maxima_;
    args.shifts = shifts_;
    args.factors = shares_;
    args.scale = 1;
    if (call_.positive.rows != nullptr) {
      args.other = call_.positive;
      args.other_factors = own_factors_;
      args.other_inverse = inverse_p_;
    }
    differentiate(args);
  }

  void positive_gradient() {
    GradientArgs<T> args =
        gradient(call_.positive, call_.num_queries, inverse_p_, call_.grad_positive);
    args.other = call_.query;
    args.other_factors = own_factors_;
    args.other_inverse = inverse_q_;
    differentiate(args);
  }

  void candidate_gradient() {
    GradientArgs<T> args =
        gradient(call_.candidates, call_.num_candidates, inverse_k_, call_.grad_candidates);
    args.padded_rows = candidate_rows_;
    args.sums = sums_;
    args.splits = push_.count;
    args.factors = weights_;
    args.scale = 1 / scale();  // of the queries that were added up
    args.round = sizeof(Stored) == 2;
    differentiate(args);
  }

  const ContrastCall<T>& call_;
  int64_t width_, query_rows_, candidate_rows_;
  Splits pull_, push_;
  Workspace workspace_;
  cudaStream_t stream_ = nullptr;
  LaunchResult result_;
  Stored* queries_ = nullptr;
  Stored* candidates_ = nullptr;
  T* inverse_q_ = nullptr;
  T* inverse_k_ = nullptr;
  T* inverse_p_ = nullptr;
  T* weights_ = nullptr;
  T* logits_ = nullptr;
  double* totals_ = nullptr;
  T* maxima_ = nullptr;
  T* shifts_ = nullptr;
  T* shares_ = nullptr;
  T* own_factors_ = nullptr;
  T* sums_ = nullptr;
};

// Calls work with a value of the type that factors are stored in.
template <class T, class Work>
auto with_stored(const ContrastCall<T>& call, Work work) {
  if constexpr (std::is_same_v<T, float>) {
    const bool fixed = call.normalize != Normalize::none && 2 * kLog2e / call.temperature <= 100;
    if (call.products == Products::bfloat16 && fixed) return work(uint16_t{});
    if (call.products == Products::tf32) return work(uint32_t{});
  }
  return work(T{});
}

}  // namespace

template <class T>
int64_t contrast_workspace(const ContrastCall<T>& call) {
  return with_stored(
      call, [&](auto stored) { return Contrast<T, decltype(stored)>(call, nullptr).bytes(); });
}

template <class T>
LaunchResult launch_contrast(const ContrastCall<T>& call, void* workspace, cudaStream_t stream) {
  return with_stored(call, [&](auto stored) {
    return Contrast<T, decltype(stored)>(call, workspace).run(stream);
  });
}

template int64_t contrast_workspace(const ContrastCall<float>&);
template int64_t contrast_workspace(const ContrastCall<double>&);
template LaunchResult launch_contrast(const ContrastCall<float>&, void*, cudaStream_t);
template LaunchResult launch_contrast(const ContrastCall<double>&, void*, cudaStream_t);

}  // namespace rlmrec_fast::cuda
