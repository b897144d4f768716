// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// runFile is the name of a model in the folder that it is run from.
const runFile = "model.onnx"

// runner runs one model on one engine. It belongs to one goroutine.
type runner struct {
	engine    string
	signature engine.Signature
	model     engine.Model
	instance  engine.Instance
	// folder is where the engine reads the model, removed by close.
	folder string
}

// start opens a model on an engine, with so many threads for a run.
func start(ctx context.Context, e Engine, m *onnx.Model, threads int) (*runner, error) {
	data, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "millrace-optimize-")
	if err != nil {
		return nil, err
	}
	r := &runner{engine: e.Name, folder: folder}
	if err = os.WriteFile(filepath.Join(folder, runFile), data, 0o600); err == nil {
		err = r.open(ctx, e.Backend, threads)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.Name, err), r.close())
	}
	return r, nil
}

func (r *runner) open(ctx context.Context, backend engine.Backend, threads int) (err error) {
	if r.model, err = backend.Load(ctx, r.folder, &modelconfig.Config{Name: "model", DefaultModelFilename: runFile}); err != nil {
		return err
	}
	r.signature = r.model.Signature()
	r.instance, err = r.model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: threads})
	return err
}

func (r *runner) close() error {
	var errs []error
	if r.instance != nil {
		errs = append(errs, r.instance.Close())
	}
	if r.model != nil {
		errs = append(errs, r.model.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(r.folder))...)
}

// bind prepares a run on inputs, which it finds by their names.
func (r *runner) bind(inputs []tensor.Tensor) (*engine.Binding, error) {
	shapes := make([]tensor.Shape, len(r.signature.Inputs))
	given := make([]*tensor.Tensor, len(shapes))
	for i, spec := range r.signature.Inputs {
		for j := range inputs {
			if inputs[j].Name == spec.Name {
				given[i], shapes[i] = &inputs[j], inputs[j].Shape
			}
		}
		if given[i] == nil && !spec.Optional {
			return nil, fmt.Errorf("%s: no data for input %q", r.engine, spec.Name)
		}
	}
	b, err := r.instance.Bind(shapes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.engine, err)
	}
	for i, in := range given {
		switch {
		case in == nil:
		case in.Datatype == tensor.Bytes:
			b.Inputs[i].Data = append(b.Inputs[i].Data[:0], in.Data...)
		default:
			copy(b.Inputs[i].Data, in.Data)
		}
	}
	return b, nil
}

// run gives the outputs for inputs. They are valid until the next run.
func (r *runner) run(ctx context.Context, inputs []tensor.Tensor) ([]tensor.Tensor, error) {
	b, err := r.bind(inputs)
	if err != nil {
		return nil, err
	}
	if err := r.instance.Run(ctx, b); err != nil {
		return nil, fmt.Errorf("%s: %w", r.engine, err)
	}
	return b.Outputs, nil
}

// startAny opens a model on the first engine that runs it.
func startAny(ctx context.Context, engines []Engine, m *onnx.Model) (*runner, error) {
	var errs []error
	for _, e := range engines {
		r, err := start(ctx, e, m, runtime.GOMAXPROCS(0))
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, errors.New("there is no engine to run the model on")
	}
	return nil, errors.Join(errs...)
}

// batches calls visit with the data, at most rows at a time.
func batches(d *dataset.Data, rows int, visit func(from, to int) error) error {
	rows = max(d.Unit, rows/d.Unit*d.Unit)
	for from := 0; from < d.Rows; from += rows {
		if err := visit(from, min(from+rows, d.Rows)); err != nil {
			return err
		}
	}
	return nil
}
