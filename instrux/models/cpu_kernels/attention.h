// Attention with an additive bias and a mask, forward and backward, a row of the batch and a head
// at a time: logits never leave the second cache.
#ifndef INSTRUX_ATTENTION_H_
#define INSTRUX_ATTENTION_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "parallel.h"
#include "tiles.h"

namespace instrux {

constexpr float kMasked = -1e10f;
constexpr int64_t kBlockLogits = 64 << 10;  // Logits of a block of queries: 256 KiB.

// [batch, length, heads, width], of float32 or bfloat16.
struct Heads {
  void* data;
  bool is_bfloat16;
};

struct AttentionShape {
  int64_t batch, heads, width, queries, keys;
};

// Strides are in elements, 0 along an axis of one.
struct BiasAndMask {
  const float* bias;    // [1, heads, queries, keys], or null.
  const uint8_t* mask;  // [batch or 1, 1, queries or 1, keys], or null.
  int64_t mask_batch, mask_query;

  const uint8_t* MaskOf(int64_t row, int64_t query) const {
    return mask ? mask + row * mask_batch + query * mask_query : nullptr;
  }
};

inline __m512 Exp(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-104.0f));  // Which gives 0.
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.442695041f)), 8);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.0f / 5040);
  for (const float coefficient : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(coefficient));
  return _mm512_scalef_ps(p, n);
}

// One (row, head) of an array as a matrix of `length` lines.
inline Operand LinesOf(const Heads& array, const AttentionShape& shape, int64_t length, int64_t row,
                       int64_t head, bool depth_contiguous) {
  const int64_t at = (row * length * shape.heads + head) * shape.width;
  const char* data = static_cast<const char*>(array.data) + at * (array.is_bfloat16 ? 2 : 4);
  return {data, array.is_bfloat16, depth_contiguous, shape.heads * shape.width};
}

// Tiles of a whole operand: pairs of outer tiles, each with all its depth.
template <int kParts>
void Pack(const Operand& operand, bool left, int64_t outer, int64_t outer_end, int64_t depth,
          int64_t depth_end, uint16_t* tiles) {
  constexpr int64_t kGroup = kParts * kTile;
  const int64_t pairs = CeilDiv(outer_end - outer, 2 * kRows);
  const int64_t depths = CeilDiv(depth_end - depth, kDepth);
  for (int64_t pair = 0; pair < pairs; ++pair)
    for (int64_t k = 0; k < depths; ++k)
      for (int64_t half = 0; half < 2; ++half)
        PackTile<kParts>(operand, left, outer + (2 * pair + half) * kRows, depth + k * kDepth,
                         outer_end, depth_end, tiles + ((pair * depths + k) * 2 + half) * kGroup);
}

template <int kParts>
int64_t PackedBytes(int64_t outer, int64_t depth) {
  return CeilDiv(outer, 2 * kRows) * CeilDiv(depth, kDepth) * 2 * kParts * kTile * 2;
}

template <int kParts>
void MultiplyPacked(const uint16_t* left, const uint16_t* right, int64_t row_pairs,
                    int64_t column_pairs, int64_t depths, bool add, float* sums, int64_t stride) {
  constexpr int64_t kGroup = 2 * kParts * kTile;
  for (int64_t column = 0; column < column_pairs; ++column)
    for (int64_t row = 0; row < row_pairs; ++row) {
      float* block = sums + row * 32 * stride + column * 32;
      if (add)
        LoadAccumulators(block, stride);
      else
        ZeroAccumulators();
      Multiply<kParts>(left + row * depths * kGroup, right + column * depths * kGroup, depths,
                       nullptr, 0);
      StoreAccumulators(block, stride);
    }
}

inline int64_t Padded(int64_t length) { return CeilDiv(length, 32) * 32; }

