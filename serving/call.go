// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Call runs models in this process. It goes the way of a ModelInfer request, with the
// same checks, queue, batches, statistics and deadlines, but with no message on either
// side: inputs are written into the call's own memory and outputs are read from it.
//
//	call := server.NewCall() // once; it is used again and again
//	if err := call.Begin("fraud", ""); err != nil { ... }
//	defer call.Release()
//	row, err := call.Input(0, 1)
//	... write little-endian elements into row ...
//	err = call.Run(ctx, deadline)
//	scores, err := call.Output(0)
//
// From Begin to Release a call holds its version: a swap does not close it meanwhile, and
// every Run is by it. In a steady state, shapes seen before, nothing allocates.
//
// A call belongs to one goroutine at a time. Every error is an *Error with the code that
// a ModelInfer request would get.
type Call struct {
	server  *Server
	request request
	inputs  []callInput // by the model's order
	ran     bool
}

// callInput is one input as written by the caller.
type callInput struct {
	data  []byte
	shape tensor.Shape
	given bool
}

// NewCall returns a call for one goroutine at a time. It needs no end.
func (s *Server) NewCall() *Call { return &Call{server: s} }

var (
	errCallIdle    = &Error{codes.FailedPrecondition, "call holds no model: Begin comes first"}
	errCallInUse   = &Error{codes.FailedPrecondition, "call holds a model already: Release it before the next Begin"}
	errCallNotRun  = &Error{codes.FailedPrecondition, "call has no outputs: Run it first, without an error"}
	errCallStreams = &Error{codes.Unimplemented, "models with decoupled transaction policy cannot be run by a call: they give any number of answers"}
)

// Begin takes hold of a version: a number, an alias, or empty for the current one. While
// the server stops it still does, so that who answers requests with the help of models
// can finish (see Options.OnStop), until models unload.
func (c *Call) Begin(model, version string) error {
	if c.request.acquired != nil {
		return errCallInUse
	}
	select {
	case <-c.server.ready:
	default:
		return errNotReady
	}
	v, err := c.server.repository.Acquire(model, version)
	if err != nil {
		return toError(err)
	}
	m := v.Attachment.(*servedModel)
	if m.decoupled {
		v.Release()
		return errCallStreams
	}
	c.request.acquired, c.request.model = v, m
	c.request.wantValues = true
	for len(c.inputs) < len(m.inputs) {
		c.inputs = append(c.inputs, callInput{})
	}
	return nil
}

// Model and Version name what the call holds; empty and 0 without a Begin.
func (c *Call) Model() string {
	if c.request.model == nil {
		return ""
	}
	return c.request.model.name
}

// Version is the number of the version that the call holds, 0 without a Begin.
func (c *Call) Version() int64 {
	if c.request.acquired == nil {
		return 0
	}
	return c.request.acquired.Number
}

// Inputs describes what the version takes, in its order. The slice must not be changed;
// it is the same one, and another version's another one, as long as the version is loaded.
func (c *Call) Inputs() []TensorInfo {
	if c.request.model == nil {
		return nil
	}
	return c.request.model.takes
}

// Outputs describes what the version gives, likewise.
func (c *Call) Outputs() []TensorInfo {
	if c.request.model == nil {
		return nil
	}
	return c.request.model.gives
}

// ModelFile is the ONNX file that the version was loaded from. Files that came with the load
// stay as long as the version is held; those of the repository may have been replaced since,
// which makes another version of them.
func (c *Call) ModelFile() (string, error) {
	if c.request.acquired == nil {
		return "", errCallIdle
	}
	return c.request.acquired.ModelFile()
}

// SetPriority gives the following runs up to the Release a priority level, 1 the most
// urgent; 0, as after Begin, is the model's default.
func (c *Call) SetPriority(level int) { c.request.params.priority = uint64(max(level, 0)) }

// Input returns the memory of input i for a number of rows: rows times its Width elements,
// little-endian, whatever was there before. The caller fills it before Run; it stays
// what it is over further runs, until the next Input for i or Release. Inputs of BYTES are
// given by InputTexts, those whose width varies by InputShaped.
func (c *Call) Input(i, rows int) ([]byte, error) {
	info, err := c.input(i)
	if err != nil {
		return nil, err
	}
	if info.Datatype == tensor.Bytes {
		return nil, invalidArgument("input '%s' of model '%s' is of BYTES: give its texts", info.Name, c.Model())
	}
	if info.Width < 0 {
		return nil, invalidArgument("input '%s' of model '%s' has shape %s, of which a row has no fixed size: give its shape", info.Name, c.Model(), info.Shape)
	}
	if err := c.shape(i, info, rows); err != nil {
		return nil, err
	}
	elements, err := c.inputs[i].shape.Elements()
	if err != nil {
		return nil, invalidArgument("input '%s' of model '%s' cannot have %d rows: %v", info.Name, c.Model(), rows, err)
	}
	return c.memory(i, info, elements)
}

// InputShaped returns the memory of input i for any shape, the dimension of rows included,
// as Input does.
func (c *Call) InputShaped(i int, shape tensor.Shape) ([]byte, error) {
	info, err := c.input(i)
	if err != nil {
		return nil, err
	}
	if info.Datatype == tensor.Bytes {
		return nil, invalidArgument("input '%s' of model '%s' is of BYTES: give its texts", info.Name, c.Model())
	}
	elements, err := shape.Elements()
	if err != nil || !shape.Known() || len(shape) > tensorRankMax {
		return nil, invalidArgument("input '%s' of model '%s' cannot have shape %s", info.Name, c.Model(), shape)
	}
	c.inputs[i].shape = append(c.inputs[i].shape[:0], shape...)
	return c.memory(i, info, elements)
}

