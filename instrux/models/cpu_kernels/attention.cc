// Attention for XLA on CPUs with AMX.
#include "attention.h"

#include "inputs_step.h"
#include "xla/ffi/api/ffi.h"

namespace instrux {
namespace {

namespace ffi = xla::ffi;
using Array = ffi::AnyBuffer;
using Out = ffi::Result<ffi::AnyBuffer>;

Heads HeadsOf(const Array& array) {
  return {array.untyped_data(), array.element_type() == ffi::BF16};
}

bool SameShape(const Array& a, const Array& b) { return a.dimensions() == b.dimensions(); }

// An empty bias or mask stands for none.
ffi::Error ShapeOf(const Array& queries, const Array& keys, const Array& values, const Array& bias,
                   const Array& mask, AttentionShape* shape, BiasAndMask* extra) {
  const auto q = queries.dimensions(), k = keys.dimensions(), m = mask.dimensions();
  if (q.size() != 4 || k.size() != 4 || !SameShape(keys, values) || q[0] != k[0] || q[2] != k[2] ||
      q[3] != k[3])
    return ffi::Error::InvalidArgument("queries, keys and values do not fit");
  const auto type = queries.element_type();
  if ((type != ffi::F32 && type != ffi::BF16) || keys.element_type() != type ||
      values.element_type() != type)
    return ffi::Error::InvalidArgument("attention is of float32 or bfloat16, the same for all");
  if (bias.element_type() != ffi::F32 || mask.element_type() != ffi::PRED)
    return ffi::Error::InvalidArgument("the bias must be float32 and the mask bool");
  *shape = {q[0], q[2], q[3], q[1], k[1]};
  *extra = {nullptr, nullptr, 0, 0};
  if (bias.element_count() > 0) {
    if (bias.element_count() != static_cast<size_t>(q[2] * q[1] * k[1]))
      return ffi::Error::InvalidArgument("the bias is not [1, heads, queries, keys]");
    extra->bias = static_cast<const float*>(bias.untyped_data());
  }
  if (mask.element_count() > 0) {
    if (m.size() != 4 || m[1] != 1 || m[3] != k[1] || (m[0] != 1 && m[0] != q[0]) ||
        (m[2] != 1 && m[2] != q[1]))
      return ffi::Error::InvalidArgument("the mask is not [batch or 1, 1, queries or 1, keys]");
    extra->mask = static_cast<const uint8_t*>(mask.untyped_data());
    extra->mask_query = m[2] == 1 ? 0 : m[3];
    extra->mask_batch = m[0] == 1 ? 0 : m[2] * m[3];
  }
  return ffi::Error::Success();
}

ffi::Error Forward(ffi::ThreadPool pool, Array queries, Array keys, Array values, Array bias,
                   Array mask, Out output, Out softmax) {
  AttentionShape shape;
  BiasAndMask extra;
  ffi::Error error = ShapeOf(queries, keys, values, bias, mask, &shape, &extra);
  if (error.failure()) return error;
  const Heads q = HeadsOf(queries), k = HeadsOf(keys), v = HeadsOf(values), o = HeadsOf(*output);
  auto* kept = static_cast<float*>(softmax->untyped_data());
  if (q.is_bfloat16)
    Attend<1>(pool, shape, q, k, v, extra, o, kept);
  else
    Attend<3>(pool, shape, q, k, v, extra, o, kept);
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::ThreadPool pool, Array queries, Array keys, Array values, Array bias,
                    Array mask, Array output, Array softmax, Array cotangent, Out by_queries,
                    Out by_keys, Out by_values, Out by_bias) {
  AttentionShape shape;
  BiasAndMask extra;
  ffi::Error error = ShapeOf(queries, keys, values, bias, mask, &shape, &extra);
  if (error.failure()) return error;
  const Heads q = HeadsOf(queries), k = HeadsOf(keys), v = HeadsOf(values), o = HeadsOf(output);
  AttentionGradients gradients = {HeadsOf(*by_queries), HeadsOf(*by_keys), HeadsOf(*by_values),
                                  nullptr};
  if (extra.bias) gradients.bias = static_cast<float*>(by_bias->untyped_data());
  const auto* kept = static_cast<const float*>(softmax.untyped_data());
  if (q.is_bfloat16)
    AttendBackward<1>(pool, shape, q, k, v, extra, o, kept, HeadsOf(cotangent), gradients);
  else
    AttendBackward<3>(pool, shape, q, k, v, extra, o, kept, HeadsOf(cotangent), gradients);
  return ffi::Error::Success();
}

ffi::Error Step(ffi::ThreadPool pool, ffi::Buffer<ffi::F32> queries, ffi::Buffer<ffi::F32> key,
                ffi::Buffer<ffi::F32> value, ffi::Buffer<ffi::F32> encoded,
                ffi::Buffer<ffi::PRED> mask, ffi::ResultBuffer<ffi::F32> attended) {
  const auto q = queries.dimensions(), k = key.dimensions(), v = value.dimensions(),
             e = encoded.dimensions(), m = mask.dimensions();
  if (q.size() != 4 || k.size() != 3 || v.size() != 3 || e.size() != 3 || m.size() != 4 ||
      k[0] != q[2] || k[1] != q[3] || k[2] != e[2] || v[0] != q[2] || v[1] != e[2] ||
      v[2] != q[3] || e[0] != q[0] || m[3] != e[1] || m[1] != 1 || m[2] != 1 ||
      (m[0] != 1 && m[0] != q[0]))
    return ffi::Error::InvalidArgument("the arrays of a step's attention do not fit");
  const StepShape shape = {q[0], q[1], q[2], q[3], e[1], e[2]};
  InputsStep(pool, shape, queries.typed_data(), key.typed_data(), value.typed_data(),
             encoded.typed_data(), reinterpret_cast<const uint8_t*>(mask.typed_data()),
             m[0] == 1 ? 0 : m[3], attended->typed_data());
  return ffi::Error::Success();
}

}  // namespace
}  // namespace instrux

XLA_FFI_DEFINE_HANDLER_SYMBOL(InstruxInputsStep, instrux::Step,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::PRED>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(InstruxAttention, instrux::Forward,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(InstruxAttentionGradient, instrux::Backward,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>());
