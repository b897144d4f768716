// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

// allocated is what runs of a model allocate.
type allocated struct {
	Model string `json:"model"`
	// PerRun is rounded down, as that of Go's own tests is: what the runtime allocates
	// now and then in the background is not a run's.
	PerRun      float64 `json:"allocations_per_run"`
	Allocations uint64  `json:"allocations"`
	Runs        int     `json:"runs"`
}

// Allocations counts those of a run, its Bind included, of every model that is measured
// elsewhere here. The value is the largest.
func Allocations(ctx context.Context, l *Lab) ([]float64, any, error) {
	var counts []allocated
	most := 0.0
	count := func(name string, m *onnx.Model, err error, sets ...inputs) error {
		if err != nil {
			return err
		}
		a, err := l.allocations(ctx, name, m, sets...)
		counts, most = append(counts, a), max(most, a.PerRun)
		return err
	}
	g := l.forests()
	for i, model := range g.models {
		for _, rows := range batchRows {
			m, err := model.ONNX("forest")
			if err := count(fmt.Sprintf("%s/rows=%d", g.specs[i], rows), m, err, g.batches(rows)...); err != nil {
				return nil, counts, err
			}
		}
	}
	for _, rows := range networkRows {
		m, err := l.network()
		if err := count(fmt.Sprintf("network/rows=%d", rows), m, err, l.networkInputs(rows)); err != nil {
			return nil, counts, err
		}
	}
	for _, o := range l.operatorCases() {
		m, err := o.model()
		if err := count(o.name, m, err, o.sets...); err != nil {
			return nil, counts, err
		}
	}
	if err := l.productAllocations(count); err != nil {
		return nil, counts, err
	}
	return []float64{most}, counts, nil
}

func (l *Lab) productAllocations(count func(name string, m *onnx.Model, err error, sets ...inputs) error) error {
	for _, p := range []productCase{{1, 256, 256}, {64, 256, 256}} {
		o := l.operands(p)
		m, err := o.model()
		if err := count("f32/"+p.String(), m, err, inputs{floats("a", o.a, p.m, p.k)}); err != nil {
			return err
		}
		b := l.byteOperands(p)
		m, err = b.model()
		if err := count("int8/"+p.String(), m, err, inputs{byteInput(b)}); err != nil {
			return err
		}
	}
	return nil
}

// allocations counts over many runs of one instance, all of whose shapes were seen.
func (l *Lab) allocations(ctx context.Context, name string, m *onnx.Model, sets ...inputs) (a allocated, err error) {
	if l.Progress != nil {
		l.Progress("allocations of " + name)
	}
	dir, err := l.write("allocations", m)
	if err != nil {
		return a, err
	}
	model, err := open(ctx, l.Native, dir)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	s, err := model.bind(sets...)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.instance.Close()) }()
	a = allocated{Model: name, Runs: 100}
	if err := s.bindAndRun(); err != nil {
		return a, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range a.Runs {
		if err := s.bindAndRun(); err != nil {
			return a, err
		}
	}
	runtime.ReadMemStats(&after)
	a.Allocations = after.Mallocs - before.Mallocs
	a.PerRun = math.Floor(float64(a.Allocations) / float64(a.Runs))
	return a, nil
}

// dispatchDetails say what the dispatch of a kernel costs, and how that was found.
type dispatchDetails struct {
	Method     string             `json:"method"`
	Difference turns.Spread       `json:"difference_ns"`
	Times      map[string]float64 `json:"ns_per_call"`
}

const dispatchMethod = "1000 calls in a loop of a function that calls a kernel, and of one that chooses it by the switch over " +
	"cpu.Active() that exported kernels have; the kernel adds 1 to one element; the difference of the times per call, median of the rounds"

// dispatchRounds are more than elsewhere: what is looked for is less than one clock.
const dispatchRounds = 41

// Dispatch measures what finding the kernel for the CPU adds to a call, in ns.
func Dispatch(ctx context.Context, l *Lab) ([]float64, any, error) {
	const calls = 1000
	x := []float32{1}
	loop := func(name string, f func(x []float32)) turns.Contender {
		return turns.Contender{Name: name, Work: calls, Run: func() error {
			f(x)
			return nil
		}}
	}
	pace := l.pace
	if !l.Quick {
		pace = turns.Pace{Rounds: dispatchRounds, Turn: l.pace.Turn / 4}
	}
	r, err := turns.Measure(ctx, pace,
		loop("direct", func(x []float32) {
			for range calls {
				direct(x)
			}
		}),
		loop("dispatched", func(x []float32) {
			for range calls {
				dispatched(x)
			}
		}))
	if err != nil {
		return nil, nil, err
	}
	if x[0] <= 1 {
		return nil, nil, fmt.Errorf("%w: the calls were left out", ErrOutputsDiffer)
	}
	d := dispatchDetails{Method: dispatchMethod, Difference: r.Difference("dispatched", "direct"), Times: rounded(r.Medians())}
	return []float64{round(d.Difference.Median)}, d, nil
}

// direct is an exported function around a kernel, without a choice.
//
//go:noinline
func direct(x []float32) { leafWide(x) }

// dispatched chooses as exported kernels do.
//
//go:noinline
func dispatched(x []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		leafWide(x)
	case cpu.Active() >= cpu.AVX2:
		leafNarrow(x)
	default:
		leafPlain(x)
	}
}

// The leaves stand for kernels in assembly, which are never inlined.

//go:noinline
func leafWide(x []float32) { x[0]++ }

//go:noinline
func leafNarrow(x []float32) { x[0] += 2 }

//go:noinline
func leafPlain(x []float32) { x[0] += 3 }
