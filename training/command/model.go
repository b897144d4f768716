// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/auto"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training/learn"
)

const modelName = "model.onnx"

// The outputs that a model may have.
const (
	probabilitiesName = "probabilities"
	scoresName        = "scores"
)

// model is what a program made.
type model struct {
	program string
	graph   *onnx.Model
	bytes   int
	// input is the graph's, output the one that is read, with its width.
	input, output string
	width         int
	// probabilities become logits.
	probabilities bool
	task          learn.Task
	features      int
	outputs       int

	mu struct {
		sync.Mutex
		instance engine.Instance
	}
}

var _ learn.Model = (*model)(nil)

// openModel reads the file that a program wrote, judges what it takes and gives, and loads
// it into an engine.
func openModel(ctx context.Context, path string, t *learn.Table, threads int) (*model, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("it wrote no model.onnx where the task says")
	case err != nil:
		return nil, err
	case info.Size() > modelBytesMax:
		return nil, fmt.Errorf("model.onnx has %d bytes; at most %d", info.Size(), modelBytesMax)
	}
	g, err := onnx.ReadFile(path, onnx.ReadOptions{})
	if err != nil {
		return nil, err
	}
	if err := g.Check(); err != nil {
		return nil, fmt.Errorf("model.onnx: %w", err)
	}
	if err := g.LoadExternal(filepath.Dir(path), modelBytesMax); err != nil {
		return nil, fmt.Errorf("model.onnx: %w", err)
	}
	// Functions are inlined, and maps that some exporters end in become tensors.
	if g, _, err = rewrite.Apply(g, rewrite.Options{Fusions: rewrite.None, Standard: true, DropZipMap: true}); err != nil {
		return nil, fmt.Errorf("model.onnx: %w", err)
	}
	m := &model{graph: g, bytes: int(info.Size()), task: t.Task, features: len(t.Features), outputs: t.Outputs()}
	if err := errors.Join(m.judgeInput(), m.judgeOutput(), checkOpsets(g)); err != nil {
		return nil, fmt.Errorf("model.onnx: %w", err)
	}
	if err := m.load(ctx, filepath.Dir(path), threads); err != nil {
		return nil, fmt.Errorf("model.onnx: %w", err)
	}
	return m, nil
}

func (m *model) judgeInput() error {
	inputs := m.graph.Inputs()
	if len(inputs) != 1 {
		names := make([]string, len(inputs))
		for i, in := range inputs {
			names[i] = in.Name
		}
		return fmt.Errorf("it has %d inputs (%s); it needs one, FP32 of shape [rows, %d]", len(inputs), strings.Join(names, ", "), m.features)
	}
	in := &inputs[0]
	m.input = in.Name
	fits := in.Type.Kind == onnx.KindTensor && in.Type.Elem.Datatype() == tensor.FP32
	if fits && in.Type.Ranked {
		fits = len(in.Type.Dims) == 2 && in.Type.Dims[0].Value != 1 && (in.Type.Dims[1].Value < 0 || in.Type.Dims[1].Value == int64(m.features))
	}
	if !fits {
		return fmt.Errorf("its input %q is %s; it needs FP32 of shape [rows, %d], rows of any number", in.Name, in.Type.String(), m.features)
	}
	return nil
}

// judgeOutput finds the output to read. Its width is checked when it has been run.
func (m *model) judgeOutput() error {
	var floats, all []string
	for _, out := range m.graph.Outputs() {
		all = append(all, out.Name+" "+out.Type.String())
		if out.Type.Kind == onnx.KindTensor && out.Type.Elem.Datatype() == tensor.FP32 {
			floats = append(floats, out.Name)
		}
	}
	for _, name := range []string{scoresName, probabilitiesName} {
		if slices.Contains(floats, name) {
			m.output = name
			break
		}
	}
	if m.output == "" && len(floats) == 1 {
		m.output = floats[0]
	}
	if m.output == "" {
		return fmt.Errorf("its outputs are %s; it needs one of 32-bit floats, named %s or %s if there are several", strings.Join(all, ", "), probabilitiesName, scoresName)
	}
	m.probabilities = m.task != learn.Regression && m.output != scoresName
	return nil
}

// load loads the model as it will be exported, with its one output.
func (m *model) load(ctx context.Context, dir string, threads int) error {
	whole := *m.graph
	part := *m.graph.Graph
	whole.Graph = &part
	part.Outputs = slices.DeleteFunc(slices.Clone(part.Outputs), func(v onnx.ValueInfo) bool { return v.Name != m.output })
	data, err := whole.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "loaded.onnx"), data, 0o600); err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	backend := &auto.Backend{Native: native.Backend{}, Other: onnxrt.NewBackend(onnxrt.Options{Logger: quiet}), Logger: quiet}
	loaded, err := backend.Load(ctx, dir, &modelconfig.Config{Name: "model", DefaultModelFilename: "loaded.onnx"})
	if err != nil {
		return err
	}
	instance, err := loaded.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: threads})
	if err != nil {
		return errors.Join(err, loaded.Close())
	}
	m.mu.instance = instance
	// The caller of Fit has nothing to close.
	runtime.AddCleanup(m, held.close, held{loaded, instance})
	return nil
}