// InputTexts gives input i, of BYTES, its elements: a whole number of rows. They are copied.
func (c *Call) InputTexts(i int, texts []string) error {
	info, err := c.input(i)
	if err != nil {
		return err
	}
	if info.Datatype != tensor.Bytes {
		return invalidArgument("input '%s' of model '%s' is of %s and takes no texts", info.Name, c.Model(), info.Datatype)
	}
	if info.Width < 1 || len(texts)%info.Width != 0 {
		return invalidArgument("input '%s' of model '%s' has shape %s, and %d texts are no whole number of rows", info.Name, c.Model(), info.Shape, len(texts))
	}
	if err := c.shape(i, info, len(texts)/info.Width); err != nil {
		return err
	}
	size := 0
	for _, text := range texts {
		size += 4 + len(text)
	}
	if size > c.server.limits.MessageBytesMax {
		return c.tooLarge(info)
	}
	in := &c.inputs[i]
	in.data = slices.Grow(in.data[:0], size)
	for _, text := range texts {
		in.data = append(binary.LittleEndian.AppendUint32(in.data, uint32(len(text))), text...)
	}
	in.given = true
	return nil
}

// input is the description of input i.
func (c *Call) input(i int) (*TensorInfo, error) {
	if c.request.model == nil {
		return nil, errCallIdle
	}
	takes := c.request.model.takes
	if i < 0 || i >= len(takes) {
		return nil, invalidArgument("model '%s' has %d inputs and none with index %d", c.Model(), len(takes), i)
	}
	return &takes[i], nil
}

// shape sets the shape of rows of an input whose width is known.
func (c *Call) shape(i int, info *TensorInfo, rows int) error {
	in := &c.inputs[i]
	in.shape = append(in.shape[:0], info.Shape...)
	switch {
	case rows < 0 || rows != 1 && !info.byRows():
		return invalidArgument("input '%s' of model '%s' has shape %s and cannot have %d rows", info.Name, c.Model(), info.Shape, rows)
	case info.byRows():
		in.shape[0] = int64(rows)
	}
	return nil
}

// memory makes room for the elements of an input of fixed size.
func (c *Call) memory(i int, info *TensorInfo, elements int64) ([]byte, error) {
	size := int64(info.Datatype.Size())
	if elements > int64(c.server.limits.MessageBytesMax)/size {
		return nil, c.tooLarge(info)
	}
	in := &c.inputs[i]
	in.data = slices.Grow(in.data[:0], int(elements*size))[:elements*size]
	in.given = true
	return in.data, nil
}

func (c *Call) tooLarge(info *TensorInfo) error {
	return &Error{codes.ResourceExhausted, fmt.Sprintf("input '%s' of model '%s' would take more than the %d bytes of a message", info.Name, c.Model(), c.server.limits.MessageBytesMax)}
}

// Run runs the model on the inputs given. It ends at the deadline, where that is not
// zero, and at that of ctx: a run that cannot be done by then is refused with
// DeadlineExceeded, without waiting for the deadline. A run that has begun is not
// interrupted. It may be called again, with the same inputs or others.
func (c *Call) Run(ctx context.Context, deadline time.Time) error {
	r := &c.request
	if r.model == nil {
		return errCallIdle
	}
	c.ran = false
	r.received = batching.Now()
	c.declare()
	if err := r.resolve(ctx); err != nil {
		return toError(err)
	}
	if !deadline.IsZero() {
		at := batching.Nanos(deadline)
		if r.Deadline == 0 || at < r.Deadline {
			r.Deadline = at
		}
	}
	if err := r.model.batcher.Do(ctx, &r.Item); err != nil {
		return toError(r.failed(err))
	}
	c.ran = true
	return nil
}

// declare turns the inputs that were given into those of the request.
func (c *Call) declare() {
	r := &c.request
	r.inputs, r.dims, r.Deadline = r.inputs[:0], r.dims[:0], 0
	for i := range r.model.inputs {
		in := &c.inputs[i]
		if !in.given {
			continue
		}
		info := &r.model.inputs[i]
		from := len(r.dims)
		r.dims = append(r.dims, in.shape...)
		r.inputs = append(r.inputs, requestInput{
			name: info.nameText, datatypeName: info.datatypeText, datatype: info.datatype,
			dimsFrom: from, dimsTo: len(r.dims), data: in.data, hasData: true,
		})
	}
}

// Output returns the data of output i of Outputs, little-endian, or length-prefixed texts
// for BYTES. It is good until the next Run or Release.
func (c *Call) Output(i int) ([]byte, error) {
	value, err := c.OutputTensor(i)
	return value.Data, err
}

// OutputTensor is Output with the shape that the data has.
func (c *Call) OutputTensor(i int) (tensor.Tensor, error) {
	if !c.ran {
		return tensor.Tensor{}, errCallNotRun
	}
	if values := c.request.values; i >= 0 && i < len(values) {
		return values[i], nil
	}
	return tensor.Tensor{}, invalidArgument("model '%s' has %d outputs and none with index %d", c.Model(), len(c.request.values), i)
}

// Release gives the version back. It does nothing without a Begin, and may be called
// again.
func (c *Call) Release() {
	if c.request.acquired == nil {
		return
	}
	for i := range c.inputs {
		in := &c.inputs[i]
		in.data, in.given = keepable(in.data), false
	}
	c.ran = false
	c.request.reset()
}
