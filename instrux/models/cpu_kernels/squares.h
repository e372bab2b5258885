// Sums of squares of matrices along both axes in one pass over them, as factored second moments
// need them.
#ifndef INSTRUX_SQUARES_H_
#define INSTRUX_SQUARES_H_

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "parallel.h"
#include "tiles.h"

namespace instrux {

constexpr int64_t kSquareRows = 64;  // A task's; fixed, so that sums do not depend on the threads.

// The squares of one line, each number times `factor` and its column's factor where there are any:
// gives their sum, and adds them to `columns` where that is not null.
inline float SquareLine(const float* line, float factor, const float* factors, int64_t width,
                        float* columns) {
  const __m512 scale = _mm512_set1_ps(factor);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < width; j += 16) {
    const __mmask16 within = FirstOf16(width - j);
    __m512 x = _mm512_maskz_loadu_ps(within, line + j);
    if (factors)
      x = _mm512_mul_ps(_mm512_mul_ps(x, scale), _mm512_maskz_loadu_ps(within, factors + j));
    const __m512 square = _mm512_mul_ps(x, x);
    sum = _mm512_add_ps(sum, square);
    if (columns)
      _mm512_mask_storeu_ps(columns + j, within,
                            _mm512_add_ps(square, _mm512_maskz_loadu_ps(within, columns + j)));
  }
  return _mm512_reduce_add_ps(sum);
}

// x [count, rows, columns]: sums of squares [count, rows] and [count, columns].
template <typename Pool>
void Squares(Pool& pool, const float* x, int64_t count, int64_t rows, int64_t columns,
             float* by_row, float* by_column) {
  const int64_t blocks = CeilDiv(rows, kSquareRows);
  Scratch partial(count * blocks * columns * 4);
  auto* parts = partial.as<float>();
  ParallelFor(pool, count * blocks, [&](int64_t task) {
    const int64_t matrix = task / blocks, first = task % blocks * kSquareRows;
    float* sums = parts + task * columns;
    std::memset(sums, 0, columns * 4);
    for (int64_t row = first; row < std::min(rows, first + kSquareRows); ++row) {
      const int64_t line = matrix * rows + row;
      by_row[line] = SquareLine(x + line * columns, 1.0f, nullptr, columns, sums);
    }
  });
  for (int64_t matrix = 0; matrix < count; ++matrix) {
    float* sums = by_column + matrix * columns;
    std::memset(sums, 0, columns * 4);
    for (int64_t block = 0; block < blocks; ++block) {
      const float* part = parts + (matrix * blocks + block) * columns;
      for (int64_t j = 0; j < columns; ++j) sums[j] += part[j];
    }
  }
}

// x [count, rows, columns], each number times its row's and its column's factor: sums of squares
// [count, rows].
template <typename Pool>
void ScaledSquares(Pool& pool, const float* x, const float* row_factors,
                   const float* column_factors, int64_t count, int64_t rows, int64_t columns,
                   float* by_row) {
  const int64_t blocks = CeilDiv(count * rows, kSquareRows);
  ParallelFor(pool, blocks, [&](int64_t block) {
    const int64_t end = std::min(count * rows, (block + 1) * kSquareRows);
    for (int64_t line = block * kSquareRows; line < end; ++line)
      by_row[line] = SquareLine(x + line * columns, row_factors[line],
                                column_factors + line / rows * columns, columns, nullptr);
  });
}

}  // namespace instrux

#endif  // INSTRUX_SQUARES_H_
