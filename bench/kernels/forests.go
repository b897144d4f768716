// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/millrace-ml/millrace/bench/kernels/boost"
	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/trees"
)

// testRows are the rows that models are run on, none of which they were trained on.
// No row comes again before all others did, so that no branch predictor knows them.
const testRows = 4096

// grown are the ensembles that are measured.
type grown struct {
	tests  *boost.Data
	models []*boost.Model
	specs  []ForestSpec
}

// ForestSpec names an ensemble.
type ForestSpec struct{ Trees, Leaves int }

// forestSpecs are the ensembles, with what grows them: of a number of leaves the larger
// ones are grown more slowly, and the one of 500 is the beginning of the one of 1000.
var forestSpecs = []forestRecipe{
	{ForestSpec{100, 31}, 100, 0.1},
	{ForestSpec{500, 31}, 1000, 0.05},
	{ForestSpec{1000, 31}, 1000, 0.05},
	{ForestSpec{100, 255}, 100, 0.1},
	{ForestSpec{1000, 255}, 1000, 0.05},
}

// forestRecipe says how an ensemble is grown: as the beginning of one of grown trees.
type forestRecipe struct {
	ForestSpec
	grown int
	rate  float64
}

// continues reports whether both are of one ensemble.
func (r forestRecipe) continues(before forestRecipe) bool {
	return r.grown == before.grown && r.Leaves == before.Leaves && r.rate == before.rate
}

// quickShare is how much smaller ensembles are, and their training data, in a quick run.
const quickShare = 10

// forests grows the ensembles, once a lab.
func (l *Lab) forests() *grown {
	if l.grown != nil {
		return l.grown
	}
	if l.Progress != nil {
		l.Progress("training trees")
	}
	rows, share := 116_000, 1
	if l.Quick {
		rows, share = rows/quickShare, quickShare
	}
	data := boost.Synthetic(rows, 1)
	g := &grown{tests: boost.Synthetic(testRows, 2)}
	trained := make([]*boost.Model, len(forestSpecs))
	var done sync.WaitGroup
	for i, s := range forestSpecs {
		if i > 0 && s.continues(forestSpecs[i-1]) {
			continue
		}
		done.Go(func() {
			trained[i] = boost.Train(data, boost.Options{Trees: s.grown / share, Leaves: s.Leaves, Rate: s.rate, Seed: 3})
		})
	}
	done.Wait()
	for i, s := range forestSpecs {
		if trained[i] == nil {
			trained[i] = trained[i-1]
		}
		g.models = append(g.models, trained[i].First(s.Trees/share))
		g.specs = append(g.specs, s.ForestSpec)
	}
	l.grown = g
	return g
}

// batches are the test rows in batches of a size.
func (g *grown) batches(rows int) []inputs {
	var sets []inputs
	for at := 0; at+rows <= testRows; at += rows {
		x := g.tests.X[at*boost.Features:][:rows*boost.Features]
		sets = append(sets, inputs{floats(boost.Input, x, rows, boost.Features)})
	}
	return sets
}

// treeDetails are what is told of trees.
type treeDetails struct {
	Models map[string]boost.Shape `json:"models"`
	Cases  []Case                 `json:"cases"`
}

// Trees measures ensembles of trees: of up to 32 leaves in batches; of 255 leaves in
// batches of 256 and of 64 rows; single rows of up to 32 leaves, of 100 and of 1000 trees
// of 255. A value is how many times faster a run of the engine is than the peer's.
func Trees(ctx context.Context, l *Lab) ([]float64, any, error) {
	g := l.forests()
	d := treeDetails{Models: map[string]boost.Shape{}}
	byRows := map[int][]Case{}
	specs := map[string]ForestSpec{}
	for i, m := range g.models {
		spec := g.specs[i]
		d.Models[spec.String()] = m.Shape(g.tests.X)
		cases, err := l.forest(ctx, g, m, spec)
		if err != nil {
			return nil, d, err
		}
		for j, rows := range batchRows {
			specs[cases[j].Name] = spec
			byRows[rows] = append(byRows[rows], cases[j])
		}
		d.Cases = append(d.Cases, cases...)
	}
	of := func(rows []Case, keep func(ForestSpec) bool) float64 {
		return worst(rows, func(c *Case) bool { return keep(specs[c.Name]) })
	}
	small := func(s ForestSpec) bool { return s.Leaves <= 32 }
	large := func(s ForestSpec) bool { return s.Leaves > 32 }
	batches := append(append([]Case{}, byRows[64]...), byRows[256]...)
	return []float64{
		of(batches, small), of(byRows[256], large), of(byRows[64], large), of(byRows[1], small),
		of(byRows[1], func(s ForestSpec) bool { return large(s) && s.Trees == 100 }),
		of(byRows[1], func(s ForestSpec) bool { return large(s) && s.Trees == 1000 }),
	}, d, nil
}

