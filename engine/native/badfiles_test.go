// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// TestTruncatedFile cuts a model short at every byte.
func TestTruncatedFile(t *testing.T) {
	model, _ := growGraph(t, 3, 6)
	folder := t.TempDir()
	for n := range model {
		if err := os.WriteFile(filepath.Join(folder, "model.onnx"), model[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := Backend{}.Load(onlyContext, folder, noConfig)
		if err == nil { // cut between fields that may be left out
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, engine.ErrInvalidModel) {
			t.Errorf("%d of %d bytes: %v", n, len(model), err)
		}
	}
}

// TestExternalData checks that weights beside the model file are read, and nothing that
// is not beside it or not as long as it should be.
func TestExternalData(t *testing.T) {
	weights := make([]byte, 24)
	putFloat(weights[12:], 2) // 2 for the first input in the first column
	for name, test := range map[string]struct {
		location       string
		offset, length int64
		want           string // "" where the model runs
	}{
		"beside the model": {"weights", 12, -1, ""},
		"outside":          {"../weights", 0, -1, "weights"},
		"absolute":         {"/etc/passwd", 0, -1, "passwd"},
		"through a link":   {"link", 0, -1, "link"},
		"missing":          {"nothing", 0, -1, "nothing"},
		"too short":        {"weights", 20, -1, "weights"},
		"of another size":  {"weights", 0, 8, "weights"},
		"before the file":  {"weights", -4, -1, "offset"},
		"far behind it":    {"weights", 1 << 62, -1, "weights"},
	} {
		t.Run(name, func(t *testing.T) {
			b := onnx.NewBuilder("external")
			b.Input("x", tensor.FP32, onnx.Extent(1), onnx.Extent(3))
			b.Output("y", tensor.FP32, onnx.Extent(1), onnx.Extent(1))
			b.Initializer(onnx.Tensor{Name: "w", Dims: []int64{3, 1}, Elem: onnx.ElemFloat,
				External: &onnx.External{Location: test.location, Offset: test.offset, Length: test.length}})
			b.Node("MatMul", []string{"x", "w"}, []string{"y"})
			model, err := b.Marshal()
			if err != nil {
				t.Skip(err)
			}
			folder := writeModel(t, model)
			for path, content := range map[string][]byte{filepath.Join(folder, "weights"): weights, filepath.Join(folder, "..", "weights"): weights} {
				if err := os.WriteFile(path, content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("../weights", filepath.Join(folder, "link")); err != nil {
				t.Skip(err)
			}
			checkExternal(t, folder, test.want)
		})
	}
}

func checkExternal(t *testing.T, folder, want string) {
	t.Helper()
	if want == "" {
		x := tensor.Tensor{Datatype: tensor.FP32, Shape: tensor.Shape{1, 3}, Data: make([]byte, 12)}
		putFloat(x.Data, 3)
		if y := floatOf(answers(t, instanceOf(t, Backend{}, folder, 1), []tensor.Tensor{x})[0].Data); y != 6 {
			t.Errorf("the product is %g, want 6", y)
		}
		return
	}
	_, err := Backend{}.Load(onlyContext, folder, noConfig)
	if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("error %v", err)
	}
}
