// SPDX-License-Identifier: Apache-2.0

package neural_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// pictures builds small nets of convolutions, each over pictures of the shape given.
var pictures = []struct {
	name  string
	shape tensor.Shape
	model func() *onnx.Model
}{
	{"convnet", tensor.Shape{1, 28, 28}, func() *onnx.Model { return zoo.NewConvNet(4).Model() }},
	{"resnet", tensor.Shape{32, 14, 14}, func() *onnx.Model {
		return stack(tensor.Shape{32, 14, 14}, layer{64, 3, 1, 1}, layer{64, 3, 1, 1}, layer{64, 1, 1, 1}, layer{128, 3, 2, 1})
	}},
	{"mobile", tensor.Shape{32, 28, 28}, func() *onnx.Model {
		return stack(tensor.Shape{32, 28, 28}, layer{32, 3, 1, 32}, layer{64, 1, 1, 1}, layer{64, 3, 2, 64}, layer{64, 1, 1, 1})
	}},
	{"sequence", tensor.Shape{16, 1, 50}, func() *onnx.Model {
		return stack(tensor.Shape{16, 1, 50}, layer{32, 3, 1, 1}, layer{32, 3, 1, 1})
	}},
}

// layer is a convolution with ReLU.
type layer struct{ channels, kernel, stride, groups int64 }

// stack makes a model of layers.
func stack(shape tensor.Shape, layers ...layer) *onnx.Model {
	b := onnx.NewBuilder("stack")
	r := rand.New(rand.NewPCG(7, 7))
	b.Input("x0", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(shape[0]), onnx.Extent(shape[1]), onnx.Extent(shape[2]))
	channels, height, width := shape[0], shape[1], shape[2]
	for i, l := range layers {
		kh, pad := l.kernel, l.kernel/2
		padH := pad
		if shape[1] == 1 {
			kh, padH = 1, 0
		}
		w := make([]float32, l.channels*channels/l.groups*kh*l.kernel)
		for k := range w {
			w[k] = float32(r.NormFloat64()) / float32(kh*l.kernel*channels/l.groups)
		}
		weights, bias := fmt.Sprint("w", i), fmt.Sprint("b", i)
		b.Initializer(onnx.TensorOf(weights, w, l.channels, channels/l.groups, kh, l.kernel))
		b.Initializer(onnx.TensorOf(bias, make([]float32, l.channels), l.channels))
		conv, next := fmt.Sprint("c", i), fmt.Sprint("x", i+1)
		b.Node("Conv", []string{fmt.Sprint("x", i), weights, bias}, []string{conv},
			onnx.IntsAttribute("kernel_shape", kh, l.kernel), onnx.IntsAttribute("pads", padH, pad, padH, pad),
			onnx.IntsAttribute("strides", l.stride, l.stride), onnx.IntAttribute("group", l.groups))
		b.Node("Relu", []string{conv}, []string{next})
		channels, height, width = l.channels, (height+2*padH-kh)/l.stride+1, (width+2*pad-l.kernel)/l.stride+1
	}
	b.Output(fmt.Sprint("x", len(layers)), tensor.FP32, onnx.Symbol("batch"), onnx.Extent(channels), onnx.Extent(height), onnx.Extent(width))
	m, err := b.Model()
	if err != nil {
		panic(err)
	}
	return m
}

// BenchmarkPictures runs nets of convolutions here and with ONNX Runtime in turn, on
// one thread each, and reports how many times as long the latter takes:
//
//	go test -run '^$' -bench Pictures -benchtime 200x ./engine/native/neural
func BenchmarkPictures(b *testing.B) {
	for _, p := range pictures {
		for _, rows := range []int64{1, 4, 16, 64} {
			b.Run(fmt.Sprintf("net=%s/rows=%d", p.name, rows), func(b *testing.B) {
				dir := b.TempDir()
				if err := zoo.Write(dir, "net", 1, p.model()); err != nil {
					b.Fatal(err)
				}
				shape := append(tensor.Shape{rows}, p.shape...)
				dir = filepath.Join(dir, "net", "1")
				compare(b, bind(b, native.Backend{}, dir, shape), bind(b, onnxrttest.Backend(b), dir, shape))
			})
		}
	}
}

// bind loads a model on one thread and gives the function that runs it.
func bind(b *testing.B, backend engine.Backend, dir string, shape tensor.Shape) func() error {
	m, err := backend.Load(context.Background(), dir, &modelconfig.Config{DefaultModelFilename: "model.onnx"})
	if err != nil {
		b.Fatal(err)
	}
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = in.Close(), m.Close() })
	binding, err := in.Bind([]tensor.Shape{shape})
	if err != nil {
		b.Fatal(err)
	}
	data := binding.Inputs[0].Data
	for i := range unsafe.Slice((*float32)(unsafe.Pointer(&data[0])), len(data)/4) {
		unsafe.Slice((*float32)(unsafe.Pointer(&data[0])), len(data)/4)[i] = float32(i%7) - 3
	}
	return func() error { return in.Run(context.Background(), binding) }
}

func compare(b *testing.B, here, there func() error) {
	var times [2][]time.Duration
	for b.Loop() {
		for i, run := range []func() error{here, there} {
			begin := time.Now()
			if err := run(); err != nil {
				b.Fatal(err)
			}
			times[i] = append(times[i], time.Since(begin))
		}
	}
	// The lower quartile, since other work on the machine only ever makes runs longer.
	var quartiles [2]float64
	for i := range times {
		slices.Sort(times[i])
		quartiles[i] = float64(times[i][len(times[i])/4].Nanoseconds())
	}
	b.ReportMetric(quartiles[0]/1000, "µs-here")
	b.ReportMetric(quartiles[1]/quartiles[0], "ratio")
}
