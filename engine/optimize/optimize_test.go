// SPDX-License-Identifier: Apache-2.0

package optimize_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/optimize"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func models(t *testing.T) map[string]*onnx.Model {
	return map[string]*onnx.Model{
		"mlp": zoo.SmallMLP().Model(), "transformer": transformer(t), "wide_and_deep": wideAndDeep(t), "bounded": bounded(t, -1, 1),
		"bounded_by_6": bounded(t, 0, 6), "normalised": normalised(t), "scan": scan(t),
	}
}

// bounded is two layers with Clip behind each, the second read by a sum.
func bounded(t *testing.T, low, high float32) *onnx.Model {
	n := newNetwork("bounded", 5)
	n.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(24))
	n.Initializer(onnx.TensorOf("low", []float32{low}))
	n.Initializer(onnx.TensorOf("high", []float32{high}))
	n.Node("Gemm", []string{"x", n.matrix("w1", 24, 32), n.vector("b1", 32, 0)}, []string{"y1"})
	n.Node("Clip", []string{"y1", "low", "high"}, []string{"h1"})
	n.Node("Gemm", []string{"h1", n.matrix("w2", 32, 16), n.vector("b2", 16, 0)}, []string{"y2"})
	n.Node("Clip", []string{"y2", "low", "high"}, []string{"h2"})
	n.Node("ReduceSum", []string{"h2", "axes"}, []string{"sum"})
	n.Initializer(onnx.TensorOf("axes", []int64{1}, 1))
	n.Output("sum", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	return built(t, n.Builder)
}

// normalised has what rewriting folds and fuses: a bias and a batch norm after a
// product, constants computed from constants, a node that changes nothing.
func normalised(t *testing.T) *onnx.Model {
	n := newNetwork("normalised", 6)
	n.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(16))
	n.Node("MatMul", []string{"x", n.matrix("w", 16, 32)}, []string{"product"})
	n.Node("Add", []string{"product", n.vector("b", 32, 0)}, []string{"sum"})
	n.Node("BatchNormalization", []string{"sum", n.vector("gamma", 32, 1), n.vector("beta", 32, 0), n.vector("mean", 32, 0), n.vector("var", 32, 2)}, []string{"normal"})
	n.Node("Relu", []string{"normal"}, []string{"hidden"})
	n.Node("Identity", []string{"hidden"}, []string{"same"})
	n.Initializer(onnx.TensorOf("two", []float32{2}))
	n.Node("Mul", []string{"two", "two"}, []string{"four"})
	n.Node("Div", []string{"same", "four"}, []string{"out"})
	n.Output("out", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(32))
	return built(t, n.Builder)
}

// scan passes a state on by Identity in the body of a Scan, as the exporter of
// scikit-learn's nearest neighbours does.
func scan(t *testing.T) *onnx.Model {
	n := newNetwork("scan", 7)
	n.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(8))
	points := n.matrix("points", 5, 8)
	row, rows := onnx.TensorType(onnx.ElemFloat, onnx.Extent(8)), onnx.TensorType(onnx.ElemFloat, onnx.Symbol("batch"), onnx.Extent(8))
	body := &onnx.Graph{
		Name:   "body",
		Inputs: []onnx.ValueInfo{{Name: "state", Type: rows}, {Name: "point", Type: row}},
		Outputs: []onnx.ValueInfo{
			{Name: "state_out", Type: rows}, {Name: "distance", Type: onnx.TensorType(onnx.ElemFloat, onnx.Symbol("batch"))},
		},
		Nodes: []onnx.Node{
			{Name: "pass", OpType: "Identity", Inputs: []string{"state"}, Outputs: []string{"state_out"}},
			{Name: "sub", OpType: "Sub", Inputs: []string{"state", "point"}, Outputs: []string{"difference"}},
			{Name: "square", OpType: "ReduceSumSquare", Inputs: []string{"difference"}, Outputs: []string{"distance"},
				Attributes: []onnx.Attribute{onnx.IntsAttribute("axes", 1), onnx.IntAttribute("keepdims", 0)}},
		},
	}
	n.Node("Scan", []string{"x", points}, []string{"end", "distances"}, onnx.IntAttribute("num_scan_inputs", 1), onnx.GraphAttribute("body", body))
	n.Node("Transpose", []string{"distances"}, []string{"out"}, onnx.IntsAttribute("perm", 1, 0))
	n.Output("out", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(5))
	return built(t, n.Builder)
}

