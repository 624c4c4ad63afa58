#include <algorithm>

#include "bindings/layer.h"
#include "bindings/propagate_layers.h"
#include "common/random.h"
#include "common/scratch.h"

namespace rlmrec_fast {
namespace {

struct Graph : Matrix {
  Tensor scale;

  Graph(const Tensor& offsets, const Tensor& columns, const Tensor& scale_, const Tensor& partition)
      : Matrix("propagate", offsets, columns, partition, true),
        scale(torch::stable::contiguous(scale_)) {
    check(scale.numel() == num_rows, "propagate: scale must have ", num_rows, " elements (got ",
          scale.numel(), ")");
  }
};

// What is kept of a matrix's entries.
struct KeptEdges {
  Scratch<int32_t> columns;
  Scratch<int64_t> row_begin, row_end, part_end;

  void reserve(int64_t num_entries, int64_t num_rows, int64_t num_parts) {
    columns = Scratch<int32_t>(num_entries);
    row_begin = Scratch<int64_t>(num_rows);
    row_end = Scratch<int64_t>(num_rows);
    part_end = Scratch<int64_t>(num_parts);
  }

  template <class T>
  void set(PropagateArgs<T>& args) const {
    args.columns = columns.get();
    args.row_begin = row_begin.get();
    args.row_end = row_end.get();
    args.part_end = part_end.get();
  }
};

// The columns that dropout keeps, for all layers of one pass.
KeptEdges drop(const Graph& graph, uint64_t seed, double keep_rate, bool transpose) {
  KeptEdges kept;
  kept.reserve(graph.columns.numel(), graph.num_rows, graph.num_parts);
  DropoutArgs args{const_data<int64_t>(graph.offsets),
                   const_data<int32_t>(graph.columns),
                   const_data<int64_t>(graph.partition),
                   graph.num_rows,
                   kChunk,
                   child_seed(seed, 0),
                   keep_rate,
                   transpose,
                   kept.columns.get(),
                   kept.row_begin.get(),
                   kept.row_end.get(),
                   kept.part_end.get()};
  parallel_parts(graph.num_parts,
                 [&](int64_t part) { RLMREC_FAST_CALL(drop_edges, args, part, part + 1); });
  return kept;
}

// The layers of one operator call (bindings/propagate_layers.h).
template <class T>
struct Layers {
  PropagateArgs<T> args;
  KeptEdges kept;
  const int64_t* rows = nullptr;
  int64_t num_nodes, num_wanted, d;
  double noise = 0;
  uint64_t seed;
  // Two tables that take turns as input and output of inner layers.
  Scratch<T> buffers[2];

  Layers(const Graph& graph, uint64_t seed_, double keep_rate, bool transpose, int64_t d_)
      : num_nodes(graph.num_rows), num_wanted(graph.num_rows), d(d_), seed(seed_) {
    args = graph.args<T>();
    if (keep_rate < 1) {
      kept = drop(graph, seed, keep_rate, transpose);
      kept.set(args);
    }
    args.column_scale = args.row_scale = const_data<Accumulate<T>>(graph.scale);
    args.d = d;
  }

  T* buffer(int64_t layer) {
    auto& table = buffers[layer % 2];
    if (!table) table = Scratch<T>(num_nodes * d);
    return table.get();
  }
  Scratch<T> new_table() const { return Scratch<T>(num_nodes * d); }

  PropagateArgs<T> layer_args(int64_t layer, Table<T> x, T* y, int64_t y_stride) const {
    PropagateArgs<T> layer_args = args;
    layer_args.x = x.data;
    layer_args.x_stride = x.stride;
    layer_args.y = y;
    layer_args.y_stride = y_stride;
    layer_args.noise = noise;
    layer_args.noise_seed = child_seed(seed, static_cast<uint64_t>(layer));
    return layer_args;
  }

  void run_all(const PropagateArgs<T>& layer_args) const { run_layer(layer_args); }
  void run_wanted(const PropagateArgs<T>& layer_args) const {
    if (rows == nullptr) return run_layer(layer_args);
    torch::stable::parallel_for(0, num_wanted, 64, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(propagate_rows, layer_args, rows, begin, end);
    });
  }

