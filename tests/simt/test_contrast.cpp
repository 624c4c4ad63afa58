// The contrast operators against the sums that they stand for, taken in float64.
#include "cuda/contrast.h"
#include "simt/compare.h"

namespace {

using namespace rlmrec_fast;

struct Problem {
  int64_t num_queries, num_candidates, d;
  double temperature = 0.2, eps = 1e-8, delta = 0;
  Normalize normalize = Normalize::root;
  Products products = Products::exact;
  bool positive = true, weights = false;
  double size = 1;  // of elements
  int64_t blocks = 1024;
};

struct Wanted {
  bool query = true, candidates = true, positive = true;
};

// Tables with rows apart, candidates 0 and 1 alike, and weights of which every third is 0.
template <class T>
struct Inputs {
  const Problem problem;
  const int64_t query_stride = problem.d + 3, candidate_stride = problem.d + 1;
  simt::Buffer<T> query = table("query", problem.num_queries, query_stride, 1);
  simt::Buffer<T> candidates = table("candidates", problem.num_candidates, candidate_stride, 2);
  simt::Buffer<T> positive = table("positive", problem.num_queries, problem.d, 3);
  simt::Buffer<T> weights = factors("weights", problem.num_candidates, 0.5);
  simt::Buffer<T> coefficients = factors("coefficients", problem.num_queries, -0.5);

  simt::Buffer<T> table(const char* name, int64_t rows, int64_t stride, uint64_t seed) const {
    auto values = simt::random_values<T>(rows * stride, seed);
    for (T& value : values) value *= static_cast<T>(problem.size);
    for (int64_t c = 0; seed == 2 && rows > 1 && c < problem.d; ++c) values[stride + c] = values[c];
    return simt::input(name, values, 1);
  }
  static simt::Buffer<T> factors(const char* name, int64_t count, double least) {
    std::vector<T> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<T>(i % 3 == 1 ? 0 : least + static_cast<double>(i % 4));
    }
    return simt::input(name, values);
  }
};

// What the operators are to give, and the sizes of what gradients are differences of.
struct Truth {
  std::vector<double> losses, grad_query, grad_candidates, grad_positive;
  double total = 0;
};

template <class T>
class Reference {
 public:
  explicit Reference(const Inputs<T>& in) : in_(in), p_(in.problem) {}

  Truth compute() {
    const auto rows = [&](int64_t count) {
      return std::vector<double>(static_cast<size_t>(count * p_.d));
    };
    q_ = unit(in_.query.data(), p_.num_queries, in_.query_stride, inverse_q_);
    k_ = unit(in_.candidates.data(), p_.num_candidates, in_.candidate_stride, inverse_k_);
    o_ = unit(in_.positive.data(), p_.num_queries, p_.d, inverse_o_);
    Truth truth;
    truth.grad_query = rows(p_.num_queries);
    truth.grad_candidates = rows(p_.num_candidates);
    truth.grad_positive = rows(p_.num_queries);
    for (int64_t i = 0; i < p_.num_queries; ++i) add_query(i, truth);
    project(q_, inverse_q_, truth.grad_query);
    project(k_, inverse_k_, truth.grad_candidates);
    project(o_, inverse_o_, truth.grad_positive);
    return truth;
  }

 private:
  std::vector<double> unit(const T* x, int64_t count, int64_t stride,
                           std::vector<double>& inverse) const {
    std::vector<double> rows;
    for (int64_t i = 0; i < count; ++i) {
      double square = 0;
      for (int64_t c = 0; c < p_.d; ++c) {
        square += static_cast<double>(x[i * stride + c]) * static_cast<double>(x[i * stride + c]);
      }
      const double length = p_.normalize == Normalize::root ? std::sqrt(p_.eps + square)
                                                            : std::max(std::sqrt(square), p_.eps);
      inverse.push_back(p_.normalize == Normalize::none ? 1 : 1 / length);
      for (int64_t c = 0; c < p_.d; ++c) {
        rows.push_back(static_cast<double>(x[i * stride + c]) * inverse.back());
      }
    }
    return rows;
  }

  double dot(const std::vector<double>& a, int64_t i, const std::vector<double>& b,
             int64_t j) const {
    double sum = 0;
    for (int64_t c = 0; c < p_.d; ++c) sum += a[i * p_.d + c] * b[j * p_.d + c];
    return sum;
  }
  void add(std::vector<double>& grad, int64_t i, double factor, const std::vector<double>& b,
           int64_t j) const {
    for (int64_t c = 0; c < p_.d; ++c) grad[i * p_.d + c] += factor * b[j * p_.d + c];
  }
  double weight(int64_t j) const {
    return p_.weights ? static_cast<double>(in_.weights[static_cast<size_t>(j)]) : 1;
  }