// String names the ensemble.
func (s ForestSpec) String() string { return fmt.Sprintf("trees=%d/leaves=%d", s.Trees, s.Leaves) }

// batchRows are the batch sizes of trees.
var batchRows = []int{1, 64, 256}

// forest measures one ensemble at each batch size.
func (l *Lab) forest(ctx context.Context, g *grown, m *boost.Model, spec ForestSpec) (cases []Case, err error) {
	model, err := m.ONNX("forest")
	if err != nil {
		return nil, err
	}
	p, err := l.both(ctx, "forest", model, g.batches(batchRows[0])...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	bare, err := newBareForest(g, m)
	if err != nil {
		return nil, err
	}
	for _, rows := range batchRows {
		if err := p.rebind(g.batches(rows)...); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s/rows=%d", spec, rows)
		sum, err := p.agree(outputTolerance)
		if err == nil {
			err = bare.check(rows)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r, c, err := l.measure(ctx, name, "ns/row", p.native.contender(ours, rows), p.other.contender(peer, rows),
			bare.contender(kernel, rows, nil), bare.contender(narrow, rows, atAVX2))
		if err != nil {
			return nil, err
		}
		c.ratio(r, peer, ours)
		c.also(r, "onnxruntime over kernel", peer, kernel)
		c.also(r, "onnxruntime over kernel at avx2", peer, narrow)
		c.Checksum = sum
		cases = append(cases, c)
	}
	return cases, nil
}

// outputTolerance is how far outputs of floats may lie apart. Engines add up in orders
// of their own.
const outputTolerance = 1e-4

// atAVX2 has kernels do without AVX-512 until it is undone.
func atAVX2() (undo func()) { return cpu.Limit(cpu.AVX2) }

// bareForest is an ensemble without an engine around it.
type bareForest struct {
	tests   *boost.Data
	model   *boost.Model
	forest  *trees.Forest
	scratch *trees.Scratch
	y       []float32
	at      int
}

func newBareForest(g *grown, m *boost.Model) (*bareForest, error) {
	f, err := trees.Compile(m.Ensemble())
	if err != nil {
		return nil, err
	}
	return &bareForest{tests: g.tests, model: m, forest: f, scratch: f.NewScratch(), y: make([]float32, testRows)}, nil
}

// predict evaluates the next rows.
func (b *bareForest) predict(rows int) {
	if b.at+rows > testRows {
		b.at = 0
	}
	b.forest.Predict(b.tests.X[b.at*boost.Features:], boost.Features, rows, b.y[b.at:], 1, b.scratch)
	b.at += rows
}

// check compares the kernel at both levels with the trees walked one by one.
func (b *bareForest) check(rows int) error {
	for _, around := range []func() func(){nil, atAVX2} {
		if err := b.checkOnce(rows, around); err != nil {
			return err
		}
	}
	return nil
}

func (b *bareForest) checkOnce(rows int, around func() func()) error {
	if around != nil {
		defer around()()
	}
	clear(b.y)
	b.at = 0
	for range testRows / rows {
		b.predict(rows)
	}
	const every = 16 // of the rows, since the walk takes its time
	for i := 0; i < testRows; i += every {
		want := b.model.Predict(b.tests.X[i*boost.Features:][:boost.Features])
		if err := agree([]float64{float64(b.y[i])}, []float64{float64(want)}, outputTolerance); err != nil {
			return fmt.Errorf("row %d of the kernel: %w", i, err)
		}
	}
	return nil
}

func (b *bareForest) contender(name string, rows int, around func() func()) turns.Contender {
	return turns.Contender{Name: name, Work: float64(rows), Around: around, Run: func() error {
		b.predict(rows)
		return nil
	}}
}

// floats is a tensor of FP32.
func floats(name string, values []float32, shape ...int) tensor.Tensor {
	return tensorOf(name, tensor.FP32, values, shape)
}
