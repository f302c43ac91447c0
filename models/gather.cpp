// Lists checked, and each handed to the kernel of the processor's vector width.
#include "models/gather.h"

#include <algorithm>

#include "models/matrix_kernels.h"
#include "proto/result.h"

namespace accrete::models {
namespace {

template <class Real>
void check_lists(const RowLists<Real>& lists, std::size_t rows) {
  ACCRETE_CHECK(lists.weight.empty() || lists.weight.size() == lists.source.size());
  ACCRETE_CHECK(std::is_sorted(lists.begin.begin(), lists.begin.end()));
  ACCRETE_CHECK(lists.begin.empty() || lists.begin.back() <= lists.source.size());
  std::uint32_t largest = 0;
  for (const std::uint32_t source : lists.source)
    largest = std::max(largest, source);
  ACCRETE_CHECK(lists.source.empty() || largest < rows);
}

/// What gathering and scattering share of list i.
template <class Real, class Row>
void describe(const RowLists<Real>& lists, std::size_t i, Row& row) {
  const std::size_t begin = lists.begin[i];
  row.source = lists.source.data() + begin;
  row.weight = lists.weight.empty() ? nullptr : lists.weight.data() + begin;
  row.count = lists.begin[i + 1] - begin;
  row.scale = row.count == 0 ? Real{0} : Real{1} / static_cast<Real>(row.count);
}

}  // namespace

template <class Real>
void gather_mean(const RowLists<Real>& lists, const RowMatrix<Real>& rows, RowMatrix<Real>& out) {
  ACCRETE_CHECK(&out != &rows);
  check_lists(lists, static_cast<std::size_t>(rows.rows()));
  const Kernels<Real>& kernels = fastest_kernels<Real>();
  out.resize(static_cast<Eigen::Index>(lists.size()), rows.cols());
  GatherRow<Real> row{};
  row.rows = rows.data();
  row.width = static_cast<std::size_t>(rows.cols());
  for (std::size_t i = 0; i < lists.size(); ++i) {
    describe(lists, i, row);
    row.out = out.data() + i * row.width;
    kernels.gather(row);
  }
}

template <class Real>
void scatter_mean(const RowLists<Real>& lists, const RowMatrix<Real>& g, RowMatrix<Real>& rows) {
  ACCRETE_CHECK(&rows != &g && g.cols() == rows.cols());
  ACCRETE_CHECK(static_cast<std::size_t>(g.rows()) == lists.size());
  check_lists(lists, static_cast<std::size_t>(rows.rows()));
  const Kernels<Real>& kernels = fastest_kernels<Real>();
  ScatterRow<Real> row{};
  row.rows = rows.data();
  row.width = static_cast<std::size_t>(rows.cols());
  for (std::size_t i = 0; i < lists.size(); ++i) {
    describe(lists, i, row);
    row.from = g.data() + i * row.width;
    kernels.scatter(row);
  }
}

template void gather_mean(const RowLists<float>&, const RowMatrix<float>&, RowMatrix<float>&);
template void gather_mean(const RowLists<double>&, const RowMatrix<double>&, RowMatrix<double>&);
template void scatter_mean(const RowLists<float>&, const RowMatrix<float>&, RowMatrix<float>&);
template void scatter_mean(const RowLists<double>&, const RowMatrix<double>&, RowMatrix<double>&);

}  // namespace accrete::models
