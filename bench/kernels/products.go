// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// productCase is a product of m rows with weights of k rows and n columns.
type productCase struct{ m, n, k int }

func (p productCase) String() string { return fmt.Sprintf("rows=%d/n=%d/k=%d", p.m, p.n, p.k) }

// operations are those of one product.
func (p productCase) operations() float64 { return 2 * float64(p.m) * float64(p.n) * float64(p.k) }

// The shapes of products. Weights of 256 and 384 columns and rows lie in an L2 cache of
// 1 MiB, of 1024 in an L3 cache.
var (
	batchProducts = []productCase{
		{8, 256, 256}, {8, 512, 512}, {8, 1024, 1024}, {16, 512, 512}, {32, 256, 256}, {32, 1024, 1024},
		{64, 256, 256}, {64, 512, 512}, {64, 1024, 1024}, {256, 256, 256}, {256, 1024, 1024},
	}
	squareProducts = []productCase{{512, 512, 512}, {768, 768, 768}, {1024, 1024, 1024}}
	vectorsInL2    = []productCase{{1, 256, 256}, {1, 384, 384}}
	vectorsInL3    = []productCase{{1, 1024, 1024}}
)

// some leaves out what takes long in a quick run.
func (l *Lab) some(products []productCase) []productCase {
	if !l.Quick {
		return products
	}
	return products[:1]
}

// Products measures products of f32: of 8 rows and more, and square ones, in percent of
// the peak of fused multiply-adds; of one row with weights in the L2 cache and in the L3
// cache, in GFLOP/s.
func Products(ctx context.Context, l *Lab) ([]float64, any, error) {
	var all []Case
	var values []float64
	for _, list := range [][]productCase{batchProducts, squareProducts, vectorsInL2, vectorsInL3} {
		var cases []Case
		for _, p := range l.some(list) {
			c, err := l.product(ctx, p)
			if err != nil {
				return nil, all, fmt.Errorf("%s: %w", p, err)
			}
			cases = append(cases, c)
		}
		values = append(values, worst(cases, every))
		all = append(all, cases...)
	}
	return values, all, nil
}

// peakCalls is how many iterations of a peak kernel make one call.
const peakCalls = 2000

func peakF32() turns.Contender {
	return turns.Contender{Name: peak, Work: gemm.PeakF32(1) * peakCalls, Run: func() error {
		gemm.PeakF32(peakCalls)
		return nil
	}}
}

// operands of a product of f32.
type operands struct {
	productCase
	a, b, c []float32
	packed  *gemm.Packed
	scratch gemm.Scratch
}

func (l *Lab) operands(p productCase) *operands {
	r := l.random()
	o := &operands{productCase: p, a: normal(r, p.m*p.k, 1), b: normal(r, p.k*p.n, 1/math.Sqrt(float64(p.k))), c: make([]float32, p.m*p.n)}
	o.packed = gemm.Pack(p.k, p.n, o.b, p.n, false)
	o.scratch.Reserve(p.m, o.packed)
	return o
}

func (o *operands) multiply() error {
	gemm.Gemm(o.m, o.a, o.k, o.packed, o.c, o.n, nil, &o.scratch)
	return nil
}

func (o *operands) contender(name string, around func() func()) turns.Contender {
	return turns.Contender{Name: name, Run: o.multiply, Work: o.operations(), Around: around}
}

// model is MatMul with the operands' weights.
func (o *operands) model() (*onnx.Model, error) {
	b := onnx.NewBuilder("product")
	b.Input("a", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(o.k)))
	b.Initializer(onnx.TensorOf("b", o.b, int64(o.k), int64(o.n)))
	b.Node("MatMul", []string{"a", "b"}, []string{"c"})
	b.Output("c", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(o.n)))
	return b.Model()
}

