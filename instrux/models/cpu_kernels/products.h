// Products of two matrices of any size, made of tiles.
#ifndef INSTRUX_PRODUCTS_H_
#define INSTRUX_PRODUCTS_H_

#include <algorithm>
#include <cstdint>

#include "parallel.h"
#include "tiles.h"

namespace instrux {

constexpr int64_t kLeftBlock = 256;         // Rows of the result that a task makes at a time.
constexpr int64_t kSumColumns = 512;        // Of float32 sums that a task holds.
constexpr int64_t kPackedBytes = 32 << 20;  // Of the right operand, laid out at a time.

struct Result {
  void* data;
  bool is_bfloat16;
  int64_t stride;
};

// Writes `rows` x `columns` of a block of floats to the result.
inline void Write(const float* block, int64_t block_stride, const Result& result, int64_t row,
                  int64_t column, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = (row + i) * result.stride + column;
    const float* from = block + i * block_stride;
    for (int64_t j = 0; j < columns; j += 16) {
      const __mmask16 mask = FirstOf16(columns - j);
      const __m512 line = _mm512_maskz_loadu_ps(mask, from + j);
      if (result.is_bfloat16)
        _mm256_mask_storeu_epi16(static_cast<uint16_t*>(result.data) + at + j, mask,
                                 (__m256i)_mm512_cvtneps_pbh(line));
      else
        _mm512_mask_storeu_ps(static_cast<float*>(result.data) + at + j, mask, line);
    }
  }
}

struct Problem {
  Operand left, right;
  Result result;
  int64_t rows, columns, depth;
};

template <int kParts, typename Pool>
void Product(Pool& pool, const Problem& p) {
  constexpr int64_t kGroup = 2 * kParts * kTile;  // Two tiles with their parts.
  constexpr int64_t kDepthBlock = (kParts == 1 ? 1024 : 512) / kDepth;
  const int64_t depth_tiles = CeilDiv(p.depth, kDepth);
  const bool one_pass = depth_tiles <= kDepthBlock;
  const int64_t column_pairs = CeilDiv(p.columns, 2 * kRows);
  const int64_t pair_bytes = depth_tiles * kGroup * 2;
  const int64_t chunk_pairs = std::clamp<int64_t>(kPackedBytes / pair_bytes, 1, column_pairs);
  const int64_t left_block = std::min(kLeftBlock, CeilDiv(p.rows, 2 * kRows) * 2 * kRows);
  const int64_t left_blocks = CeilDiv(p.rows, left_block);
  Scratch right_scratch(chunk_pairs * pair_bytes);
  auto* right = right_scratch.as<uint16_t>();

  for (int64_t first = 0; first < column_pairs; first += chunk_pairs) {
    const int64_t pairs = std::min(chunk_pairs, column_pairs - first);
    const int64_t pack_step = CeilDiv(pairs, 4 * Threads(pool));
    ParallelFor(pool, CeilDiv(pairs, pack_step), [&](int64_t task) {
      const int64_t begin = task * pack_step, end = std::min(pairs, begin + pack_step);
      // Depth outermost, as a tile reads 16 numbers of each of 32 lines.
      for (int64_t k = 0; k < depth_tiles; ++k)
        for (int64_t pair = begin; pair < end; ++pair)
          for (int64_t half = 0; half < 2; ++half)
            PackTile<kParts>(p.right, false, (2 * (first + pair) + half) * kRows, k * kDepth,
                             p.columns, p.depth,
                             right + (pair * depth_tiles + k) * kGroup + half * kGroup / 2);
    });

    const int64_t wanted = CeilDiv(4 * Threads(pool), left_blocks);
    const int64_t largest = one_pass ? pairs : kSumColumns / 32;
    const int64_t pair_step = std::clamp<int64_t>(CeilDiv(pairs, wanted), 1, largest);
    const int64_t column_blocks = CeilDiv(pairs, pair_step);
    ParallelFor(pool, left_blocks * column_blocks, [&](int64_t task) {
      const int64_t row = task / column_blocks * left_block;
      const int64_t rows = std::min(left_block, p.rows - row);
      const int64_t row_pairs = CeilDiv(rows, 2 * kRows);
      const int64_t begin = task % column_blocks * pair_step;
      const int64_t end = std::min(pairs, begin + pair_step);
      const int64_t sum_stride = (end - begin) * 32;
      Scratch left_scratch(row_pairs * kDepthBlock * kGroup * 2);
      Scratch sum_scratch(one_pass ? 4096 : row_pairs * 32 * sum_stride * 4);
      auto* left = left_scratch.as<uint16_t>();
      auto* sums = sum_scratch.as<float>();
      TileScope tiles;
      for (int64_t k = 0; k < depth_tiles; k += kDepthBlock) {
        const int64_t count = std::min(kDepthBlock, depth_tiles - k);
        const bool last = k + count == depth_tiles;
        const auto pack = [&](int64_t tile, int64_t j) {
          PackTile<kParts>(p.left, true, row + tile * kRows, (k + j) * kDepth, p.rows, p.depth,
                           left + (tile / 2 * kDepthBlock + j) * kGroup + tile % 2 * kGroup / 2);
        };
        // Along the contiguous axis of the matrix.
        if (p.left.depth_contiguous)
          for (int64_t tile = 0; tile < 2 * row_pairs; ++tile)
            for (int64_t j = 0; j < count; ++j) pack(tile, j);
        else
          for (int64_t j = 0; j < count; ++j)
            for (int64_t tile = 0; tile < 2 * row_pairs; ++tile) pack(tile, j);
        const int64_t lines = CeilDiv(kGroup * 2 / 64, row_pairs);
        for (int64_t pair = begin; pair < end; ++pair) {
          const uint16_t* columns = right + (pair * depth_tiles + k) * kGroup;
          const char* ahead = reinterpret_cast<const char*>(columns + depth_tiles * kGroup);
          for (int64_t i = 0; i < row_pairs; ++i) {
            float* block = one_pass ? sums : sums + i * 32 * sum_stride + (pair - begin) * 32;
            const int64_t stride = one_pass ? 32 : sum_stride;
            if (k == 0)
              ZeroAccumulators();
            else
              LoadAccumulators(block, stride);
            Multiply<kParts>(left + i * kDepthBlock * kGroup, columns, count,
                             ahead + i * count * lines * 64, lines);
            StoreAccumulators(block, stride);
            if (last) {
              const int64_t column = (first + pair) * 32;
              Write(block, stride, p.result, row + i * 32, column,
                    std::min<int64_t>(32, rows - i * 32),
                    std::min<int64_t>(32, p.columns - column));
            }
          }
        }
      }
    });
  }
}

}  // namespace instrux

#endif  // INSTRUX_PRODUCTS_H_
