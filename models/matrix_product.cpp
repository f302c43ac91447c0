// The three products as strides of one.
#include "models/matrix_product.h"

#include "models/matrix_kernels.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

std::size_t size(Eigen::Index n) {
  return static_cast<std::size_t>(n);
}

/// `out` with its size, old numbers kept only where they are added to.
template <class Real>
void shape(RowMatrix<Real>& out, Eigen::Index rows, Eigen::Index columns, bool add) {
  if (add) {
    ACCRETE_CHECK(out.rows() == rows && out.cols() == columns);
  } else {
    out.resize(rows, columns);
  }
}

/// a b, a bᵀ and aᵀ b of `rows` rows of the result, or of all.
template <class Real>
Product<Real> plain(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
                    std::size_t rows, bool add) {
  const std::size_t K = size(a.cols());
  const std::size_t M = size(b.cols());
  return {a.data(), K, 1, b.data(), M, 1, out.data(), rows, K, M, add};
}
template <class Real>
Product<Real> transposed(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
                         std::size_t rows, bool add) {
  const std::size_t K = size(a.cols());
  return {a.data(), K, 1, b.data(), 1, K, out.data(), rows, K, size(b.rows()), add};
}
template <class Real>
Product<Real> outer(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out) {
  const std::size_t K = size(a.cols());
  const std::size_t M = size(b.cols());
  return {a.data(), 1, K, b.data(), M, 1, out.data(), K, size(a.rows()), M, true};
}

template <class Real>
void run(const Product<Real>& product) {
  run_product<Real>(fastest_kernels<Real>(), product);
}

}  // namespace

template <class Real>
void multiply(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out, bool add) {
  ACCRETE_CHECK(a.cols() == b.rows() && &out != &a && &out != &b);
  shape(out, a.rows(), b.cols(), add);
  run<Real>(plain(a, b, out, size(a.rows()), add));
}

template <class Real>
void multiply_transposed(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out,
                         bool add) {
  ACCRETE_CHECK(a.cols() == b.cols() && &out != &a && &out != &b);
  shape(out, a.rows(), b.rows(), add);
  run<Real>(transposed(a, b, out, size(a.rows()), add));
}

template <class Real>
void add_outer(const RowMatrix<Real>& a, const RowMatrix<Real>& b, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.rows() == b.rows() && &out != &a && &out != &b);
  shape(out, a.cols(), b.cols(), true);
  run<Real>(outer(a, b, out));
}

template <class Real>
void multiply_into(const RowMatrix<Real>& a, std::size_t first, const RowMatrix<Real>& b,
                   std::span<const std::uint32_t> rows, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.cols() == b.rows() && &out != &a && &out != &b);
  ACCRETE_CHECK(first + rows.size() <= size(a.rows()) && out.cols() == b.cols());
  Product<Real> product = plain(a, b, out, rows.size(), true);
  product.a += first * product.a_row;
  product.out_rows = rows.data();
  run(product);
}

template <class Real>
void multiply_transposed_into(const RowMatrix<Real>& a, const RowMatrix<Real>& b,
                              std::span<const std::uint32_t> rows, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.cols() == b.cols() && &out != &a && &out != &b);
  ACCRETE_CHECK(size(a.rows()) == rows.size() && out.cols() == b.rows());
  Product<Real> product = transposed(a, b, out, rows.size(), true);
  product.out_rows = rows.data();
  run(product);
}

template <class Real>
void multiply_rows(const RowMatrix<Real>& a, std::span<const std::uint32_t> rows,
                   const RowMatrix<Real>& b, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.cols() == b.rows() && &out != &a && &out != &b);
  shape(out, static_cast<Eigen::Index>(rows.size()), b.cols(), false);
  Product<Real> product = plain(a, b, out, rows.size(), false);
  product.a_rows = rows.data();
  run(product);
}

template <class Real>
void multiply_rows_transposed(const RowMatrix<Real>& a, std::span<const std::uint32_t> rows,
                              const RowMatrix<Real>& b, std::size_t first, RowMatrix<Real>& out) {
  ACCRETE_CHECK(a.cols() == b.cols() && &out != &a && &out != &b);
  ACCRETE_CHECK(first + rows.size() <= size(out.rows()) && out.cols() == b.rows());
  Product<Real> product = transposed(a, b, out, rows.size(), false);
  product.a_rows = rows.data();
  product.out += first * product.out_row;
  run(product);
}

