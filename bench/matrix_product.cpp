// Dense products of the graph network on one core, in CPU time. The peer is Eigen, compiled as the
// rest of the project is: for any x86-64, so without AVX and fused multiply-adds. Every answer is
// compared bit by bit with a naive loop.
#include "models/matrix_product.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <Eigen/Core>

#include "bench/measure.h"
#include "daemon/clock.h"
#include "models/matrix_kernels.h"
#include "proto/rng.h"

namespace accrete::bench {
namespace {

using Matrix = models::RowMatrix<float>;
using Eigen::Index;

struct Options : Flags {
  double seconds = 0.2;  ///< of CPU, a round
  std::size_t rounds = 9;
};

Matrix random(Index rows, Index columns, std::uint64_t seed) {
  Rng rng(seed, 0, Purpose::Test);
  Matrix out(rows, columns);
  for (Index i = 0; i < out.size(); ++i)
    out.data()[i] = static_cast<float>(2 * rng.uniform() - 1);
  return out;
}

bool same(const Matrix& a, const Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

/// The contract itself: one chain an element.
Matrix naive(const Matrix& a, const Matrix& b) {
  Matrix out = Matrix::Zero(a.rows(), b.cols());
  for (Index n = 0; n < a.rows(); ++n) {
    for (Index k = 0; k < a.cols(); ++k) {
      for (Index m = 0; m < b.cols(); ++m)
        out(n, m) = std::fma(a(n, k), b(k, m), out(n, m));
    }
  }
  return out;
}

/// Calls per CPU second: median of rounds in which ours and the peer take turns.
struct Rates {
  double ours = 0;
  double peer = 0;
};

double rate(const std::function<void()>& call, double seconds) {
  const double begin = daemon::cpu_seconds();
  double used = 0;
  std::size_t calls = 0;
  for (std::size_t batch = 1; used < seconds; batch *= 2) {
    for (std::size_t i = 0; i < batch; ++i)
      call();
    calls += batch;
    used = daemon::cpu_seconds() - begin;
  }
  return static_cast<double>(calls) / used;
}

Rates rates(const Options& options, const std::function<void()>& ours,
            const std::function<void()>& peer) {
  std::vector<double> mine;
  std::vector<double> others;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    mine.push_back(rate(ours, options.seconds));
    others.push_back(rate(peer, options.seconds));
  }
  return {percentile(mine, 0.5), percentile(others, 0.5)};
}

void report_product(const std::string& what, const Rates& rates, double flop, double goal) {
  say(what + ": Eigen", rates.peer * flop * 1e-9, "GFLOP/CPU s");
  say(what + ": ratio to Eigen", rates.ours / rates.peer, "");
  compare(what + ", GFLOP/CPU s", rates.ours * flop * 1e-9, goal, true);
}

/// N rows through a K × M matrix: forward, and the gradients of its input and of the matrix.
void products(const Options& options, Index N, Index K, Index M, double forward, double gradient) {
  const std::string shape =
      std::to_string(N) + "x" + std::to_string(K) + "x" + std::to_string(M) + " ";
  const double flop = 2 * static_cast<double>(N) * static_cast<double>(K) * static_cast<double>(M);
  const Matrix input = random(N, K, 1);
  const Matrix weights = random(K, M, 2);
  const Matrix output_gradient = random(N, M, 3);
  Matrix ours;
  Matrix peer = Matrix::Zero(N, M);

  models::multiply(input, weights, ours);
  check(same(ours, naive(input, weights)), shape + "A B");
  report_product(shape + "A B",
                 rates(
                     options, [&] { models::multiply(input, weights, ours); },
                     [&] { peer.noalias() = input * weights; }),
                 flop, forward);
  check((ours - peer).cwiseAbs().maxCoeff() < 1e-3F, shape + "A B of the peer");

  models::multiply_transposed(output_gradient, weights, ours);
  check(same(ours, naive(output_gradient, weights.transpose())), shape + "A Bt");
  report_product(shape + "A Bt",
                 rates(
                     options, [&] { models::multiply_transposed(output_gradient, weights, ours); },
                     [&] { peer.noalias() = output_gradient * weights.transpose(); }),
                 flop, gradient);

  ours.setZero(K, M);
  models::add_outer(input, output_gradient, ours);
  check(same(ours, naive(input.transpose(), output_gradient)), shape + "At B");
  report_product(shape + "At B",
                 rates(
                     options, [&] { models::add_outer(input, output_gradient, ours); },
                     [&] { peer.noalias() = input.transpose() * output_gradient; }),
                 flop, gradient);
}

/// The forward product by each kernel this machine can run: what a lesser processor would do.
void widths(const Options& options) {
  constexpr std::size_t kRows = 512;
  constexpr std::size_t kWidth = 128;
  const Matrix a = random(kRows, kWidth, 1);
  const Matrix b = random(kWidth, kWidth, 2);
  const Matrix expected = naive(a, b);
  Matrix out(kRows, kWidth);
  for (const models::Kernels<float>* kernels : models::runnable_kernels<float>()) {
    const auto call = [&] {
      models::run_product<float>(*kernels, {a.data(), kWidth, 1, b.data(), kWidth, 1, out.data(),
                                            kRows, kWidth, kWidth, false});
    };
    call();
    const std::string what = std::string("512x128x128 A B, kernels ") + kernels->name;
    check(same(out, expected), what);
    say(what, rate(call, options.seconds) * 2e-9 * kRows * kWidth * kWidth, "GFLOP/CPU s");
  }
}

void run(Options options) {
  if (options.quick) {
    options.seconds = 0.002;
    options.rounds = 3;
  }
  products(options, 512, 128, 128, 60, 45);
  products(options, 4096, 64, 64, 60, 45);
  products(options, 64, 64, 64, 45, 30);
  widths(options);
  say_load();
}

}  // namespace
}  // namespace accrete::bench

int main(int argc, char** argv) {
  CLI::App app("bench_matrix_product: products per CPU second, beside Eigen's");
  accrete::bench::Options options;
  accrete::bench::add_flags(app, options);
  app.add_option("--seconds", options.seconds, "CPU seconds a round");
  CLI11_PARSE(app, argc, argv);
  accrete::bench::run(options);
  return 0;
}
