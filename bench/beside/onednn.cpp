// SPDX-License-Identifier: Apache-2.0

//go:build beside && cgo

#include "onednn.h"

#include <exception>
#include <unordered_map>

#include <dnnl.hpp>

using dnnl::memory;

namespace {

struct Product {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul matmul;
  std::unordered_map<int, memory> arguments;
};

dnnl::matmul::primitive_desc describe(const dnnl::engine &engine, const memory::desc &a, const memory::desc &b,
                                      const memory::desc &c) {
#if DNNL_VERSION_MAJOR < 3
  return {dnnl::matmul::desc(a, b, c), engine};
#else
  return {engine, a, b, c};
#endif
}

}  // namespace

void *beside_open(int kind, int m, int n, int k, void *a, void *b, void *c) {
  try {
    const bool f32 = kind == beside_f32;
    const auto rows = memory::format_tag::ab;
    const auto typeA = f32 ? memory::data_type::f32 : memory::data_type::u8;
    const auto typeB = f32 ? memory::data_type::f32 : memory::data_type::s8;
    const auto typeC = f32 ? memory::data_type::f32 : memory::data_type::s32;
    const memory::desc descA({m, k}, typeA, rows), descB({k, n}, typeB, rows), descC({m, n}, typeC, rows);
    auto product = new Product;
    const auto desc = describe(product->engine, descA, memory::desc({k, n}, typeB, memory::format_tag::any), descC);
    memory plain(descB, product->engine, b), packed(desc.weights_desc(), product->engine);
    dnnl::reorder(plain, packed).execute(product->stream, plain, packed);
    product->stream.wait();
    product->matmul = dnnl::matmul(desc);
    product->arguments = {{DNNL_ARG_SRC, memory(descA, product->engine, a)},
                          {DNNL_ARG_WEIGHTS, packed},
                          {DNNL_ARG_DST, memory(descC, product->engine, c)}};
    return product;
  } catch (const std::exception &) {
    return nullptr;
  }
}

int beside_run(void *handle) {
  try {
    auto product = static_cast<Product *>(handle);
    product->matmul.execute(product->stream, product->arguments);
    product->stream.wait();
    return 0;
  } catch (const std::exception &) {
    return 1;
  }
}

void beside_close(void *handle) { delete static_cast<Product *>(handle); }
