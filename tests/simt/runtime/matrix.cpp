// Matrix products and loads of whole warps; fragments are described in csrc/cuda/ptx.h.
#include <bit>

#include "simt/runtime/machine.h"

namespace simt {
namespace {

float from_bf16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }
// The hardware drops the bits that TF32 has not got.
float from_tf32(uint32_t bits) { return std::bit_cast<float>(bits & ~0x1fffU); }

struct Tiles {
  float a[16][16];
  float b[16][8];
  float c[16][8];
};

void gather(Tiles& tiles, const Thread& thread, bool bf16) {
  const unsigned g = thread.lane >> 2;
  const unsigned t = thread.lane & 3U;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + 8 * (i & 1U);
    if (bf16) {
      tiles.a[row][2 * t + 8 * (i >> 1)] = from_bf16(thread.in[i] & 0xffffU);
      tiles.a[row][2 * t + 8 * (i >> 1) + 1] = from_bf16(thread.in[i] >> 16);
    } else {
      tiles.a[row][t + 4 * (i >> 1)] = from_tf32(thread.in[i]);
    }
    tiles.c[g + 8 * (i >> 1)][2 * t + (i & 1U)] = std::bit_cast<float>(thread.in[6 + i]);
  }
  for (unsigned i = 0; i < 2; ++i) {
    if (bf16) {
      tiles.b[2 * t + 8 * i][g] = from_bf16(thread.in[4 + i] & 0xffffU);
      tiles.b[2 * t + 8 * i + 1][g] = from_bf16(thread.in[4 + i] >> 16);
    } else {
      tiles.b[t + 4 * i][g] = from_tf32(thread.in[4 + i]);
    }
  }
}

}  // namespace

void multiply(unsigned warp, Op op) {
  Tiles tiles;
  const int depth = op == Op::mma_bf16 ? 16 : 8;
  for (unsigned lane = 0; lane < 32; ++lane) {
    gather(tiles, *lane_of(warp, lane), op == Op::mma_bf16);
  }
  for (auto row = 0; row < 16; ++row) {
    for (int k = 0; k < depth; ++k) {
      for (int column = 0; column < 8; ++column) {
        tiles.c[row][column] += tiles.a[row][k] * tiles.b[k][column];
      }
    }
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    Thread& thread = *lane_of(warp, lane);
    for (unsigned i = 0; i < 4; ++i) {
      const float value = tiles.c[(lane >> 2) + 8 * (i >> 1)][2 * (lane & 3U) + (i & 1U)];
      thread.out[i] = std::bit_cast<uint32_t>(value);
    }
  }
}

void load_matrices(unsigned warp, Op op, uint32_t tiles) {
  Self* caller = self;
  for (uint32_t tile = 0; tile < tiles; ++tile) {
    uint16_t elements[8][8] = {};
    for (unsigned row = 0; row < 8; ++row) {
      Thread& thread = *lane_of(warp, 8 * tile + row);
      const void* address;
      std::memcpy(&address, thread.in, sizeof address);
      if (reinterpret_cast<uintptr_t>(address) % 16 != 0) {
        report("row address of ldmatrix not aligned to 16 bytes at " + at(thread.site));
        continue;
      }
      self = &thread;
      touch(address, 16, false, false, nullptr);
      std::memcpy(elements[row], address, 16);
    }
    for (unsigned lane = 0; lane < 32; ++lane) {
      const unsigned g = lane >> 2;
      const unsigned c = 2 * (lane & 3U);
      const bool straight = op == Op::ldmatrix;
      const uint32_t low = straight ? elements[g][c] : elements[c][g];
      const uint32_t high = straight ? elements[g][c + 1] : elements[c + 1][g];
      lane_of(warp, lane)->out[tile] = low | high << 16;
    }
  }
  self = caller;
}

}  // namespace simt
