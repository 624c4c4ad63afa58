#include "bindings/contrast.h"

#include <tuple>

namespace rlmrec_fast {
namespace {

Tensor contrast_losses(const Tensor& query, const Tensor& candidates,
                       const std::optional<Tensor>& positive, const std::optional<Tensor>& weights,
                       double temperature, double eps, double delta, int64_t normalize,
                       int64_t products) {
  const Request request = check_request("contrast_losses", query, candidates, positive, weights,
                                        temperature, eps, delta, normalize, products);
  Tensor losses = empty_of(query, {query.size(0)}, query.scalar_type());
  if (losses.numel() == 0) return losses;
  dispatch_float(query, "contrast_losses: query", [&](auto type) {
    using T = decltype(type);
    Contrast<T>(request).run(mutable_data<T>(losses), nullptr, {});
  });
  return losses;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> contrast_sum(
    const Tensor& query, const Tensor& candidates, const std::optional<Tensor>& positive,
    const std::optional<Tensor>& weights, const Tensor& coefficients_, double temperature,
    double eps, double delta, int64_t normalize, int64_t products, bool want_query,
    bool want_candidates, bool want_positive) {
  const Request request = check_request("contrast_sum", query, candidates, positive, weights,
                                        temperature, eps, delta, normalize, products);
  const Tensor coefficients = check_coefficients(request, coefficients_, want_positive);
  const int64_t size = query.size(0), d = query.size(1);
  const ScalarType type = query.scalar_type();
  Tensor total = empty_of(query, {}, type);
  Tensor losses = empty_of(query, {size}, type);
  Tensor grad_query = empty_of(query, {want_query ? size : 0, d}, type);
  Tensor grad_candidates = empty_of(query, {want_candidates ? candidates.size(0) : 0, d}, type);
  Tensor grad_positive = empty_of(query, {want_positive ? size : 0, d}, type);
  dispatch_float(query, "contrast_sum: query", [&](auto zero) {
    using T = decltype(zero);
    double sum = 0;
    if (size > 0) {
      const T* weight = const_data<T>(coefficients);
      Contrast<T>(request).run(
          mutable_data<T>(losses), weight,
          {.query = want_query ? mutable_data<T>(grad_query) : nullptr,
           .candidates = want_candidates ? mutable_data<T>(grad_candidates) : nullptr,
           .positive = want_positive ? mutable_data<T>(grad_positive) : nullptr});
      const T* loss = const_data<T>(losses);
      for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(weight[i]) * loss[i];
    } else if (want_candidates) {
      std::fill_n(mutable_data<T>(grad_candidates), grad_candidates.numel(), T{0});
    }
    *mutable_data<T>(total) = static_cast<T>(sum);
  });
  return {total, grad_query, grad_candidates, grad_positive};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("contrast_losses", TORCH_BOX(&rlmrec_fast::contrast_losses));
  m.impl("contrast_sum", TORCH_BOX(&rlmrec_fast::contrast_sum));
}
