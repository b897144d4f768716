// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/kernels"
	"github.com/millrace-ml/millrace/bench/report"
	"github.com/millrace-ml/millrace/engine/native"
)

// kernelSuite compares kernels with what the CPU can do, and the native engine with
// ONNX Runtime. Its models are written by the scenarios that need them.
var kernelSuite = suite{name: "kernels", scenarios: kernelScenarios, models: func(repository string) error {
	return os.MkdirAll(repository, 0o755)
}}

// Kernels runs the suite that measures one core: kernels against the CPU's peak, and
// whole runs of the native engine against ONNX Runtime. It is like Serve otherwise.
func Kernels(ctx context.Context, o Options) (*report.Report, error) { return kernelSuite.run(ctx, o) }

// KernelScenarios names the scenarios of the suite.
func KernelScenarios() []string { return kernelSuite.names() }

// kernelScenarios are the rows of the kernel suite, in the order of its table. A value
// over several cases is the worst one's.
var kernelScenarios = []scenario{
	{
		name: "trees",
		rows: []promise{
			{"100 to 1000 trees of 31 leaves, 64 and 256 rows: ONNX Runtime's ns/row over ours", report.AtLeast(40)},
			{"100 and 1000 trees of 255 leaves, 256 rows: ONNX Runtime's ns/row over ours", report.AtLeast(17)},
			{"100 and 1000 trees of 255 leaves, 64 rows: ONNX Runtime's ns/row over ours", report.AtLeast(10)},
			{"100 to 1000 trees of 31 leaves, one row: ONNX Runtime's time over ours", report.AtLeast(15)},
			{"100 trees of 255 leaves, one row: ONNX Runtime's time over ours", report.AtLeast(6)},
			{"1000 trees of 255 leaves, one row: ONNX Runtime's time over ours", report.AtLeast(4)},
		},
		run: inLab(kernels.Trees),
	},
	{
		name: "f32",
		rows: []promise{
			{"f32 GEMM, 8 to 256 rows, n = k = 256 to 1024: of the FMA peak", report.AtLeast(94).In("%")},
			{"f32 GEMM, square, 512 to 1024: of the FMA peak", report.AtLeast(92).In("%")},
			{"f32 GEMV, weights in L2 (n = k = 256 and 384)", report.AtLeast(50).In("GFLOP/s")},
			{"f32 GEMV, weights in L3 (n = k = 1024)", report.AtLeast(45).In("GFLOP/s")},
		},
		run: inLab(kernels.Products),
	},
	{
		name: "int8",
		rows: []promise{
			{"int8 GEMM, 8 to 256 rows, n = k = 256 to 1024: of the VNNI peak", report.AtLeast(88).In("%")},
			{"int8 GEMM, 1 and 8 rows, n = k = 128: ONNX Runtime's time over ours", report.AtLeast(5)},
			{"int8 GEMM, 64 rows, n = k = 256 to 1024: ONNX Runtime's time over ours", report.AtLeast(1.1)},
		},
		run: inLab(kernels.Bytes),
	},
	{
		name: "bf16",
		rows: []promise{{"bf16 GEMM, shapes of the f32 rows: our f32's time over bf16's", report.AtLeast(1.8)}},
		run:  inLab(kernels.Halves),
	},
	{
		name: "mlp",
		rows: []promise{
			{"MLP 64-128-64-32, one row: ONNX Runtime's time over ours", report.AtLeast(5)},
			{"MLP 64-128-64-32, 4 rows: ONNX Runtime's time over ours", report.AtLeast(3)},
			{"MLP 64-128-64-32, 64 rows: ONNX Runtime's time over ours", report.AtLeast(1.3)},
		},
		run: inLab(kernels.Networks),
	},
	{
		name: "operators",
		rows: []promise{
			{"LayerNorm of 768, 64 rows: ONNX Runtime's time over ours", report.AtLeast(4)},
			{"embedding bag, 20 of 100k rows of 32, 64 bags: ONNX Runtime's time over ours", report.AtLeast(12)},
			{"f32 to bf16, 64 rows of 1024: ONNX Runtime's time over ours", report.AtLeast(8)},
			{"f32 to uint8, 64 rows of 1024: ONNX Runtime's time over ours", report.AtLeast(2)},
			{"top 10 of 1000, 64 rows: ONNX Runtime's time over ours", report.AtLeast(2)},
		},
		run: inLab(kernels.Operators),
	},
	{
		name: "allocations",
		rows: []promise{{"heap allocations per run, most of all models here", report.AtMost(0)}},
		run:  inLab(kernels.Allocations),
	},
	{
		name: "dispatch",
		rows: []promise{{"choice of the kernel for the CPU, per call", report.AtMost(0.5).In("ns")}},
		run:  inLab(kernels.Dispatch),
	},
	{
		name: "served",
		rows: []promise{{"stream, 100 trees of 31 leaves, 4 streams of 64: requests/s over the bare echo's", report.AtLeast(0.6)}},
		run:  treesOverEcho,
	},
}

// inLab runs a measurement of one core.
func inLab(f func(ctx context.Context, l *kernels.Lab) ([]float64, any, error)) func(context.Context, *bench) ([]float64, any, error) {
	return func(ctx context.Context, b *bench) ([]float64, any, error) { return f(ctx, b.theLab()) }
}

// theLab is made when the first scenario needs it. What it has made serves the others.
func (b *bench) theLab() *kernels.Lab {
	if b.lab == nil {
		b.lab = kernels.NewLab(kernels.Options{
			Native: native.Backend{}, Peer: b.Backend, Folder: filepath.Join(b.folder, "lab"), Quick: b.Quick,
			Progress: func(text string) { b.progress("%s", text) },
		})
	}
	return b.lab
}

// treesOverEcho serves an ensemble from the native engine.
func treesOverEcho(ctx context.Context, b *bench) ([]float64, any, error) {
	if err := b.theLab().WriteForest(b.repository); err != nil {
		return nil, nil, err
	}
	w, err := b.theLab().ForestWorkload()
	if err != nil {
		return nil, nil, err
	}
	return b.overEcho(ctx, w, streamLoad, echo.Raw)
}