  static void copy_rows(Table<T> x, const int64_t* rows, int64_t num_rows, int64_t d, T* y,
                        int64_t y_stride) {
    torch::stable::parallel_for(0, num_rows, 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* row = x.data + (rows ? rows[i] : i) * x.stride;
        std::copy(row, row + d, y + i * y_stride);
      }
    });
  }
};

struct Rows {
  Tensor tensor;
  const int64_t* data = nullptr;
  int64_t count = 0;
  bool given = false;

  Rows(const std::optional<Tensor>& rows, int64_t num_nodes) {
    if (!rows) return;
    given = true;
    tensor = check_longs(*rows, "propagate: rows");
    data = const_data<int64_t>(tensor);
    count = tensor.numel();
    check_ids(data, count, num_nodes, "propagate: rows");
  }
};

template <class T>
void check_scale(const Graph& graph) {
  check(graph.scale.scalar_type() == scalar_type<Accumulate<T>>(),
        "propagate: scale must be float64 for float64 tables, else float32");
}

Tensor propagate(const Tensor& x_, const Tensor& offsets, const Tensor& columns,
                 const Tensor& scale, const Tensor& partition, const Tensor& seed,
                 const std::optional<Tensor>& rows_, int64_t num_layers, int64_t combine_,
                 double keep_rate, double noise, bool transpose) {
  const Graph graph(offsets, columns, scale, partition);
  const Tensor x = check_table(x_, "propagate: x");
  check(x.size(0) == graph.num_rows, "propagate: x must have ", graph.num_rows, " rows (got ",
        x.size(0), ")");
  check_settings(num_layers, keep_rate, noise);
  const Combine combine = read_combine(combine_);
  const Rows rows(rows_, graph.num_rows);
  const int64_t d = x.size(1);
  const int64_t width = combine == Combine::concat ? (num_layers + 1) * d : d;
  Tensor y = empty_of(x, {rows_ ? rows.count : graph.num_rows, width}, x.scalar_type());
  if (y.numel() == 0) return y;
  dispatch_storage(x, "propagate: x", [&](auto type) {
    using T = decltype(type);
    check_scale<T>(graph);
    Layers<T> layers(graph, read_seed(seed, "propagate"), num_layers > 0 ? keep_rate : 1.0,
                     transpose, d);
    layers.rows = rows.data;
    layers.num_wanted = y.size(0);
    layers.noise = noise;
    run_propagate(layers, Table<T>{const_data<T>(x), x.stride(0)}, combine, noise > 0, num_layers,
                  mutable_data<T>(y));
  });
  return y;
}

// Gradients of the needed rows. A row that is needed twice makes them a table of all nodes; else
// they stay as they are, found by their places.
template <class T>
struct Gradients {
  Table<T> table;
  Scratch<int32_t> places;
  Scratch<Accumulate<T>> scale;  // by place
  Scratch<T> all;
  KeptEdges kept;

  Gradients(const Tensor& grad, const Rows& rows, const Graph& graph)
      : table{const_data<T>(grad), grad.stride(0)} {
    if (!rows.given) return;
    const int64_t num_nodes = graph.num_rows;
    places = Scratch<int32_t>(num_nodes);
    std::fill(places.get(), places.get() + num_nodes, -1);
    scale = Scratch<Accumulate<T>>(rows.count);
    const auto* node_scale = const_data<Accumulate<T>>(graph.scale);
    bool repeated = false;
    for (int64_t i = 0; i < rows.count; ++i) {
      int32_t& place = places.get()[rows.data[i]];
      repeated = repeated || place >= 0;
      place = static_cast<int32_t>(i);
      scale.get()[i] = node_scale[rows.data[i]];
    }
    if (!repeated) return;
    places = {};
    all = Scratch<T>(num_nodes * grad.size(1));
    const Scatter<T> scatter({rows.count, num_nodes, [&](int64_t i) { return rows.data[i]; },
                              [](int64_t i) { return i; }, [](int64_t) { return 1; }});
    scatter.run(table.data, table.stride, grad.size(1), all.get());
    table = {all.get(), grad.size(1)};
  }

