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

constexpr int64_t kFewRows =
    24;  // With more, tiles are faster though the operand is laid out first.
constexpr int64_t kRowsAtOnce = 8;
constexpr int64_t kDepthAtOnce = 16;      // Lines of the right operand that are read side by side.
constexpr int64_t kColumnsAtOnce = 1024;  // So far along each line before the next lines.
constexpr int64_t kNumbersAtOnce = 1 << 17;  // Numbers of the right operand for a thread to take.
constexpr int64_t kMostPieces = 16;          // What they come to has to be added up.

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
void FewRowsBlock(const float* left, int64_t left_stride, const float* right, float* result,
                  int64_t depth, int64_t stride, int64_t columns) {
  for (int64_t k = 0; k < depth; k += kDepthAtOnce)
    for (int64_t column = 0; column < columns; column += 32)
      FewRowsStrip<kCount>(left + k, left_stride, right + k * stride + column, result + column,
                           std::min(kDepthAtOnce, depth - k), stride, FirstOf16(columns - column),
                           FirstOf16(columns - column - 16), k > 0);
}

inline void FewRowsBlocks(int64_t rows, const float* left, int64_t left_stride, const float* right,
                          float* result, int64_t depth, int64_t stride, int64_t columns) {
  for (; rows >= kRowsAtOnce; rows -= kRowsAtOnce) {
    FewRowsBlock<kRowsAtOnce>(left, left_stride, right, result, depth, stride, columns);
    left += kRowsAtOnce * left_stride;
    result += kRowsAtOnce * stride;
  }
  switch (rows) {
#define CASE(count) \
  case count:       \
    return FewRowsBlock<count>(left, left_stride, right, result, depth, stride, columns);
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
#undef CASE
  }
}

// Long lines: each thread takes some columns of all lines.
template <typename Pool>
void FewRowsByColumns(Pool& pool, const float* left, const float* right, float* result,
                      int64_t rows, int64_t depth, int64_t columns) {
  ParallelFor(pool, CeilDiv(columns, kColumnsAtOnce), [&](int64_t task) {
    const int64_t column = task * kColumnsAtOnce;
    FewRowsBlocks(rows, left, depth, right + column, result + column, depth, columns,
                  std::min(kColumnsAtOnce, columns - column));
  });
}

// Short lines: each thread takes whole lines, and what comes of them is added up. Of short pieces
// of lines, a core would fetch ahead what another one is to read.
template <typename Pool>
void FewRowsByDepth(Pool& pool, const float* left, const float* right, float* result, int64_t rows,
                    int64_t depth, int64_t columns) {
  const int64_t wanted = std::min(CeilDiv(depth * columns, kNumbersAtOnce), kMostPieces);
  const int64_t step = CeilDiv(CeilDiv(depth, wanted), kDepthAtOnce) * kDepthAtOnce;
  const int64_t pieces = CeilDiv(depth, step);
  const int64_t size = rows * columns;
  Scratch others((pieces - 1) * size * sizeof(float));
  ParallelFor(pool, pieces, [&](int64_t piece) {
    const int64_t k = piece * step;
    FewRowsBlocks(rows, left + k, depth, right + k * columns,
                  piece == 0 ? result : others.as<float>() + (piece - 1) * size,
                  std::min(step, depth - k), columns, columns);
  });
  for (int64_t piece = 1; piece < pieces; ++piece) {
    const float* sums = others.as<float>() + (piece - 1) * size;
    for (int64_t i = 0; i < size; ++i) result[i] += sums[i];
  }
}

// [rows, depth] times [depth, columns]; all are contiguous. The order of sums is that of the
// shapes, whatever the number of threads.
template <typename Pool>
void FewRows(Pool& pool, const float* left, const float* right, float* result, int64_t rows,
             int64_t depth, int64_t columns) {
  const auto way = columns < 2 * kColumnsAtOnce ? FewRowsByDepth<Pool> : FewRowsByColumns<Pool>;
  way(pool, left, right, result, rows, depth, columns);
}

}  // namespace instrux

#endif  // INSTRUX_FEW_ROWS_H_
