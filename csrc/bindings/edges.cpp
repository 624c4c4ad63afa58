#include "cpu/edges.h"

#include "bindings/edges_checks.h"
#include "bindings/layer.h"
#include "cpu/contrast.h"

namespace rlmrec_fast {
namespace {

constexpr int64_t kPackRows = 256;

// One group of heads of a call: its tables, packed, and the sums over them.
template <class T>
struct Group {
  EdgeShape shape;
  int64_t first_head;
  int64_t num_heads;
  int64_t head_width;

  // x's heads, times their factors, to `packed`.
  EdgePackArgs<T> pack_args(const Tensor& x, const T* factors, int64_t factor_stride, T* packed,
                            int64_t packed_stride) const {
    return {shape,        num_heads, head_width,    const_data<T>(x) + first_head * head_width,
            x.stride(0),  factors,   factor_stride, packed,
            packed_stride};
  }
  void pack(const Tensor& x, const T* factors, int64_t factor_stride, T* packed,
            int64_t packed_stride) const {
    const EdgePackArgs<T> args = pack_args(x, factors, factor_stride, packed, packed_stride);
    torch::stable::parallel_for(0, x.size(0), kPackRows, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(edge_pack, args, begin, end);
    });
  }
  void shifts(const Tensor& grad, const Tensor& y, const T* factors, int64_t factor_stride,
              T* shifts) const {
    const EdgePackArgs<T> args = pack_args(grad, factors, factor_stride, nullptr, 0);
    const T* other = const_data<T>(y) + first_head * head_width;
    torch::stable::parallel_for(0, y.size(0), kPackRows, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(edge_shifts, args, other, y.stride(0), shifts, begin, end);
    });
  }

  EdgeArgs<T> edge_args(const Matrix& graph, EdgeWeight weight, double limit) const {
    EdgeArgs<T> args;
    args.offsets = const_data<int64_t>(graph.offsets);
    args.columns = const_data<int32_t>(graph.columns);
    args.partition = const_data<int64_t>(graph.partition);
    args.num_rows = graph.num_rows;
    args.num_parts = graph.num_parts;
    args.chunk = kChunk;
    args.shape = shape;
    args.weight = weight;
    args.limit = static_cast<T>(limit);
    args.num_heads = num_heads;
    args.head_width = head_width;
    return args;
  }
  // Where this group's columns of an output begin.
  T* columns_of(Tensor& out) const { return mutable_data<T>(out) + first_head * head_width; }
};

// Calls work(group) for every group of heads.
template <class T, class Work>
void for_groups(int64_t num_heads, int64_t head_width, Work work) {
  for (int64_t head = 0; head < num_heads;) {
    const EdgeShape shape = RLMREC_FAST_CALL(edge_shape<T>, num_heads - head, head_width);
    const int64_t count = std::min(shape.heads, num_heads - head);
    work(Group<T>{shape, head, count, head_width});
    head += count;
  }
}

template <class T>
void run_edges(EdgeArgs<T> args) {
  const Scratch<T> sums(args.num_parts * args.sums_size());
  args.sums = sums.get();
  parallel_parts(args.num_parts,
                 [&](int64_t part) { RLMREC_FAST_CALL(edge_parts, args, part, part + 1); });
  const auto rows = long_rows(args.partition, args.num_parts);
  parallel_parts(static_cast<int64_t>(rows.size()),
                 [&](int64_t i) { RLMREC_FAST_CALL(edge_finish, args, rows[i][0], rows[i][1]); });
}

// What both operators do once their tables are packed: y and the inverses.
template <class T>
void run_forward(EdgeArgs<T> args, Tensor& y, T* powers, T* inverses, double eps) {
  args.powers = powers;
  args.stride = y.size(1);
  args.inverses = inverses;
  args.eps = static_cast<T>(eps);
  run_edges(args);
}