// variants are the options whose models must run on both engines, with the largest
// relative change of an output that is taken.
func variants() map[string]optimize.Options {
	return map[string]optimize.Options{
		"fold":       {},
		"bf16":       {Weights: optimize.WeightsBF16},
		"dynamic":    {Quantize: optimize.QuantizeDynamic},
		"tensor":     {Quantize: optimize.QuantizeDynamic, PerTensor: true},
		"static":     {Quantize: optimize.QuantizeStatic},
		"signed":     {Quantize: optimize.QuantizeStatic, Activations: optimize.ActivationsS8},
		"percentile": {Quantize: optimize.QuantizeStatic, Calibration: optimize.CalibratePercentile, PerTensor: true},
		"mse":        {Quantize: optimize.QuantizeStatic, Calibration: optimize.CalibrateMSE, ReduceRange: true},
		"both":       {Quantize: optimize.QuantizeStatic, Weights: optimize.WeightsBF16, MaxError: 0.008},
	}
}

// TestVariants holds what is written to the model it was made of, on both engines. Where
// ONNX Runtime's integer products saturate, weights have the 7 bits that it needs there.
func TestVariants(t *testing.T) {
	saturates := !onnxrttest.ExactInt8(t)
	for name, m := range models(t) {
		s := source(t, m)
		for variant, o := range variants() {
			t.Run(name+"/"+variant, func(t *testing.T) {
				o.Engines, o.Data, o.BatchSize = bothEngines(t), rows(t, s, 100, nil), 32
				o.ReduceRange = o.ReduceRange || saturates && o.Quantize != ""
				result, report, err := optimize.Run(t.Context(), s, o)
				if err != nil {
					t.Fatal(err)
				}
				if len(report.Accuracy) != 2 {
					t.Fatalf("compared on %d engines: %v", len(report.Accuracy), report.Notes)
				}
				limit := 0.25
				if variant == "fold" {
					limit = 1e-6
				}
				for _, a := range report.Accuracy {
					d := a.Outputs[0]
					if d.MaxRelative > limit || d.MeanRelative > limit/5 || d.Broken != 0 || d.Elements == 0 {
						t.Errorf("%s: %+v", a.Engine, d)
					}
				}
				if name == "normalised" && variant == "fold" && (report.NodesAfter != 3 || report.Folded == 0 || len(report.Fused) == 0) {
					t.Errorf("%d nodes left of %d: %+v", report.NodesAfter, report.NodesBefore, report)
				}
				// Rounding differs: one step of 8 bits here and there.
				if x, y := report.Accuracy[0].Outputs[0], report.Accuracy[1].Outputs[0]; x.MeanRelative > 2*y.MeanRelative+0.001 || y.MeanRelative > 2*x.MeanRelative+0.001 {
					t.Errorf("the engines lose differently: %+v and %+v", x, y)
				}
				again := source(t, result)
				if err := again.Model.Check(); err != nil {
					t.Error(err)
				}
				if again.Bytes != report.BytesAfter {
					t.Errorf("%d bytes, the report says %d", again.Bytes, report.BytesAfter)
				}
			})
		}
	}
}

