#include "cuda/edges.h"

#include <cmath>
#include <tuple>

#include "bindings/cuda/layer.h"
#include "bindings/edges_checks.h"

namespace rlmrec_fast {
namespace {

template <class T>
cuda::Table<T> table_of(const Tensor& tensor) {
  return {const_data<T>(tensor), tensor.stride(0)};
}

// The sums of one call over a graph's edges.
template <class T>
class Edges {
 public:
  Edges(const char* op, const DeviceMatrix& graph, const Tensor& like, int64_t num_heads,
        EdgeWeight weight, double limit, const OnDevice& device)
      : op_(op), like_(like), stream_(device.stream()) {
    args_.offsets = const_data<int64_t>(graph.offsets);
    args_.columns = const_data<int32_t>(graph.columns);
    args_.num_rows = graph.num_rows;
    args_.num_entries = graph.columns.numel();
    args_.num_heads = num_heads;
    args_.head_width = like.size(1) / num_heads;
    args_.weight = weight;
    args_.limit = static_cast<T>(limit);
    pieces_ = DeviceMemory<T>(like, cuda::edge_pieces_size(args_));
    args_.pieces = pieces_.get();
  }

  // Nothing to do.
  bool empty() const { return args_.num_rows == 0; }

  void forward(cuda::EdgeSide<T> own, cuda::EdgeSide<T> others, T eps, T* powers, T* inverses) {
    cuda::EdgeArgs<T> args = args_;
    args.own = own;
    args.others = others;
    args.powers = powers;
    args.inverses = inverses;
    args.eps = eps;
    launch(args);
  }
  void backward(cuda::EdgeSide<T> own, cuda::EdgeSide<T> others, const T* shifts, bool by_row,
                T* slopes, T* powers, bool add_slopes = false) {
    cuda::EdgeArgs<T> args = args_;
    args.own = own;
    args.others = others;
    args.shifts = shifts;
    args.shift_by_row = by_row;
    args.slopes = slopes;
    args.powers = powers;
    args.add_slopes = add_slopes;
    launch(args);
  }

  // Gradients over the sums of weights, and what is subtracted from their products.
  struct Scaled {
    DeviceMemory<T> gradient, shifts;
  };
  Scaled scale(const Tensor& grad, const Tensor& y, const T* inverses) const {
    Scaled scaled{{like_, args_.num_rows * args_.d()}, {like_, args_.num_rows * args_.num_heads}};
    const cuda::EdgeScaleArgs<T> args{args_.num_rows,        args_.num_heads,    args_.head_width,
                                      table_of<T>(grad),     inverses,           table_of<T>(y),
                                      scaled.gradient.get(), scaled.shifts.get()};
    check_launch(op_, "edge_scale", cuda::launch_edge_scale(args, stream_));
    return scaled;
  }

  // Rows of length 1, and what they were multiplied by.
  struct Unit {
    DeviceMemory<T> rows, inverse;
  };
  Unit unit(const Tensor& x) const {
    Unit unit{{like_, args_.num_rows * args_.d()}, {like_, args_.num_rows}};
    check_launch(op_, "unit_rows",
                 cuda::launch_unit_rows(unit_args(x, unit, unit.rows.get()), stream_));
    return unit;
  }
  void unit_backward(const Tensor& x, const Unit& unit, T* gradient) const {
    check_launch(op_, "unit_backward",
                 cuda::launch_unit_backward(unit_args(x, unit, gradient), stream_));
  }

  cuda::Table<T> contiguous(const DeviceMemory<T>& memory) const {
    return {memory.get(), args_.d()};
  }

 private:
  cuda::UnitArgs<T> unit_args(const Tensor& x, const Unit& unit, T* rows) const {
    return {args_.num_rows,           args_.d(),          table_of<T>(x),
            static_cast<T>(kUnitEps), unit.inverse.get(), rows};
  }
  void launch(const cuda::EdgeArgs<T>& args) const {
    const cuda::LaunchResult result = cuda::launch_edges(args, stream_);
    check_launch(op_, result.kernel, result.error);
  }