  void copy(const Layers<T>& layers, T* y) const {
    const int64_t d = layers.d, num_nodes = layers.num_nodes;
    if (!places) return Layers<T>::copy_rows(table, nullptr, num_nodes, d, y, d);
    torch::stable::parallel_for(0, num_nodes, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t node = begin; node < end; ++node) {
        const int64_t place = places.get()[node];
        if (place < 0) {
          std::fill(y + node * d, y + (node + 1) * d, T{});
        } else {
          std::copy_n(table.data + place * table.stride, d, y + node * d);
        }
      }
    });
  }

  // Entries of nodes that have no gradient add nothing: they are left out.
  void set_x(PropagateArgs<T>& args, int64_t column) {
    args.x = table.data + column;
    args.x_stride = table.stride;
    if (!places) return;
    kept.reserve(args.offsets[args.num_rows], args.num_rows, args.num_parts);
    const PlaceArgs place_args{args.offsets,       args.columns,         args.partition,
                               args.num_rows,      args.chunk,           args.row_begin,
                               args.row_end,       args.part_end,        places.get(),
                               kept.columns.get(), kept.row_begin.get(), kept.row_end.get(),
                               kept.part_end.get()};
    parallel_parts(args.num_parts, [&](int64_t part) {
      RLMREC_FAST_CALL(place_edges, place_args, part, part + 1);
    });
    kept.set(args);
    args.column_scale = scale.get();
  }

  void set_base(PropagateArgs<T>& args, int64_t column) const {
    args.base = table.data + column;
    args.base_stride = table.stride;
    args.base_places = places.get();
  }
};

Tensor propagate_backward(const Tensor& grad_, const Tensor& offsets, const Tensor& columns,
                          const Tensor& scale, const Tensor& partition, const Tensor& seed,
                          const std::optional<Tensor>& rows_, int64_t num_layers, int64_t combine_,
                          double keep_rate, bool transpose) {
  const Graph graph(offsets, columns, scale, partition);
  const Tensor grad = check_table(grad_, "propagate_backward: grad");
  check_settings(num_layers, keep_rate, 0);
  const Combine combine = read_combine(combine_);
  const Rows rows(rows_, graph.num_rows);
  const int64_t expected = rows_ ? rows.count : graph.num_rows;
  const int64_t parts = combine == Combine::concat ? num_layers + 1 : 1;
  check(grad.size(0) == expected && grad.size(1) % parts == 0,
        "propagate_backward: grad must have ", expected, " rows of a multiple of ", parts,
        " columns (got ", grad.size(0), " x ", grad.size(1), ")");
  const int64_t d = grad.size(1) / parts;
  Tensor y = empty_of(grad, {graph.num_rows, d}, grad.scalar_type());
  if (y.numel() == 0) return y;
  dispatch_storage(grad, "propagate_backward: grad", [&](auto type) {
    using T = decltype(type);
    check_scale<T>(graph);
    Gradients<T> gradients(grad, rows, graph);
    Layers<T> layers(graph, read_seed(seed, "propagate_backward"), keep_rate, !transpose, d);
    run_propagate_backward(layers, gradients, combine, num_layers, mutable_data<T>(y));
  });
  return y;
}

Tensor edge_mask(const Tensor& offsets_, const Tensor& columns_, const Tensor& partition_,
                 const Tensor& seed, double keep_rate) {
  check_settings(0, keep_rate, 0);
  const Matrix graph("edge_mask", offsets_, columns_, partition_);
  Tensor mask = empty_of(offsets_, {columns_.numel()}, ScalarType::Bool);
  if (mask.numel() == 0) return mask;
  const PairHash hash = pair_hash(child_seed(read_seed(seed, "edge_mask"), 0));
  const uint32_t threshold = rate_threshold(keep_rate);
  const int64_t* offsets = const_data<int64_t>(graph.offsets);
  const int32_t* columns = const_data<int32_t>(graph.columns);
  bool* out = mutable_data<bool>(mask);
  torch::stable::parallel_for(0, graph.num_rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const uint32_t hashed_row = hash_first(hash, static_cast<uint32_t>(row));
      for (int64_t e = offsets[row]; e < offsets[row + 1]; ++e) {
        const auto column = static_cast<uint32_t>(columns[e]);
        out[e] = keep_rate >= 1 || hash_second(hash, hashed_row, column) < threshold;
      }
    }
  });
  return mask;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CPU, m) {
  m.impl("propagate", TORCH_BOX(&rlmrec_fast::propagate));
  m.impl("propagate_backward", TORCH_BOX(&rlmrec_fast::propagate_backward));
  m.impl("edge_mask", TORCH_BOX(&rlmrec_fast::edge_mask));
}
