// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training/learn"
)

// modelFile is the name of a model within its version's folder.
const modelFile = "model.onnx"

// finish fits the chosen candidate on all rows, exports and checks it, and writes the
// artefact.
func (b *builder) finish(ctx context.Context, r *Result, methodName string) (*Result, error) {
	method, err := methodFor(methodName, b.task)
	if err != nil {
		return nil, err
	}
	// A manifest's JSON has but one kind of number.
	if r.Parameters, err = method.Complete(r.Parameters); err != nil {
		return nil, err
	}
	train := b.orderRows()
	var valid, calibrate []int32
	if b.Spec.Calibrate.Method != "" {
		train, calibrate = b.cutShare(train, b.Spec.Calibrate.Share)
		b.calibrated = len(calibrate)
	}
	if b.Spec.Final.Valid > 0 {
		train, valid = b.cutShare(train, b.Spec.Final.Valid)
	}
	slices.Sort(train) // as they were read, so that equal data gives equal sums
	s, err := b.fit(ctx, method, r.Parameters, b.take(train), b.take(valid), b.take(calibrate), func(step, total int, _ map[string]float64) error {
		b.Progress("final fit of "+r.Chosen, step, total)
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("final fit of %s: %w", r.Chosen, err)
	}
	signature := signatureOf(b.Spec, b.data)
	model, err := export(b.Spec.Name, s, b.data.Table.Features, signature)
	if err != nil {
		return nil, fmt.Errorf("export of %s: %w", r.Chosen, err)
	}
	r.SHA256, r.Bytes = digestOf(model), len(model)
	if b.Output == "" {
		return r, b.check(ctx, model, s, "")
	}
	a := &artifact{builder: b, result: r, method: methodName, scorer: s, model: model, signature: signature}
	return r, a.write(ctx)
}

// checkRowsMax bounds the rows by which an exported model is compared.
const checkRowsMax = 4096

// check runs the exported model on some rows and compares it with what was learnt, B4.
// Dir has the model already if it is not empty.
func (b *builder) check(ctx context.Context, model []byte, s *scorer, dir string) (err error) {
	b.Progress("check the exported model", 0, 0)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "millrace-train-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if err := os.WriteFile(filepath.Join(dir, modelFile), model, 0o600); err != nil {
			return err
		}
	}
	t := b.sampleRows(checkRowsMax)
	want := s.predict(t)
	got, err := runModel(ctx, b.Backend, dir, b.task, t)
	if err != nil {
		return fmt.Errorf("the exported model does not run: %w", err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("the exported model gives %d predictions for %d rows", len(got), t.Rows())
	}
	absolute, relative := 1e-4, 1e-3
	if b.task == learn.Regression { // whose unit may be anything
		absolute, relative = 1e-3*float64(slices.Max(want)-slices.Min(want)), 1e-5
	}
	for i := range want {
		// Rounding differs between the orders of summation; a tree's threshold does not.
		if d := math.Abs(float64(got[i] - want[i])); !(d <= absolute+relative*math.Abs(float64(want[i]))) {
			return fmt.Errorf("the exported model predicts %v for row %d where %v was learnt: the export is wrong and was not kept", got[i], i/max(1, len(want)/t.Rows())+1, want[i])
		}
	}
	return nil
}

// sampleRows takes some rows, evenly.
func (b *builder) sampleRows(rowsMax int) *learn.Table {
	rows := b.data.Table.Rows()
	n := min(rows, rowsMax)
	picked := make([]int32, n)
	for i := range picked {
		picked[i] = int32(i * rows / n)
	}
	return b.data.Table.Select(picked)
}

// runModel gives the predictions of an exported model, as scorer.predict does.
func runModel(ctx context.Context, backend engine.Backend, dir string, task learn.Task, t *learn.Table) (_ []float32, err error) {
	model, err := backend.Load(ctx, dir, &modelconfig.Config{Name: "model", DefaultModelFilename: modelFile})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	instance, err := model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, instance.Close()) }()
	inputs := model.Signature().Inputs
	shapes := make([]tensor.Shape, len(inputs))
	for i, in := range inputs {
		shapes[i] = tensor.Shape{int64(t.Rows()), in.Shape[len(in.Shape)-1]}
	}
	binding, err := instance.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i := range inputs {
		if err := fillInput(&binding.Inputs[i], t); err != nil {
			return nil, err
		}
	}
	if err := instance.Run(ctx, binding); err != nil {
		return nil, err
	}
	return readPredictions(binding.Outputs, model.Signature().Outputs, task)
}