// Adds the bias to a line of logits and masks it; beyond the last key nothing is seen.
inline void AddBias(float* line, const AttentionShape& shape, const BiasAndMask& extra, int64_t row,
                    int64_t head, int64_t query, int64_t padded) {
  const float* bias =
      extra.bias ? extra.bias + (head * shape.queries + query) * shape.keys : nullptr;
  const uint8_t* mask = extra.MaskOf(row, query);
  for (int64_t j = 0; j < padded; j += 16) {
    const __mmask16 within = FirstOf16(shape.keys - j);
    __m512 x = _mm512_load_ps(line + j);
    if (bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(within, bias + j));
    if (mask) {
      const __m128i seen = _mm_maskz_loadu_epi8(within, mask + j);
      x = _mm512_mask_mov_ps(x, _mm_cmpeq_epi8_mask(seen, _mm_setzero_si128()),
                             _mm512_set1_ps(kMasked));
    }
    x = _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), within, x);
    _mm512_store_ps(line + j, x);
  }
}

inline float Highest(const float* line, int64_t padded) {
  __m512 highest = _mm512_set1_ps(-INFINITY);
  for (int64_t j = 0; j < padded; j += 16)
    highest = _mm512_max_ps(highest, _mm512_load_ps(line + j));
  return _mm512_reduce_max_ps(highest);
}

// Turns logits into exp(logits - highest); gives their sum.
inline float Exponentials(float* line, float highest, int64_t padded) {
  const __m512 shift = _mm512_set1_ps(highest);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < padded; j += 16) {
    const __m512 x = Exp(_mm512_sub_ps(_mm512_load_ps(line + j), shift));
    sum = _mm512_add_ps(sum, x);
    _mm512_store_ps(line + j, x);
  }
  return _mm512_reduce_add_ps(sum);
}

// Writes lines of float32 sums, each times its factor, to one (row, head) of an array.
inline void WriteLines(const float* sums, int64_t stride, const float* factors,
                       const AttentionShape& shape, int64_t length, int64_t row, int64_t head,
                       int64_t first, int64_t count, const Heads& array) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = ((row * length + first + i) * shape.heads + head) * shape.width;
    const __m512 factor = _mm512_set1_ps(factors ? factors[i] : 1.0f);
    for (int64_t j = 0; j < shape.width; j += 16) {
      const __mmask16 within = FirstOf16(shape.width - j);
      const __m512 x = _mm512_mul_ps(factor, _mm512_loadu_ps(sums + i * stride + j));
      if (array.is_bfloat16)
        _mm256_mask_storeu_epi16(static_cast<uint16_t*>(array.data) + at + j, within,
                                 (__m256i)_mm512_cvtneps_pbh(x));
      else
        _mm512_mask_storeu_ps(static_cast<float*>(array.data) + at + j, within, x);
    }
  }
}

inline int64_t QueryBlock(const AttentionShape& shape) {
  const int64_t lines = kBlockLogits / Padded(shape.keys) / 32 * 32;
  return std::clamp<int64_t>(lines, 32, Padded(shape.queries));
}