  void add_query(int64_t i, Truth& truth) {
    std::vector<double> powers;
    double most = -INFINITY;
    for (int64_t j = 0; j < p_.num_candidates; ++j) {
      powers.push_back(dot(q_, i, k_, j) / p_.temperature);
      if (weight(j) > 0) most = std::max(most, powers.back());
    }
    double sum = p_.delta * std::exp(-most);
    for (int64_t j = 0; j < p_.num_candidates; ++j) {
      double& power = powers[static_cast<size_t>(j)];
      power = weight(j) > 0 ? weight(j) * std::exp(power - most) : 0;
      sum += power;
    }
    double loss = most + std::log(sum), slope = 1;
    if (p_.positive) loss -= dot(q_, i, o_, i) / p_.temperature;
    if (p_.positive && p_.delta > 0) {
      const double ratio = std::exp(-loss);
      loss = -std::log(ratio + p_.delta);
      slope = ratio / (ratio + p_.delta);
    }
    truth.losses.push_back(loss);
    const double coefficient = static_cast<double>(in_.coefficients[static_cast<size_t>(i)]);
    truth.total += coefficient * loss;
    const double share = slope * coefficient / p_.temperature;
    for (int64_t j = 0; j < p_.num_candidates; ++j) {
      add(truth.grad_query, i, share * powers[static_cast<size_t>(j)] / sum, k_, j);
      add(truth.grad_candidates, j, share * powers[static_cast<size_t>(j)] / sum, q_, i);
    }
    if (!p_.positive) return;
    add(truth.grad_query, i, -share, o_, i);
    add(truth.grad_positive, i, -share, q_, i);
  }

  void project(const std::vector<double>& unit, const std::vector<double>& inverse,
               std::vector<double>& grad) const {
    for (size_t i = 0; p_.normalize != Normalize::none && i < inverse.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      add(grad, row, -dot(grad, row, unit, row), unit, row);
      for (int64_t c = 0; c < p_.d; ++c) grad[row * p_.d + c] *= inverse[i];
    }
  }

  const Inputs<T>& in_;
  const Problem& p_;
  std::vector<double> q_, k_, o_, inverse_q_, inverse_k_, inverse_o_;
};

template <class T>
std::vector<T> as(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

template <class T>
struct Outputs {
  simt::Buffer<T> losses, total, grad_query, grad_candidates, grad_positive;

  explicit Outputs(const Problem& p)
      : losses("losses", static_cast<size_t>(p.num_queries), false, true, 0),
        total("total", 1, false, true, 0),
        grad_query("grad_query", static_cast<size_t>(p.num_queries * p.d), false, true, 0),
        grad_candidates("grad_candidates", static_cast<size_t>(p.num_candidates * p.d), false, true,
                        0),
        grad_positive("grad_positive", static_cast<size_t>(p.num_queries * p.d), false, true, 0) {}
};

template <class T>
cuda::ContrastCall<T> call_of(const Inputs<T>& in, Outputs<T>& out) {
  const Problem& p = in.problem;
  cuda::ContrastCall<T> call{};
  call.num_queries = p.num_queries;
  call.num_candidates = p.num_candidates;
  call.d = p.d;
  call.query = {in.query.data(), in.query_stride};
  call.candidates = {in.candidates.data(), in.candidate_stride};
  if (p.positive) call.positive = {in.positive.data(), p.d};
  if (p.weights) call.weights = in.weights.data();
  call.temperature = p.temperature;
  call.eps = p.eps;
  call.delta = p.delta;
  call.normalize = p.normalize;
  call.products = p.products;
  call.blocks = p.blocks;
  call.losses = out.losses.data();
  return call;
}

template <class T>
void want(cuda::ContrastCall<T>& call, const Inputs<T>& in, Outputs<T>& out, Wanted wanted) {
  call.coefficients = in.coefficients.data();
  call.total = out.total.data();
  if (wanted.query) call.grad_query = out.grad_query.data();
  if (wanted.candidates) call.grad_candidates = out.grad_candidates.data();
  if (wanted.positive && in.problem.positive) call.grad_positive = out.grad_positive.data();
}

template <class T>
void run(const cuda::ContrastCall<T>& call) {
  auto workspace = simt::output<char>("workspace", cuda::contrast_workspace(call));
  const cuda::LaunchResult result = cuda::launch_contrast(call, workspace.data(), nullptr);
  check::expect(result.error == cudaSuccess, __FILE__, __LINE__, result.kernel);
}

template <class T>
void compare(const Problem& problem, double tolerance, double loss_tolerance) {
  const Inputs<T> in{problem};
  Outputs<T> out(problem);
  cuda::ContrastCall<T> call = call_of(in, out);
  want(call, in, out, {});
  run(call);
  const Truth truth = Reference<T>(in).compute();
  EXPECT_CLOSE(out.losses, as<T>(truth.losses), loss_tolerance);
  EXPECT_CLOSE(out.total, std::vector<T>{static_cast<T>(truth.total)}, 10 * loss_tolerance);
  EXPECT_CLOSE(out.grad_query, as<T>(truth.grad_query), tolerance);
  EXPECT_CLOSE(out.grad_candidates, as<T>(truth.grad_candidates), tolerance);
  if (problem.positive) EXPECT_CLOSE(out.grad_positive, as<T>(truth.grad_positive), tolerance);
}

// The tolerances of a kind of products: of losses, and of gradients, which are differences.
void compare_all(Problem problem) {
  compare<float>(problem, 1e-5, 2e-6);
  compare<double>(problem, 1e-12, 1e-13);
  problem.products = Products::tf32;
  compare<float>(problem, 1e-2, 2e-3);
  problem.products = Products::bfloat16;
  compare<float>(problem, 1e-1, 2e-2);
}

}  // namespace

