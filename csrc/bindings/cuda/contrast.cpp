#include "cuda/contrast.h"

#include <tuple>

#include "bindings/contrast_request.h"
#include "bindings/cuda/common.h"

namespace rlmrec_fast {
namespace {

template <class T>
cuda::Table<T> table_of(const Tensor& tensor) {
  return {const_data<T>(tensor), tensor.stride(0)};
}

template <class T>
cuda::ContrastCall<T> call_of(const Request& request, Tensor& losses) {
  cuda::ContrastCall<T> call{};
  call.num_queries = request.num_queries();
  call.num_candidates = request.num_candidates();
  call.d = request.d();
  call.query = table_of<T>(request.query);
  call.candidates = table_of<T>(request.candidates);
  if (request.positive) call.positive = table_of<T>(*request.positive);
  if (request.weights) call.weights = const_data<T>(*request.weights);
  call.temperature = request.temperature;
  call.eps = request.eps;
  call.delta = request.delta;
  call.normalize = request.normalize;
  call.products = request.products;
  call.losses = mutable_data<T>(losses);
  return call;
}

template <class T>
void run(const char* op, const cuda::ContrastCall<T>& call, const Tensor& like,
         const OnDevice& device) {
  Tensor workspace = empty_of(like, {cuda::contrast_workspace(call)}, ScalarType::Byte);
  const cuda::LaunchResult result =
      cuda::launch_contrast(call, workspace.mutable_data_ptr(), device.stream());
  check_launch(op, result.kernel, result.error);
}

Tensor contrast_losses(const Tensor& query, const Tensor& candidates,
                       const std::optional<Tensor>& positive, const std::optional<Tensor>& weights,
                       double temperature, double eps, double delta, int64_t normalize,
                       int64_t products) {
  constexpr auto op = "contrast_losses";
  check_on_device(
      op,
      {{"query", query}, {"candidates", candidates}, {"positive", positive}, {"weights", weights}});
  const OnDevice device(query);
  const Request request = check_request(op, query, candidates, positive, weights, temperature, eps,
                                        delta, normalize, products);
  Tensor losses = empty_of(query, {query.size(0)}, query.scalar_type());
  dispatch_float(query, "contrast_losses: query", [&](auto zero) {
    using T = decltype(zero);
    if (losses.numel() > 0) run(op, call_of<T>(request, losses), query, device);
  });
  return losses;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> contrast_sum(
    const Tensor& query, const Tensor& candidates, const std::optional<Tensor>& positive,
    const std::optional<Tensor>& weights, const Tensor& coefficients_, double temperature,
    double eps, double delta, int64_t normalize, int64_t products, bool want_query,
    bool want_candidates, bool want_positive) {
  constexpr auto op = "contrast_sum";
  check_on_device(op, {{"query", query},
                       {"candidates", candidates},
                       {"positive", positive},
                       {"weights", weights},
                       {"coefficients", coefficients_}});
  const OnDevice device(query);
  const Request request = check_request(op, query, candidates, positive, weights, temperature, eps,
                                        delta, normalize, products);
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
    cuda::ContrastCall<T> call = call_of<T>(request, losses);
    call.coefficients = const_data<T>(coefficients);
    call.total = mutable_data<T>(total);
    if (want_query) call.grad_query = mutable_data<T>(grad_query);
    if (want_candidates) call.grad_candidates = mutable_data<T>(grad_candidates);
    if (want_positive) call.grad_positive = mutable_data<T>(grad_positive);
    run(op, call, query, device);
  });
  return {total, grad_query, grad_candidates, grad_positive};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("contrast_losses", TORCH_BOX(&rlmrec_fast::contrast_losses));
  m.impl("contrast_sum", TORCH_BOX(&rlmrec_fast::contrast_sum));
}
