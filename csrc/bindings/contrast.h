// One call of the contrast operators: packing, the passes over strips and tiles, and what they add
// up to (cpu/contrast.h).
#pragma once

#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

#include "bindings/contrast_range.h"
#include "bindings/contrast_request.h"
#include "common/scratch.h"
#include "cpu/contrast.h"
#include "cpu/contrast_bf16.h"

namespace rlmrec_fast {

// Bytes of exponentials that are kept between a block of strips' forward and its backward half.
constexpr int64_t kPowerBytes = int64_t{8} << 20;
// Fewer strips than this at a time are not worth keeping: they are computed a second time, a range
// of candidates after the other.
constexpr int64_t kLeastStrips = 8;

template <class T>
class Contrast {
 public:
  explicit Contrast(const Request& request)
      : request_(request),
        x_(const_data<T>(request.query)),
        k_(const_data<T>(request.candidates)),
        p_(request.positive ? const_data<T>(*request.positive) : nullptr),
        d_(request.d()) {
    const ContrastShape shape = RLMREC_FAST_CALL(contrast_shape<T>, d_);
    num_strips_ = (request.num_queries() + shape.strip - 1) / shape.strip;
    args_ = {};
    args_.shape = shape;
    args_.d = d_;
    args_.num_tiles = (request.num_candidates() + shape.tile - 1) / shape.tile;
    bfloat16_ = std::is_same_v<T, float> && request.products == Products::bfloat16 &&
                fixed_shift() && avx512bf16::compiled() && active_isa() == Isa::avx512 &&
                cpu_features().avx512bf16;
  }

  // Gradients of the losses' weighted sum; null where they are not wanted.
  struct Gradients {
    T* query = nullptr;
    T* candidates = nullptr;
    T* positive = nullptr;
  };

  // The losses and, given coefficients, gradients.
  void run(T* losses, const T* coefficients, Gradients out) {
    losses_ = losses;
    coefficients_ = coefficients;
    pack(out.query != nullptr);
    const ContrastShape& shape = args_.shape;
    const int64_t rows = num_strips_ * shape.strip;
    sums_ = Scratch<double>(rows);
    std::fill(sums_.get(), sums_.get() + rows, 0.0);
    args_.sums = sums_.get();
    if (out.query != nullptr) pulls_ = zeros(rows * shape.width);
    args_.pulls = pulls_.get();
    if (out.candidates == nullptr) {
      forward(0, num_strips_, 0, args_.num_tiles);
      finish(0, num_strips_);
    } else {
      sources_ = Factors(rows * shape.width, bfloat16_);
      args_.sources = sources_.whole();
      pushes_ = zeros(args_.num_tiles * shape.tile * shape.width);
      args_.pushes = pushes_.get();
      const int64_t strip_bytes = args_.num_tiles * shape.tile * shape.strip * factor_bytes();
      const int64_t strips = kPowerBytes / strip_bytes;
      strips >= std::min(kLeastStrips, num_strips_) ? keep_and_push(strips) : recompute_and_push();
    }
    differentiate(out);
  }

 private:
  // A packed table of factors, in T or in bfloat16.
  class Factors {
   public:
    Factors() = default;
    Factors(int64_t count, bool bfloat16) {
      bfloat16 ? void(halves_ = Scratch<BFloat16>(count)) : void(whole_ = Scratch<T>(count));
    }
    T* whole() const { return whole_.get(); }
    BFloat16* halves() const { return halves_.get(); }
    explicit operator bool() const { return whole_ || halves_; }

   private:
    Scratch<T> whole_;
    Scratch<BFloat16> halves_;
  };

  int64_t factor_bytes() const {
    return static_cast<int64_t>(bfloat16_ ? sizeof(BFloat16) : sizeof(T));
  }

  ContrastBf16Args bf16_args() const {
    if constexpr (!std::is_same_v<T, float>) {
      return {};
    } else {
      return {args_.shape,         args_.d,           args_.num_tiles,
              strips_.halves(),    panels_.halves(),  rows_.halves(),
              args_.weights,       args_.shifts,      powers_,
              args_.powers_stride, args_.first_strip, args_.first_tile,
              args_.sums,          args_.pulls,       sources_.halves(),
              args_.pushes};
    }
  }

  static Scratch<T> zeros(int64_t count) {
    Scratch<T> table(count);
    T* data = table.get();
    constexpr int64_t kPart = 1 << 16;
    parallel_parts((count + kPart - 1) / kPart, [&](int64_t part) {
      std::fill(data + part * kPart, data + std::min(count, (part + 1) * kPart), T{0});
    });
    return table;
  }

