// How the layers of propagation follow each other and where they go, on any device.
//
// Layers is one call's device side. It has a type Element, the matrix's num_nodes and the tables'
// d, the wanted rows (null for all) and num_wanted, and
//
//   layer_args(layer, x, y, y_stride)   the arguments of layer 1, 2, ..
//   run_all(args), run_wanted(args)     the layer for all rows; for those wanted
//   copy_rows(x, rows, count, d, y, y_stride)
//   buffer(layer)                       one of two tables of all nodes, which take turns
//   new_table()                         one more table of all nodes; has get()
#pragma once

#include <cstdint>

#include "bindings/common.h"

namespace rlmrec_fast {

enum class Combine : int64_t { sum, mean, concat, last };

inline Combine read_combine(int64_t combine) {
  check(combine >= 0 && combine <= 3, "propagate: combine must be 0, 1, 2 or 3 (got ", combine,
        ")");
  return static_cast<Combine>(combine);
}

inline void check_settings(int64_t num_layers, double keep_rate, double noise) {
  check(num_layers >= 0, "propagate: num_layers must not be negative (got ", num_layers, ")");
  check(keep_rate > 0 && keep_rate <= 1, "propagate: keep_rate must be in (0, 1] (got ", keep_rate,
        ")");
  check(noise >= 0 && noise < 1e30, "propagate: noise must be finite and not negative (got ", noise,
        ")");
}

// What combine multiplies the sum of the layers by.
inline double combine_factor(Combine combine, int64_t num_layers) {
  return combine == Combine::mean ? 1.0 / static_cast<double>(num_layers + 1) : 1.0;
}

template <class T>
struct Table {
  const T* data = nullptr;
  int64_t stride = 0;
};

// Where a layer goes whose number counts down to 0, the last one: that goes to y, a contiguous
// table, which takes the turns of one buffer where it has room for all rows.
template <class Layers, class T>
T* layer_output(Layers& layers, int64_t layers_left, T* y) {
  if (layers_left == 0 || (layers.rows == nullptr && layers_left % 2 == 0)) return y;
  return layers.buffer(layers_left);
}

// y = factor * sum_l M^l x by Horner's rule, or M^L x where base is absent: linear, so it is its
// own adjoint up to the transposed mask.
template <class Layers, class T>
void run_linear(Layers& layers, Table<T> x, bool add_base, double factor, int64_t num_layers,
                T* y) {
  Table<T> current = x;
  for (int64_t layer = 1; layer <= num_layers; ++layer) {
    const bool last = layer == num_layers;
    T* out = layer_output(layers, num_layers - layer, y);
    auto args = layers.layer_args(layer, current, out, layers.d);
    if (add_base) {
      args.base = x.data;
      args.base_stride = x.stride;
      args.factor = static_cast<Accumulate<T>>(last ? factor : 1.0);
    }
    last ? layers.run_wanted(args) : layers.run_all(args);
    current = {out, layers.d};
  }
}

// As run_linear, for layers that noise makes nonlinear: the sum is kept beside the layers.
template <class Layers, class T>
void run_noisy_sum(Layers& layers, Table<T> x, double factor, int64_t num_layers, T* y) {
  const int64_t d = layers.d;
  const auto sum = layers.new_table();
  layers.copy_rows(x, nullptr, layers.num_nodes, d, sum.get(), d);
  Table<T> current = x;
  for (int64_t layer = 1; layer < num_layers; ++layer) {
    T* out = layer_output(layers, num_layers - layer, y);
    auto args = layers.layer_args(layer, current, out, d);
    args.accumulator = sum.get();
    args.accumulator_stride = d;
    layers.run_all(args);
    current = {out, d};
  }
  auto args = layers.layer_args(num_layers, current, y, d);
  args.base = sum.get();
  args.base_stride = d;
  args.factor = static_cast<Accumulate<T>>(factor);
  layers.run_wanted(args);
}

// y holds layer l in its columns l * d ..; inner layers propagate straight from there unless only
// some rows are wanted.
template <class Layers, class T>
void run_concat(Layers& layers, Table<T> x, int64_t num_layers, T* y) {
  const int64_t d = layers.d;
  const int64_t width = (num_layers + 1) * d;
  layers.copy_rows(x, layers.rows, layers.num_wanted, d, y, width);
  Table<T> current = x;
  for (int64_t layer = 1; layer <= num_layers; ++layer) {
    T* out = y + layer * d;
    if (layer == num_layers) {
      layers.run_wanted(layers.layer_args(layer, current, out, width));
    } else if (layers.rows == nullptr) {
      layers.run_all(layers.layer_args(layer, current, out, width));
      current = {out, width};
    } else {
      T* inner = layers.buffer(layer);
      layers.run_all(layers.layer_args(layer, current, inner, d));
      current = {inner, d};
      layers.copy_rows(current, layers.rows, layers.num_wanted, d, out, width);
    }
  }
}

// From x to the contiguous y, num_wanted rows.
template <class Layers, class T>
void run_propagate(Layers& layers, Table<T> x, Combine combine, bool noisy, int64_t num_layers,
                   T* y) {
  const double factor = combine_factor(combine, num_layers);
  if (num_layers == 0) {
    layers.copy_rows(x, layers.rows, layers.num_wanted, layers.d, y, layers.d);
  } else if (combine == Combine::concat) {
    run_concat(layers, x, num_layers, y);
  } else if (noisy && combine != Combine::last) {
    run_noisy_sum(layers, x, factor, num_layers, y);
  } else {
    run_linear(layers, x, combine != Combine::last, factor, num_layers, y);
  }
}

// The adjoint, from the gradients of the wanted rows to y, the gradients of all nodes; layers has
// the mask transposed and all rows wanted. Gradients has
//
//   copy(layers, y)          d columns of all nodes
//   set_x(args, column)      makes the gradients from `column` on what a layer propagates
//   set_base(args, column)   adds the gradients from `column` on to a layer
template <class Layers, class Gradients, class T>
void run_propagate_backward(Layers& layers, Gradients& grad, Combine combine, int64_t num_layers,
                            T* y) {
  if (num_layers == 0) return grad.copy(layers, y);
  const int64_t d = layers.d;
  const double factor = combine_factor(combine, num_layers);
  const auto column = [&](int64_t layer) { return combine == Combine::concat ? layer * d : 0; };
  // h = g_L, then h = M^T h + g_l for l = L-1 .. 0.
  Table<T> current;
  for (int64_t layer = num_layers - 1; layer >= 0; --layer) {
    T* out = layer_output(layers, layer, y);
    auto args = layers.layer_args(layer, current, out, d);
    if (layer == num_layers - 1) grad.set_x(args, column(num_layers));
    if (combine != Combine::last) {
      grad.set_base(args, column(layer));
      args.factor = static_cast<Accumulate<T>>(layer == 0 ? factor : 1.0);
    }
    layers.run_all(args);
    current = {out, d};
  }
}

}  // namespace rlmrec_fast
