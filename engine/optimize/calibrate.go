// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Bounds of calibration: the bytes that one run may give, and the rows and bytes of
// each product's input that are kept to measure its error on.
const (
	captureBytesMax = 256 << 20
	sampleRowsMax   = 256
	sampleBytesMax  = 8 << 20
)

// captured is what calibration saw of a value: the left side of products, or what Relu
// makes of them.
type captured struct {
	observed
	width int
	// samples are some of the rows.
	samples []float32
}

// calibration runs a model on data with the values to observe as outputs.
type calibration struct {
	data   *dataset.Data
	runner *runner
	// names are the values, of which the model's outputs are the captures in the
	// same order.
	names    []string
	captures map[string]*captured
	// rows is how many a run takes.
	rows int
}

// calibrate observes the values around products. histograms says that ranges alone will
// not do.
func calibrate(ctx context.Context, m *onnx.Model, products []*product, histograms bool, o *Options) (captures map[string]*captured, err error) {
	c := &calibration{data: o.CalibrationData, captures: make(map[string]*captured)}
	instrumented := c.instrument(m, products)
	if err := instrumented.Check(); err != nil {
		return nil, fmt.Errorf("model with the inputs of its products as outputs: %w", err)
	}
	if c.runner, err = startAny(ctx, o.Engines, instrumented); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.runner.close()) }()
	if err := c.chooseRows(ctx); err != nil {
		return nil, err
	}
	passes := 1
	if histograms {
		passes = 2
	}
	total := passes * c.data.Rows
	for pass := range passes {
		take := (*captured).first
		if pass == 1 {
			take = func(k *captured, values []float32, _ int) { k.tally(values) }
		}
		err := batches(c.data, c.rows, func(from, to int) error {
			if err := c.run(ctx, from, to, take); err != nil {
				return err
			}
			o.Progress("calibrating", pass*c.data.Rows+to, total)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return c.captures, nil
}

// instrument gives a copy of a model whose outputs are the values to observe, each as a
// matrix, so that their shapes need not be known.
func (c *calibration) instrument(m *onnx.Model, products []*product) *onnx.Model {
	graph := *m.Graph
	w := &writer{graph: &graph, taken: make(map[string]bool)}
	w.takeNames(m.Graph)
	graph.Outputs = nil
	graph.Nodes = slices.Clone(graph.Nodes)
	for _, p := range products {
		c.capture(w, p.x, p.k)
		if p.clipped != "" {
			c.capture(w, p.clipped, p.n)
		}
	}
	graph.Nodes = append(graph.Nodes, w.nodes...)
	graph.Initializers = append(slices.Clone(graph.Initializers), w.constants...)
	result := *m
	result.Graph = &graph
	return &result
}

// capture makes a value an output.
func (c *calibration) capture(w *writer, name string, width int) {
	if c.captures[name] != nil {
		return
	}
	c.captures[name] = &captured{width: width}
	c.names = append(c.names, name)
	shape := w.constant(onnx.TensorOf(w.name(name, "_capture_shape"), []int64{-1, int64(width)}, 2))
	out := w.step("Reshape", name, "_capture", []string{name, shape})
	w.graph.Outputs = append(w.graph.Outputs, onnx.ValueInfo{
		Name: out, Type: onnx.TensorType(onnx.ElemFloat, onnx.Symbol(out+"_rows"), onnx.Extent(int64(width))),
	})
}

// chooseRows runs as few rows as the model takes and measures what they give.
func (c *calibration) chooseRows(ctx context.Context) error {
	outputs, err := c.runner.run(ctx, c.data.Slice(0, c.data.Unit))
	if err != nil {
		return err
	}
	bytes := 0
	for i := range outputs {
		bytes += len(outputs[i].Data)
	}
	perRow := max(1, bytes/c.data.Unit)
	c.rows = max(1, min(c.data.Rows, captureBytesMax/perRow, 1024))
	return nil
}

func (c *calibration) run(ctx context.Context, from, to int, take func(*captured, []float32, int)) error {
	outputs, err := c.runner.run(ctx, c.data.Slice(from, to))
	if err != nil {
		return fmt.Errorf("calibration on rows %d to %d: %w", from, to-1, err)
	}
	runs := (c.data.Rows + c.rows - 1) / c.rows
	for i, name := range c.names {
		if outputs[i].Datatype != tensor.FP32 {
			return fmt.Errorf("value %q beside a product is %s", name, outputs[i].Datatype)
		}
		take(c.captures[name], decodeFloats(outputs[i].Data), runs)
	}
	return nil
}

// first takes values into the range, and keeps some of their rows, evenly over all the
// runs there will be.
func (k *captured) first(values []float32, runs int) {
	k.widen(values)
	if k.width == 0 {
		return
	}
	rows := len(values) / k.width
	limit := min(sampleRowsMax, max(1, sampleBytesMax/(4*k.width)))
	want := min(rows, max(1, limit/max(1, runs)), limit-len(k.samples)/k.width)
	for i := range want {
		at := i * rows / want * k.width
		k.samples = append(k.samples, values[at:at+k.width]...)
	}
}