  void pack(bool want_rows) {
    const int64_t num_queries = request_.num_queries(), num_candidates = request_.num_candidates();
    const ContrastShape& shape = args_.shape;
    const double log2_scale = std::numbers::log2e / request_.temperature;
    const auto scale = static_cast<T>(log2_scale);
    inverse_q_ = inverse_norms_of(x_, request_.query.stride(0), num_queries);
    inverse_k_ = inverse_norms_of(k_, request_.candidates.stride(0), num_candidates);
    if (p_ != nullptr) pack_positives();
    pack_factors(scale, want_rows);
    pack_weights();
    shifts_ = Scratch<T>(num_strips_ * shape.strip);
    args_.shifts = shifts_.get();
    if (fixed_shift()) {
      std::fill(shifts_.get(), shifts_.get() + num_strips_ * shape.strip, scale);
      return;
    }
    const SmallLogits<T> small(request_, scale);
    in_parts(0, num_strips_, 8, [&](int64_t begin, int64_t end) {
      for (int64_t strip = begin; strip < end; ++strip) {
        if (small.in_rows(strip * shape.strip, (strip + 1) * shape.strip)) {
          std::fill_n(shifts_.get() + strip * shape.strip, shape.strip, T{0});
        } else {
          RLMREC_FAST_CALL(contrast_maxima, args_, shifts_.get(), strip, strip + 1);
        }
      }
    });
  }

  void pack_factors(T scale, bool want_rows) {
    const int64_t num_queries = request_.num_queries(), num_candidates = request_.num_candidates();
    const int64_t x_stride = request_.query.stride(0), k_stride = request_.candidates.stride(0);
    const ContrastShape& shape = args_.shape;
    const int64_t columns = bfloat16_ ? (d_ + 1) / 2 * 2 : d_;  // in bfloat16 they go by pairs
    strips_ = Factors(num_strips_ * shape.strip * columns, bfloat16_);
    panels_ = Factors(args_.num_tiles * shape.tile * columns, bfloat16_);
    if (want_rows) rows_ = Factors(args_.num_tiles * shape.tile * shape.width, bfloat16_);
    in_parts(0, num_strips_, 64, [&](int64_t begin, int64_t end) {
      if constexpr (std::is_same_v<T, float>) {
        if (bfloat16_) {
          return avx512bf16::pack_strips(x_, x_stride, num_queries, d_, inverse_q_.get(), scale,
                                         strips_.halves(), begin, end);
        }
      }
      RLMREC_FAST_CALL(pack_strips, x_, x_stride, num_queries, d_, inverse_q_.get(), scale,
                       strips_.whole(), begin, end);
    });
    in_parts(0, args_.num_tiles, 64, [&](int64_t begin, int64_t end) {
      if constexpr (std::is_same_v<T, float>) {
        if (bfloat16_) {
          return avx512bf16::pack_tiles(k_, k_stride, num_candidates, d_, inverse_k_.get(),
                                        panels_.halves(), rows_.halves(), begin, end);
        }
      }
      RLMREC_FAST_CALL(pack_tiles, k_, k_stride, num_candidates, d_, inverse_k_.get(),
                       panels_.whole(), rows_.whole(), begin, end);
    });
    args_.strips = strips_.whole();
    args_.panels = panels_.whole();
    args_.rows = rows_.whole();
  }

  // Cosines reach from -1 to 1: as long as 2^(-2 log2(e) / temperature) is far from vanishing, the
  // largest logit there can be does for the largest that there is.
  bool fixed_shift() const {
    const double range = std::is_same_v<T, double> ? 900 : 100;
    return request_.normalize != Normalize::none &&
           2 * std::numbers::log2e / request_.temperature <= range;
  }

  void pack_positives() {
    const int64_t count = request_.num_queries(), stride = request_.positive->stride(0);
    inverse_p_ = inverse_norms_of(p_, stride, count);
    own_ = Scratch<T>(count);
    in_parts(0, count, 1024, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(row_dots, x_, request_.query.stride(0), p_, stride, d_, own_.get(), begin,
                       end);
    });
    for (int64_t row = 0; row < count; ++row) {
      own_.get()[row] *= static_cast<T>(inverse_q_.get()[row] * inverse_p_.get()[row] /
                                        static_cast<T>(request_.temperature));
    }
  }

