// The Python module rlmrec_fast._native: graph preparation on numpy arrays, build and CPU report.
// Arguments arrive as plain objects and are checked here, so that every refusal names its argument.
// The interpreter's lock is released while the algorithms work, on copies that they have checked.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "native/cpu_info.h"
#include "native/error.h"
#include "native/graph.h"
#include "native/kcore.h"
#include "native/split.h"

#ifndef RLMREC_FAST_VERSION
#  define RLMREC_FAST_VERSION "unknown"
#endif
#ifndef RLMREC_FAST_BUILD_TYPE
#  define RLMREC_FAST_BUILD_TYPE "unknown"
#endif
#ifndef RLMREC_FAST_TORCH_VERSION
#  define RLMREC_FAST_TORCH_VERSION "unknown"
#endif

namespace py = pybind11;

namespace rlmrec_fast::native {
namespace {

/// A one-dimensional, contiguous, aligned numpy array.
constexpr int vector_flags = static_cast<int>(py::array::c_style) |
                             static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
template <typename T>
using Vector = py::array_t<T, vector_flags>;

std::string type_name(py::handle value) {
  if (py::isinstance<py::array>(value)) {
    return py::str(py::reinterpret_borrow<py::array>(value).dtype());
  }
  return py::str(py::type::handle_of(value).attr("__name__"));
}

std::string name_of(const char* where, const char* name) {
  return std::string(where) + ": " + name;
}

template <typename T>
bool holds(py::handle value) {
  return py::isinstance<py::array_t<T, 0>>(value);
}

template <typename T>
Vector<T> vector_argument(py::handle value, const char* where, const char* name) {
  if (!holds<T>(value)) {
    throw py::type_error(name_of(where, name) + " must be an array of " +
                         std::string(py::str(py::dtype::of<T>())) + " (got " + type_name(value) +
                         ")");
  }
  const auto dimensions = py::reinterpret_borrow<py::array>(value).ndim();
  if (dimensions != 1) {
    refuse(where, ": ", name, " must be one-dimensional (got ", dimensions, " dimensions)");
  }
  auto vector = Vector<T>::ensure(value);
  if (!vector) throw std::bad_alloc();
  return vector;
}

template <typename T>
std::span<const T> view(const Vector<T>& vector) {
  return {vector.data(), static_cast<std::size_t>(vector.size())};
}

py::type_error not_an_integer(py::handle value, const char* where, const char* name) {
  return py::type_error(name_of(where, name) + " must be an integer (got " + type_name(value) +
                        ")");
}

std::int64_t integer_argument(py::handle value, const char* where, const char* name) {
  if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) {
    throw not_an_integer(value, where, name);
  }
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!number) {
    // Arrays have __index__ and refuse it unless they are integer scalars.
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw py::error_already_set();
    PyErr_Clear();
    throw not_an_integer(value, where, name);
  }
  int overflow = 0;
  const std::int64_t result = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0) {
    throw py::value_error(name_of(where, name) + " must fit in 64 bits (got " +
                          std::string(py::str(number)) + ")");
  }
  if (result == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return result;
}

bool flag_argument(py::handle value, const char* where, const char* name) {
  if (!PyBool_Check(value.ptr())) {
    throw py::type_error(name_of(where, name) + " must be True or False (got " + type_name(value) +
                         ")");
  }
  return value.is(py::bool_(true));
}

SplitRatios ratios_argument(py::handle value, const char* where, const char* name) {
  SplitRatios ratios{};
  const auto fail = [&] {
    throw py::type_error(name_of(where, name) + " must be three numbers (got " + type_name(value) +
                         ")");
  };
  if (PySequence_Check(value.ptr()) == 0 || PySequence_Size(value.ptr()) != num_split_parts) {
    PyErr_Clear();
    fail();
  }
  for (int part = 0; part < num_split_parts; ++part) {
    const auto item = py::reinterpret_steal<py::object>(PySequence_GetItem(value.ptr(), part));
    ratios[part] = item ? PyFloat_AsDouble(item.ptr()) : 0.0;
    if (PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      fail();
    }
  }
  return ratios;
}

/// Hands a vector's memory to numpy, read as elements of type T.
template <typename T, typename Element>
py::array to_array(std::vector<Element>&& values, std::vector<py::ssize_t> shape) {
  auto owner = std::make_unique<std::vector<Element>>(std::move(values));
  const auto* data = reinterpret_cast<const T*>(owner->data());
  const py::capsule base(owner.get(),
                         [](void* memory) { delete static_cast<std::vector<Element>*>(memory); });
  owner.release();
  return py::array_t<T>(std::move(shape), data, base);
}

template <typename T>
py::array to_array(std::vector<T>&& values) {
  const auto size = static_cast<py::ssize_t>(values.size());
  return to_array<T>(std::move(values), {size});
}

py::array to_array(std::vector<Boundary>&& boundaries) {
  const auto size = static_cast<py::ssize_t>(boundaries.size());
  return to_array<std::int64_t>(std::move(boundaries), {size, 2});
}

template <typename Work>
auto without_gil(const Work& work) {
  const py::gil_scoped_release release;
  return work();
}

