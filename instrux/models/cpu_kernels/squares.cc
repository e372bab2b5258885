// Sums of squares for XLA on CPUs with AMX.
#include "squares.h"

#include "xla/ffi/api/ffi.h"

namespace instrux {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Out = ffi::ResultBuffer<ffi::F32>;

ffi::Error SquaresOf(ffi::ThreadPool pool, Floats x, Out by_row, Out by_column) {
  const auto d = x.dimensions();
  if (d.size() != 3 || by_row->element_count() != static_cast<size_t>(d[0] * d[1]) ||
      by_column->element_count() != static_cast<size_t>(d[0] * d[2]))
    return ffi::Error::InvalidArgument("squares are of [count, rows, columns]");
  Squares(pool, x.typed_data(), d[0], d[1], d[2], by_row->typed_data(), by_column->typed_data());
  return ffi::Error::Success();
}

ffi::Error ScaledSquaresOf(ffi::ThreadPool pool, Floats x, Floats row_factors,
                           Floats column_factors, Out by_row) {
  const auto d = x.dimensions();
  if (d.size() != 3 || by_row->element_count() != static_cast<size_t>(d[0] * d[1]) ||
      row_factors.element_count() != by_row->element_count() ||
      column_factors.element_count() != static_cast<size_t>(d[0] * d[2]))
    return ffi::Error::InvalidArgument("squares are of [count, rows, columns]");
  ScaledSquares(pool, x.typed_data(), row_factors.typed_data(), column_factors.typed_data(), d[0],
                d[1], d[2], by_row->typed_data());
  return ffi::Error::Success();
}

}  // namespace
}  // namespace instrux

XLA_FFI_DEFINE_HANDLER_SYMBOL(InstruxSquares, instrux::SquaresOf,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(InstruxScaledSquares, instrux::ScaledSquaresOf,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());
