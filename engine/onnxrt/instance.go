// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"context"
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/internal/shapecache"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// instance executes one batch at a time, in memory of its own.
type instance struct {
	model   *model
	session *ort.DynamicAdvancedSession
	// private says that the session is this instance's alone, to be closed with it.
	private bool
	// direct forbids bound runs. On a GPU the library copies a bound input when it
	// is bound, not when it runs, so later contents would go unseen.
	direct bool

	arena  arena
	cache  shapecache.Cache[*bound]
	latest *bound
}

var _ engine.Instance = (*instance)(nil)

// prepare lays out what can be foreseen, so that serving finds it made, and a model
// that cannot run fails to load. Without batching, rowsMax is 0.
func (in *instance) prepare(rowsMax int) error {
	for _, rows := range shapecache.Rows(rowsMax) {
		shapes, ok := modelfile.RowShapes(in.model.graph.signature.Inputs, rows)
		if !ok {
			return nil
		}
		in.cache.ReserveRows(rowsMax)
		if _, err := in.lay(shapes); err != nil {
			return err
		}
	}
	return nil
}

// Bind lays the instance's memory out for inputs of the given shapes, or finds the
// layout made before.
func (in *instance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	b := in.cache.Find(shapes)
	if b == nil {
		var err error
		if b, err = in.lay(shapes); err != nil {
			return nil, err
		}
	}
	b.reset()
	in.latest = b
	return &b.Binding, nil
}

// lay makes and keeps a bound for shapes.
func (in *instance) lay(shapes []tensor.Shape) (*bound, error) {
	g := in.model.graph
	l, err := g.layOut(shapes, in.model.distrust.Load())
	if err != nil {
		return nil, err
	}
	if err := in.reserve(l.bytes); err != nil {
		return nil, err
	}
	b, err := newBound(g, l, in.arena.memory)
	if err != nil {
		return nil, err
	}
	if !in.direct && b.bindable() {
		err = b.bind(in.session)
	} else {
		err = b.complete()
	}
	if err != nil {
		return nil, errors.Join(err, b.Destroy())
	}
	return b, in.cache.Put(b)
}

// reserve grows the arena. What pointed into it goes first.
func (in *instance) reserve(bytes int) error {
	if bytes <= len(in.arena.memory) {
		return nil
	}
	in.latest = nil
	if err := in.cache.Clear(); err != nil {
		return err
	}
	return in.arena.grow(bytes)
}

// Run executes the model on the latest binding. It heeds ctx before it starts.
func (in *instance) Run(ctx context.Context, binding *engine.Binding) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, ok := binding.State.(*bound)
	if !ok || b != in.latest {
		return errors.New("onnxrt: run on a binding that is not the instance's latest")
	}
	err := in.run(b)
	if err != nil && isShapeMismatch(err) && b.presumes() {
		return in.runAgain(b)
	}
	return err
}

func (in *instance) run(b *bound) error {
	if b.io == nil {
		return b.runDirect(in.session)
	}
	if err := in.session.RunWithBinding(b.io); err != nil {
		return libraryError(err)
	}
	return nil
}

// runAgain repeats a run whose outputs were not of the shapes that the graph
// declares, and leaves it to the library to allocate outputs from now on. The inputs
// lie where they did.
func (in *instance) runAgain(b *bound) error {
	in.model.distrust.Store(true)
	in.latest = nil
	if err := in.cache.Clear(); err != nil {
		return err
	}
	again, err := in.lay(b.shapes)
	if err != nil {
		return err
	}
	again.reset()
	for i := range b.Inputs {
		again.Inputs[i].Data = b.Inputs[i].Data
	}
	if err := in.run(again); err != nil {
		return err
	}
	b.Outputs = again.Outputs
	return nil
}

// Close releases the instance's memory, and its session where it has its own.
func (in *instance) Close() error {
	in.latest = nil
	problems := []error{in.cache.Clear(), in.arena.release()}
	if in.private {
		problems = append(problems, in.session.Destroy())
		trimHeap()
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("close an instance of %s: %w", in.model.file, err)
	}
	return nil
}