std::tuple<Tensor, Tensor> edge_attention(const Tensor& query_, const Tensor& key_,
                                          const Tensor& value_, const Tensor& offsets,
                                          const Tensor& columns, const Tensor& partition,
                                          int64_t num_heads, double clamp, double eps) {
  const Matrix graph("edge_attention", offsets, columns, partition, true);
  const Tensor query = check_nodes(query_, "edge_attention: query", graph.num_rows);
  const Tensor key = check_nodes(key_, "edge_attention: key", graph.num_rows, &query);
  const Tensor value = check_nodes(value_, "edge_attention: value", graph.num_rows, &query);
  const int64_t head_width = check_heads("edge_attention", num_heads, clamp, query);
  check_eps("edge_attention", eps);
  Tensor y = empty_of(query, {graph.num_rows, query.size(1)}, query.scalar_type());
  Tensor inverse = empty_of(query, {graph.num_rows, num_heads}, query.scalar_type());
  dispatch_float(query, "edge_attention: query", [&](auto type) {
    using T = decltype(type);
    for_groups<T>(num_heads, head_width, [&](const Group<T>& group) {
      const int64_t width = group.shape.width;
      const Scratch<T> queries(graph.num_rows * width), others(graph.num_rows * 2 * width);
      group.pack(query, nullptr, 0, queries.get(), width);
      group.pack(key, nullptr, 0, others.get(), 2 * width);
      group.pack(value, nullptr, 0, others.get() + width, 2 * width);
      EdgeArgs<T> args = group.edge_args(graph, EdgeWeight::exponential, clamp);
      args.own = {queries.get(), nullptr, width};
      args.others = {others.get(), others.get() + width, 2 * width};
      args.inverse_stride = num_heads;
      run_forward(args, y, group.columns_of(y), mutable_data<T>(inverse) + group.first_head, eps);
    });
  });
  return {y, inverse};
}

std::tuple<Tensor, Tensor, Tensor> edge_attention_backward(
    const Tensor& grad_, const Tensor& y_, const Tensor& inverse_, const Tensor& query_,
    const Tensor& key_, const Tensor& value_, const Tensor& offsets, const Tensor& columns,
    const Tensor& partition, int64_t num_heads, double clamp, bool want_query, bool want_key,
    bool want_value) {
  constexpr auto op = "edge_attention_backward";
  const Matrix graph(op, offsets, columns, partition, true);
  const Tensor grad = check_nodes(grad_, "edge_attention_backward: grad", graph.num_rows);
  const Tensor y = check_nodes(y_, "edge_attention_backward: y", graph.num_rows, &grad);
  const Tensor query = check_nodes(query_, "edge_attention_backward: query", graph.num_rows, &grad);
  const Tensor key = check_nodes(key_, "edge_attention_backward: key", graph.num_rows, &grad);
  const Tensor value = check_nodes(value_, "edge_attention_backward: value", graph.num_rows, &grad);
  const int64_t head_width = check_heads(op, num_heads, clamp, grad);
  const Tensor inverse =
      check_inverse(inverse_, "edge_attention_backward: inverse", graph.num_rows, num_heads, grad);
  Tensor grad_query = gradient(grad, want_query), grad_key = gradient(grad, want_key),
         grad_value = gradient(grad, want_value);
  dispatch_float(grad, "edge_attention_backward: grad", [&](auto type) {
    using T = decltype(type);
    for_groups<T>(num_heads, head_width, [&](const Group<T>& group) {
      const int64_t width = group.shape.width;
      const Scratch<T> rows(graph.num_rows * 2 * width), others(graph.num_rows * 2 * width),
          shifts(graph.num_rows * group.shape.heads);
      const T* inverses = const_data<T>(inverse) + group.first_head;
      group.pack(query, nullptr, 0, rows.get(), 2 * width);
      group.pack(grad, inverses, num_heads, rows.get() + width, 2 * width);
      group.pack(key, nullptr, 0, others.get(), 2 * width);
      group.pack(value, nullptr, 0, others.get() + width, 2 * width);
      group.shifts(grad, y, inverses, num_heads, shifts.get());

      EdgeArgs<T> args = group.edge_args(graph, EdgeWeight::exponential, clamp);
      args.stride = grad.size(1);
      args.shifts = shifts.get();
      const EdgeTable<T> queries{rows.get(), rows.get() + width, 2 * width};
      const EdgeTable<T> keys{others.get(), others.get() + width, 2 * width};
      if (want_query) {
        args.own = queries;
        args.others = keys;
        args.shift_by_row = true;
        args.slopes = group.columns_of(grad_query);
        run_edges(args);
      }
      if (!want_key && !want_value) return;
      args.own = keys;
      args.others = queries;
      args.shift_by_row = false;
      args.slopes = want_key ? group.columns_of(grad_key) : nullptr;
      args.powers = want_value ? group.columns_of(grad_value) : nullptr;
      run_edges(args);
    });
  });
  return {grad_query, grad_key, grad_value};
}

template <class T>
Scratch<T> unit_factors(const Tensor& message) {
  Scratch<T> factors(message.size(0));
  const T* x = const_data<T>(message);
  torch::stable::parallel_for(0, message.size(0), kPackRows, [&](int64_t begin, int64_t end) {
    RLMREC_FAST_CALL(inverse_norms, x, message.stride(0), message.size(1), Normalize::clamp,
                     kUnitEps, factors.get(), begin, end);
  });
  return factors;
}

