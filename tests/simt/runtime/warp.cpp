// Warp operations: the last lane to arrive works out everybody's result.
#include <algorithm>
#include <string>

#include "simt/runtime/machine.h"

namespace simt {
namespace {

bool same_site(Site a, Site b) { return a.line == b.line && a.file == b.file; }

// Which lane a shuffle reads from; its own where that is outside its segment.
unsigned source_lane(const Thread& thread) {
  const unsigned lane = thread.lane;
  const unsigned width = thread.width;
  const unsigned segment = lane & ~(width - 1);
  switch (thread.op) {
    case Op::shfl:
      return segment + (thread.argument & (width - 1));
    case Op::shfl_up:
      return lane - segment >= thread.argument ? lane - thread.argument : lane;
    case Op::shfl_down:
      return thread.argument < segment + width - lane ? lane + thread.argument : lane;
    default: {
      const unsigned source = lane ^ thread.argument;
      return source < segment + width ? source : lane;
    }
  }
}

uint32_t shuffled(unsigned warp, uint32_t lanes, const Thread& thread) {
  const unsigned source = source_lane(thread);
  if (source < 32 && ((lanes >> source) & 1U) != 0) return lane_of(warp, source)->in[0];
  report(name_of(thread) + " shuffles from lane " + std::to_string(source) +
         ", which does not take part, at " + at(thread.site));
  return 0xffc0deadU;
}

uint32_t matching(unsigned warp, uint32_t lanes, uint32_t value) {
  uint32_t same = 0;
  for_lanes(lanes, [&](unsigned lane) {
    if (lane_of(warp, lane)->in[0] == value) same |= 1U << lane;
  });
  return same;
}

// The result that all lanes share.
uint32_t reduced(unsigned warp, uint32_t lanes, Op op) {
  const uint32_t first = lane_of(warp, static_cast<unsigned>(__builtin_ctz(lanes)))->in[0];
  uint32_t set = 0;
  uint32_t sum = 0;
  uint32_t most = first;
  uint32_t least = first;
  uint32_t conjunction = ~0U;
  uint32_t disjunction = 0;
  uint32_t parity = 0;
  for_lanes(lanes, [&](unsigned lane) {
    const uint32_t value = lane_of(warp, lane)->in[0];
    if (value != 0) set |= 1U << lane;
    sum += value;
    most = std::max(most, value);
    least = std::min(least, value);
    conjunction &= value;
    disjunction |= value;
    parity ^= value;
  });
  switch (op) {
    case Op::ballot:
      return set;
    case Op::all:
      return set == lanes;
    case Op::reduce_add:
      return sum;
    case Op::reduce_max:
      return most;
    case Op::reduce_min:
      return least;
    case Op::reduce_and:
      return conjunction;
    case Op::reduce_or:
      return disjunction;
    default:
      return parity;
  }
}

void run(unsigned warp, uint32_t lanes, const Thread& first) {
  ++counters.collectives;
  switch (first.op) {
    case Op::mma_tf32:
    case Op::mma_bf16:
    case Op::ldmatrix:
    case Op::ldmatrix_trans:
      if (lanes != 0xffffffffU) {
        report("matrix operation of a warp with absent lanes at " + at(first.site));
      } else if (first.op == Op::mma_tf32 || first.op == Op::mma_bf16) {
        multiply(warp, first.op);
      } else {
        load_matrices(warp, first.op, first.argument);
      }
      return;
    case Op::syncwarp:
      order_lanes(warp, lanes);
      return;
    case Op::shfl:
    case Op::shfl_up:
    case Op::shfl_down:
    case Op::shfl_xor:
      for_lanes(lanes, [&](unsigned lane) {
        Thread& thread = *lane_of(warp, lane);
        thread.out[0] = shuffled(warp, lanes, thread);
      });
      return;
    case Op::match_any:
      for_lanes(lanes, [&](unsigned lane) {
        Thread& thread = *lane_of(warp, lane);
        thread.out[0] = matching(warp, lanes, thread.in[0]);
      });
      return;
    default: {
      const uint32_t result = reduced(warp, lanes, first.op);
      for_lanes(lanes, [&](unsigned lane) { lane_of(warp, lane)->out[0] = result; });
    }
  }
}

}  // namespace

bool complete(unsigned warp, uint32_t mask) {
  Warp& state = warps[warp];
  const uint32_t lanes = mask & state.alive;
  if (lanes == 0 || (state.waiting & lanes) != lanes) return false;
  const Thread& first = *lane_of(warp, static_cast<unsigned>(__builtin_ctz(lanes)));
  for_lanes(lanes, [&](unsigned lane) {
    const Thread& thread = *lane_of(warp, lane);
    if (thread.mask != mask || thread.op != first.op) {
      report("lanes of a warp meet at different operations: " + name_of(first) + " at " +
             at(first.site) + ", " + name_of(thread) + " at " + at(thread.site));
      block.aborted = true;
    } else if (!same_site(thread.site, first.site)) {
      report("one warp operation reached from two places: " + at(first.site) + " and " +
             at(thread.site));
    }
  });
  if (block.aborted) return true;
  run(warp, lanes, first);
  state.waiting &= ~lanes;
  for_lanes(lanes, [&](unsigned lane) {
    Thread& thread = *lane_of(warp, lane);
    thread.op = Op::none;
    set_ready(thread);
  });
  return true;
}

void complete_waiting(unsigned warp) {
  uint32_t left = warps[warp].waiting;
  while (left != 0 && !block.aborted) {
    const uint32_t mask = lane_of(warp, static_cast<unsigned>(__builtin_ctz(left)))->mask;
    complete(warp, mask);
    left &= ~mask;
    left &= warps[warp].waiting;
  }
}

void collective(Op op, uint32_t mask, uint32_t argument, uint32_t width, const uint32_t* in,
                int num_in, uint32_t* out, int num_out, Site site) {
  Thread& thread = *running();
  if (((mask >> thread.lane) & 1U) == 0) {
    report(name_of(thread) + " is not in its own mask at " + at(site));
    mask |= 1U << thread.lane;
  }
  thread.op = op;
  thread.mask = mask;
  thread.argument = argument;
  thread.width = width;
  thread.site = site;
  std::copy_n(in, num_in, thread.in);
  warps[thread.warp].waiting |= 1U << thread.lane;
  if (!complete(thread.warp, mask) || block.aborted) wait(thread);
  std::copy_n(thread.out, num_out, out);
}

uint32_t collective1(Op op, uint32_t mask, uint32_t value, uint32_t argument, int width,
                     Site site) {
  uint32_t result = 0;
  collective(op, mask, argument, static_cast<uint32_t>(width), &value, 1, &result, 1, site);
  return result;
}

}  // namespace simt