  const char* op_;
  const Tensor& like_;
  cudaStream_t stream_;
  cuda::EdgeArgs<T> args_;
  DeviceMemory<T> pieces_;
};

std::tuple<Tensor, Tensor> edge_attention(const Tensor& query_, const Tensor& key_,
                                          const Tensor& value_, const Tensor& offsets,
                                          const Tensor& columns, const Tensor& partition,
                                          int64_t num_heads, double clamp, double eps) {
  constexpr auto op = "edge_attention";
  check_on_device(op, {{"query", query_},
                       {"key", key_},
                       {"value", value_},
                       {"offsets", offsets},
                       {"columns", columns},
                       {"partition", partition}});
  const OnDevice device(query_);
  const DeviceMatrix graph(op, offsets, columns);
  const Tensor query = check_nodes(query_, "edge_attention: query", graph.num_rows);
  const Tensor key = check_nodes(key_, "edge_attention: key", graph.num_rows, &query);
  const Tensor value = check_nodes(value_, "edge_attention: value", graph.num_rows, &query);
  check_heads(op, num_heads, clamp, query);
  check_eps(op, eps);
  Tensor y = empty_of(query, {graph.num_rows, query.size(1)}, query.scalar_type());
  Tensor inverse = empty_of(query, {graph.num_rows, num_heads}, query.scalar_type());
  dispatch_float(query, "edge_attention: query", [&](auto type) {
    using T = decltype(type);
    Edges<T> edges(op, graph, query, num_heads, EdgeWeight::exponential, clamp, device);
    if (edges.empty()) return;
    edges.forward({table_of<T>(query), {}}, {table_of<T>(key), table_of<T>(value)},
                  static_cast<T>(eps), mutable_data<T>(y), mutable_data<T>(inverse));
  });
  return {y, inverse};
}

std::tuple<Tensor, Tensor, Tensor> edge_attention_backward(
    const Tensor& grad_, const Tensor& y_, const Tensor& inverse_, const Tensor& query_,
    const Tensor& key_, const Tensor& value_, const Tensor& offsets, const Tensor& columns,
    const Tensor& partition, int64_t num_heads, double clamp, bool want_query, bool want_key,
    bool want_value) {
  constexpr auto op = "edge_attention_backward";
  check_on_device(op, {{"grad", grad_},
                       {"y", y_},
                       {"inverse", inverse_},
                       {"query", query_},
                       {"key", key_},
                       {"value", value_},
                       {"offsets", offsets},
                       {"columns", columns},
                       {"partition", partition}});
  const OnDevice device(grad_);
  const DeviceMatrix graph(op, offsets, columns);
  const int64_t nodes = graph.num_rows;
  const Tensor grad = check_nodes(grad_, "edge_attention_backward: grad", nodes);
  const Tensor y = check_nodes(y_, "edge_attention_backward: y", nodes, &grad);
  const Tensor query = check_nodes(query_, "edge_attention_backward: query", nodes, &grad);
  const Tensor key = check_nodes(key_, "edge_attention_backward: key", nodes, &grad);
  const Tensor value = check_nodes(value_, "edge_attention_backward: value", nodes, &grad);
  check_heads(op, num_heads, clamp, grad);
  const Tensor inverse =
      check_inverse(inverse_, "edge_attention_backward: inverse", nodes, num_heads, grad);
  Tensor grad_query = gradient(grad, want_query), grad_key = gradient(grad, want_key),
         grad_value = gradient(grad, want_value);
  dispatch_float(grad, "edge_attention_backward: grad", [&](auto type) {
    using T = decltype(type);
    Edges<T> edges(op, graph, grad, num_heads, EdgeWeight::exponential, clamp, device);
    if (edges.empty()) return;
    const auto scaled = edges.scale(grad, y, const_data<T>(inverse));
    const cuda::EdgeSide<T> queries{table_of<T>(query), edges.contiguous(scaled.gradient)};
    const cuda::EdgeSide<T> keys{table_of<T>(key), table_of<T>(value)};
    if (want_query) {
      edges.backward(queries, keys, scaled.shifts.get(), true, mutable_data<T>(grad_query),
                     nullptr);
    }
    if (!want_key && !want_value) return;
    edges.backward(keys, queries, scaled.shifts.get(), false,
                   want_key ? mutable_data<T>(grad_key) : nullptr,
                   want_value ? mutable_data<T>(grad_value) : nullptr);
  });
  return {grad_query, grad_key, grad_value};
}

std::tuple<Tensor, Tensor> adaptive_propagate(const Tensor& message_, const Tensor& x_,
                                              const Tensor& offsets, const Tensor& columns,
                                              const Tensor& partition) {
  constexpr auto op = "adaptive_propagate";
  check_on_device(op, {{"message", message_},
                       {"x", x_},
                       {"offsets", offsets},
                       {"columns", columns},
                       {"partition", partition}});
  const OnDevice device(x_);
  const DeviceMatrix graph(op, offsets, columns);
  const Tensor x = check_nodes(x_, "adaptive_propagate: x", graph.num_rows);
  const Tensor message = check_nodes(message_, "adaptive_propagate: message", graph.num_rows, &x);
  Tensor y = empty_of(x, {graph.num_rows, x.size(1)}, x.scalar_type());
  Tensor inverse = empty_of(x, {graph.num_rows, 1}, x.scalar_type());
  dispatch_float(x, "adaptive_propagate: x", [&](auto type) {
    using T = decltype(type);
    Edges<T> edges(op, graph, x, 1, EdgeWeight::cosine, 0, device);
    if (edges.empty()) return;
    const auto unit = edges.unit(message);
    const cuda::EdgeSide<T> side{edges.contiguous(unit.rows), table_of<T>(x)};
    edges.forward(side, side, 0, mutable_data<T>(y), mutable_data<T>(inverse));
  });
  return {y, inverse};
}

std::tuple<Tensor, Tensor> adaptive_propagate_backward(const Tensor& grad_, const Tensor& y_,
                                                       const Tensor& inverse_,
                                                       const Tensor& message_, const Tensor& x_,
                                                       const Tensor& offsets, const Tensor& columns,
                                                       const Tensor& partition, bool want_message,
                                                       bool want_x) {
  constexpr auto op = "adaptive_propagate_backward";
  check_on_device(op, {{"grad", grad_},
                       {"y", y_},
                       {"inverse", inverse_},
                       {"message", message_},
                       {"x", x_},
                       {"offsets", offsets},
                       {"columns", columns},
                       {"partition", partition}});
  const OnDevice device(grad_);
  const DeviceMatrix graph(op, offsets, columns);
  const int64_t nodes = graph.num_rows;
  const Tensor grad = check_nodes(grad_, "adaptive_propagate_backward: grad", nodes);
  const Tensor y = check_nodes(y_, "adaptive_propagate_backward: y", nodes, &grad);
  const Tensor message =
      check_nodes(message_, "adaptive_propagate_backward: message", nodes, &grad);
  const Tensor x = check_nodes(x_, "adaptive_propagate_backward: x", nodes, &grad);
  const Tensor inverse =
      check_inverse(inverse_, "adaptive_propagate_backward: inverse", nodes, 1, grad);
  Tensor grad_message = gradient(grad, want_message), grad_x = gradient(grad, want_x);
  dispatch_float(grad, "adaptive_propagate_backward: grad", [&](auto type) {
    using T = decltype(type);
    Edges<T> edges(op, graph, grad, 1, EdgeWeight::cosine, 0, device);
    if (edges.empty()) return;
    const auto unit = edges.unit(message);
    const auto scaled = edges.scale(grad, y, const_data<T>(inverse));
    const cuda::EdgeSide<T> tails{edges.contiguous(unit.rows), table_of<T>(x)};
    const cuda::EdgeSide<T> heads{edges.contiguous(unit.rows), edges.contiguous(scaled.gradient)};
    T* message_out = want_message ? mutable_data<T>(grad_message) : nullptr;
    if (want_message) {
      edges.backward(heads, tails, scaled.shifts.get(), true, message_out, nullptr);
    }
    if (want_message || want_x) {
      edges.backward(tails, heads, scaled.shifts.get(), false, message_out,
                     want_x ? mutable_data<T>(grad_x) : nullptr, true);
    }
    if (want_message) edges.unit_backward(message, unit, message_out);
  });
  return {grad_message, grad_x};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("edge_attention", TORCH_BOX(&rlmrec_fast::edge_attention));
  m.impl("edge_attention_backward", TORCH_BOX(&rlmrec_fast::edge_attention_backward));
  m.impl("adaptive_propagate", TORCH_BOX(&rlmrec_fast::adaptive_propagate));
  m.impl("adaptive_propagate_backward", TORCH_BOX(&rlmrec_fast::adaptive_propagate_backward));
}
