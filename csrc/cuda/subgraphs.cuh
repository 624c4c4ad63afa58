// Device code of cuda/subgraphs.h: the graphs.
#pragma once

#include "common/random.h"
#include "common/subgraphs.h"
#include "cuda/csr.cuh"
#include "cuda/subgraphs.h"
#include "cuda/warp.cuh"

namespace rlmrec_fast::cuda {

constexpr int kNodeThreads = 256;

__global__ void __launch_bounds__(kNodeThreads)
    mark_seeds(const int64_t* seeds, int64_t num_seeds, int64_t num_nodes, int32_t* masked,
               int32_t* wrong) {
  const int64_t i = thread_number<kNodeThreads>();
  if (i >= num_seeds) return;
  const int64_t node = seeds[i];
  if (node < 0 || node >= num_nodes) {
    atomicAdd(wrong, 1);
  } else {
    atomicExch(masked + node, 1);
  }
}

// One warp a node.
__global__ void __launch_bounds__(kNodeThreads)
    spread_mask(NodeRows graph, const int32_t* masked, int32_t* next, int32_t* changed) {
  const Group<kWarp> warp;
  const int64_t node = warp.number<kNodeThreads>();
  if (node >= graph.num_nodes) return;
  bool near = masked[node] != 0;
  if (!near) {
    for (int64_t first = graph.offsets[node]; !near && first < graph.offsets[node + 1];
         first += kWarp) {
      const int64_t entry = first + warp.lane;
      const bool meets = entry < graph.offsets[node + 1] && masked[graph.columns[entry]] != 0;
      near = __any_sync(kAllLanes, meets) != 0;
    }
    if (near && warp.lane == 0) atomicExch(changed, 1);
  }
  if (warp.lane == 0) next[node] = near ? 1 : 0;
}

// Whether the encoder keeps an entry of a row that is not masked; all lanes of a warp, one entry
// each.
__device__ __forceinline__ bool keeps_entry(NodeRows graph, const int32_t* masked, int64_t entry,
                                            int64_t end) {
  return entry < end && masked[graph.columns[entry]] == 0;
}

// One warp a node.
__global__ void __launch_bounds__(kNodeThreads)
    count_kept(NodeRows graph, const int32_t* masked, int64_t* kept, int64_t* chosen) {
  const Group<kWarp> warp;
  const int64_t node = warp.number<kNodeThreads>();
  if (node >= graph.num_nodes) return;
  const bool is_masked = masked[node] != 0;
  const int64_t end = graph.offsets[node + 1];
  int64_t count = 0;
  for (int64_t first = graph.offsets[node]; !is_masked && first < end; first += kWarp) {
    count += __popc(
        __ballot_sync(kAllLanes, keeps_entry(graph, masked, first + warp.lane, end) ? 1 : 0));
  }
  if (warp.lane != 0) return;
  kept[node + 1] = count;
  chosen[node + 1] = is_masked ? 1 : 0;
  if (node == 0) kept[0] = chosen[0] = 0;
}

__global__ void __launch_bounds__(kNodeThreads)
    draw_nodes(Seed seed, int64_t num_draws, int64_t num_nodes, int64_t* chosen) {
  const int64_t i = thread_number<kNodeThreads>();
  if (i >= num_draws) return;
  const uint64_t draws = child_seed(read_seed(seed), kCandidateDraws);
  const uint64_t node =
      bounded(child_seed(draws, static_cast<uint64_t>(i)), static_cast<uint64_t>(num_nodes));
  atomicExch(reinterpret_cast<unsigned long long*>(chosen + node + 1), 1ULL);
}

__global__ void __launch_bounds__(kNodeThreads)
    list_candidates(const int64_t* chosen, int64_t num_nodes, int32_t* candidates) {
  const int64_t node = thread_number<kNodeThreads>();
  if (node >= num_nodes || chosen[node + 1] == chosen[node]) return;
  candidates[chosen[node]] = static_cast<int32_t>(node);
}

// One warp a node.
__global__ void __launch_bounds__(kNodeThreads)
    fill_encoder(NodeRows graph, const int32_t* masked, const int64_t* offsets, int32_t* columns) {
  const Group<kWarp> warp;
  const int64_t node = warp.number<kNodeThreads>();
  if (node >= graph.num_nodes || masked[node] != 0) return;
  const int64_t end = graph.offsets[node + 1];
  int64_t place = offsets[node];
  for (int64_t first = graph.offsets[node]; first < end; first += kWarp) {
    const int64_t entry = first + warp.lane;
    const bool keeps = keeps_entry(graph, masked, entry, end);
    const unsigned all = __ballot_sync(kAllLanes, keeps ? 1 : 0);
    const unsigned before = all & ((1U << warp.lane) - 1U);
    if (keeps) columns[place + __popc(before)] = graph.columns[entry];
    place += __popc(all);
  }
}

__global__ void __launch_bounds__(kNodeThreads) find_reverse(NodeRows encoder, int64_t* reverse) {
  const int64_t entry = thread_number<kNodeThreads>();
  if (entry >= encoder.num_entries || entry >= encoder.offsets[encoder.num_nodes]) return;
  const int64_t row = find_row(encoder.offsets, encoder.num_nodes, entry);
  const int32_t column = encoder.columns[entry];
  const int64_t begin = encoder.offsets[column], end = encoder.offsets[column + 1];
  const int64_t place =
      begin + count_up_to(encoder.columns + begin, end - begin, static_cast<int32_t>(row)) - 1;
  reverse[entry] = place >= begin && encoder.columns[place] == row ? place : -1;
}

// The end of a random pair.
__device__ __forceinline__ int64_t draw_end(const DecoderArgs& args, uint64_t draws,
                                            int64_t number) {
  const uint64_t random = child_seed(draws, static_cast<uint64_t>(number));
  return args.candidates[bounded(random, static_cast<uint64_t>(*args.num_candidates))];
}

// One thread a node, an entry or a pair.
__global__ void __launch_bounds__(kNodeThreads)
    decoder_keys(const DecoderArgs args, int64_t* keys) {
  const NodeRows graph = args.graph;
  int64_t i = thread_number<kNodeThreads>();
  if (i < graph.num_nodes) {
    keys[i] = i * graph.num_nodes + i;
    return;
  }
  keys += graph.num_nodes;
  i -= graph.num_nodes;
  if (i < graph.num_entries) {
    const int64_t row = find_row(graph.offsets, graph.num_nodes, i);
    const int32_t column = graph.columns[i];
    const bool keeps = args.masked[row] == 0 && args.masked[column] == 0;
    keys[i] = keeps ? row * graph.num_nodes + column : kNoKey;
    return;
  }
  keys += graph.num_entries;
  i -= graph.num_entries;
  if (i >= args.num_pairs) return;
  keys[2 * i] = keys[2 * i + 1] = kNoKey;
  if (*args.num_candidates == 0) return;
  const uint64_t draws = child_seed(read_seed(args.seed), kPairDraws);
  const int64_t one = draw_end(args, draws, 2 * i), other = draw_end(args, draws, 2 * i + 1);
  keys[2 * i] = one * graph.num_nodes + other;
  keys[2 * i + 1] = other * graph.num_nodes + one;
}

__global__ void __launch_bounds__(kNodeThreads)
    mark_first(const int64_t* keys, int64_t num_keys, int64_t* first) {
  const int64_t i = thread_number<kNodeThreads>();
  if (i >= num_keys) return;
  first[i + 1] = keys[i] != kNoKey && (i == 0 || keys[i] != keys[i - 1]) ? 1 : 0;
  if (i == 0) first[0] = 0;
}

// One thread an offset.
__global__ void __launch_bounds__(kNodeThreads)
    decoder_offsets(const int64_t* keys, int64_t num_keys, const int64_t* first, int64_t num_nodes,
                    int64_t* offsets) {
  const int64_t row = thread_number<kNodeThreads>();
  if (row > num_nodes) return;
  offsets[row] = first[count_up_to(keys, num_keys, row * num_nodes - 1)];
}

__global__ void __launch_bounds__(kNodeThreads)
    fill_decoder(const int64_t* keys, int64_t num_keys, const int64_t* first, int64_t num_nodes,
                 int32_t* columns) {
  const int64_t i = thread_number<kNodeThreads>();
  if (i >= num_keys || first[i + 1] == first[i]) return;
  columns[first[i]] = static_cast<int32_t>(keys[i] % num_nodes);
}

}  // namespace rlmrec_fast::cuda
