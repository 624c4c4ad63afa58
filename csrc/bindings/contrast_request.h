// Arguments of the contrast operators.
#pragma once

#include <cmath>

#include "bindings/common.h"
#include "common/contrast.h"

namespace rlmrec_fast {

// What is asked of one call, checked.
struct Request {
  Tensor query, candidates;
  std::optional<Tensor> positive, weights;
  double temperature, eps, delta;
  Normalize normalize;
  Products products;

  int64_t num_queries() const { return query.size(0); }
  int64_t num_candidates() const { return candidates.size(0); }
  int64_t d() const { return query.size(1); }
};

inline Request check_request(const char* op, const Tensor& query, const Tensor& candidates,
                             const std::optional<Tensor>& positive,
                             const std::optional<Tensor>& weights, double temperature, double eps,
                             double delta, int64_t normalize, int64_t products) {
  Request request{check_table(query, "contrast: query"),
                  check_table(candidates, "contrast: candidates"),
                  std::nullopt,
                  std::nullopt,
                  temperature,
                  eps,
                  delta,
                  static_cast<Normalize>(normalize),
                  static_cast<Products>(products)};
  check(query.size(1) == candidates.size(1), op, ": candidates must have ", query.size(1),
        " columns like query (got ", candidates.size(1), ")");
  check(query.scalar_type() == candidates.scalar_type(), op,
        ": candidates must be of query's type");
  check(candidates.size(0) > 0, op, ": candidates must have at least one row");
  check(std::isfinite(temperature) && temperature > 0, op,
        ": temperature must be positive and finite (got ", temperature, ")");
  check(eps >= 0 && delta >= 0, op, ": eps and delta must not be negative");
  check(normalize >= 0 && normalize <= 2, op, ": normalize must be 0, 1 or 2 (got ", normalize,
        ")");
  check(products >= 0 && products <= 2, op, ": products must be 0, 1 or 2 (got ", products, ")");
  if (positive) {
    request.positive = check_table(*positive, "contrast: positive");
    check(positive->size(0) == query.size(0) && positive->size(1) == query.size(1) &&
              positive->scalar_type() == query.scalar_type(),
          op, ": positive must have query's shape and type");
  }
  if (weights) {
    check(weights->dim() == 1 && weights->numel() == candidates.size(0) &&
              weights->scalar_type() == query.scalar_type(),
          op, ": weights must be a vector of ", candidates.size(0), " elements of query's type");
    request.weights = torch::stable::contiguous(*weights);
  }
  return request;
}

// Contiguous, a factor of each query's loss.
inline Tensor check_coefficients(const Request& request, const Tensor& coefficients,
                                 bool want_positive) {
  const int64_t size = request.num_queries();
  check(coefficients.numel() == size && coefficients.scalar_type() == request.query.scalar_type(),
        "contrast_sum: coefficients must be a vector of ", size, " elements of query's type");
  check(request.positive || !want_positive, "contrast_sum: want_positive needs positive");
  return torch::stable::contiguous(coefficients);
}

}  // namespace rlmrec_fast