// `softmax` is [batch, heads, queries, 2]: the highest logit, and the sum of the exponentials.
template <int kParts, typename Pool>
void Attend(Pool& pool, const AttentionShape& s, const Heads& queries, const Heads& keys,
            const Heads& values, const BiasAndMask& extra, const Heads& output, float* softmax) {
  const int64_t padded = Padded(s.keys), width = Padded(s.width);
  const int64_t most = QueryBlock(s);
  // Heads outermost: the bias of a head serves all rows.
  ParallelFor(pool, s.heads * s.batch, [&](int64_t task) {
    const int64_t head = task / s.batch, row = task % s.batch;
    TileScope tiles;
    Scratch key_tiles(PackedBytes<kParts>(padded, width));
    Scratch value_tiles(PackedBytes<kParts>(width, padded));
    Scratch query_tiles(PackedBytes<kParts>(most, width));
    Scratch weight_tiles(PackedBytes<kParts>(most, padded));
    Scratch logit_lines(most * padded * 4), sum_lines(most * width * 4);
    float* logits = logit_lines.as<float>();
    float* sums = sum_lines.as<float>();
    Pack<kParts>(LinesOf(keys, s, s.keys, row, head, true), false, 0, s.keys, 0, s.width,
                 key_tiles.as<uint16_t>());
    Pack<kParts>(LinesOf(values, s, s.keys, row, head, false), false, 0, s.width, 0, s.keys,
                 value_tiles.as<uint16_t>());
    for (int64_t first = 0; first < s.queries; first += most) {
      const int64_t count = std::min(most, s.queries - first);
      const int64_t pairs = CeilDiv(count, 32);
      float* kept = softmax + ((row * s.heads + head) * s.queries + first) * 2;
      Pack<kParts>(LinesOf(queries, s, s.queries, row, head, true), true, first, first + count, 0,
                   s.width, query_tiles.as<uint16_t>());
      MultiplyPacked<kParts>(query_tiles.as<uint16_t>(), key_tiles.as<uint16_t>(), pairs,
                             padded / 32, width / 32, false, logits, padded);
      float factors[2048];
      for (int64_t i = 0; i < count; ++i) {
        float* line = logits + i * padded;
        AddBias(line, s, extra, row, head, first + i, padded);
        kept[2 * i] = Highest(line, padded);
        kept[2 * i + 1] = Exponentials(line, kept[2 * i], padded);
        factors[i] = 1.0f / kept[2 * i + 1];
      }
      const Operand weights = {logits, false, true, padded};
      Pack<kParts>(weights, true, 0, count, 0, padded, weight_tiles.as<uint16_t>());
      MultiplyPacked<kParts>(weight_tiles.as<uint16_t>(), value_tiles.as<uint16_t>(), pairs,
                             width / 32, padded / 32, false, sums, width);
      WriteLines(sums, width, factors, s, s.queries, row, head, first, count, output);
    }
  });
}

struct AttentionGradients {
  Heads queries, keys, values;
  float* bias;  // [1, heads, queries, keys], or null.
};

inline __m512 LoadLine(const Heads& array, int64_t at, __mmask16 within) {
  if (!array.is_bfloat16)
    return _mm512_maskz_loadu_ps(within, static_cast<const float*>(array.data) + at);
  return Expand(_mm256_maskz_loadu_epi16(within, static_cast<const uint16_t*>(array.data) + at));
}

// The cotangent divided by the softmax's sum, as float32 lines of `stride`; and for each query the
// sum over the width of that times the output.
inline void ScaleCotangent(const Heads& cotangent, const Heads& output, const float* kept,
                           const AttentionShape& s, int64_t row, int64_t head, int64_t first,
                           int64_t count, float* scaled, int64_t stride, float* expected) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = ((row * s.queries + first + i) * s.heads + head) * s.width;
    const __m512 factor = _mm512_set1_ps(1.0f / kept[2 * i + 1]);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < s.width; j += 16) {
      const __mmask16 within = FirstOf16(s.width - j);
      const __m512 x = _mm512_mul_ps(factor, LoadLine(cotangent, at + j, within));
      sum = _mm512_fmadd_ps(x, LoadLine(output, at + j, within), sum);
      _mm512_store_ps(scaled + i * stride + j, x);
    }
    expected[i] = _mm512_reduce_add_ps(sum);
  }
}

