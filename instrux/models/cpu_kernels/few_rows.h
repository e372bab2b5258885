// Products with few rows on the left, as a step of decoding has them: the right operand is read
// once, as it lies, in float32.
#ifndef INSTRUX_FEW_ROWS_H_
#define INSTRUX_FEW_ROWS_H_

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "parallel.h"
#include "tiles.h"

namespace instrux {

constexpr int64_t kFewRows = 24;  // With more, tiles are faster though the operand is laid out first.
constexpr int64_t kRowsAtOnce = 8;
constexpr int64_t kDepthAtOnce = 16;      // Lines of the right operand that are read side by side.
constexpr int64_t kColumnsAtOnce = 1024;  // So far along each line before the next lines.

// Adds to `kCount` rows of 32 columns the products over `depth` lines, or sets them.
template <int kCount>
void FewRowsStrip(const float* left, int64_t left_stride, const float* right, float* result,
                  int64_t depth, int64_t stride, __mmask16 low, __mmask16 high, bool add) {
  __m512 sums[kCount][2];
  for (int i = 0; i < kCount; ++i) {
    sums[i][0] = add ? _mm512_maskz_loadu_ps(low, result + i * stride) : _mm512_setzero_ps();
    sums[i][1] = add ? _mm512_maskz_loadu_ps(high, result + i * stride + 16) : _mm512_setzero_ps();
  }
  for (int64_t k = 0; k < depth; ++k) {
    // The same place of the next lines: pieces of lines are a pattern that no cache foresees.
    const char* ahead = reinterpret_cast<const char*>(right + (k + kDepthAtOnce) * stride);
    _mm_prefetch(ahead, _MM_HINT_T1);
    _mm_prefetch(ahead + 64, _MM_HINT_T1);
    const __m512 first = _mm512_maskz_loadu_ps(low, right + k * stride);
    const __m512 second = _mm512_maskz_loadu_ps(high, right + k * stride + 16);
    for (int i = 0; i < kCount; ++i) {
      const __m512 x = _mm512_set1_ps(left[i * left_stride + k]);
      sums[i][0] = _mm512_fmadd_ps(x, first, sums[i][0]);
      sums[i][1] = _mm512_fmadd_ps(x, second, sums[i][1]);
    }
  }
  for (int i = 0; i < kCount; ++i) {
    _mm512_mask_storeu_ps(result + i * stride, low, sums[i][0]);
    _mm512_mask_storeu_ps(result + i * stride + 16, high, sums[i][1]);
  }
}

// `kCount` rows of the result, from a column on.
template <int kCount>
void FewRowsBlock(const float* left, const float* right, float* result, int64_t depth,
                  int64_t stride, int64_t columns) {
  for (int64_t k = 0; k < depth; k += kDepthAtOnce)
    for (int64_t column = 0; column < columns; column += 32)
      FewRowsStrip<kCount>(left + k, depth, right + k * stride + column, result + column,
                           std::min(kDepthAtOnce, depth - k), stride,
                           FirstOf16(columns - column), FirstOf16(columns - column - 16), k > 0);
}

inline void FewRowsBlocks(int64_t rows, const float* left, const float* right, float* result,
                          int64_t depth, int64_t stride, int64_t columns) {
  for (; rows >= kRowsAtOnce; rows -= kRowsAtOnce) {
    FewRowsBlock<kRowsAtOnce>(left, right, result, depth, stride, columns);
    left += kRowsAtOnce * depth;
    result += kRowsAtOnce * stride;
  }
  switch (rows) {
#define CASE(count) \
  case count:       \
    return FewRowsBlock<count>(left, right, result, depth, stride, columns);
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
#undef CASE
  }
}

// [rows, depth] times [depth, columns]; all are contiguous.
template <typename Pool>
void FewRows(Pool& pool, const float* left, const float* right, float* result, int64_t rows,
             int64_t depth, int64_t columns) {
  const int64_t wanted = CeilDiv(columns, 2 * Threads(pool));
  const int64_t step = std::clamp<int64_t>(CeilDiv(wanted, 32) * 32, 64, kColumnsAtOnce);
  ParallelFor(pool, CeilDiv(columns, step), [&](int64_t task) {
    const int64_t column = task * step;
    FewRowsBlocks(rows, left, right + column, result + column, depth, columns,
                  std::min(step, columns - column));
  });
}

}  // namespace instrux

#endif  // INSTRUX_FEW_ROWS_H_
