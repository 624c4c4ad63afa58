// Sums over edges against the sums that they stand for, taken in float64.
#include <array>

#include "cuda/edges.h"
#include "simt/compare.h"

namespace {

using namespace rlmrec_fast;

struct Settings {
  int64_t num_heads = 1, head_width = 8;
  EdgeWeight weight = EdgeWeight::exponential;
  double limit = 0.5;  // that some of the scores are beyond
  bool slopes = false, powers = true, add_slopes = false, shift_by_row = false, inverses = true;
  size_t offset = 0;  // of tables from an aligned place
};

// Tables of all nodes that a matrix can name, rows of them apart.
template <class T>
struct Inputs {
  const simt::Csr& matrix;
  const Settings settings;
  const int64_t d = settings.num_heads * settings.head_width;
  const int64_t nodes = std::max(matrix.num_rows(), matrix.num_columns);
  const int64_t stride = d + 4;
  simt::Buffer<int64_t> offsets = simt::input("offsets", matrix.offsets);
  simt::Buffer<int32_t> columns = simt::input("columns", matrix.columns);
  simt::Buffer<T> own_first = table("own_first", 1), own_second = table("own_second", 2);
  simt::Buffer<T> others_first = table("others_first", 3),
                  others_second = table("others_second", 4);
  simt::Buffer<T> shifts =
      simt::input("shifts", simt::random_values<T>(nodes* settings.num_heads, 5));
  std::vector<T> before = simt::random_values<T>(matrix.num_rows() * d, 6);

  simt::Buffer<T> table(const char* name, uint64_t seed) const {
    return simt::input(name, simt::random_values<T>(nodes * stride, seed), settings.offset);
  }

  cuda::EdgeArgs<T> args() const {
    cuda::EdgeArgs<T> args;
    args.offsets = offsets.data();
    args.columns = columns.data();
    args.num_rows = matrix.num_rows();
    args.num_entries = matrix.num_entries();
    args.num_heads = settings.num_heads;
    args.head_width = settings.head_width;
    args.weight = settings.weight;
    args.limit = static_cast<T>(settings.limit);
    args.own.first = {own_first.data(), stride};
    args.others = {{others_first.data(), stride}, {others_second.data(), stride}};
    if (settings.slopes) {
      args.own.second = {own_second.data(), stride};
      args.shifts = shifts.data();
      args.shift_by_row = settings.shift_by_row;
      args.add_slopes = settings.add_slopes;
    }
    args.eps = static_cast<T>(1e-3);
    return args;
  }
};

struct Truth {
  std::vector<double> slopes, powers, inverses;
};

template <class T>
class Reference {
 public:
  explicit Reference(const Inputs<T>& in) : in_(in), s_(in.settings) {}

  Truth compute() {
    Truth truth;
    const auto rows = static_cast<size_t>(in_.matrix.num_rows());
    truth.slopes = s_.add_slopes ? std::vector<double>(in_.before.begin(), in_.before.end())
                                 : std::vector<double>(rows * static_cast<size_t>(in_.d));
    truth.powers.resize(rows * static_cast<size_t>(in_.d));
    for (int64_t row = 0; row < in_.matrix.num_rows(); ++row) {
      for (int64_t head = 0; head < s_.num_heads; ++head) add_head(row, head, truth);
    }
    return truth;
  }

 private:
  double at(const simt::Buffer<T>& table, int64_t node, int64_t column) const {
    return static_cast<double>(table[static_cast<size_t>(node * in_.stride + column)]);
  }

  void add_head(int64_t row, int64_t head, Truth& truth) const {
    const int64_t begin = head * s_.head_width, end = begin + s_.head_width;
    double total = 0;
    for (int64_t entry = in_.matrix.offsets[row]; entry < in_.matrix.offsets[row + 1]; ++entry) {
      const int64_t node = in_.matrix.columns[entry];
      double score = 0;
      double inner = static_cast<double>(
          in_.shifts[static_cast<size_t>((s_.shift_by_row ? row : node) * s_.num_heads + head)]);
      for (int64_t c = begin; c < end; ++c) {
        score += at(in_.own_first, row, c) * at(in_.others_first, node, c);
        inner += at(in_.own_second, row, c) * at(in_.others_second, node, c);
      }
      double power = std::exp(std::clamp(score, -s_.limit, s_.limit));
      double slope = std::abs(score) <= s_.limit ? power : 0;
      if (s_.weight == EdgeWeight::cosine) power = (score + 1) / 2, slope = 0.5;
      total += power;
      for (int64_t c = begin; c < end; ++c) {
        truth.powers[row * in_.d + c] += power * at(in_.others_second, node, c);
        truth.slopes[row * in_.d + c] += slope * inner * at(in_.others_first, node, c);
      }
    }
    const double inverse = total != 0 ? 1 / (total + 1e-3) : 0;
    truth.inverses.push_back(inverse);
    for (int64_t c = begin; s_.inverses && c < end; ++c) truth.powers[row * in_.d + c] *= inverse;
  }

