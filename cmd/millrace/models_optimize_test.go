// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/optimize"
)

// optimizeFiles writes a model of 32 inputs, rows for it and labels, which are what the
// model says with its probability cut at a half.
func optimizeFiles(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	mlp := zoo.SmallMLP()
	if err := zoo.Write(folder, "mlp", 1, mlp.Model()); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 3))
	var csv strings.Builder
	for i := range mlp.InputWidth() {
		fmt.Fprintf(&csv, "c%d,", i)
	}
	csv.WriteString("label\n")
	var flat, labels []any
	for range 60 {
		row := make([]float32, mlp.InputWidth())
		for i := range row {
			row[i] = float32(random.IntN(200)-100) / 50
			fmt.Fprintf(&csv, "%v,", row[i])
			flat = append(flat, row[i])
		}
		label := 0
		if mlp.Predict(row)[0] > 0.5 {
			label = 1
		}
		labels = append(labels, label)
		fmt.Fprintf(&csv, "%d\n", label)
	}
	request, err := json.Marshal(map[string]any{"inputs": []any{
		map[string]any{"name": "label", "data": labels}, map[string]any{"name": "input", "data": flat},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"rows.csv": csv.String(), "rows.json": string(request),
		"bad.csv": "a,b\n1,2\n", "nan.csv": strings.Replace(csv.String(), "\n", "\nNaN,", 1),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestModelsOptimize(t *testing.T) {
	folder := optimizeFiles(t)
	tests := []struct {
		args string
		text []string
	}{
		{"", []string{"nodes 6 -> 6", "Gemm_0", "float", "TIME PER ROW"}},
		{"--quantize dynamic --data rows.csv --label-column label", []string{"nodes 6 -> ", "dynamic", "dB", "change of the outputs on 60 rows, 60 at a time", "accuracy", "log_loss", "auc"}},
		{"--quantize static --calibration mse --calibration-data rows.csv --data rows.json --label-column label --rows 40", []string{"static", "-2 to 1.98", "on 40 rows", "auc"}},
		{"--quantize static --calibration percentile --data rows.json --label-column label --task regression --batch-size 8", []string{"60 rows, 8 at a time", "rmse"}},
		{"--weights bf16 --keep Gemm_2 --min-weights 1", []string{"bf16", "kept"}},
	}
	for i, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			out := filepath.Join(folder, "out", fmt.Sprint(i), "model.onnx")
			args := []string{"models", "optimize", filepath.Join(folder, "mlp", "1"), "-o", out}
			for _, arg := range strings.Fields(test.args) {
				if strings.HasPrefix(arg, "rows.") {
					arg = filepath.Join(folder, arg)
				}
				args = append(args, arg)
			}
			status, stdout, stderr := runCommand(t, "", args...)
			if status != exitOK {
				t.Fatalf("status %d: %s", status, stderr)
			}
			for _, text := range test.text {
				if !strings.Contains(stdout, text) {
					t.Errorf("%q is missing in\n%s", text, stdout)
				}
			}
			m, err := onnx.ReadFile(out, onnx.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestModelsOptimizeJSON(t *testing.T) {
	folder := optimizeFiles(t)
	out := filepath.Join(folder, "small.onnx")
	rows, err := os.ReadFile(filepath.Join(folder, "rows.json"))
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := runCommand(t, string(rows), "models", "optimize", filepath.Join(folder, "mlp", "1", "model.onnx"),
		"-o", out, "--quantize", "static", "--data", "-", "--label-column", "label", "--format", "json")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var report struct {
		Output string `json:"output"`
		optimize.Report
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if report.Output != out || report.Rows != 60 || report.BytesAfter >= report.BytesBefore/2 || report.Layers[0].Form != optimize.FormStatic {
		t.Errorf("report %s", stdout)
	}
	quality := report.Accuracy[0].Labels
	if len(quality) != 3 || quality[0].Before != 1 || quality[0].After < 0.9 {
		t.Errorf("quality %+v", quality)
	}
	if info, err := os.Stat(out); err != nil || info.Size() != report.BytesAfter {
		t.Errorf("the file has %v bytes, the report says %d: %v", info.Size(), report.BytesAfter, err)
	}
}

func TestModelsOptimizeRefuses(t *testing.T) {
	folder := optimizeFiles(t)
	model := filepath.Join(folder, "mlp", "1", "model.onnx")
	at := func(name string) string { return filepath.Join(folder, name) }
	tests := []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{model}, exitUsage, "-o FILE is missing"},
		{[]string{model, "-o", at("x.onnx"), "--quantize", "static"}, exitUsage, "give --calibration-data FILE or --data FILE"},
		{[]string{model, "-o", at("x.onnx"), "--quantize", "int4", "--format", "xml"}, exitUsage, `quantize "int4": it is none, dynamic or static`},
		{[]string{model, "-o", at("x.onnx"), "--label-column", "y"}, exitUsage, "--label-column is for --data FILE"},
		{[]string{model, "-o", model}, exitFailure, "--force replaces it"},
		{[]string{at("none.onnx"), "-o", at("x.onnx")}, exitFailure, "none.onnx: no such file"},
		{[]string{at("rows.csv"), "-o", at("x.onnx")}, exitFailure, "rows.csv"},
		{[]string{model, "-o", at("x.onnx"), "--data", at("bad.csv")}, exitFailure, `2 columns beside the label, input "input" takes 32`},
		{[]string{model, "-o", at("x.onnx"), "--data", at("nan.csv"), "--label-column", "label"}, exitFailure, "nan.csv"},
		{[]string{model, "-o", at("x.onnx"), "--data", at("rows.json")}, exitFailure, `the model has no input "label"; its inputs are input (FP32 [-1,32])`},
		{[]string{model, "-o", at("x.onnx"), "--data", at("rows.txt")}, exitFailure, "the extension is none of .json, .csv, .npy, .npz"},
		{[]string{model, "-o", at("x.onnx"), "--quantize", "dynamic", "--keep", "head"}, exitFailure, `keep "head": no product of that name; there are Gemm_0, Gemm_2, Gemm_4`},
	}
	for _, test := range tests {
		status, _, stderr := runCommand(t, "", append([]string{"models", "optimize"}, test.args...)...)
		if status != test.status || !strings.Contains(stderr, test.text) {
			t.Errorf("%q: status %d, want %d with %q: %s", test.args, status, test.status, test.text, stderr)
		}
	}
	if _, err := os.Stat(at("x.onnx")); err == nil {
		t.Error("a command that failed left a file")
	}
}

// TestModelsOptimizeFolder takes the highest version of a model's folder.
func TestModelsOptimizeFolder(t *testing.T) {
	folder := explainRepository(t)
	out := filepath.Join(folder, "out.onnx")
	status, stdout, stderr := runCommand(t, "", "models", "optimize", filepath.Join(folder, "mlp"), "-o", out)
	if status != exitOK || !strings.Contains(stdout, filepath.Join("mlp", "2")) {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if info, err := os.Stat(out); err != nil || info.Size() == 0 {
		t.Errorf("nothing was written: %v", err)
	}
}
