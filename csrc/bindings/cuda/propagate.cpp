#include "bindings/cuda/layer.h"
#include "bindings/propagate_layers.h"

namespace rlmrec_fast {
namespace {

struct DeviceGraph : DeviceMatrix {
  Tensor scale;

  DeviceGraph(const Tensor& offsets, const Tensor& columns, const Tensor& scale_)
      : DeviceMatrix("propagate", offsets, columns), scale(torch::stable::contiguous(scale_)) {
    check(scale.numel() == num_rows, "propagate: scale must have ", num_rows, " elements (got ",
          scale.numel(), ")");
  }
};

// The layers of one operator call (bindings/propagate_layers.h).
template <class T>
struct Layers {
  const char* op;
  Tensor like;
  cudaStream_t stream;
  cuda::LayerArgs<T> args;
  const int64_t* rows = nullptr;
  int64_t num_nodes, num_wanted, d;
  DeviceMemory<Accumulate<T>> pieces;
  // Two tables that take turns as input and output of inner layers.
  DeviceMemory<T> buffers[2];

  Layers(const char* op_, const Tensor& like_, const OnDevice& device, const DeviceGraph& graph,
         int64_t d_)
      : op(op_),
        like(like_),
        stream(device.stream()),
        args(graph.args<T>()),
        num_nodes(graph.num_rows),
        num_wanted(graph.num_rows),
        d(d_),
        pieces(room_for_pieces<T>(like_, graph.columns.numel(), d_)) {
    check(graph.scale.scalar_type() == scalar_type<Accumulate<T>>(),
          "propagate: scale must be float64 for float64 tables, else float32");
    args.column_scale = args.row_scale = const_data<Accumulate<T>>(graph.scale);
    args.d = d;
    args.pieces = pieces.get();
  }

  T* buffer(int64_t layer) {
    auto& table = buffers[layer % 2];
    if (!table) table = new_table();
    return table.get();
  }
  DeviceMemory<T> new_table() const { return {like, num_nodes * d}; }

  cuda::LayerArgs<T> layer_args(int64_t layer, Table<T> x, T* y, int64_t y_stride) const {
    cuda::LayerArgs<T> layer_args = args;
    layer_args.x = x.data;
    layer_args.x_stride = x.stride;
    layer_args.y = y;
    layer_args.y_stride = y_stride;
    layer_args.layer = layer;
    return layer_args;
  }

  void run_all(const cuda::LayerArgs<T>& layer_args) const { run_layer(op, layer_args, stream); }
  void run_wanted(cuda::LayerArgs<T> layer_args) const {
    layer_args.rows = rows;
    layer_args.num_wanted = num_wanted;
    run_layer(op, layer_args, stream);
  }

  void copy_rows(Table<T> x, const int64_t* chosen, int64_t count, int64_t columns, T* y,
                 int64_t y_stride) const {
    if (count == 0 || columns == 0) return;
    cuda::LayerArgs<T> copy = layer_args(0, x, y, y_stride);
    copy.rows = chosen;
    copy.num_wanted = count;
    copy.d = columns;
    check_launch(op, "copy_rows", cuda::launch_copy_rows(copy, stream));
  }
};

struct Rows {
  std::optional<Tensor> tensor;
  const int64_t* data = nullptr;
  int64_t count;

  Rows(const std::optional<Tensor>& rows, int64_t num_nodes) : count(num_nodes) {
    if (!rows) return;
    tensor = check_longs(*rows, "propagate: rows");
    data = const_data<int64_t>(*tensor);
    count = tensor->numel();
  }
};

Tensor propagate(const Tensor& x_, const Tensor& offsets, const Tensor& columns,
                 const Tensor& scale, const Tensor& partition, const Tensor& seed,
                 const std::optional<Tensor>& rows_, int64_t num_layers, int64_t combine_,
                 double keep_rate, double noise, bool transpose) {
  check_on_device("propagate", {{"x", x_},
                                {"offsets", offsets},
                                {"columns", columns},
                                {"scale", scale},
                                {"partition", partition},
                                {"rows", rows_}});
  const OnDevice device(x_);
  const DeviceGraph graph(offsets, columns, scale);
  const Tensor x = check_table(x_, "propagate: x");
  check(x.size(0) == graph.num_rows, "propagate: x must have ", graph.num_rows, " rows (got ",
        x.size(0), ")");
  check_settings(num_layers, keep_rate, noise);
  const Combine combine = read_combine(combine_);
  const Rows rows(rows_, graph.num_rows);
  const int64_t d = x.size(1);
  const int64_t width = combine == Combine::concat ? (num_layers + 1) * d : d;
  Tensor y = empty_of(x, {rows.count, width}, x.scalar_type());
  if (y.numel() == 0) return y;
  dispatch_storage(x, "propagate: x", [&](auto type) {
    using T = decltype(type);
    Layers<T> layers("propagate", x, device, graph, d);
    layers.rows = rows.data;
    layers.num_wanted = rows.count;
    layers.args.keep_rate = keep_rate;
    layers.args.transpose = transpose;
    layers.args.noise = noise;
    layers.args.seed = device_seed("propagate", seed, x);
    run_propagate(layers, Table<T>{const_data<T>(x), x.stride(0)}, combine, noise > 0, num_layers,
                  mutable_data<T>(y));
  });
  return y;
}

// Gradients of the needed rows, as a table of all nodes: those of a row that is needed twice are
// added up in their order.
template <class T>
struct Gradients {
  Table<T> table;
  DeviceMemory<T> all;