// TestKernels checks that the native engine makes its own kernels of what is written.
func TestKernels(t *testing.T) {
	s := source(t, zoo.SmallMLP().Model())
	tests := []struct {
		options optimize.Options
		kernel  string
		count   int
	}{
		{optimize.Options{Quantize: optimize.QuantizeDynamic}, "gemm int8", 2},
		{optimize.Options{Quantize: optimize.QuantizeStatic}, "gemm int8", 2},
		{optimize.Options{Quantize: optimize.QuantizeStatic, WeightsMin: 1}, "gemm int8", 3},
		{optimize.Options{Weights: optimize.WeightsBF16}, "gemm bf16", 2},
	}
	for _, test := range tests {
		o := test.options
		o.CalibrationData, o.Engines = rows(t, s, 50, nil), []optimize.Engine{nativeEngine()}
		result, _, err := optimize.Run(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		file := source(t, result).File
		e, err := native.Explain(t.Context(), filepath.Dir(file), &modelconfig.Config{DefaultModelFilename: filepath.Base(file)}, 4, 1)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		var all []string
		for _, step := range e.Steps {
			all = append(all, step.Operator+": "+step.Kernel)
			if strings.Contains(step.Kernel, test.kernel) {
				found++
			}
		}
		if found != test.count {
			t.Errorf("%+v: %d kernels of %s, want %d: %q", test.options, found, test.kernel, test.count, all)
		}
	}
}

// TestChoices checks which products are left alone, and what the report says of them.
func TestChoices(t *testing.T) {
	s := source(t, wideAndDeep(t))
	run := func(o optimize.Options) (*optimize.Report, error) {
		o.Engines = []optimize.Engine{nativeEngine()}
		o.CalibrationData = rows(t, s, 50, nil)
		_, r, err := optimize.Run(t.Context(), s, o)
		return r, err
	}
	forms := func(r *optimize.Report) string {
		text := ""
		for _, l := range r.Layers {
			text += fmt.Sprintf("%s=%s ", l.Weights, l.Form)
		}
		return text
	}
	tests := []struct {
		options optimize.Options
		want    string
	}{
		{optimize.Options{}, "deep1.weight=float deep2.weight=float deep3.weight=float wide.weight=float "},
		{optimize.Options{Quantize: "dynamic"}, "deep1.weight=dynamic deep2.weight=dynamic deep3.weight=float wide.weight=float "},
		{optimize.Options{Quantize: "dynamic", WeightsMin: 1}, "deep1.weight=dynamic deep2.weight=dynamic deep3.weight=dynamic wide.weight=dynamic "},
		{optimize.Options{Quantize: "static", Keep: []string{"deep2*"}}, "deep1.weight=static deep2.weight=float deep3.weight=float wide.weight=float "},
		{optimize.Options{Quantize: "static", Keep: []string{"Gemm_3", "deep2"}, WeightsMin: 60}, "deep1.weight=float deep2.weight=float deep3.weight=static wide.weight=static "},
		{optimize.Options{Quantize: "static", MaxError: 1e-6}, "deep1.weight=float deep2.weight=float deep3.weight=float wide.weight=float "},
		{optimize.Options{Quantize: "static", MaxError: 0.004, Weights: "bf16"}, "deep1.weight=bf16 deep2.weight=bf16 deep3.weight=float wide.weight=float "},
	}
	for _, test := range tests {
		r, err := run(test.options)
		if err != nil {
			t.Fatalf("%+v: %v", test.options, err)
		}
		if got := forms(r); got != test.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", test.options, got, test.want)
		}
	}
	if _, err := run(optimize.Options{Quantize: "dynamic", Keep: []string{"nobody"}}); err == nil || !strings.Contains(err.Error(), "Gemm_3, Gemm_5") {
		t.Errorf("an unknown name gives %v", err)
	}
	if r, _ := run(optimize.Options{Quantize: "static", MaxError: 1e-6}); !strings.Contains(r.Layers[0].Reason, "as static its error is 0.0") {
		t.Errorf("the reason is %q", r.Layers[0].Reason)
	}
}

