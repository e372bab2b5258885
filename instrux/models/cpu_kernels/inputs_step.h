// A decoding step's attention to the encoder's output, whose keys and values are never computed:
// queries go through the keys' kernel, and what was seen through the values' one.
#ifndef INSTRUX_INPUTS_STEP_H_
#define INSTRUX_INPUTS_STEP_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "attention.h"
#include "few_rows.h"
#include "parallel.h"

namespace instrux {

struct StepShape {
  int64_t batch, count, heads, width, length, embed;  // `count` queries a row of the batch.
};

// Products of `rows` lines with `kLines` lines of the encoder's output: `logits` is [rows, length].
inline void StepLogits(const float* asked, const float* encoded, int64_t rows, int64_t length,
                       int64_t embed, float* logits, int64_t stride) {
  constexpr int64_t kLines = 4, kRowsTogether = 6;
  for (int64_t line = 0; line < length; line += kLines) {
    const int64_t lines = std::min(kLines, length - line);
    for (int64_t row = 0; row < rows; row += kRowsTogether) {
      const int64_t together = std::min(kRowsTogether, rows - row);
      __m512 sums[kRowsTogether][kLines] = {};
      for (int64_t e = 0; e < embed; e += 16) {
        const __mmask16 within = FirstOf16(embed - e);
        __m512 positions[kLines];
        // Beyond the last line or row the last one is read again, and not used.
        for (int64_t j = 0; j < kLines; ++j)
          positions[j] =
              _mm512_maskz_loadu_ps(within, encoded + (line + std::min(j, lines - 1)) * embed + e);
        for (int64_t i = 0; i < kRowsTogether; ++i) {
          const __m512 x =
              _mm512_maskz_loadu_ps(within, asked + (row + std::min(i, together - 1)) * embed + e);
          for (int64_t j = 0; j < kLines; ++j)
            sums[i][j] = _mm512_fmadd_ps(x, positions[j], sums[i][j]);
        }
      }
      for (int64_t i = 0; i < together; ++i)
        for (int64_t j = 0; j < lines; ++j)
          logits[(row + i) * stride + line + j] = _mm512_reduce_add_ps(sums[i][j]);
    }
  }
}

// queries [batch, count, heads, width], key [heads, width, embed], value [heads, embed, width],
// encoded [batch, length, embed], mask [batch or 1, 1, 1, length]; attended has queries' shape.
template <typename Pool>
void InputsStep(Pool& pool, const StepShape& s, const float* queries, const float* key,
                const float* value, const float* encoded, const uint8_t* mask, int64_t mask_batch,
                float* attended) {
  const int64_t rows = s.batch * s.count, asked_rows = s.heads * s.count;
  Scratch asked_scratch(s.heads * rows * s.embed * 4), seen_scratch(s.heads * rows * s.embed * 4);
  float *asked = asked_scratch.as<float>(),
        *seen = seen_scratch.as<float>();  // [heads, rows, embed]
  ParallelFor(pool, s.heads, [&](int64_t head) {
    FewRowsBlocks(rows, queries + head * s.width, s.heads * s.width, key + head * s.width * s.embed,
                  asked + head * rows * s.embed, s.width, s.embed, s.embed);
  });
  const int64_t padded = Padded(s.length);
  ParallelFor(pool, s.batch, [&](int64_t row) {
    Scratch asked_lines(asked_rows * s.embed * 4), seen_lines(asked_rows * s.embed * 4);
    Scratch logit_lines(asked_rows * padded * 4);
    const auto line_of = [&](float* of, int64_t i) {
      return of + (i / s.count * rows + row * s.count + i % s.count) * s.embed;
    };
    for (int64_t i = 0; i < asked_rows; ++i)
      std::memcpy(asked_lines.as<float>() + i * s.embed, line_of(asked, i), s.embed * 4);
    const float* positions = encoded + row * s.length * s.embed;
    float* logits = logit_lines.as<float>();
    StepLogits(asked_lines.as<float>(), positions, asked_rows, s.length, s.embed, logits, padded);
    const AttentionShape shape = {s.batch, s.heads, s.width, 1, s.length};
    const BiasAndMask extra = {nullptr, mask, mask_batch, 0};
    for (int64_t i = 0; i < asked_rows; ++i) {
      float* line = logits + i * padded;
      AddBias(line, shape, extra, row, 0, 0, padded);
      const float sum = Exponentials(line, Highest(line, padded), padded);
      const __m512 factor = _mm512_set1_ps(1.0f / sum);
      for (int64_t j = 0; j < padded; j += 16)
        _mm512_store_ps(line + j, _mm512_mul_ps(factor, _mm512_load_ps(line + j)));
    }
    FewRowsBlocks(asked_rows, logits, padded, positions, seen_lines.as<float>(), s.length, s.embed,
                  s.embed);
    for (int64_t i = 0; i < asked_rows; ++i)
      std::memcpy(line_of(seen, i), seen_lines.as<float>() + i * s.embed, s.embed * 4);
  });
  ParallelFor(pool, s.heads, [&](int64_t head) {
    Scratch lines(rows * s.width * 4);
    FewRowsBlocks(rows, seen + head * rows * s.embed, s.embed, value + head * s.embed * s.width,
                  lines.as<float>(), s.embed, s.width, s.width);
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(attended + (row * s.heads + head) * s.width, lines.as<float>() + row * s.width,
                  s.width * 4);
  });
}

}  // namespace instrux

#endif  // INSTRUX_INPUTS_STEP_H_
