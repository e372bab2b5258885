// Matrix products in AMX tiles: operands are rounded to bfloat16, or split into a sum of two or
// three bfloat16 numbers, and laid out in tiles of 16 rows of 64 bytes.
#ifndef INSTRUX_TILES_H_
#define INSTRUX_TILES_H_

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace instrux {

constexpr int64_t kRows = 16;              // Rows or columns of a tile of the result.
constexpr int64_t kDepth = 32;             // Summed positions that a pair of tiles covers.
constexpr int64_t kTile = kRows * kDepth;  // bfloat16 numbers in a tile, 1 KiB.

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A matrix that is summed over `depth`: `outer` are the rows of the left operand or the columns of
// the right one. Either axis may be the contiguous one; the other has a stride.
struct Operand {
  const void* data;
  bool is_bfloat16;
  bool depth_contiguous;
  int64_t stride;  // In elements, of the axis that is not contiguous.
};

struct TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {0};
  uint16_t columns[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Tile registers are a thread's own, and other libraries configure them too.
class TileScope {
 public:
  TileScope() {
    alignas(64) TileConfig config;
    _tile_loadconfig(&config);
  }
  ~TileScope() { _tile_release(); }
};

inline __m512 Expand(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// What rounding to bfloat16 leaves over; not a number for an infinite one.
inline __m512 Remainder(__m512 x, __m256i rounded) { return _mm512_sub_ps(x, Expand(rounded)); }

// Writes 16 x 16 pairs, `lines[i]` as row i, or as column i where `turned`.
inline void StoreTile(__m512i* lines, bool turned, uint16_t* tile) {
  if (!turned) {
    for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + 32 * i, lines[i]);
    return;
  }
  __m512i a[16], b[16];
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_epi32(lines[2 * i], lines[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi32(lines[2 * i], lines[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    b[4 * i + 0] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
    b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
    b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
    b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_shuffle_i32x4(b[i], b[4 + i], 0x88);
    a[4 + i] = _mm512_shuffle_i32x4(b[i], b[4 + i], 0xdd);
    a[8 + i] = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0x88);
    a[12 + i] = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    _mm512_store_si512(tile + 32 * i, _mm512_shuffle_i32x4(a[i], a[8 + i], 0x88));
    _mm512_store_si512(tile + 32 * (8 + i), _mm512_shuffle_i32x4(a[i], a[8 + i], 0xdd));
    _mm512_store_si512(tile + 32 * (4 + i), _mm512_shuffle_i32x4(a[4 + i], a[12 + i], 0x88));
    _mm512_store_si512(tile + 32 * (12 + i), _mm512_shuffle_i32x4(a[4 + i], a[12 + i], 0xdd));
  }
}

inline __m512i Interleave(__m512i halves) {
  alignas(64) static const uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                  21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                  11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), halves);
}

inline __mmask16 FirstOf16(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

// Two lines of 16 floats to `kParts` vectors of 32 bfloat16: the first line in the lower half.
template <int kParts>
inline void Split(__m512 low, __m512 high, __m512i* parts) {
  for (int part = 0; part < kParts; ++part) {
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    parts[part] = both;
    if (part + 1 < kParts) {
      low = Remainder(low, _mm512_castsi512_si256(both));
      high = Remainder(high, _mm512_extracti64x4_epi64(both, 1));
    }
  }
}

// Lays out one tile of `operand`, from (outer, depth) on, as `kParts` tiles one after another.
// Tiles of the left operand have a row for each of 16 outer positions and 16 pairs of summed ones;
// those of the right operand a row for each pair. What lies beyond the matrix is zero.
template <int kParts>
inline void PackTile(const Operand& operand, bool left, int64_t outer, int64_t depth,
                     int64_t outer_size, int64_t depth_size, uint16_t* tiles) {
  __m512i lines[kParts][16];
  const int64_t outers = std::min(kRows, outer_size - outer);
  const int64_t depths = std::min(kDepth, depth_size - depth);
  const bool contiguous = operand.depth_contiguous;
  for (int64_t i = 0; i < 16; ++i) {
    __m512i parts[kParts];
    // Of the contiguous axis `low` and `high` are neighbours; of the other they are two lines.
    const int64_t line = contiguous ? outer + i : depth + 2 * i;
    const int64_t column = contiguous ? depth : outer;
    const bool first = contiguous ? i < outers : 2 * i < depths;
    const bool second = contiguous ? first : 2 * i + 1 < depths;
    const __mmask16 low_mask = first ? FirstOf16(contiguous ? depths : outers) : 0;
    const __mmask16 high_mask = second ? FirstOf16(contiguous ? depths - 16 : outers) : 0;
    const int64_t low_at = line * operand.stride + column;
    const int64_t high_at = low_at + (contiguous ? 16 : operand.stride);
    if (operand.is_bfloat16) {
      const auto* data = static_cast<const uint16_t*>(operand.data);
      const __m256i low = _mm256_maskz_loadu_epi16(low_mask, data + low_at);
      const __m256i high = _mm256_maskz_loadu_epi16(high_mask, data + high_at);
      parts[0] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
      for (int part = 1; part < kParts; ++part) parts[part] = _mm512_setzero_si512();
    } else {
      const auto* data = static_cast<const float*>(operand.data);
      Split<kParts>(_mm512_maskz_loadu_ps(low_mask, data + low_at),
                    _mm512_maskz_loadu_ps(high_mask, data + high_at), parts);
    }
    for (int part = 0; part < kParts; ++part)
      lines[part][i] = contiguous ? parts[part] : Interleave(parts[part]);
  }
  const bool turned = contiguous != left;
  for (int part = 0; part < kParts; ++part) StoreTile(lines[part], turned, tiles + part * kTile);
}

// Adds to four accumulators (tiles 0 to 3, two by two) the products of two rows of left tiles and
// two columns of right ones over `count` tiles of depth, which lie one after another: for each step
// of depth both rows, or columns, with their parts. Of split operands the products that lie within
// the last bit of float32, or of sixteen bits, are taken: six of nine, or three of four, the small
// ones first. `lines` of the cache from `ahead` on are fetched at each step.
template <int kParts>
inline void Multiply(const uint16_t* left, const uint16_t* right, int64_t count, const char* ahead,
                     int64_t lines) {
#define LOAD_LEFT(part)                      \
  _tile_loadd(4, left + (part) * kTile, 64); \
  _tile_loadd(5, left + (kParts + (part)) * kTile, 64);
#define LOAD_RIGHT(part)                      \
  _tile_loadd(6, right + (part) * kTile, 64); \
  _tile_loadd(7, right + (kParts + (part)) * kTile, 64);
#define PRODUCTS           \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t line = 0; line < lines; ++line, ahead += 64) _mm_prefetch(ahead, _MM_HINT_T1);
    if constexpr (kParts == 1) {
      LOAD_LEFT(0) LOAD_RIGHT(0) PRODUCTS
    } else if constexpr (kParts == 2) {
      LOAD_LEFT(1) LOAD_RIGHT(0) PRODUCTS LOAD_LEFT(0) PRODUCTS LOAD_RIGHT(1) PRODUCTS
    } else {
      LOAD_LEFT(2)
      LOAD_RIGHT(0) PRODUCTS LOAD_LEFT(1) PRODUCTS LOAD_RIGHT(1) PRODUCTS LOAD_LEFT(0)
          PRODUCTS LOAD_RIGHT(2) PRODUCTS LOAD_RIGHT(0) PRODUCTS
    }
    left += 2 * kParts * kTile;
    right += 2 * kParts * kTile;
  }
#undef LOAD_LEFT
#undef LOAD_RIGHT
#undef PRODUCTS
}

inline void ZeroAccumulators() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// Writes the four accumulators as a block of 32 x 32 floats.
inline void StoreAccumulators(float* block, int64_t stride) {
  _tile_stored(0, block, stride * 4);
  _tile_stored(1, block + 16, stride * 4);
  _tile_stored(2, block + 16 * stride, stride * 4);
  _tile_stored(3, block + 16 * stride + 16, stride * 4);
}

inline void LoadAccumulators(const float* block, int64_t stride) {
  _tile_loadd(0, block, stride * 4);
  _tile_loadd(1, block + 16, stride * 4);
  _tile_loadd(2, block + 16 * stride, stride * 4);
  _tile_loadd(3, block + 16 * stride + 16, stride * 4);
}

}  // namespace instrux

#endif  // INSTRUX_TILES_H_
