// Arguments of the edge-weighted operators.
#pragma once

#include <cmath>

#include "bindings/common.h"

namespace rlmrec_fast {

// A table of one row a node, like another one in width and type.
inline Tensor check_nodes(const Tensor& tensor, const char* name, int64_t num_nodes,
                          const Tensor* like = nullptr) {
  const Tensor table = check_table(tensor, name);
  check(table.size(0) == num_nodes, name, " must have ", num_nodes, " rows (got ", table.size(0),
        ")");
  check(like == nullptr ||
            (table.size(1) == like->size(1) && table.scalar_type() == like->scalar_type()),
        name, " must have the columns and the type of the other tables");
  return table;
}

// The inverses that the forward pass gave.
inline Tensor check_inverse(const Tensor& tensor, const char* name, int64_t num_nodes,
                            int64_t num_heads, const Tensor& like) {
  check(tensor.dim() == 2 && tensor.size(0) == num_nodes && tensor.size(1) == num_heads &&
            tensor.scalar_type() == like.scalar_type(),
        name, " must have ", num_nodes, " rows of ", num_heads, " and the tables' type");
  return torch::stable::contiguous(tensor);
}

// The width of a head.
inline int64_t check_heads(const char* op, int64_t num_heads, double clamp, const Tensor& query) {
  check(num_heads > 0 && query.size(1) % num_heads == 0, op,
        ": num_heads must be positive and divide ", query.size(1), " (got ", num_heads, ")");
  check(clamp > 0 && clamp <= 80, op, ": clamp must be in (0, 80] (got ", clamp, ")");
  return query.size(1) / num_heads;
}

inline void check_eps(const char* op, double eps) {
  check(eps >= 0 && std::isfinite(eps), op, ": eps must be finite and not negative (got ", eps,
        ")");
}

inline Tensor gradient(const Tensor& like, bool wanted) {
  return empty_of(like, {wanted ? like.size(0) : 0, like.size(1)}, like.scalar_type());
}

}  // namespace rlmrec_fast
