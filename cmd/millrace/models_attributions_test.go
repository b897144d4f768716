// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training"
)

// weights writes a linear model of three features into a repository.
func weights(t *testing.T, signature string) (folder, rows string) {
	t.Helper()
	b := onnx.NewBuilder("scores")
	b.Opset("", 17)
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(3))
	b.Output("scores", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	b.Initializer(onnx.TensorOf("w", []float32{1, -2, 0}, 3, 1))
	b.Node("MatMul", []string{"input", "w"}, []string{"scores"})
	if signature != "" {
		b.Metadata(training.SignatureKey, signature)
	}
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	folder, rows = t.TempDir(), filepath.Join(t.TempDir(), "rows.csv")
	if err := zoo.Write(folder, "weights", 1, m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rows, []byte("a,b,c\n1,2,3\n-3,1,\n5,5,5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "weights"), rows
}

func TestModelsAttributions(t *testing.T) {
	folder, rows := weights(t, `{"features":[{"name":"age"},{"name":"amount"},{"name":"hour"}]}`)
	status, stdout, stderr := runCommand(t, "", "models", "attributions", folder, "--data", rows, "--rows", "2")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var lines []string
	for line := range strings.Lines(stdout) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := "2 rows; without any feature the raw score is 0||FEATURE MEAN SIZE SHARE MEAN|amount 3 60.0 % -3|age 2 40.0 % -1|hour 0 0.0 % +0"
	if got := strings.Join(lines, "|"); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestModelsAttributionsJSON(t *testing.T) {
	folder, rows := weights(t, "")
	status, stdout, stderr := runCommand(t, "", "models", "attributions", folder, "--data", rows, "--json")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var last rowAttributions
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 3 || last.Row != 2 || *last.Score != -5 || *last.Contributions["column 1"] != -10 {
		t.Errorf("%v:\n%s", err, stdout)
	}
	if !strings.Contains(lines[1], `"score":null`) || !strings.Contains(lines[1], `"column 2":null`) { // an empty cell
		t.Errorf("the second row is %s", lines[1])
	}
}

func TestModelsAttributionsRefuse(t *testing.T) {
	folder, rows := weights(t, "")
	networks := explainRepository(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no data":     {[]string{folder}, "--data is missing"},
		"no rows":     {[]string{folder, "--data", rows, "--rows", "0"}, "--rows is 0: it must be from 1"},
		"no output":   {[]string{folder, "--data", rows, "--output", "1"}, "--output is 1: the model has 1 raw scores"},
		"no file":     {[]string{folder, "--data", "none.csv"}, "none.csv"},
		"no model":    {[]string{filepath.Join(folder, "none"), "--data", rows}, "none"},
		"a network":   {[]string{filepath.Join(networks, "mlp"), "--data", rows}, "no attribution for this model"},
		"not counted": {[]string{filepath.Join(networks, "trees"), "--data", rows}, "no attribution for this model"},
	} {
		status, _, stderr := runCommand(t, "", append([]string{"models", "attributions"}, c.args...)...)
		if status == exitOK || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d: %s", name, status, stderr)
		}
	}
}