  Gradients(const Tensor& grad, const Rows& rows, const Layers<T>& layers)
      : table{const_data<T>(grad), grad.stride(0)} {
    if (!rows.tensor) return;
    const int64_t width = grad.size(1);
    all = DeviceMemory<T>(grad, layers.num_nodes * width);
    scatter_rows(layers.op, grad, *rows.tensor, layers.num_nodes, all.get(), layers.stream);
    table = {all.get(), width};
  }

  void copy(const Layers<T>& layers, T* y) const {
    layers.copy_rows(table, nullptr, layers.num_nodes, layers.d, y, layers.d);
  }
  void set_x(cuda::LayerArgs<T>& args, int64_t column) const {
    args.x = table.data + column;
    args.x_stride = table.stride;
  }
  void set_base(cuda::LayerArgs<T>& args, int64_t column) const {
    args.base = table.data + column;
    args.base_stride = table.stride;
  }
};

Tensor propagate_backward(const Tensor& grad_, const Tensor& offsets, const Tensor& columns,
                          const Tensor& scale, const Tensor& partition, const Tensor& seed,
                          const std::optional<Tensor>& rows_, int64_t num_layers, int64_t combine_,
                          double keep_rate, bool transpose) {
  const char* op = "propagate_backward";
  check_on_device(op, {{"grad", grad_},
                       {"offsets", offsets},
                       {"columns", columns},
                       {"scale", scale},
                       {"partition", partition},
                       {"rows", rows_}});
  const OnDevice device(grad_);
  const DeviceGraph graph(offsets, columns, scale);
  const Tensor grad = check_table(grad_, "propagate_backward: grad");
  check_settings(num_layers, keep_rate, 0);
  const Combine combine = read_combine(combine_);
  const Rows rows(rows_, graph.num_rows);
  const int64_t parts = combine == Combine::concat ? num_layers + 1 : 1;
  check(grad.size(0) == rows.count && grad.size(1) % parts == 0,
        "propagate_backward: grad must have ", rows.count, " rows of a multiple of ", parts,
        " columns (got ", grad.size(0), " x ", grad.size(1), ")");
  const int64_t d = grad.size(1) / parts;
  Tensor y = empty_of(grad, {graph.num_rows, d}, grad.scalar_type());
  if (y.numel() == 0) return y;
  dispatch_storage(grad, "propagate_backward: grad", [&](auto type) {
    using T = decltype(type);
    Layers<T> layers(op, grad, device, graph, d);
    layers.args.keep_rate = keep_rate;
    layers.args.transpose = !transpose;
    layers.args.seed = device_seed(op, seed, grad);
    const Gradients<T> gradients(grad, rows, layers);
    run_propagate_backward(layers, gradients, combine, num_layers, mutable_data<T>(y));
  });
  return y;
}

Tensor edge_mask(const Tensor& offsets, const Tensor& columns, const Tensor& partition,
                 const Tensor& seed, double keep_rate) {
  check_on_device("edge_mask",
                  {{"offsets", offsets}, {"columns", columns}, {"partition", partition}});
  check_settings(0, keep_rate, 0);
  const OnDevice device(offsets);
  const DeviceMatrix graph("edge_mask", offsets, columns);
  Tensor mask = empty_of(offsets, {columns.numel()}, ScalarType::Bool);
  if (mask.numel() == 0) return mask;
  cuda::LayerArgs<float> args = graph.args<float>();
  args.keep_rate = keep_rate;
  args.seed = device_seed("edge_mask", seed, offsets);
  check_launch("edge_mask", "edge_mask",
               cuda::launch_edge_mask(args, mutable_data<bool>(mask), device.stream()));
  return mask;
}

}  // namespace
}  // namespace rlmrec_fast

STABLE_TORCH_LIBRARY_IMPL(rlmrec_fast, CUDA, m) {
  m.impl("propagate", TORCH_BOX(&rlmrec_fast::propagate));
  m.impl("propagate_backward", TORCH_BOX(&rlmrec_fast::propagate_backward));
  m.impl("edge_mask", TORCH_BOX(&rlmrec_fast::edge_mask));
}
