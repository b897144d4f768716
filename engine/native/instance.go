// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/internal/shapecache"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// instance runs a program in memory of its own.
type instance struct {
	program *program
	// threads is the most cores that one run uses. crew runs what the caller's
	// goroutine does not, nil with one thread.
	threads int
	crew    *crew
	// scratches are one for each thread.
	scratches []*op.Scratch
	arena     []byte
	cache     shapecache.Cache[*bound]
	latest    *bound
}

var _ engine.Instance = (*instance)(nil)

func newInstance(p *program, placement engine.Placement) (*instance, error) {
	in := &instance{program: p, threads: max(1, placement.Threads)}
	for range in.threads {
		in.scratches = append(in.scratches, &op.Scratch{})
	}
	if err := in.prepare(placement.MaxBatchSize); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// prepare binds what can be foreseen, so that serving finds it bound, and a model that
// cannot run fails to load. Without batching, rowsMax is 0.
func (in *instance) prepare(rowsMax int) error {
	for _, rows := range shapecache.Rows(rowsMax) {
		shapes, ok := modelfile.RowShapes(in.program.signature.Inputs, rows)
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

// Bind implements engine.Instance.
func (in *instance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	b := in.cache.Find(shapes)
	if b == nil {
		var err error
		if b, err = in.lay(shapes); err != nil {
			return nil, err
		}
	}
	if b.strings {
		b.reset()
	}
	in.latest = b
	return &b.Binding, nil
}

// lay binds the program to shapes and keeps the result.
func (in *instance) lay(shapes []tensor.Shape) (*bound, error) {
	if err := modelfile.CheckShapes(in.program.signature.Inputs, shapes); err != nil {
		return nil, err
	}
	b, err := in.bind(shapes)
	if err != nil {
		return nil, fmt.Errorf("inputs of shapes %v: %w", shapes, err)
	}
	return b, in.cache.Put(b)
}

func (in *instance) bind(shapes []tensor.Shape) (*bound, error) {
	b, err := in.program.infer(shapes, in.scratches[0])
	if err != nil {
		return nil, err
	}
	if err := b.plan(nil); err != nil {
		return nil, err
	}
	if parts := b.planParts(b.partRows(in.threads), in.scratches); parts != nil {
		return b, in.bindParts(b, parts)
	}
	if err := in.reserve(b.layout.bytes); err != nil {
		return nil, err
	}
	return b, b.attach(in.arena, in.scratches[0])
}

// bindParts gives b's inputs and outputs their memory, and each part a piece of the
// arena behind it.
func (in *instance) bindParts(b *bound, parts []*bound) error {
	ends := roundUp(b.layout.bytes)
	bytes := ends
	for _, part := range parts {
		bytes += roundUp(part.layout.bytes)
	}
	if err := in.reserve(bytes); err != nil {
		return err
	}
	b.layout.attach(b, in.arena[:ends])
	b.steps = nil
	b.bindEnds()
	first, from := 0, ends
	for i, part := range parts {
		part.share(b, first)
		to := from + roundUp(part.layout.bytes)
		if err := part.attach(in.arena[from:to], in.scratches[i]); err != nil {
			return err
		}
		b.parts = append(b.parts, part)
		first, from = first+part.batchRows(), to
	}
	if in.crew == nil {
		in.crew = newCrew(in.threads)
	}
	return nil
}

// roundUp is the next multiple of Alignment.
func roundUp(bytes int) int { return (bytes + op.Alignment - 1) / op.Alignment * op.Alignment }

// reserve grows the arena. What points into it goes first.
func (in *instance) reserve(bytes int) error {
	if bytes <= len(in.arena) {
		return nil
	}
	in.latest = nil
	in.arena = op.AlignedBytes(bytes)
	return in.cache.Clear()
}

// Run implements engine.Instance. It heeds ctx before it starts.
func (in *instance) Run(ctx context.Context, binding *engine.Binding) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, ok := binding.State.(*bound)
	if !ok || b != in.latest {
		return errors.New("native: run on a binding that is not the instance's latest")
	}
	if b.parts != nil {
		return in.crew.run(b.parts)
	}
	return b.run()
}

// Close implements engine.Instance.
func (in *instance) Close() error {
	in.latest = nil
	in.arena = nil
	if in.crew != nil {
		in.crew.close()
		in.crew = nil
	}
	return in.cache.Clear()
}