  const Inputs<T>& in_;
  const Settings& s_;
};

template <class T>
std::vector<T> as(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

template <class T>
void compare(const simt::Csr& matrix, const Settings& settings, double tolerance) {
  if (matrix.num_rows() == 0) return;
  const Inputs<T> in{matrix, settings};
  auto slopes = settings.add_slopes ? simt::inout("slopes", in.before)
                                    : simt::output<T>("slopes", matrix.num_rows() * in.d);
  auto powers = simt::output<T>("powers", matrix.num_rows() * in.d);
  auto inverses = simt::output<T>("inverses", matrix.num_rows() * settings.num_heads);
  cuda::EdgeArgs<T> args = in.args();
  if (settings.slopes) args.slopes = slopes.data();
  if (settings.powers) args.powers = powers.data();
  if (settings.powers && settings.inverses) args.inverses = inverses.data();
  const int64_t room = cuda::edge_pieces_size(args);
  auto pieces = simt::output<T>("pieces", room);
  if (room > 0) args.pieces = pieces.data();
  const cuda::LaunchResult result = cuda::launch_edges(args, nullptr);
  check::expect(result.error == cudaSuccess, __FILE__, __LINE__, result.kernel);
  const Truth truth = Reference<T>(in).compute();
  if (settings.slopes) EXPECT_CLOSE(slopes, as<T>(truth.slopes), tolerance);
  if (args.powers != nullptr) EXPECT_CLOSE(powers, as<T>(truth.powers), tolerance);
  if (args.inverses != nullptr) EXPECT_CLOSE(inverses, as<T>(truth.inverses), tolerance);
}

// The passes of the operators: forward, gradient of queries, of keys and values.
void compare_all(const simt::Csr& matrix, Settings settings) {
  const auto both = [&] {
    compare<float>(matrix, settings, 2e-5);
    compare<double>(matrix, settings, 1e-13);
  };
  both();
  settings.inverses = false;
  settings.slopes = true;
  both();
  settings.powers = false;
  settings.shift_by_row = true;
  settings.add_slopes = true;
  both();
}

}  // namespace

TEST(edges_of_odd_matrices) {
  for (const simt::Csr& matrix : simt::odd_matrices()) {
    compare_all(matrix, {.num_heads = 4, .head_width = 8});
    compare_all(matrix, {.num_heads = 1, .head_width = 5, .weight = EdgeWeight::cosine});
  }
}

TEST(edges_of_heads_of_any_width) {
  const simt::Csr matrix = simt::random_csr("few", {5, 0, 33, 1, 12}, 40, 7);
  for (const auto& [heads, width] :
       {std::array{1, 4}, {2, 12}, {1, 32}, {2, 64}, {1, 128}, {3, 7}, {1, 132}, {2, 33}}) {
    compare_all(matrix, {.num_heads = heads, .head_width = width, .limit = 0.9});
  }
  compare_all(matrix, {.num_heads = 2, .head_width = 8, .offset = 1});  // not aligned
}

TEST(edges_of_long_rows_are_added_by_windows) {
  // Rows that fill windows, begin or end at their bounds, or share one. Narrow in float, wide in
  // double.
  for (const auto& lengths : {std::vector<int64_t>{300, 2, 257, 256, 0, 290}, {512, 512, 3}}) {
    compare_all(simt::random_csr("long", lengths, 900, 8), {.num_heads = 2, .head_width = 4});
  }
}

TEST(edges_of_not_a_number_are_nobody_elses) {
  const simt::Csr matrix = simt::random_csr("few", {3, 2}, 5, 9);
  Inputs<float> in{matrix, {.head_width = 4}};
  std::vector<float> query(static_cast<size_t>(in.nodes * in.stride), 1.0F);
  query[0] = NAN;
  const auto first = simt::input("query", query);
  auto powers = simt::output<float>("powers", 2 * 4);
  cuda::EdgeArgs<float> args = in.args();
  args.own.first.rows = first.data();
  args.powers = powers.data();
  CHECK(cuda::launch_edges(args, nullptr).error == cudaSuccess);
  for (size_t c = 0; c < 4; ++c) CHECK(powers[c] != powers[c] && std::isfinite(powers[4 + c]));
}

template <class T>
void compare_tables(int64_t rows, int64_t heads, int64_t width, double tolerance) {
  const int64_t d = heads * width;
  std::vector<T> values = simt::random_values<T>(rows * (d + 2), 1);
  for (int64_t c = 0; c < d; ++c) values[c] = 0;  // a row of zeros
  const auto x = simt::input("x", values),
             y = simt::input("y", simt::random_values<T>(rows * d, 2));
  const auto factors = simt::input("factors", simt::random_values<T>(rows * heads, 3));
  auto scaled = simt::output<T>("scaled", rows * d),
       shifts = simt::output<T>("shifts", rows * heads);
  CHECK(cuda::launch_edge_scale(cuda::EdgeScaleArgs<T>{rows,
                                                       heads,
                                                       width,
                                                       {x.data(), d + 2},
                                                       factors.data(),
                                                       {y.data(), d},
                                                       scaled.data(),
                                                       shifts.data()},
                                nullptr) == cudaSuccess);
  std::vector<T> products, dots, units, inverses, gradients;
  const auto gradient = simt::random_values<T>(rows * d, 4);
  for (int64_t row = 0; row < rows; ++row) {
    const T* own = x.data() + row * (d + 2);
    double square = 0, along = 0;
    for (int64_t head = 0; head < heads; ++head) {
      const T factor = factors[static_cast<size_t>(row * heads + head)];
      double dot = 0;
      for (int64_t c = head * width; c < (head + 1) * width; ++c) {
        products.push_back(own[c] * factor);
        dot += static_cast<double>(own[c]) * static_cast<double>(y.data()[row * d + c]);
        square += static_cast<double>(own[c]) * static_cast<double>(own[c]);
        along += static_cast<double>(own[c]) * static_cast<double>(gradient[row * d + c]);
      }
      dots.push_back(static_cast<T>(-dot * static_cast<double>(factor)));
    }
    const double inverse = 1 / std::max(std::sqrt(square), 1e-12);
    inverses.push_back(static_cast<T>(inverse));
    for (int64_t c = 0; c < d; ++c) {
      units.push_back(static_cast<T>(static_cast<double>(own[c]) * inverse));
      const double part = square > 0 ? along / square * static_cast<double>(own[c]) : 0;
      gradients.push_back(
          static_cast<T>(inverse * (static_cast<double>(gradient[row * d + c]) - part)));
    }
  }
  simt::expect_same(scaled, products, __FILE__, __LINE__);
  EXPECT_CLOSE(shifts, dots, tolerance);
  auto inverse = simt::output<T>("inverse", rows), unit = simt::output<T>("unit", rows * d);
  cuda::UnitArgs<T> args{rows,           d,          {x.data(), d + 2}, static_cast<T>(1e-12),
                         inverse.data(), unit.data()};
  CHECK(cuda::launch_unit_rows(args, nullptr) == cudaSuccess);
  EXPECT_CLOSE(inverse, inverses, tolerance);
  EXPECT_CLOSE(unit, units, tolerance);
  auto moved = simt::inout("gradient", gradient);
  args.rows = moved.data();
  CHECK(cuda::launch_unit_backward(args, nullptr) == cudaSuccess);
  EXPECT_CLOSE(moved, gradients, 20 * tolerance);
}

TEST(edges_tables_are_scaled_and_normalised) {
  for (const int64_t rows : simt::odd_counts()) {
    for (const auto& [heads, width] : {std::array{4, 8}, {1, 3}, {3, 11}}) {
      compare_tables<float>(rows, heads, width, 1e-6);
      compare_tables<double>(rows, heads, width, 1e-14);
    }
  }
}
