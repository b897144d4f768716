// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt_test

import (
	"fmt"
	"path/filepath"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// BenchmarkRun compares a request's rows through the engine, gathering included,
// with the library's bound run alone. The difference is what this package costs.
//
//	go test -run '^$' -bench Run -count 6 ./engine/onnxrt | benchstat -col /path -
func BenchmarkRun(b *testing.B) {
	dir := write(b, zoo.SmallMLP().Model())
	m := loadModel(b, dir, &modelconfig.Config{MaxBatchSize: 64})
	in := newInstance(b, m, onCPU(64))
	for _, rows := range []int64{1, 8, 64} {
		request := fp32(rowsOf(int(rows), 32, 1), rows, 32)
		shapes := []tensor.Shape{request.Shape}
		b.Run(fmt.Sprintf("rows=%d/path=engine", rows), func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			for b.Loop() {
				binding, err := in.Bind(shapes)
				if err != nil {
					b.Fatal(err)
				}
				copy(binding.Inputs[0].Data, request.Data)
				if err := in.Run(ctx, binding); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("rows=%d/path=bare", rows), func(b *testing.B) {
			bareRun(b, filepath.Join(dir, "model.onnx"), rows)
		})
	}
}

// bareRun uses the binding directly, with the same session options.
func bareRun(b *testing.B, file string, rows int64) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		b.Fatal(err)
	}
	defer options.Destroy()
	if err := options.SetIntraOpNumThreads(1); err != nil {
		b.Fatal(err)
	}
	session, err := ort.NewDynamicAdvancedSession(file, nil, nil, options)
	if err != nil {
		b.Fatal(err)
	}
	defer session.Destroy()
	io, err := session.CreateIoBinding()
	if err != nil {
		b.Fatal(err)
	}
	defer io.Destroy()
	input, err := ort.NewEmptyTensor[float32](ort.NewShape(rows, 32))
	if err != nil {
		b.Fatal(err)
	}
	defer input.Destroy()
	output, err := ort.NewEmptyTensor[float32](ort.NewShape(rows, 1))
	if err != nil {
		b.Fatal(err)
	}
	defer output.Destroy()
	if err := io.BindInput("input", input); err != nil {
		b.Fatal(err)
	}
	if err := io.BindOutput("output", output); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := session.RunWithBinding(io); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBind is the part of a run before the library: finding the layout.
func BenchmarkBind(b *testing.B) {
	m := loadModel(b, write(b, zoo.SmallMLP().Model()), &modelconfig.Config{MaxBatchSize: 64})
	in := newInstance(b, m, onCPU(64))
	shapes := []tensor.Shape{{8, 32}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Bind(shapes); err != nil {
			b.Fatal(err)
		}
	}
}