// Of a line of logits and one of gradients by the weights, makes the weights and the gradients by
// the logits, and adds the latter to those by the bias.
inline void LogitGradients(float* logits, float* gradients, float highest, float expected,
                           const uint8_t* mask, float* by_bias, int64_t keys, int64_t padded) {
  const __m512 shift = _mm512_set1_ps(highest), mean = _mm512_set1_ps(expected);
  for (int64_t j = 0; j < padded; j += 16) {
    const __mmask16 within = FirstOf16(keys - j);
    __mmask16 seen = within;
    if (mask) seen &= ~_mm_cmpeq_epi8_mask(_mm_maskz_loadu_epi8(within, mask + j), __m128i{});
    const __m512 weights = Exp(_mm512_sub_ps(_mm512_load_ps(logits + j), shift));
    const __m512 gradient =
        _mm512_maskz_mul_ps(seen, weights, _mm512_sub_ps(_mm512_load_ps(gradients + j), mean));
    _mm512_store_ps(logits + j, weights);
    _mm512_store_ps(gradients + j, gradient);
    if (by_bias)
      _mm512_mask_storeu_ps(by_bias + j, within,
                            _mm512_add_ps(gradient, _mm512_maskz_loadu_ps(within, by_bias + j)));
  }
}

// One row and head of the gradients; that by the bias is added to.
template <int kParts>
void AttendBackwardOne(const AttentionShape& s, const Heads& queries, const Heads& keys,
                       const Heads& values, const BiasAndMask& extra, const Heads& output,
                       const float* softmax, const Heads& cotangent,
                       const AttentionGradients& gradients, float* by_bias, int64_t row,
                       int64_t head) {
  const int64_t padded = Padded(s.keys), width = Padded(s.width);
  const int64_t most = QueryBlock(s), columns = padded / 32, widths = width / 32;
  Scratch key_tiles(PackedBytes<kParts>(padded, width));
  Scratch value_tiles(PackedBytes<kParts>(padded, width));
  Scratch turned_key_tiles(PackedBytes<kParts>(width, padded));
  Scratch query_tiles(PackedBytes<kParts>(most, width));
  Scratch line_tiles(PackedBytes<kParts>(std::max(most, padded), std::max(most, padded)));
  Scratch logit_lines(most * padded * 4), gradient_lines(most * padded * 4);
  Scratch scaled_lines(most * width * 4), query_sums(most * width * 4);
  Scratch key_sums(padded * width * 4), value_sums(padded * width * 4);
  Scratch expected_lines(most * 4);
  float *logits = logit_lines.as<float>(), *by_logits = gradient_lines.as<float>();
  float *scaled = scaled_lines.as<float>(), *expected = expected_lines.as<float>();
  auto *small = query_tiles.as<uint16_t>(), *large = line_tiles.as<uint16_t>();
  Pack<kParts>(LinesOf(keys, s, s.keys, row, head, true), false, 0, s.keys, 0, s.width,
               key_tiles.as<uint16_t>());
  Pack<kParts>(LinesOf(values, s, s.keys, row, head, true), false, 0, s.keys, 0, s.width,
               value_tiles.as<uint16_t>());
  Pack<kParts>(LinesOf(keys, s, s.keys, row, head, false), false, 0, s.width, 0, s.keys,
               turned_key_tiles.as<uint16_t>());
  for (int64_t first = 0; first < s.queries; first += most) {
    const int64_t count = std::min(most, s.queries - first);
    const int64_t pairs = CeilDiv(count, 32), depths = CeilDiv(count, kDepth);
    const float* kept = softmax + ((row * s.heads + head) * s.queries + first) * 2;
    ScaleCotangent(cotangent, output, kept, s, row, head, first, count, scaled, width, expected);

    const Operand query_lines = LinesOf(queries, s, s.queries, row, head, true);
    Pack<kParts>(query_lines, true, first, first + count, 0, s.width, small);
    MultiplyPacked<kParts>(small, key_tiles.as<uint16_t>(), pairs, columns, widths, false, logits,
                           padded);
    Pack<kParts>({scaled, false, true, width}, true, 0, count, 0, s.width, small);
    MultiplyPacked<kParts>(small, value_tiles.as<uint16_t>(), pairs, columns, widths, false,
                           by_logits, padded);
    for (int64_t i = 0; i < count; ++i) {
      AddBias(logits + i * padded, s, extra, row, head, first + i, padded);
      LogitGradients(logits + i * padded, by_logits + i * padded, kept[2 * i], expected[i],
                     extra.MaskOf(row, first + i),
                     by_bias ? by_bias + (first + i) * s.keys : nullptr, s.keys, padded);
    }

    Pack<kParts>({by_logits, false, true, padded}, true, 0, count, 0, padded, large);
    MultiplyPacked<kParts>(large, turned_key_tiles.as<uint16_t>(), pairs, widths, columns, false,
                           query_sums.as<float>(), width);
    WriteLines(query_sums.as<float>(), width, nullptr, s, s.queries, row, head, first, count,
               gradients.queries);
    Pack<kParts>(LinesOf(queries, s, s.queries, row, head, false), false, 0, s.width, first,
                 first + count, small);
    Pack<kParts>({by_logits, false, false, padded}, true, 0, padded, 0, count, large);
    MultiplyPacked<kParts>(large, small, columns, widths, depths, first > 0, key_sums.as<float>(),
                           width);
    Pack<kParts>({scaled, false, false, width}, false, 0, s.width, 0, count, small);
    Pack<kParts>({logits, false, false, padded}, true, 0, padded, 0, count, large);
    MultiplyPacked<kParts>(large, small, columns, widths, depths, first > 0, value_sums.as<float>(),
                           width);
  }
  WriteLines(key_sums.as<float>(), width, nullptr, s, s.keys, row, head, 0, s.keys, gradients.keys);
  WriteLines(value_sums.as<float>(), width, nullptr, s, s.keys, row, head, 0, s.keys,
             gradients.values);
}