std::tuple<Tensor, Tensor> adaptive_propagate(const Tensor& message_, const Tensor& x_,
                                              const Tensor& offsets, const Tensor& columns,
                                              const Tensor& partition) {
  const Matrix graph("adaptive_propagate", offsets, columns, partition, true);
  const Tensor x = check_nodes(x_, "adaptive_propagate: x", graph.num_rows);
  const Tensor message = check_nodes(message_, "adaptive_propagate: message", graph.num_rows, &x);
  Tensor y = empty_of(x, {graph.num_rows, x.size(1)}, x.scalar_type());
  Tensor inverse = empty_of(x, {graph.num_rows, 1}, x.scalar_type());
  dispatch_float(x, "adaptive_propagate: x", [&](auto type) {
    using T = decltype(type);
    for_groups<T>(1, x.size(1), [&](const Group<T>& group) {
      const int64_t width = group.shape.width;
      const Scratch<T> table(graph.num_rows * 2 * width), factors = unit_factors<T>(message);
      group.pack(message, factors.get(), 1, table.get(), 2 * width);
      group.pack(x, nullptr, 0, table.get() + width, 2 * width);
      EdgeArgs<T> args = group.edge_args(graph, EdgeWeight::cosine, 0);
      args.own = args.others = {table.get(), table.get() + width, 2 * width};
      args.inverse_stride = 1;
      run_forward(args, y, mutable_data<T>(y), mutable_data<T>(inverse), 0);
    });
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
  const Matrix graph(op, offsets, columns, partition, true);
  const Tensor grad = check_nodes(grad_, "adaptive_propagate_backward: grad", graph.num_rows);
  const Tensor y = check_nodes(y_, "adaptive_propagate_backward: y", graph.num_rows, &grad);
  const Tensor message =
      check_nodes(message_, "adaptive_propagate_backward: message", graph.num_rows, &grad);
  const Tensor x = check_nodes(x_, "adaptive_propagate_backward: x", graph.num_rows, &grad);
  const Tensor inverse =
      check_inverse(inverse_, "adaptive_propagate_backward: inverse", graph.num_rows, 1, grad);
  Tensor grad_message = gradient(grad, want_message), grad_x = gradient(grad, want_x);
  dispatch_float(grad, "adaptive_propagate_backward: grad", [&](auto type) {
    using T = decltype(type);
    for_groups<T>(1, x.size(1), [&](const Group<T>& group) {
      const int64_t width = group.shape.width, stride = 3 * width;
      // Rows of unit message, x, and the gradient over the sum of weights.
      const Scratch<T> table(graph.num_rows * stride), shifts(graph.num_rows),
          factors = unit_factors<T>(message);
      const T* inverses = const_data<T>(inverse);
      group.pack(x, nullptr, 0, table.get(), stride);
      group.pack(message, factors.get(), 1, table.get() + width, stride);
      group.pack(grad, inverses, 1, table.get() + 2 * width, stride);
      group.shifts(grad, y, inverses, 1, shifts.get());

      EdgeArgs<T> args = group.edge_args(graph, EdgeWeight::cosine, 0);
      args.stride = x.size(1);
      args.shifts = shifts.get();
      const EdgeTable<T> tails{table.get() + width, table.get(), stride};
      const EdgeTable<T> heads{table.get() + width, table.get() + 2 * width, stride};
      if (want_message) {
        args.own = heads;
        args.others = tails;
        args.shift_by_row = true;
        args.slopes = mutable_data<T>(grad_message);
        run_edges(args);
      }
      args.own = tails;
      args.others = heads;
      args.shift_by_row = false;
      args.add_slopes = true;
      args.powers = want_x ? mutable_data<T>(grad_x) : nullptr;
      if (want_message || want_x) run_edges(args);
      if (!want_message) return;
      const T* values = const_data<T>(message);
      T* out = mutable_data<T>(grad_message);
      torch::stable::parallel_for(0, graph.num_rows, kPackRows, [&](int64_t begin, int64_t end) {
        RLMREC_FAST_CALL(unit_backward, values, message.stride(0), message.size(1), factors.get(),
                         static_cast<T>(kUnitEps), out, begin, end);
      });
    });
  });
  return {grad_message, grad_x};
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("edge_attention", TORCH_BOX(&rlmrec_fast::edge_attention));
  m.impl("edge_attention_backward", TORCH_BOX(&rlmrec_fast::edge_attention_backward));
  m.impl("adaptive_propagate", TORCH_BOX(&rlmrec_fast::adaptive_propagate));
  m.impl("adaptive_propagate_backward", TORCH_BOX(&rlmrec_fast::adaptive_propagate_backward));
}
