// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/serving/stats"
)

// instance is one engine instance and the memory that assembling its batches
// needs. It is used by one goroutine at a time, which the batcher sees to.
type instance struct {
	engine  engine.Instance
	shapes  []tensor.Shape
	dims    []int64
	outputs []tensor.Tensor
	single  [1]*batching.Item
	_       [64]byte // keeps instances of neighbouring cores off one cache line
}

var _ batching.Executor = (*servedModel)(nil)

// Execute implements batching.Executor: it joins the rows of the batch in the
// instance's input memory, runs the model, and encodes each request's reply from
// the output memory.
//
// When a batch of several requests fails, each is run again alone, so that one
// request with a bad value does not fail its neighbours.
func (m *servedModel) Execute(index int, batch []*batching.Item) {
	in := &m.instances[index]
	groups := batch
	for len(groups) > 0 {
		n := m.sameShapes(groups)
		m.executeGroup(in, groups[:n])
		groups = groups[n:]
	}
}

// sameShapes counts the leading requests that really have the first one's shapes.
func (m *servedModel) sameShapes(batch []*batching.Item) int {
	if m.uniform || len(batch) == 1 {
		return len(batch)
	}
	first := requestOf(batch[0])
	for n, item := range batch[1:] {
		if !first.sameShape(requestOf(item), m) {
			return n + 1
		}
	}
	return len(batch)
}

func (r *request) sameShape(other *request, m *servedModel) bool {
	for i := range r.bound {
		a, b := &r.bound[i], &other.bound[i]
		if a.present != b.present {
			return false
		}
		if a.present && !equalShapes(a.inner(m), b.inner(m)) {
			return false
		}
	}
	return true
}

func equalShapes(a, b tensor.Shape) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (m *servedModel) executeGroup(in *instance, batch []*batching.Item) {
	err := m.run(in, batch)
	if err == nil {
		return
	}
	if len(batch) == 1 {
		batch[0].Err = err
		return
	}
	for _, item := range batch {
		in.single[0] = item
		item.Err = m.run(in, in.single[:])
	}
	in.single[0] = nil
}

// run executes one batch of requests of the same shapes.
func (m *servedModel) run(in *instance, batch []*batching.Item) (err error) {
	defer m.guard.caught(m, &err)
	started := batching.Now()
	rows := 0
	for _, item := range batch {
		rows += item.Rows
	}
	binding, err := in.engine.Bind(in.batchShapes(m, requestOf(batch[0]), rows))
	if err != nil {
		return backendError(err)
	}
	m.gather(binding, batch)
	gathered := batching.Now()
	if err := in.engine.Run(context.Background(), binding); err != nil {
		return backendError(err)
	}
	inferred := batching.Now()
	if err := m.scatter(in, binding, batch, rows); err != nil {
		return err
	}
	finished := batching.Now()
	m.stats.RecordBatch(stats.Batch{
		Requests: len(batch), Rows: rows,
		InputNanos: gathered - started, InferNanos: inferred - gathered, OutputNanos: finished - inferred,
	})
	for _, item := range batch {
		m.stats.RecordRequest(finished-requestOf(item).received, started-item.Enqueued)
	}
	return nil
}

// batchShapes are the shapes of a run: the first request's, with the rows of all.
func (in *instance) batchShapes(m *servedModel, first *request, rows int) []tensor.Shape {
	in.dims = in.dims[:0]
	for i := range first.bound {
		b := &first.bound[i]
		if !b.present {
			in.shapes[i] = nil
			continue
		}
		if m.maxBatchSize == 0 {
			in.shapes[i] = b.shape
			continue
		}
		from := len(in.dims)
		in.dims = append(append(in.dims, int64(rows)), b.shape[1:]...)
		in.shapes[i] = in.dims[from:len(in.dims):len(in.dims)]
	}
	return in.shapes
}

// gather copies the rows of each request behind one another.
func (m *servedModel) gather(binding *engine.Binding, batch []*batching.Item) {
	for i := range binding.Inputs {
		input := &binding.Inputs[i]
		if input.Datatype == tensor.Bytes {
			for _, item := range batch {
				input.Data = append(input.Data, requestOf(item).bound[i].data...)
			}
			continue
		}
		at := 0
		for _, item := range batch {
			at += copy(input.Data[at:], requestOf(item).bound[i].data)
		}
	}
}

// scatter cuts the outputs at the boundaries of the requests and encodes replies.
func (m *servedModel) scatter(in *instance, binding *engine.Binding, batch []*batching.Item, rows int) error {
	if m.maxBatchSize > 0 {
		for i := range binding.Outputs {
			out := &binding.Outputs[i]
			if len(out.Shape) == 0 || out.Shape[0] != int64(rows) {
				return &Error{codes.Internal, fmt.Sprintf("output '%s' of model '%s' has shape %s for a batch of %d rows: the model does not keep the batch dimension, so it needs max_batch_size: 0", out.Name, m.name, out.Shape, rows)}
			}
		}
	}
	rest := append(in.outputs[:0], binding.Outputs...)
	in.outputs = rest
	for _, item := range batch {
		if err := m.answer(requestOf(item), rest); err != nil {
			return err
		}
	}
	return nil
}

