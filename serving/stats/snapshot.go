// SPDX-License-Identifier: Apache-2.0

package stats

// Duration is how often something happened and how long it took in all.
type Duration struct {
	Count, Nanos uint64
}

// ModelSnapshot is the statistics of one version at one time.
type ModelSnapshot struct {
	Model   string
	Version int64
	// LastInferenceMillis is when the last run ended, in milliseconds since 1970;
	// 0 when there was none.
	LastInferenceMillis uint64
	// InferenceCount counts rows, ExecutionCount runs.
	InferenceCount, ExecutionCount uint64

	// These count requests.
	Success, Fail, Queue, ComputeInput, ComputeInfer, ComputeOutput Duration

	// Batches are the runs by increasing batch size.
	Batches []BatchSnapshot
	// Responses are those of a decoupled model by their index, with the time since
	// the request was received.
	Responses []Duration
}

// BatchSnapshot is the runs of one batch size. Size 0 is empty batches, and all
// sizes met after the first 1024.
type BatchSnapshot struct {
	Size                                int
	Runs                                uint64
	InputNanos, InferNanos, OutputNanos uint64
}

// Snapshot is the statistics of all open versions of a model, or of all models
// where the name is empty, by name and version.
func (r *Registry) Snapshot(model string) []ModelSnapshot {
	var snapshots []ModelSnapshot
	for _, m := range r.visible() {
		if model == "" || m.id.Model == model {
			snapshots = append(snapshots, m.snapshot())
		}
	}
	return snapshots
}

func (m *Model) snapshot() ModelSnapshot {
	t := m.totals()
	return ModelSnapshot{
		Model:               m.id.Model,
		Version:             m.id.Version,
		LastInferenceMillis: uint64(m.lastInference.Load()),
		InferenceCount:      t.rows,
		ExecutionCount:      t.runs(),
		Success:             t.request.duration(),
		Fail:                t.failed(),
		Queue:               t.queue.duration(),
		ComputeInput:        t.input.duration(),
		ComputeInfer:        t.infer.duration(),
		ComputeOutput:       t.output.duration(),
		Batches:             t.batches,
		Responses:           m.responses.snapshot(),
	}
}

// totals is the sum of a Model's lanes.
type totals struct {
	request, queue, input, infer, output latencyTotals

	failures     [reasonCount]uint64
	failureNanos uint64
	batches      []BatchSnapshot
	rows         uint64
}

func (m *Model) totals() *totals {
	t := &totals{}
	for i := range m.lanes {
		l := &m.lanes[i]
		t.request.addAll(&l.request)
		t.queue.addAll(&l.queue)
		t.input.addAll(&l.input)
		t.infer.addAll(&l.infer)
		t.output.addAll(&l.output)
		for reason := range l.failures {
			t.failures[reason] += l.failures[reason].Load()
		}
		t.failureNanos += l.failureNanos.Load()
	}
	t.batches, t.rows = m.sizes.snapshot()
	return t
}

func (t *totals) runs() uint64 {
	n := uint64(0)
	for _, b := range t.batches {
		n += b.Runs
	}
	return n
}

func (t *totals) failed() Duration {
	d := Duration{Nanos: t.failureNanos}
	for _, n := range t.failures {
		d.Count += n
	}
	return d
}
