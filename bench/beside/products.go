// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"text/tabwriter"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/kernels/gemm"
	"github.com/millrace-ml/millrace/kernels/quant"
)

var errOutputsDiffer = errors.New("outputs differ")

// product is operands of a product of m rows with weights of k rows and n columns.
type product struct {
	m, n, k int
	a, b    []float32
	bytesA  []uint8
	bytesB  []int8
}

// rival computes a product in f32 or in 8 bits.
type rival struct {
	name string
	// run does one product into the output that it was made for.
	run func() error
	// output is the values after a run.
	output func() []float64
	// release ends the rival; nil where there is nothing to end.
	release func()
}

// shapes are rows, columns and depths.
var shapes = [][3]int{
	{1, 128, 128}, {8, 128, 128}, {64, 128, 128}, {1, 256, 256}, {8, 256, 256}, {64, 256, 256},
	{1, 1024, 1024}, {8, 1024, 1024}, {64, 1024, 1024}, {512, 512, 512}, {1024, 1024, 1024},
}

func newProduct(shape [3]int) *product {
	r := rand.New(rand.NewPCG(1, 2))
	p := &product{m: shape[0], n: shape[1], k: shape[2]}
	for range p.m * p.k {
		p.a = append(p.a, float32(r.NormFloat64()))
		p.bytesA = append(p.bytesA, uint8(r.Uint32()))
	}
	for range p.k * p.n {
		p.b = append(p.b, float32(r.NormFloat64()/math.Sqrt(float64(p.k))))
		p.bytesB = append(p.bytesB, int8(r.Uint32()))
	}
	return p
}

// products prints the rates of all libraries on all shapes.
func products(ctx context.Context, out io.Writer) error {
	if foreignMissing != "" {
		fmt.Fprintln(out, foreignMissing)
	}
	for _, kind := range []struct {
		title  string
		rivals func(p *product) ([]rival, error)
		// tolerance is how far values may lie apart.
		tolerance float64
	}{
		{"f32 products, GFLOP/s on one core", floatRivals, 1e-3},
		{"8-bit products with sums of 32 bits, GOP/s on one core", byteRivals, 0},
	} {
		fmt.Fprintf(out, "\n%s\n", kind.title)
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		for i, shape := range shapes {
			p := newProduct(shape)
			rivals, err := kind.rivals(p)
			if err == nil && i == 0 {
				header(table, rivals)
			}
			if err == nil {
				err = compare(ctx, table, p, rivals, kind.tolerance)
			}
			for _, r := range rivals {
				if r.release != nil {
					r.release()
				}
			}
			if err != nil {
				return fmt.Errorf("%d x %d x %d: %w", p.m, p.n, p.k, err)
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func header(out io.Writer, rivals []rival) {
	titles := []string{"rows", "n", "k"}
	for _, r := range rivals {
		titles = append(titles, r.name)
	}
	for _, r := range rivals[1:] {
		titles = append(titles, "ours / "+r.name)
	}
	fmt.Fprintln(out, strings.Join(titles, "\t")+"\t")
}

// compare measures one shape, after it has compared the outputs.
func compare(ctx context.Context, out io.Writer, p *product, rivals []rival, tolerance float64) error {
	var contenders []turns.Contender
	var want []float64
	for _, r := range rivals {
		if err := r.run(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		got := r.output()
		if want == nil {
			want = got
		}
		for i := range want {
			if !(math.Abs(got[i]-want[i]) <= tolerance) {
				return fmt.Errorf("%w: value %d is %g by %s and %g by %s", errOutputsDiffer, i, got[i], r.name, want[i], rivals[0].name)
			}
		}
		contenders = append(contenders, turns.Contender{Name: r.name, Run: r.run, Work: 2 * float64(p.m) * float64(p.n) * float64(p.k)})
	}
	r, err := turns.Measure(ctx, pace, contenders...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d\t%d\t%d\t", p.m, p.n, p.k)
	for _, c := range contenders {
		fmt.Fprintf(out, "%.1f\t", 1/r.Nanos(c.Name))
	}
	for _, c := range contenders[1:] {
		fmt.Fprintf(out, "%.2f\t", r.Ratio(c.Name, rivals[0].name).Median)
	}
	_, err = fmt.Fprintln(out)
	return err
}

// floatRivals are ours, which comes first, and all others.
func floatRivals(p *product) ([]rival, error) {
	ours := make([]float32, p.m*p.n)
	w := gemm.Pack(p.k, p.n, p.b, p.n, false)
	var scratch gemm.Scratch
	scratch.Reserve(p.m, w)
	theirs := make([]float32, p.m*p.n)
	a := blas32.General{Rows: p.m, Cols: p.k, Stride: p.k, Data: p.a}
	b := blas32.General{Rows: p.k, Cols: p.n, Stride: p.n, Data: p.b}
	c := blas32.General{Rows: p.m, Cols: p.n, Stride: p.n, Data: theirs}
	rivals := []rival{
		{name: "ours", output: func() []float64 { return wide(ours) }, run: func() error {
			gemm.Gemm(p.m, p.a, p.k, w, ours, p.n, nil, &scratch)
			return nil
		}},
		{name: "gonum", output: func() []float64 { return wide(theirs) }, run: func() error {
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, b, 0, c)
			return nil
		}},
	}
	foreign, err := foreignFloats(p)
	return append(rivals, foreign...), err
}

// byteRivals are ours, which comes first, and all others.
func byteRivals(p *product) ([]rival, error) {
	out := make([]int32, p.m*p.n)
	w := quant.Pack(p.k, p.n, p.bytesB, p.n, false, nil)
	var scratch quant.Scratch
	scratch.Reserve(p.m, w)
	ours := rival{name: "ours", output: func() []float64 { return wide(out) }, run: func() error {
		quant.Gemm32(p.m, p.bytesA, p.k, 0, w, out, p.n, &scratch)
		return nil
	}}
	foreign, err := foreignBytes(p)
	return append([]rival{ours}, foreign...), err
}

func wide[T float32 | int32](values []T) []float64 {
	list := make([]float64, len(values))
	for i, v := range values {
		list[i] = float64(v)
	}
	return list
}