Interactions interactions_argument(const char* where, py::handle users, py::handle items,
                                   py::handle num_users, py::handle num_items) {
  const auto user_ids = vector_argument<std::int64_t>(users, where, "users");
  const auto item_ids = vector_argument<std::int64_t>(items, where, "items");
  const std::int64_t user_count = integer_argument(num_users, where, "num_users");
  const std::int64_t item_count = integer_argument(num_items, where, "num_items");
  return without_gil([&] {
    return check_interactions(where, view(user_ids), view(item_ids), user_count, item_count);
  });
}

/// Everything that an InteractionGraph holds, derived from its users' rows.
py::dict graph_arrays(Csr user_items, bool self_loops) {
  Transpose item_users;
  NodeGraph graph;
  std::vector<Boundary> partition;
  without_gil([&] {
    item_users = transpose(user_items);
    graph = build_node_graph(user_items, item_users, self_loops);
    partition = partition_rows("InteractionGraph", graph.csr.offsets);
  });
  py::dict arrays;
  arrays["user_offsets"] = to_array(std::move(user_items.offsets));
  arrays["user_items"] = to_array(std::move(user_items.columns));
  arrays["item_offsets"] = to_array(std::move(item_users.csr.offsets));
  arrays["item_users"] = to_array(std::move(item_users.csr.columns));
  arrays["offsets"] = to_array(std::move(graph.csr.offsets));
  arrays["columns"] = to_array(std::move(graph.csr.columns));
  arrays["reverse"] = to_array(std::move(graph.reverse));
  arrays["partition"] = to_array(std::move(partition));
  return arrays;
}

py::dict build_graph(const py::object& users, const py::object& items, const py::object& num_users,
                     const py::object& num_items, const py::object& self_loops) {
  constexpr auto where = "InteractionGraph";
  const bool loops = flag_argument(self_loops, where, "self_loops");
  Csr user_items;
  {
    const auto interactions = interactions_argument(where, users, items, num_users, num_items);
    user_items = without_gil([&] { return build_user_items(interactions); });
  }
  return graph_arrays(std::move(user_items), loops);
}

py::dict restore_graph(const py::object& offsets, const py::object& columns,
                       const py::object& num_users, const py::object& num_items,
                       const py::object& self_loops) {
  constexpr auto where = "InteractionGraph";
  const auto row_offsets = vector_argument<std::int64_t>(offsets, where, "offsets");
  const auto row_columns = vector_argument<std::int32_t>(columns, where, "columns");
  const std::int64_t user_count = integer_argument(num_users, where, "num_users");
  const std::int64_t item_count = integer_argument(num_items, where, "num_items");
  const bool loops = flag_argument(self_loops, where, "self_loops");
  auto user_items = without_gil([&] {
    check_sizes(where, user_count, item_count);
    Csr csr = check_csr(where, view(row_offsets), view(row_columns), item_count);
    if (csr.num_rows() != user_count) {
      refuse(where, ": offsets must hold num_users + 1 = ", user_count + 1, " numbers (got ",
             csr.offsets.size(), ")");
    }
    check_rows_strictly_increase(where, csr);
    return csr;
  });
  return graph_arrays(std::move(user_items), loops);
}

py::dict build_weighted_graph(const py::object& offsets, const py::object& columns,
                              const py::object& num_columns) {
  constexpr auto where = "WeightedGraph";
  const auto row_offsets = vector_argument<std::int64_t>(offsets, where, "offsets");
  const auto row_columns = vector_argument<std::int64_t>(columns, where, "columns");
  const std::int64_t width = integer_argument(num_columns, where, "num_columns");
  Csr csr;
  Transpose transposed;
  std::vector<Boundary> partition;
  std::vector<Boundary> transposed_partition;
  without_gil([&] {
    csr = check_csr(where, view(row_offsets), view(row_columns), width);
    transposed = transpose(csr);
    partition = partition_rows(where, csr.offsets);
    transposed_partition = partition_rows(where, transposed.csr.offsets);
  });
  py::dict arrays;
  arrays["offsets"] = to_array(std::move(csr.offsets));
  arrays["columns"] = to_array(std::move(csr.columns));
  arrays["partition"] = to_array(std::move(partition));
  arrays["transposed_offsets"] = to_array(std::move(transposed.csr.offsets));
  arrays["transposed_columns"] = to_array(std::move(transposed.csr.columns));
  arrays["transposed_positions"] = to_array(std::move(transposed.positions));
  arrays["transposed_partition"] = to_array(std::move(transposed_partition));
  return arrays;
}

py::dict build_symmetric_graph(const py::object& offsets, const py::object& columns) {
  constexpr auto where = "SymmetricGraph";
  const auto row_offsets = vector_argument<std::int64_t>(offsets, where, "offsets");
  const auto row_columns = vector_argument<std::int64_t>(columns, where, "columns");
  Csr csr;
  std::vector<Boundary> partition;
  without_gil([&] {
    const auto num_nodes = std::max<std::int64_t>(row_offsets.size() - 1, 0);
    csr = check_csr(where, view(row_offsets), view(row_columns), num_nodes);
    check_rows_strictly_increase(where, csr);
    check_symmetric(where, csr);
    partition = partition_rows(where, csr.offsets);
  });
  py::dict arrays;
  arrays["offsets"] = to_array(std::move(csr.offsets));
  arrays["columns"] = to_array(std::move(csr.columns));
  arrays["partition"] = to_array(std::move(partition));
  return arrays;
}