// TestWeightErrorWithoutData checks that products are measured by their weights alone.
func TestWeightErrorWithoutData(t *testing.T) {
	s := source(t, zoo.SmallMLP().Model())
	_, r, err := optimize.Run(t.Context(), s, optimize.Options{Quantize: "dynamic", Engines: []optimize.Engine{nativeEngine()}})
	if err != nil {
		t.Fatal(err)
	}
	// Uniform weights in 255 steps: the step's 1/sqrt(12) to the peak's 1/sqrt(3).
	if e := *r.Layers[0].Error; e < 0.003 || e > 0.0045 {
		t.Errorf("error %v", e)
	}
	if len(r.Timings) != 2 || r.Timings[0].Before <= 0 || r.Timings[1].Rows != 64 {
		t.Errorf("timings %+v", r.Timings)
	}
	if len(r.Accuracy) != 0 {
		t.Error("accuracy without data")
	}
}

func TestRefused(t *testing.T) {
	s := source(t, zoo.SmallMLP().Model())
	old := onnx.NewBuilder("old")
	old.Opset("", 10)
	old.Input("x", tensor.FP32, onnx.Symbol("n"), onnx.Extent(32))
	old.Initializer(onnx.TensorOf("w", make([]float32, 32*32), 32, 32))
	old.Node("MatMul", []string{"x", "w"}, []string{"y"})
	old.Output("y", tensor.FP32, onnx.Symbol("n"), onnx.Extent(32))
	tests := []struct {
		source  *optimize.Source
		options optimize.Options
		text    string
	}{
		{s, optimize.Options{Quantize: "static"}, "there is none"},
		{s, optimize.Options{Quantize: "int4", Percentile: 3, MaxError: -1}, "none, dynamic or static\npercentile 3: it is above 50 and at most 100\nmax error"},
		{source(t, built(t, old)), optimize.Options{Quantize: "dynamic"}, "opset 10, form dynamic needs 11"},
		{source(t, built(t, old)), optimize.Options{Weights: "bf16"}, "opset 10, form bf16 needs 13"},
	}
	for _, test := range tests {
		_, _, err := optimize.Run(t.Context(), test.source, test.options)
		if err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%+v: got %v, want %q", test.options, err, test.text)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	folder := t.TempDir()
	m := zoo.SmallMLP().Model()
	file := filepath.Join(folder, "new", "model.onnx")
	if _, err := optimize.Write(m, file, false); err != nil {
		t.Fatal(err)
	}
	if _, err := optimize.Write(m, file, false); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("a second write gives %v", err)
	}
	if _, err := optimize.Write(m, file, true); err != nil {
		t.Error(err)
	}
	if _, err := optimize.Write(m, folder, true); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder gives %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("files left behind: %v, %v", entries, err)
	}
	for _, path := range []string{file, filepath.Dir(file)} {
		if s, err := optimize.Read(path); err != nil || s.File != file {
			t.Errorf("%s: %v, %v", path, s, err)
		}
	}
	if err := os.Rename(file, filepath.Join(folder, "new", "other.onnx")); err != nil {
		t.Fatal(err)
	}
	if _, err := optimize.Read(filepath.Dir(file)); err != nil {
		t.Error(err)
	}
	if _, err := optimize.Read(folder); err == nil || !strings.Contains(err.Error(), "name the file") {
		t.Errorf("a folder without models gives %v", err)
	}
}

// TestOnnxChecker asks the checker of the onnx package, where Python has it.
func TestOnnxChecker(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "python3", "-c", "import onnx").Run(); err != nil {
		t.Skip("python3 has no onnx package")
	}
	var files []string
	for name, m := range models(t) {
		s := source(t, m)
		for variant, o := range variants() {
			if name == "scan" && variant != "fold" { // it has no product
				continue
			}
			o.Engines, o.CalibrationData = []optimize.Engine{nativeEngine()}, rows(t, s, 20, nil)
			result, _, err := optimize.Run(t.Context(), s, o)
			if err != nil {
				t.Fatalf("%s %s: %v", name, variant, err)
			}
			files = append(files, source(t, result).File)
		}
	}
	const script = "import onnx, sys\nfor f in sys.argv[1:]: onnx.checker.check_model(f, full_check=True)"
	check := exec.CommandContext(t.Context(), "python3", append([]string{"-c", script}, files...)...)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