template <int kParts, typename Pool>
void AttendBackward(Pool& pool, const AttentionShape& s, const Heads& queries, const Heads& keys,
                    const Heads& values, const BiasAndMask& extra, const Heads& output,
                    const float* softmax, const Heads& cotangent,
                    const AttentionGradients& gradients) {
  const auto one = [&](int64_t row, int64_t head, float* by_bias) {
    AttendBackwardOne<kParts>(s, queries, keys, values, extra, output, softmax, cotangent,
                              gradients, by_bias, row, head);
  };
  if (gradients.bias == nullptr) {
    ParallelFor(pool, s.heads * s.batch, [&](int64_t task) {
      TileScope tiles;
      one(task % s.batch, task / s.batch, nullptr);
    });
    return;
  }
  // Rows of a group add to one gradient by the bias, in order; groups have one each.
  const int64_t groups = std::clamp<int64_t>(CeilDiv(2 * Threads(pool), s.heads), 1, s.batch);
  const int64_t size = s.queries * s.keys, group_rows = CeilDiv(s.batch, groups);
  Scratch partial(std::max<int64_t>(1, groups - 1) * s.heads * size * 4);
  const auto of_group = [&](int64_t group, int64_t head) {
    float* start = group == 0 ? gradients.bias : partial.as<float>() + (group - 1) * s.heads * size;
    return start + head * size;
  };
  ParallelFor(pool, s.heads * groups, [&](int64_t task) {
    const int64_t head = task / groups, group = task % groups;
    float* by_bias = of_group(group, head);
    std::memset(by_bias, 0, size * 4);
    TileScope tiles;
    const int64_t end = std::min(s.batch, (group + 1) * group_rows);
    for (int64_t row = group * group_rows; row < end; ++row) one(row, head, by_bias);
  });
  if (groups > 1)
    ParallelFor(pool, s.heads, [&](int64_t head) {
      float* sum = of_group(0, head);
      for (int64_t group = 1; group < groups; ++group) {
        const float* part = of_group(group, head);
        for (int64_t i = 0; i < size; ++i) sum[i] += part[i];
      }
    });
}

}  // namespace instrux

#endif  // INSTRUX_ATTENTION_H_
