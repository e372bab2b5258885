// Products of two matrices for XLA on CPUs with AMX.
#include "products.h"

#include <cstdint>

#include "few_rows.h"
#include "xla/ffi/api/ffi.h"

namespace instrux {
namespace {

namespace ffi = xla::ffi;

bool IsBfloat16(const ffi::AnyBuffer& buffer) { return buffer.element_type() == ffi::BF16; }

bool IsTaken(const ffi::AnyBuffer& buffer) {
  return buffer.element_type() == ffi::F32 || IsBfloat16(buffer);
}

ffi::Error Products(ffi::ThreadPool pool, ffi::AnyBuffer left, ffi::AnyBuffer right,
                    ffi::Result<ffi::AnyBuffer> result, bool left_turned, bool right_turned,
                    int64_t parts) {
  const auto a = left.dimensions(), b = right.dimensions(), c = result->dimensions();
  if (a.size() != 2 || b.size() != 2 || c.size() != 2)
    return ffi::Error::InvalidArgument("the operands of a product must be matrices");
  if (!IsTaken(left) || !IsTaken(right) || !IsTaken(*result))
    return ffi::Error::InvalidArgument("products are of float32 and bfloat16");
  Problem p;
  p.rows = left_turned ? a[1] : a[0];
  p.depth = left_turned ? a[0] : a[1];
  p.columns = right_turned ? b[0] : b[1];
  if ((right_turned ? b[1] : b[0]) != p.depth || c[0] != p.rows || c[1] != p.columns)
    return ffi::Error::InvalidArgument("the shapes of a product do not fit");
  p.left = {left.untyped_data(), IsBfloat16(left), !left_turned, a[1]};
  p.right = {right.untyped_data(), IsBfloat16(right), right_turned, b[1]};
  p.result = {result->untyped_data(), IsBfloat16(*result), c[1]};
  const bool floats = !p.left.is_bfloat16 && !p.right.is_bfloat16 && !p.result.is_bfloat16;
  if (floats && parts == 3 && !left_turned && !right_turned && p.rows <= kFewRows)
    FewRows(pool, left.typed_data<float>(), right.typed_data<float>(), result->typed_data<float>(),
            p.rows, p.depth, p.columns);
  else if (parts == 1)
    Product<1>(pool, p);
  else if (parts == 2)
    Product<2>(pool, p);
  else
    Product<3>(pool, p);
  return ffi::Error::Success();
}

}  // namespace
}  // namespace instrux

XLA_FFI_DEFINE_HANDLER_SYMBOL(InstruxProduct, instrux::Products,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Attr<bool>("left_turned")
                                  .Attr<bool>("right_turned")
                                  .Attr<int64_t>("parts"));