  Scratch<T> inverse_norms_of(const T* x, int64_t stride, int64_t count) {
    Scratch<T> inverse(count);
    in_parts(0, count, 1024, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(inverse_norms, x, stride, d_, request_.normalize, request_.eps,
                       inverse.get(), begin, end);
    });
    return inverse;
  }

  void pack_weights() {
    const int64_t count = request_.num_candidates();
    const int64_t padded = args_.num_tiles * args_.shape.tile;
    if (!request_.weights && padded == count) return;
    weights_ = Scratch<T>(padded);
    T* weights = weights_.get();
    if (request_.weights) {
      const T* given = const_data<T>(*request_.weights);
      for (int64_t j = 0; j < count; ++j) {
        check(given[j] >= 0 && given[j] <= std::numeric_limits<T>::max(),
              "contrast: weights must be finite and not negative (got ", given[j], " at position ",
              j, ")");
        weights[j] = given[j];
      }
    } else {
      std::fill(weights, weights + count, T{1});
    }
    std::fill(weights + count, weights + padded, T{0});
    args_.weights = weights;
  }

  void forward(int64_t strip_begin, int64_t strip_end, int64_t tile_begin, int64_t tile_end) {
    in_parts(strip_begin, strip_end, 8, [&](int64_t begin, int64_t end) {
      if (bfloat16_) {
        return avx512bf16::contrast_strips(bf16_args(), begin, end, tile_begin, tile_end);
      }
      RLMREC_FAST_CALL(contrast_strips, args_, begin, end, tile_begin, tile_end);
    });
  }

  void push(int64_t strip_end, int64_t tile_begin, int64_t tile_end) {
    in_parts(tile_begin, tile_end, 16, [&](int64_t begin, int64_t end) {
      for (int64_t tile = begin; tile < end; ++tile) {
        if (bfloat16_) {
          avx512bf16::contrast_push(bf16_args(), tile, strip_end);
        } else {
          RLMREC_FAST_CALL(contrast_push, args_, tile, strip_end);
        }
      }
    });
  }

  void keep_powers(const Factors& powers, int64_t strip, int64_t tile, int64_t tiles) {
    args_.powers = powers.whole();
    powers_ = powers.halves();
    args_.powers_stride = tiles * args_.shape.tile * args_.shape.strip;
    args_.first_strip = strip;
    args_.first_tile = tile;
  }

  // Three products: each block's exponentials wait for their sums.
  void keep_and_push(int64_t strips) {
    strips = std::min(strips, num_strips_);
    const Factors powers(strips * args_.num_tiles * args_.shape.tile * args_.shape.strip,
                         bfloat16_);
    for (int64_t first = 0; first < num_strips_; first += strips) {
      const int64_t last = std::min(num_strips_, first + strips);
      keep_powers(powers, first, 0, args_.num_tiles);
      forward(first, last, 0, args_.num_tiles);
      finish(first, last);
      push(last, 0, args_.num_tiles);
    }
  }

  // Four products, for so many candidates that not even a few strips' exponentials can wait.
  void recompute_and_push() {
    forward(0, num_strips_, 0, args_.num_tiles);
    finish(0, num_strips_);
    args_.sums = nullptr;
    args_.pulls = nullptr;
    const int64_t strips = std::min<int64_t>(num_strips_, 4 * kLeastStrips);
    const int64_t tile_size = args_.shape.tile * args_.shape.strip;
    const int64_t tiles = std::max<int64_t>(1, kPowerBytes / (strips * tile_size * factor_bytes()));
    const Factors powers(strips * tiles * tile_size, bfloat16_);
    for (int64_t first = 0; first < num_strips_; first += strips) {
      const int64_t last = std::min(num_strips_, first + strips);
      for (int64_t tile = 0; tile < args_.num_tiles; tile += tiles) {
        const int64_t tile_end = std::min(args_.num_tiles, tile + tiles);
        keep_powers(powers, first, tile, tiles);
        forward(first, last, tile, tile_end);
        push(last, tile, tile_end);
      }
    }
  }

  // From sums to losses, and to each query's share of the gradients.
  void finish(int64_t strip_begin, int64_t strip_end) {
    const int64_t strip = args_.shape.strip;
    if (coefficients_ != nullptr && !shares_) {
      shares_ = Scratch<T>(num_strips_ * strip);
      source_factors_ = Scratch<T>(num_strips_ * strip);
      own_factors_ = Scratch<T>(num_strips_ * strip);
    }
    const int64_t last = std::min(strip_end * strip, request_.num_queries());
    in_parts(strip_begin * strip, last, 256, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) finish_row(row);
    });
    if (!sources_) return;
    in_parts(strip_begin, strip_end, 64, [&](int64_t begin, int64_t end) {
      const int64_t stride = request_.query.stride(0), queries = request_.num_queries();
      if constexpr (std::is_same_v<T, float>) {
        if (bfloat16_) {
          return avx512bf16::pack_sources(x_, stride, queries, d_, source_factors_.get(),
                                          sources_.halves(), begin, end);
        }
      }
      RLMREC_FAST_CALL(pack_sources, x_, stride, queries, d_, source_factors_.get(),
                       sources_.whole(), begin, end);
    });
  }

  void finish_row(int64_t row) {
    const double shift = shifts_.get()[row];
    const double sum = sums_.get()[row] + request_.delta * std::exp2(-shift);
    const double lse = (shift + std::log2(sum)) * std::numbers::ln2;
    double loss = lse, slope = 1;
    if (p_ != nullptr) loss -= own_.get()[row];
    if (p_ != nullptr && request_.delta > 0) {
      const double ratio = std::exp(-loss);
      loss = -std::log(ratio + request_.delta);
      slope = ratio / (ratio + request_.delta);
    }
    losses_[row] = static_cast<T>(loss);
    if (coefficients_ == nullptr) return;
    const double weight = slope * coefficients_[row] / request_.temperature;
    shares_.get()[row] = static_cast<T>(weight / sum);
    source_factors_.get()[row] = static_cast<T>(weight / sum * inverse_q_.get()[row]);
    own_factors_.get()[row] = static_cast<T>(-weight);
  }

  void differentiate(Gradients out) {
    const int64_t queries = request_.num_queries();
    NormalizeBackwardArgs<T> args{};
    args.d = d_;
    args.project = request_.normalize != Normalize::none;
    if (out.candidates != nullptr) {
      args.x = k_;
      args.x_stride = request_.candidates.stride(0);
      args.inverse = inverse_k_.get();
      args.blocked = pushes_.get();
      args.group = args_.shape.tile;
      args.round_scale = bfloat16_ ? T{1} : T{0};
      args.y = out.candidates;
      normalize_backward_of(args, request_.num_candidates());
    }
    // Each side of a positive pair is pulled by the other one, normalised.
    Scratch<T> other_factors(p_ != nullptr ? queries : 0);
    args.other_factor = other_factors.get();
    const auto scale_others = [&](const T* inverse) {
      for (int64_t row = 0; row < queries; ++row) {
        other_factors.get()[row] = own_factors_.get()[row] * inverse[row];
      }
    };
    args.blocked = nullptr;
    args.round_scale = 0;
    if (out.positive != nullptr) {
      scale_others(inverse_q_.get());
      args.x = p_;
      args.x_stride = request_.positive->stride(0);
      args.inverse = inverse_p_.get();
      args.other = x_;
      args.other_stride = request_.query.stride(0);
      args.y = out.positive;
      normalize_backward_of(args, queries);
    }
    if (out.query != nullptr) {
      if (p_ != nullptr) {
        scale_others(inverse_p_.get());
        args.other = p_;
        args.other_stride = request_.positive->stride(0);
      }
      args.x = x_;
      args.x_stride = request_.query.stride(0);
      args.inverse = inverse_q_.get();
      args.blocked = pulls_.get();
      args.group = args_.shape.strip;
      args.factor = shares_.get();
      args.y = out.query;
      normalize_backward_of(args, queries);
    }
  }

  void normalize_backward_of(const NormalizeBackwardArgs<T>& args, int64_t count) {
    in_parts(0, count, 1024, [&](int64_t begin, int64_t end) {
      RLMREC_FAST_CALL(normalize_backward, args, begin, end);
    });
  }

  const Request& request_;
  const T* x_;
  const T* k_;
  const T* p_;
  int64_t d_;
  int64_t num_strips_;
  ContrastArgs<T> args_;
  T* losses_ = nullptr;
  const T* coefficients_ = nullptr;
  bool bfloat16_ = false;
  BFloat16* powers_ = nullptr;
  Factors strips_, panels_, rows_, sources_;
  Scratch<T> inverse_q_, inverse_k_, inverse_p_, weights_;
  Scratch<T> shifts_, own_, shares_, source_factors_, own_factors_;
  Scratch<T> pulls_, pushes_;
  Scratch<double> sums_;
};

}  // namespace rlmrec_fast