template <class Real>
void add_outer_rows(const RowMatrix<Real>& a, std::size_t first, const RowMatrix<Real>& b,
                    std::span<const std::uint32_t> rows, RowMatrix<Real>& out) {
  ACCRETE_CHECK(first + rows.size() <= size(a.rows()) && &out != &a && &out != &b);
  shape(out, a.cols(), b.cols(), true);
  Product<Real> product = outer(a, b, out);
  product.a += first * product.a_inner;
  product.inner = rows.size();
  product.b_rows = rows.data();
  run(product);
}

template <class Real>
void expand_heads(const RowMatrix<Real>& x, const RowMatrix<Real>& w, std::size_t heads,
                  RowMatrix<Real>& out) {
  const std::size_t d = size(w.cols());
  const std::size_t part = d / heads;
  ACCRETE_CHECK(size(x.cols()) == d && w.rows() == w.cols() && part * heads == d);
  out.resize(x.rows(), x.cols() * static_cast<Eigen::Index>(heads));
  for (std::size_t h = 0; h < heads; ++h) {
    run<Real>({x.data() + h * part, d, 1, w.data() + h * part, 1, d, out.data() + h * d,
               size(x.rows()), part, d, false, heads * d});
  }
}

template <class Real>
void reduce_heads(const RowMatrix<Real>& y, const RowMatrix<Real>& w, std::size_t heads,
                  RowMatrix<Real>& out) {
  const std::size_t d = size(w.cols());
  const std::size_t part = d / heads;
  ACCRETE_CHECK(size(y.cols()) == heads * d && w.rows() == w.cols() && part * heads == d);
  out.resize(y.rows(), w.cols());
  for (std::size_t h = 0; h < heads; ++h) {
    run<Real>({y.data() + h * d, heads * d, 1, w.data() + h * part, d, 1, out.data() + h * part,
               size(y.rows()), d, part, false, d});
  }
}

template <class Real>
void add_head_outer(const RowMatrix<Real>& y, const RowMatrix<Real>& x, std::size_t heads,
                    RowMatrix<Real>& out) {
  const std::size_t d = size(out.cols());
  const std::size_t part = d / heads;
  ACCRETE_CHECK(y.rows() == x.rows() && size(x.cols()) == d && size(y.cols()) == heads * d);
  ACCRETE_CHECK(out.rows() == out.cols() && part * heads == d);
  // The other way around: rows of y are long enough for wide tiles, those of x_h are not.
  RowMatrix<Real> turned(static_cast<Eigen::Index>(part), out.cols());
  for (std::size_t h = 0; h < heads; ++h) {
    run<Real>({x.data() + h * part, 1, d, y.data() + h * d, heads * d, 1, turned.data(), part,
               size(y.rows()), d, false});
    out.middleCols(static_cast<Eigen::Index>(h * part), turned.rows()) += turned.transpose();
  }
}

#define ACCRETE_INSTANTIATE(Real)                                                                 \
  template void multiply(const RowMatrix<Real>&, const RowMatrix<Real>&, RowMatrix<Real>&, bool); \
  template void multiply_transposed(const RowMatrix<Real>&, const RowMatrix<Real>&,               \
                                    RowMatrix<Real>&, bool);                                      \
  template void add_outer(const RowMatrix<Real>&, const RowMatrix<Real>&, RowMatrix<Real>&);      \
  template void multiply_into(const RowMatrix<Real>&, std::size_t, const RowMatrix<Real>&,        \
                              std::span<const std::uint32_t>, RowMatrix<Real>&);                  \
  template void multiply_transposed_into(const RowMatrix<Real>&, const RowMatrix<Real>&,          \
                                         std::span<const std::uint32_t>, RowMatrix<Real>&);       \
  template void multiply_rows(const RowMatrix<Real>&, std::span<const std::uint32_t>,             \
                              const RowMatrix<Real>&, RowMatrix<Real>&);                          \
  template void multiply_rows_transposed(const RowMatrix<Real>&, std::span<const std::uint32_t>,  \
                                         const RowMatrix<Real>&, std::size_t, RowMatrix<Real>&);  \
  template void add_outer_rows(const RowMatrix<Real>&, std::size_t, const RowMatrix<Real>&,       \
                               std::span<const std::uint32_t>, RowMatrix<Real>&);                 \
  template void expand_heads(const RowMatrix<Real>&, const RowMatrix<Real>&, std::size_t,         \
                             RowMatrix<Real>&);                                                   \
  template void reduce_heads(const RowMatrix<Real>&, const RowMatrix<Real>&, std::size_t,         \
                             RowMatrix<Real>&);                                                   \
  template void add_head_outer(const RowMatrix<Real>&, const RowMatrix<Real>&, std::size_t,       \
                               RowMatrix<Real>&);
ACCRETE_INSTANTIATE(float)
ACCRETE_INSTANTIATE(double)
#undef ACCRETE_INSTANTIATE

}  // namespace accrete::models
