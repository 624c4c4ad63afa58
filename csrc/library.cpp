// Every operator of the library, in one place.
//
// These are the raw operators: rlmrec_fast/ops wraps each in a function of the same name that
// checks its arguments, and documents it. CSR tensors come from InteractionGraph or WeightedGraph,
// which have validated them; every other index is checked here on each call.
//
// seed is an int64 tensor of one element, so that compiled programs need no new trace for a new
// seed.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(rlmrec_fast, m) {
  // L propagation layers over the normalised graph, and their adjoint. combine: 0 sum, 1 mean, 2
  // concat, 3 last.
  m.def(
      "propagate(Tensor x, Tensor offsets, Tensor columns, Tensor scale, Tensor partition, Tensor "
      "seed, "
      "Tensor? rows, int num_layers, int combine, float keep_rate, float noise, bool transpose) -> "
      "Tensor");
  m.def(
      "propagate_backward(Tensor grad, Tensor offsets, Tensor columns, Tensor scale, Tensor "
      "partition, "
      "Tensor seed, Tensor? rows, int num_layers, int combine, float keep_rate, bool transpose) -> "
      "Tensor");
  // Which directed edges dropout keeps, as a mask over columns.
  m.def(
      "edge_mask(Tensor offsets, Tensor columns, Tensor partition, Tensor seed, float keep_rate) "
      "-> Tensor");

  // Product with a weighted CSR matrix, and the gradient of its values.
  m.def(
      "spmm(Tensor x, Tensor values, Tensor offsets, Tensor columns, Tensor partition, "
      "Tensor transposed_offsets, Tensor transposed_columns, Tensor transposed_positions, "
      "Tensor transposed_partition) -> Tensor");
  m.def(
      "spmm_backward_values(Tensor grad, Tensor x, Tensor offsets, Tensor columns, Tensor "
      "partition) -> Tensor");

  // Attention along the edges of a symmetric graph, with 1 / (sum of weights + eps) by node and
  // head; its gradients as far as they are wanted.
  m.def(
      "edge_attention(Tensor query, Tensor key, Tensor value, Tensor offsets, Tensor columns, "
      "Tensor partition, int num_heads, float clamp, float eps) -> (Tensor y, Tensor inverse)");
  m.def(
      "edge_attention_backward(Tensor grad, Tensor y, Tensor inverse, Tensor query, Tensor key, "
      "Tensor value, Tensor offsets, Tensor columns, Tensor partition, int num_heads, float clamp, "
      "bool want_query, bool want_key, bool want_value) -> (Tensor, Tensor, Tensor)");
  // Propagation with the cosines of messages as weights, with 1 / sum of weights by node; its
  // gradients as far as they are wanted.
  m.def(
      "adaptive_propagate(Tensor message, Tensor x, Tensor offsets, Tensor columns, Tensor "
      "partition) -> (Tensor y, Tensor inverse)");
  m.def(
      "adaptive_propagate_backward(Tensor grad, Tensor y, Tensor inverse, Tensor message, Tensor "
      "x, Tensor offsets, Tensor columns, Tensor partition, bool want_message, bool want_x) -> "
      "(Tensor, Tensor)");

  // Bayesian personalised ranking: per-sample losses and slopes; gradients of the tables. Without
  // item_embedding all ids are rows of embedding, and the second gradient is empty.
  m.def(
      "bpr(Tensor embedding, Tensor? item_embedding, Tensor users, Tensor positives, "
      "Tensor negatives) -> (Tensor losses, Tensor slopes)");
  m.def(
      "bpr_backward(Tensor grad_losses, Tensor slopes, Tensor embedding, Tensor? item_embedding, "
      "Tensor users, Tensor positives, Tensor negatives) -> (Tensor, Tensor)");

  // Contrastive losses of every query against every candidate, normalised or not (cpu/contrast.h):
  // one by one; or their sum weighted by coefficients, with its gradients as far as they are
  // wanted. products: 0 exact, 1 TF32, 2 bfloat16 factors, where the device has them.
  m.def(
      "contrast_losses(Tensor query, Tensor candidates, Tensor? positive, Tensor? weights, float "
      "temperature, float eps, float delta, int normalize, int products) -> Tensor");
  m.def(
      "contrast_sum(Tensor query, Tensor candidates, Tensor? positive, Tensor? weights, Tensor "
      "coefficients, float temperature, float eps, float delta, int normalize, int products, bool "
      "want_query, bool want_candidates, bool want_positive) -> (Tensor total, Tensor grad_query, "
      "Tensor "
      "grad_candidates, Tensor grad_positive)");

  // The distinct ids below size, ascending, the place of every id among them, and how often they
  // occur. Padded to min(ids, size) rows with copies of the last one that occur 0 times.
  m.def(
      "distinct(Tensor ids, int size, bool padded) -> (Tensor rows, Tensor places, Tensor "
      "counts)");

  // Chosen rows of a table, and the sums of their gradients.
  m.def("gather(Tensor table, Tensor rows) -> Tensor");
  m.def("gather_backward(Tensor grad, Tensor rows, int num_rows) -> Tensor");

  // One uniform non-positive item per interaction.
  m.def("sample_negatives(Tensor offsets, Tensor items, Tensor seed, int num_items) -> Tensor");

  // AutoCF's graphs: encoder (a part of the graph) and decoder, by seeds; what seeds are chosen by.
  m.def(
      "draw_subgraphs(Tensor offsets, Tensor columns, Tensor seeds, Tensor seed, int mask_depth, "
      "float keep_rate, bool padded) -> (Tensor encoder_offsets, Tensor encoder_columns, Tensor "
      "encoder_reverse, Tensor encoder_partition, Tensor decoder_offsets, Tensor decoder_columns, "
      "Tensor decoder_partition)");
  m.def("seed_scores(Tensor x, Tensor summary, Tensor seed) -> Tensor");
  m.def("seed_scores_backward(Tensor grad, Tensor x, Tensor summary) -> (Tensor, Tensor)");

  // Top-k items and the metrics of a ranking (num_rows x 2 x cutoffs: recalls, then NDCGs).
  m.def(
      "rank(Tensor user_embedding, Tensor item_embedding, Tensor? exclude_offsets, Tensor? "
      "exclude_items, int k) "
      "-> (Tensor items, Tensor scores)");
  m.def(
      "ranking_metrics(Tensor items, Tensor held_offsets, Tensor held_items, Tensor cutoffs) -> "
      "Tensor");

  // The k nearest other rows of each row by cosine, -1 where there are fewer; the Jaccard index of
  // two such results by row.
  m.def("neighbors(Tensor table, int k) -> Tensor");
  m.def("neighbor_overlap(Tensor first, Tensor second) -> Tensor");

  // Sum, or sum of squares, in an order that depends on the size alone.
  m.def("stable_sum(Tensor x, bool square) -> Tensor");

  // The instruction set in use; bytes of idle working memory given back. They take a tensor only to
  // have something to dispatch on.
  m.def("active_isa(Tensor any) -> int");
  m.def("release_scratch(Tensor any) -> int");
}
