// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
)

// explainRepository has two versions of a small network and one of trees.
func explainRepository(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for version := range int64(2) {
		if err := zoo.Write(folder, "mlp", version+1, zoo.NewMLP("mlp", 1, 8, 4+int(version), 1).Model()); err != nil {
			t.Fatal(err)
		}
	}
	if err := zoo.Write(folder, "trees", 1, zoo.SmallTrees().Model()); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestModelsExplain(t *testing.T) {
	folder := explainRepository(t)
	for path, want := range map[string][]string{
		"mlp":              {"gemm f32 8x5", "+ bias + Relu", "4 nodes in the file, 2 after", "7 rows"},
		"mlp/1":            {"gemm f32 8x4"},
		"mlp/1/model.onnx": {"gemm f32 8x4"},
		"trees":            {"ai.onnx.ml:TreeEnsembleClassifier", "100 trees", "label INT64[7], probabilities FP32[7,2]"},
	} {
		status, stdout, stderr := runCommand(t, "", "models", "explain", filepath.Join(folder, path), "--rows", "7")
		if status != exitOK {
			t.Errorf("%s: status %d: %s", path, status, stderr)
		}
		for _, text := range want {
			if !strings.Contains(stdout, text) {
				t.Errorf("%s: no %q in\n%s", path, text, stdout)
			}
		}
	}
}

func TestModelsExplainJSON(t *testing.T) {
	status, stdout, stderr := runCommand(t, "", "models", "explain", filepath.Join(explainRepository(t), "trees"), "--json")
	var e native.Explanation
	if err := json.Unmarshal([]byte(stdout), &e); status != exitOK || err != nil {
		t.Fatalf("status %d, error %v: %s", status, err, stderr)
	}
	if e.Rows != 1 || len(e.Steps) != 1 || e.Steps[0].Time <= 0 || e.Run <= 0 || !strings.Contains(stdout, e.Level.String()) {
		t.Errorf("explained as %+v", e)
	}
}

func TestModelsExplainFaults(t *testing.T) {
	folder := explainRepository(t)
	if err := zoo.Write(folder, "nonzero", 1, zoo.NonZero("nonzero")); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(folder, "broken.onnx")
	if err := os.WriteFile(broken, []byte("no model"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{filepath.Join(folder, "nowhere")}, exitFailure, "no such file"},
		{[]string{broken}, exitFailure, "corrupt ONNX model"},
		{[]string{filepath.Join(folder, "nonzero")}, exitFailure, "can be served by ONNX Runtime"},
		{[]string{filepath.Join(folder, "mlp"), "--rows", "0"}, exitUsage, "--rows"},
	} {
		status, _, stderr := runCommand(t, "", append([]string{"models", "explain"}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: status %d, error %s, want %d and %q", c.args, status, stderr, c.status, c.want)
		}
	}
}