// product measures one product.
func (l *Lab) product(ctx context.Context, p productCase) (c Case, err error) {
	if gemm.PeakF32(1) == 0 {
		return Case{}, fmt.Errorf("%w: no kernel for this CPU tells its peak", errors.ErrUnsupported)
	}
	o := l.operands(p)
	m, err := o.model()
	if err != nil {
		return Case{}, err
	}
	both, err := l.both(ctx, "product", m, inputs{floats("a", o.a, p.m, p.k)})
	if err != nil {
		return Case{}, err
	}
	defer func() { err = errors.Join(err, both.close()) }()
	sum, err := both.agree(outputTolerance)
	if err == nil {
		err = o.agree(both.other)
	}
	if err != nil {
		return Case{}, err
	}
	r, c, err := l.measure(ctx, "f32/"+p.String(), "ns/operation", peakF32(), o.contender(kernel, nil), o.contender(narrow, atAVX2),
		turns.Contender{Name: ours, Run: both.native.run, Work: p.operations()},
		turns.Contender{Name: peer, Run: both.other.run, Work: p.operations()})
	if err != nil {
		return Case{}, err
	}
	if p.m > 1 {
		c.share(r, kernel)
	} else {
		c.set("GFLOP/s", r.Rate(kernel), 1)
		c.also(r, "of the peak", peak, kernel)
	}
	c.also(r, "of the peak at avx2", peak, narrow)
	c.also(r, "onnxruntime over engine", peer, ours)
	c.also(r, "onnxruntime over kernel", peer, kernel)
	c.Checksum = sum
	return c, nil
}

// agree compares the kernel, at both levels, with the peer.
func (o *operands) agree(other *subject) error {
	want, err := other.outputsOf(0)
	if err != nil {
		return err
	}
	for _, around := range []func() func(){func() func() { return func() {} }, atAVX2} {
		undo := around()
		clear(o.c)
		err := errors.Join(o.multiply(), agree(widened(o.c), want, outputTolerance))
		undo()
		if err != nil {
			return fmt.Errorf("kernel: %w", err)
		}
	}
	return nil
}

// Halves measures products of bf16 against ours of f32: how many times faster they are.
func Halves(ctx context.Context, l *Lab) ([]float64, any, error) {
	var cases []Case
	for _, p := range l.some(append(append([]productCase{}, batchProducts...), squareProducts...)) {
		c, err := l.half(ctx, p)
		if err != nil {
			return nil, cases, fmt.Errorf("%s: %w", p, err)
		}
		cases = append(cases, c)
	}
	return []float64{worst(cases, every)}, cases, nil
}

// halfTolerance bounds what rounding both operands to 8 bits costs, in units of the
// outputs' deviation, which is 1.
const halfTolerance = 0.05

func (l *Lab) half(ctx context.Context, p productCase) (Case, error) {
	o := l.operands(p)
	packed, out := gemm.PackBF16(p.k, p.n, o.b, p.n, false), make([]float32, p.m*p.n)
	o.scratch.ReserveBF16(p.m, packed)
	multiply := func() error {
		gemm.GemmBF16(p.m, o.a, p.k, packed, out, p.n, nil, &o.scratch)
		return nil
	}
	if err := errors.Join(o.multiply(), multiply()); err != nil {
		return Case{}, err
	}
	if err := agree(widened(out), widened(o.c), halfTolerance); err != nil {
		return Case{}, err
	}
	const f32, bf16 = "f32", "bf16"
	contenders := []turns.Contender{
		o.contender(f32, nil), {Name: bf16, Run: multiply, Work: p.operations()},
	}
	if work := gemm.PeakBF16(1) * peakCalls; work > 0 {
		contenders = append(contenders, turns.Contender{Name: peak, Work: work, Run: func() error {
			gemm.PeakBF16(peakCalls)
			return nil
		}})
	}
	r, c, err := l.measure(ctx, "bf16/"+p.String(), "ns/operation", contenders...)
	if err != nil {
		return Case{}, err
	}
	c.ratio(r, f32, bf16)
	c.also(r, "of the peak", peak, bf16)
	c.Checksum = sumOf(widened(out))
	return c, nil
}

func sumOf(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}