TEST(contrast_is_what_it_stands_for_at_odd_counts) {
  for (const int64_t count : {1, 31, 32, 33, 63, 65}) {
    compare_all({.num_queries = count, .num_candidates = 66 - count, .d = 7});
    compare<float>({.num_queries = 33, .num_candidates = count, .d = 3, .weights = count > 1}, 1e-5,
                   2e-6);
  }
}

TEST(contrast_is_what_it_stands_for_at_odd_widths) {
  for (const int64_t d : {2, 32, 33, 63}) {
    compare_all({.num_queries = 33, .num_candidates = 65, .d = d, .weights = d % 2 == 1});
  }
}

TEST(contrast_adds_tiles_and_splits) {
  for (const int64_t d : {20, 36, 130}) {
    Problem problem{.num_queries = 66, .num_candidates = 66, .d = d, .weights = true};
    problem.blocks = d == 20 ? 4 : 1;
    compare_all(problem);
    problem.normalize = Normalize::none;
    problem.temperature = 1;
    problem.size = 3;
    problem.positive = false;
    compare<float>(problem, 3e-5, 1e-5);
    problem.products = Products::tf32;
    compare<float>(problem, 1e-1, 1e-2);
  }
}

TEST(contrast_of_raw_products_of_any_size) {
  for (const double size : {1e-3, 1.0, 30.0}) {
    Problem problem{.num_queries = 31, .num_candidates = 130, .d = 9, .temperature = 1};
    problem.eps = 0;
    problem.normalize = Normalize::none;
    problem.positive = false;
    problem.weights = true;
    problem.size = size;
    compare<float>(problem, 2e-4, 1e-6);
    compare<double>(problem, 1e-11, 1e-14);
  }
}

TEST(contrast_at_low_and_high_temperatures) {
  for (const double temperature : {0.01, 0.028, 0.03, 10.0}) {
    Problem problem{.num_queries = 33, .num_candidates = 65, .d = 20, .temperature = temperature};
    problem.delta = 1e-8;
    problem.eps = 1e-12;
    problem.normalize = Normalize::clamp;
    compare<float>(problem, 1e-4, 1e-5);
    compare<double>(problem, 1e-11, 1e-13);
    problem.products = Products::bfloat16;  // exact where shifts run
    compare<float>(problem, temperature < 1 ? 1 : 1e-1, temperature < 1 ? 0.3 : 1e-2);
  }
}

TEST(contrast_gives_only_the_gradients_asked_for) {
  const Problem problem{.num_queries = 33, .num_candidates = 65, .d = 40, .weights = true};
  const Inputs<float> in{problem};
  for (const auto products : {Products::exact, Products::tf32, Products::bfloat16}) {
    Outputs<float> all(problem);
    cuda::ContrastCall<float> call = call_of(in, all);
    call.products = products;
    want(call, in, all, {});
    run(call);
    for (const int mask : {0, 1, 2, 4, 5}) {
      Outputs<float> some(problem);
      cuda::ContrastCall<float> part = call_of(in, some);
      part.products = products;
      const Wanted wanted{(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0};
      want(part, in, some, wanted);
      run(part);
      EXPECT_SAME(some.total, {all.total[0]});
      if (wanted.query)
        simt::expect_same(some.grad_query, all.grad_query.values(), __FILE__, __LINE__);
      if (wanted.candidates) {
        simt::expect_same(some.grad_candidates, all.grad_candidates.values(), __FILE__, __LINE__);
      }
      if (wanted.positive) {
        simt::expect_same(some.grad_positive, all.grad_positive.values(), __FILE__, __LINE__);
      }
    }
    Outputs<float> none(problem);
    cuda::ContrastCall<float> losses = call_of(in, none);
    losses.products = products;
    run(losses);
    simt::expect_same(none.losses, all.losses.values(), __FILE__, __LINE__);
  }
}

TEST(contrast_without_queries_gives_zeros) {
  const Problem problem{.num_queries = 0, .num_candidates = 33, .d = 5};
  const Inputs<float> in{problem};
  Outputs<float> out(problem);
  cuda::ContrastCall<float> call = call_of(in, out);
  want(call, in, out, {});
  run(call);
  EXPECT_SAME(out.total, {0.0F});
  simt::expect_same(out.grad_candidates, std::vector<float>(33 * 5, 0.0F), __FILE__, __LINE__);
}

TEST(contrast_marks_losses_of_impossible_weights) {
  const Problem problem{.num_queries = 2, .num_candidates = 3, .d = 4};
  const Inputs<float> in{problem};
  for (const float bad : {-1.0F, INFINITY, NAN}) {
    const auto weights = simt::input("weights", std::vector<float>{1, bad, 2});
    Outputs<float> out(problem);
    cuda::ContrastCall<float> call = call_of(in, out);
    call.weights = weights.data();
    run(call);
    EXPECT_SAME(out.losses, {NAN, NAN});
  }
}