// held is what a model holds of an engine.
type held struct {
	loaded   engine.Model
	instance engine.Instance
}

func (h held) close() {
	_ = h.instance.Close() // there is nobody to tell
	_ = h.loaded.Close()
}

// checkRowsMax bounds the rows that a new model is tried on.
const checkRowsMax = 50_000

// check runs the model on rows.
func (m *model) check(ctx context.Context, t *learn.Table) error {
	rows := min(t.Rows(), checkRowsMax)
	// Two runs of other lengths find a batch dimension that is fixed.
	for _, n := range []int{min(rows, 3), rows} {
		raw, err := m.run(ctx, t.Values, 0, n)
		if err != nil {
			return fmt.Errorf("model.onnx on %d rows: %w", n, err)
		}
		if err := m.checkOutput(raw, n); err != nil {
			return fmt.Errorf("model.onnx: output %q: %w", m.output, err)
		}
	}
	return nil
}

func (m *model) checkOutput(raw []float32, rows int) error {
	if len(raw)%rows != 0 {
		return fmt.Errorf("%d values for %d rows", len(raw), rows)
	}
	m.width = len(raw) / rows
	want := m.outputs
	if m.probabilities && m.task == learn.Binary && m.width == 2 {
		want = 2
	}
	if m.width != want {
		return fmt.Errorf("%d values for each row; it needs %d", m.width, want)
	}
	for i, v := range raw {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("row %d is %v", i/m.width+1, v)
		}
	}
	if !m.probabilities {
		return nil
	}
	for row := range rows {
		sum := 0.0
		for _, v := range raw[row*m.width : (row+1)*m.width] {
			if v < -1e-5 || v > 1+1e-5 {
				return fmt.Errorf("row %d has %v, which is no probability; name the output %s if these are raw", row+1, v, scoresName)
			}
			sum += float64(v)
		}
		if m.width > 1 && math.Abs(sum-1) > 1e-3 {
			return fmt.Errorf("the probabilities of row %d sum to %v", row+1, sum)
		}
	}
	return nil
}

// Outputs implements learn.Model.
func (m *model) Outputs() int { return m.outputs }

// Importance implements learn.Model: programs do not tell.
func (m *model) Importance() []float64 { return nil }

// Describe implements learn.Model.
func (m *model) Describe() string {
	return fmt.Sprintf("ONNX of %d nodes and %d bytes, by %q", len(m.graph.Graph.Nodes), m.bytes, m.program)
}

// predictRows bounds the rows of one run of the engine.
const predictRows = 1 << 14

// Predict implements learn.Model. Where the engine fails, which it did not on the rows
// that Fit tried, the values are NaN.
func (m *model) Predict(values [][]float32, to []float32) {
	rows := len(to) / m.outputs
	for from := 0; from < rows; from += predictRows {
		n := min(from+predictRows, rows)
		part := to[from*m.outputs : n*m.outputs]
		raw, err := m.run(context.Background(), values, from, n)
		if err != nil || len(raw) != (n-from)*m.width {
			for i := range part {
				part[i] = float32(math.NaN())
			}
			continue
		}
		m.toScores(raw, part)
	}
	runtime.KeepAlive(m)
}

// run gives the output for rows from up to to.
func (m *model) run(ctx context.Context, values [][]float32, from, to int) ([]float32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := to - from
	b, err := m.mu.instance.Bind([]tensor.Shape{{int64(n), int64(m.features)}})
	if err != nil {
		return nil, err
	}
	data := b.Inputs[0].Data
	for f, column := range values {
		for row, v := range column[from:to] {
			binary.LittleEndian.PutUint32(data[4*(row*m.features+f):], math.Float32bits(v))
		}
	}
	if err := m.mu.instance.Run(ctx, b); err != nil {
		return nil, err
	}
	out := &b.Outputs[0]
	if len(out.Shape) < 1 || out.Shape[0] != int64(n) {
		return nil, fmt.Errorf("output %q has the shape %v for %d rows", m.output, out.Shape, n)
	}
	raw := make([]float32, len(out.Data)/4)
	for i := range raw {
		raw[i] = math.Float32frombits(binary.LittleEndian.Uint32(out.Data[4*i:]))
	}
	return raw, nil
}

// leastProbability bounds probabilities from below, so that their logarithm is a number.
const leastProbability = 1e-12

// toScores undoes the link where the output is probabilities.
func (m *model) toScores(raw, to []float32) {
	clipped := func(p float32) float64 { return math.Log(float64(min(max(p, leastProbability), 1))) }
	switch {
	case !m.probabilities:
		copy(to, raw)
	case m.task == learn.Multiclass:
		for i, p := range raw {
			to[i] = float32(clipped(p))
		}
	case m.width == 2:
		for row := range to {
			to[row] = float32(clipped(raw[2*row+1]) - clipped(raw[2*row]))
		}
	default:
		for row, p := range raw {
			to[row] = float32(clipped(p) - clipped(1-p))
		}
	}
}
