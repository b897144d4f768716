// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/quant"
)

// The shapes of 8-bit products: those whose peak is told, and small and large ones that
// are compared with the peer.
var (
	byteProducts = []productCase{
		{8, 256, 256}, {8, 512, 512}, {8, 1024, 1024}, {16, 512, 512},
		{64, 256, 256}, {64, 512, 512}, {64, 1024, 1024}, {256, 512, 512},
	}
	smallByteProducts = []productCase{{1, 128, 128}, {8, 128, 128}}
	largeByteProducts = []productCase{{64, 256, 256}, {64, 512, 512}, {64, 1024, 1024}}
)

// Bytes measures products of 8-bit integers: of 8 rows and more, in percent of the peak
// of 8-bit dot products; whole runs of small and of large ones against the peer.
func Bytes(ctx context.Context, l *Lab) ([]float64, any, error) {
	var all []Case
	var values []float64
	for i, list := range [][]productCase{byteProducts, smallByteProducts, largeByteProducts} {
		measured := l.byteRun
		if i == 0 {
			measured = l.byteProduct
		}
		var cases []Case
		for _, p := range l.some(list) {
			c, err := measured(ctx, p)
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

// byteOperands of a product of 8-bit integers with sums of 32 bits.
type byteOperands struct {
	productCase
	a       []uint8
	b       []int8
	c       []int32
	packed  *quant.Packed
	scratch quant.Scratch
}

// byteZero is the zero point of the activations.
const byteZero = 7

func (l *Lab) byteOperands(p productCase) *byteOperands {
	r := l.random()
	o := &byteOperands{productCase: p, a: bytes(r, p.m*p.k), b: make([]int8, p.k*p.n), c: make([]int32, p.m*p.n)}
	for i, v := range bytes(r, p.k*p.n) {
		o.b[i] = int8(v)
	}
	o.packed = quant.Pack(p.k, p.n, o.b, p.n, false, nil)
	o.scratch.Reserve(p.m, o.packed)
	return o
}

func (o *byteOperands) multiply() error {
	quant.Gemm32(o.m, o.a, o.k, byteZero, o.packed, o.c, o.n, &o.scratch)
	return nil
}

// check compares the first and the last row with plain sums.
func (o *byteOperands) check() error {
	if err := o.multiply(); err != nil {
		return err
	}
	for _, i := range []int{0, o.m - 1} {
		want := make([]int32, o.n)
		for k, a := range o.a[i*o.k:][:o.k] {
			for j, b := range o.b[k*o.n:][:o.n] {
				want[j] += (int32(a) - byteZero) * int32(b)
			}
		}
		if err := agree(widened(o.c[i*o.n:][:o.n]), widened(want), 0); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

// byteProduct measures the kernel against the peak.
func (l *Lab) byteProduct(ctx context.Context, p productCase) (Case, error) {
	o := l.byteOperands(p)
	if err := o.check(); err != nil {
		return Case{}, err
	}
	work := float64(quant.PeakVNNI(peakCalls))
	if work == 0 {
		return Case{}, fmt.Errorf("%w: this CPU has no 8-bit dot products to compare with", errors.ErrUnsupported)
	}
	r, c, err := l.measure(ctx, "int8/"+p.String(), "ns/operation",
		turns.Contender{Name: kernel, Run: o.multiply, Work: p.operations()},
		turns.Contender{Name: narrow, Run: o.multiply, Work: p.operations(), Around: atAVX2},
		turns.Contender{Name: peak, Work: work, Run: func() error {
			quant.PeakVNNI(peakCalls)
			return nil
		}})
	if err != nil {
		return Case{}, err
	}
	c.share(r, kernel)
	c.also(r, "kernel over kernel at avx2", narrow, kernel)
	c.Checksum = sumOf(widened(o.c))
	return c, nil
}

// model is MatMulInteger with the operands' weights.
func (o *byteOperands) model() (*onnx.Model, error) {
	b := onnx.NewBuilder("byte_product")
	b.Input("a", tensor.Uint8, onnx.Symbol("batch"), onnx.Extent(int64(o.k)))
	b.Initializer(onnx.TensorOf("b", o.b, int64(o.k), int64(o.n)))
	b.Initializer(onnx.TensorOf("zero", []uint8{byteZero}))
	b.Node("MatMulInteger", []string{"a", "b", "zero"}, []string{"c"})
	b.Output("c", tensor.Int32, onnx.Symbol("batch"), onnx.Extent(int64(o.n)))
	return b.Model()
}

// byteRun measures a whole run against the peer.
func (l *Lab) byteRun(ctx context.Context, p productCase) (c Case, err error) {
	o := l.byteOperands(p)
	m, err := o.model()
	if err != nil {
		return Case{}, err
	}
	both, err := l.both(ctx, "byte_product", m, inputs{byteInput(o)})
	if err != nil {
		return Case{}, err
	}
	defer func() { err = errors.Join(err, both.close()) }()
	sum, err := both.agree(0)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return Case{}, err
	}
	r, c, err := l.measure(ctx, "int8 run/"+p.String(), "ns/operation",
		turns.Contender{Name: ours, Run: both.native.run, Work: p.operations()},
		turns.Contender{Name: peer, Run: both.other.run, Work: p.operations()},
		turns.Contender{Name: kernel, Run: o.multiply, Work: p.operations()})
	if err != nil {
		return Case{}, err
	}
	c.ratio(r, peer, ours)
	c.also(r, "onnxruntime over kernel", peer, kernel)
	c.Checksum = sum
	return c, nil
}

// byteInput is the operands' activations as the model takes them.
func byteInput(o *byteOperands) tensor.Tensor {
	return tensorOf("a", tensor.Uint8, o.a, []int{o.m, o.k})
}
