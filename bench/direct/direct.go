// SPDX-License-Identifier: Apache-2.0

// Package direct runs a model in this process without a server around it: the most
// that the engine's library gives on this machine, and the peer that a server's
// throughput is measured against.
//
// Each instance has a core of its own, its inputs are bound once, and it runs the
// same batch over and over: nothing is received, gathered or answered.
//
// A Model measures one thing at a time; each measurement owns one goroutine per
// instance and returns when they have ended.
package direct

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// ErrInvalidMeasurement reports a measurement that cannot be made as asked.
var ErrInvalidMeasurement = errors.New("invalid measurement")

// Options says which model to run and on how much of the machine.
type Options struct {
	Backend engine.Backend
	// Dir is the folder of one version of the model.
	Dir    string
	Config *modelconfig.Config
	// Instances is the number of instances, with one thread each.
	Instances int
	// BatchSizeMax is the largest batch that will be measured.
	BatchSizeMax int
}

// Model is a model ready to be measured.
type Model struct {
	model     engine.Model
	instances []engine.Instance
	signature engine.Signature
	sizeMax   int
}

// Open loads a model and makes its instances.
func Open(ctx context.Context, o Options) (*Model, error) {
	if o.Instances < 1 || o.BatchSizeMax < 1 {
		return nil, fmt.Errorf("%w: %d instances and batches of up to %d", ErrInvalidMeasurement, o.Instances, o.BatchSizeMax)
	}
	loaded, err := o.Backend.Load(ctx, o.Dir, o.Config)
	if err != nil {
		return nil, fmt.Errorf("load model %q to run it directly: %w", o.Config.Name, err)
	}
	m := &Model{model: loaded, signature: loaded.Signature(), sizeMax: o.BatchSizeMax}
	for range o.Instances {
		instance, err := loaded.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1, MaxBatchSize: o.BatchSizeMax})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("model %q: %w", o.Config.Name, err), m.Close())
		}
		m.instances = append(m.instances, instance)
	}
	return m, nil
}

// Close releases the model.
func (m *Model) Close() error {
	var errs []error
	for _, instance := range m.instances {
		errs = append(errs, instance.Close())
	}
	return errors.Join(append(errs, m.model.Close())...)
}

// Rate is how many rows per second a batch size gives.
type Rate struct {
	BatchSize     int     `json:"batch_size"`
	RowsPerSecond float64 `json:"rows_per_second"`
}

// Best measures batch sizes 1, 2, 4, ... up to the largest, each for a time, and
// returns the fastest and all.
func (m *Model) Best(ctx context.Context, each time.Duration) (best Rate, all []Rate, err error) {
	for size := 1; size <= m.sizeMax; size *= 2 {
		rate, err := m.RowsPerSecond(ctx, size, each)
		if err != nil {
			return Rate{}, nil, err
		}
		all = append(all, Rate{BatchSize: size, RowsPerSecond: rate})
		if rate > best.RowsPerSecond {
			best = all[len(all)-1]
		}
	}
	return best, all, nil
}

// RowsPerSecond runs batches of one size on all instances for a time.
func (m *Model) RowsPerSecond(ctx context.Context, batchSize int, d time.Duration) (float64, error) {
	runs, elapsed, err := m.measure(ctx, m.instances, batchSize, d, nil)
	return float64(runs*batchSize) / elapsed.Seconds(), err
}

// MedianLatency runs batches of one size on one instance for a time.
func (m *Model) MedianLatency(ctx context.Context, batchSize int, d time.Duration) (time.Duration, error) {
	var latencies []time.Duration
	observe := func(latency time.Duration) {
		if len(latencies) < latenciesMax {
			latencies = append(latencies, latency)
		}
	}
	if _, _, err := m.measure(ctx, m.instances[:1], batchSize, d, observe); err != nil {
		return 0, err
	}
	if len(latencies) == 0 {
		return 0, fmt.Errorf("%w: no run ended within %v", ErrInvalidMeasurement, d)
	}
	slices.Sort(latencies)
	return latencies[len(latencies)/2], nil
}

// latenciesMax bounds the runs that a median is taken of.
const latenciesMax = 1 << 20

// measure runs instances side by side until d has passed. observe, when not nil,
// gets the time of each run of the first one.
func (m *Model) measure(ctx context.Context, instances []engine.Instance, batchSize int, d time.Duration, observe func(time.Duration)) (runs int, elapsed time.Duration, err error) {
	if batchSize < 1 || batchSize > m.sizeMax {
		return 0, 0, fmt.Errorf("%w: batch size %d is not between 1 and %d", ErrInvalidMeasurement, batchSize, m.sizeMax)
	}
	bindings := make([]*engine.Binding, len(instances))
	for i, instance := range instances {
		if bindings[i], err = m.bind(ctx, instance, batchSize); err != nil {
			return 0, 0, err
		}
	}
	counts, errs := make([]int, len(instances)), make([]error, len(instances))
	var group sync.WaitGroup
	start := time.Now()
	for i, instance := range instances {
		each := observe
		if i > 0 {
			each = nil
		}
		group.Go(func() { counts[i], errs[i] = repeat(ctx, instance, bindings[i], start.Add(d), each) })
	}
	group.Wait()
	elapsed = time.Since(start)
	for _, n := range counts {
		runs += n
	}
	return runs, elapsed, errors.Join(errs...)
}

// bind fills the inputs of a batch with random data and runs it once, so that
// what the library does on a first run is not measured.
func (m *Model) bind(ctx context.Context, instance engine.Instance, batchSize int) (*engine.Binding, error) {
	shapes := make([]tensor.Shape, len(m.signature.Inputs))
	for i, in := range m.signature.Inputs {
		shapes[i] = append(tensor.Shape(nil), in.Shape...)
		if len(shapes[i]) > 0 && shapes[i][0] == -1 {
			shapes[i][0] = int64(batchSize)
		}
		if !shapes[i].Known() {
			return nil, fmt.Errorf("%w: input %q has shape %v, which leaves more open than the batch", ErrInvalidMeasurement, in.Name, in.Shape)
		}
	}
	binding, err := instance.Bind(shapes)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(1, uint64(batchSize)))
	for i := range binding.Inputs {
		in := &binding.Inputs[i]
		in.Data = append(in.Data[:0], workload.RandomData(in.Datatype, shapes[i], random)...)
	}
	return binding, instance.Run(ctx, binding)
}

// repeat runs a batch until the deadline and counts the runs.
func repeat(ctx context.Context, instance engine.Instance, binding *engine.Binding, deadline time.Time, observe func(time.Duration)) (runs int, err error) {
	for before := time.Now(); before.Before(deadline) && ctx.Err() == nil; runs++ {
		if err := instance.Run(ctx, binding); err != nil {
			return runs, err
		}
		now := time.Now()
		if observe != nil {
			observe(now.Sub(before))
		}
		before = now
	}
	return runs, ctx.Err()
}