// answer takes the request's rows off the front of each output in rest.
func (m *servedModel) answer(r *request, rest []tensor.Tensor) error {
	r.values = r.values[:0]
	r.replyDims = r.replyDims[:0]
	for i := range rest {
		out := &rest[i]
		size, err := m.rowsSize(out, r.Rows)
		if err != nil {
			return err
		}
		mine := tensor.Tensor{Name: out.Name, Datatype: out.Datatype, Data: out.Data[:size], Shape: m.replyShape(r, i, out.Shape)}
		r.values = append(r.values, mine)
		out.Data = out.Data[size:]
	}
	if err := r.selectOutputs(m); err != nil {
		return err
	}
	if r.wantValues {
		r.keepValues()
		return nil
	}
	var parameters []byte
	if r.stream {
		parameters = finalTrue
	}
	var err error
	r.reply, err = encodeReply(m.head, r.id, parameters, r.values, r.stream, m.replyBytesMax)
	clear(r.values) // they alias the instance's memory
	r.values = r.values[:0]
	return err
}

// keepValues copies the values out of the instance's memory.
func (r *request) keepValues() {
	size := 0
	for i := range r.values {
		size += len(r.values[i].Data)
	}
	memory := slices.Grow(r.valueBytes[:0], size)
	for i := range r.values {
		from := len(memory)
		memory = append(memory, r.values[i].Data...)
		r.values[i].Data = memory[from:len(memory):len(memory)]
	}
	r.valueBytes = memory
}

// rowsSize is the number of bytes that the first rows of an output take.
func (m *servedModel) rowsSize(out *tensor.Tensor, rows int) (int, error) {
	if m.maxBatchSize == 0 {
		return len(out.Data), nil
	}
	perRow := int64(1)
	for _, d := range out.Shape[1:] {
		perRow *= d
	}
	elements := perRow * int64(rows)
	if out.Datatype != tensor.Bytes {
		return int(elements) * out.Datatype.Size(), nil
	}
	size, err := tensor.SkipBytes(out.Data, elements)
	if err != nil {
		return 0, &Error{codes.Internal, fmt.Sprintf("output '%s' of model '%s': %v", out.Name, m.name, err)}
	}
	return size, nil
}

// replyShape is the shape of one request's part of output i, as its configuration
// declares it where it reshapes.
func (m *servedModel) replyShape(r *request, i int, whole tensor.Shape) tensor.Shape {
	from := len(r.replyDims)
	inner := whole
	if m.maxBatchSize > 0 {
		r.replyDims = append(r.replyDims, int64(r.Rows))
		inner = whole[1:]
	}
	if dims := m.outputDims[i]; dims != nil {
		r.replyDims = appendReshaped(r.replyDims, dims, inner, m.outputInner[i])
	} else {
		r.replyDims = append(r.replyDims, inner...)
	}
	return r.replyDims[from:len(r.replyDims):len(r.replyDims)]
}

// appendReshaped appends declared, filling each variable extent with the next
// extent of actual that is variable in template.
func appendReshaped(dst, declared, actual, template []int64) []int64 {
	next := 0
	for _, d := range declared {
		if d < 0 {
			for next < len(actual) && next < len(template) && template[next] >= 0 {
				next++
			}
			if next < len(actual) {
				d = actual[next]
				next++
			}
		}
		dst = append(dst, d)
	}
	return dst
}

// selectOutputs keeps the outputs asked for, in the order asked for; when none is
// named, those that the configuration offers.
func (r *request) selectOutputs(m *servedModel) error {
	all := len(r.values)
	if len(r.outputs) == 0 {
		if len(m.offered) < all {
			for n, i := range m.offered {
				r.values[n] = r.values[i]
			}
			r.values = r.values[:len(m.offered)]
		}
		return nil
	}
	for i := range r.outputs {
		chosen := r.values[r.outputs[i].index]
		if n := r.outputs[i].classification; n > 0 {
			var err error
			if chosen, err = classify(chosen, n, m.maxBatchSize > 0, m.version.Labels[chosen.Name]); err != nil {
				return err
			}
		}
		r.values = append(r.values, chosen)
	}
	r.values = r.values[:copy(r.values, r.values[all:])]
	return nil
}

func requestOf(item *batching.Item) *request { return item.Owner.(*request) }

// backendError marks an error as the backend's, for the failure statistics.
func backendError(err error) error { return &executionError{err} }

// executionError is an error of a run, as opposed to one of the request.
type executionError struct{ err error }

func (e *executionError) Error() string { return e.err.Error() }
func (e *executionError) Unwrap() error { return e.err }