py::array partition_array(const py::object& offsets, const py::object& target) {
  constexpr auto where = "partition_rows";
  const auto row_offsets = vector_argument<std::int64_t>(offsets, where, "offsets");
  const std::int64_t work = integer_argument(target, where, "target");
  return to_array(without_gil([&] { return partition_rows(where, view(row_offsets), work); }));
}

py::array k_core_array(const py::object& users, const py::object& items,
                       const py::object& num_users, const py::object& num_items,
                       const py::object& user_min, const py::object& item_min) {
  constexpr auto where = "k_core";
  const auto interactions = interactions_argument(where, users, items, num_users, num_items);
  const std::int64_t least_items = integer_argument(user_min, where, "user_min");
  const std::int64_t least_users = integer_argument(item_min, where, "item_min");
  auto kept = without_gil([&] { return k_core(interactions, least_items, least_users); });
  const auto size = static_cast<py::ssize_t>(kept.size());
  return to_array<bool>(std::move(kept), {size});
}

py::array split_array(const py::object& users, const py::object& items, const py::object& num_users,
                      const py::object& num_items, const py::object& ratios,
                      const py::object& seed) {
  constexpr auto where = "split_per_user";
  const auto interactions = interactions_argument(where, users, items, num_users, num_items);
  const SplitRatios shares = ratios_argument(ratios, where, "ratios");
  const std::int64_t value = integer_argument(seed, where, "seed");
  return to_array(without_gil([&] { return split_per_user(interactions, shares, value); }));
}

py::dict build_info() {
  py::dict info;
  info["version"] = RLMREC_FAST_VERSION;
#if defined(__clang__)
  info["compiler"] = __VERSION__;
#else
  info["compiler"] = "GCC " __VERSION__;
#endif
  info["cxx_standard"] = static_cast<int>(__cplusplus / 100 % 100);
  info["build_type"] = RLMREC_FAST_BUILD_TYPE;
  info["python"] = PY_VERSION;
  info["pybind11"] = std::to_string(PYBIND11_VERSION_MAJOR) + "." +
                     std::to_string(PYBIND11_VERSION_MINOR) + "." +
                     std::to_string(PYBIND11_VERSION_MICRO);
  info["torch"] = RLMREC_FAST_TORCH_VERSION;
#ifdef RLMREC_FAST_WITH_CUDA
  info["cuda"] = true;
#else
  info["cuda"] = false;
#endif
  return info;
}

py::dict cpu_info() {
  py::dict info;
  info["architecture"] = architecture();
  info["brand"] = cpu_brand();
  info["features"] = feature_names(cpu_features());
  info["isa"] = isa_name(best_isa());
  return info;
}

}  // namespace
}  // namespace rlmrec_fast::native

PYBIND11_MODULE(_native, module) {
  using namespace rlmrec_fast::native;
  module.doc() = "Graph preparation on numpy arrays, build report and CPU report.";
  module.attr("PARTITION_TARGET") = partition_target;
  module.def("build_graph", &build_graph, py::arg("users"), py::arg("items"), py::arg("num_users"),
             py::arg("num_items"), py::arg("self_loops") = false,
             "Arrays of an InteractionGraph from pairs of ids (int64).");
  module.def("restore_graph", &restore_graph, py::arg("offsets"), py::arg("columns"),
             py::arg("num_users"), py::arg("num_items"), py::arg("self_loops") = false,
             "Arrays of an InteractionGraph from users' sorted rows of items (int64, int32).");
  module.def("build_weighted_graph", &build_weighted_graph, py::arg("offsets"), py::arg("columns"),
             py::arg("num_columns"), "Arrays of a WeightedGraph but its values (int64, int64).");
  module.def("build_symmetric_graph", &build_symmetric_graph, py::arg("offsets"),
             py::arg("columns"), "Arrays of a SymmetricGraph (int64, int64).");
  module.def("partition_rows", &partition_array, py::arg("offsets"),
             py::arg("target") = partition_target,
             "Boundaries (row, position) of work items, int64 [P+1, 2]; see InteractionGraph.");
  module.def("k_core", &k_core_array, py::arg("users"), py::arg("items"), py::arg("num_users"),
             py::arg("num_items"), py::arg("user_min"), py::arg("item_min"),
             "Which interactions the k-core keeps, bool; see rlmrec_fast.graph.k_core.");
  module.def("split_per_user", &split_array, py::arg("users"), py::arg("items"),
             py::arg("num_users"), py::arg("num_items"), py::arg("ratios"), py::arg("seed"),
             "Part of each interaction, int8; see rlmrec_fast.graph.split_per_user.");
  module.def("build_info", &build_info, "How this library was built.");
  module.def("cpu_info", &cpu_info, "The processor and what of it can be used.");
}
