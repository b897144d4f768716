// SPDX-License-Identifier: Apache-2.0

// Package engine defines how models are run: the backend that opens a model, the
// model with its signature, and the instance that executes batches.
//
// Implementations live in sub-packages (onnxrt, builtin); the repository package
// loads and swaps them. A Backend and a Model may be used from many goroutines at
// once. An Instance belongs to one goroutine at a time, though not always the same.
package engine

import (
	"context"
	"errors"
	"time"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Errors that callers branch on. Implementations wrap them with what is wrong.
var (
	// ErrInvalidModel says that the model file or its configuration is at fault;
	// loading it again without a change fails again.
	ErrInvalidModel = errors.New("invalid model")
	// ErrInvalidInput says that a run failed because of the values of its inputs; the
	// client has to change them.
	ErrInvalidInput = errors.New("invalid input")
	// ErrUnavailable says that something the model needs is missing on this machine,
	// such as the ONNX Runtime library or a GPU.
	ErrUnavailable = errors.New("unavailable")
)

// TensorSpec describes one input or output of a model. Shape is what the model
// itself takes, including its batch dimension where it has one; -1 is any extent.
type TensorSpec struct {
	Name     string
	Datatype tensor.Datatype
	Shape    tensor.Shape
	// Optional inputs may be left out of a request.
	Optional bool
}

// Signature is what a model takes and gives.
type Signature struct {
	Inputs  []TensorSpec
	Outputs []TensorSpec
}

// Backend opens models of one kind.
type Backend interface {
	// Name is the backend's name in config.pbtxt, such as "onnxruntime".
	Name() string
	// Inspect reads the signature of a model without loading it for execution, for
	// the completion and validation of its configuration. dir is the version's
	// folder. Errors wrap ErrInvalidModel or ErrUnavailable.
	Inspect(dir string, config *modelconfig.Config) (Signature, error)
	// Load opens a model. The configuration is complete and validated. Load may be
	// slow; it must stop soon after ctx is cancelled.
	Load(ctx context.Context, dir string, config *modelconfig.Config) (Model, error)
}

// Foreign is implemented by a backend that may work outside Go code. Where it does, its
// instances are made on a thread of low priority while others serve; Go code must not
// be, since a slowed thread holds up the collector.
type Foreign interface{ OutsideGo() bool }

// Resolver is implemented by a backend that stands for others. The backend that Resolve
// picks for a model takes its place, name included, from then on; it may already hold
// the model open, which is released when it is not loaded. Errors are those of Inspect.
type Resolver interface {
	Resolve(ctx context.Context, dir string, config *modelconfig.Config) (Backend, error)
}

// Model is an opened model, able to make instances.
type Model interface {
	Signature() Signature
	// NewInstance makes one instance for a device. Kind is never KindAuto here
	// unless the backend reported that it picks itself.
	NewInstance(placement Placement) (Instance, error)
	// Close releases what the instances share. All instances are closed before.
	Close() error
}

// Placement says where an instance runs.
type Placement struct {
	Kind modelconfig.InstanceKind
	// GPU is the device index for KindGPU.
	GPU int
	// Threads is the number of cores the instance may use within one run.
	Threads int
	// MaxBatchSize is the largest number of rows of one run, 0 when the model does
	// not batch. Arenas are sized for it.
	MaxBatchSize int
}

// Instance executes batches, one at a time: Bind, fill the inputs, Run, read the
// outputs. Memory reached through a Binding belongs to the instance and is valid
// until the next Bind.
//
// In a steady state (shapes seen before) neither Bind nor Run allocates.
type Instance interface {
	// Bind prepares a run on inputs of the given shapes, in the order of the
	// model's signature, batch dimension included. A nil shape leaves an optional
	// input out.
	Bind(shapes []tensor.Shape) (*Binding, error)
	// Run executes the model on the bound inputs. It is not interrupted by anything
	// but ctx, and only where the backend can.
	Run(ctx context.Context, b *Binding) error
	Close() error
}

// Binding is the memory of one run.
//
// Inputs are in signature order. Before Run the caller fills Inputs[i].Data: for
// datatypes of fixed size it already has the exact length and is written in place;
// for BYTES it has length 0 and the caller appends, assigning the result back.
// After Run Outputs have their names, shapes and data.
type Binding struct {
	Inputs  []tensor.Tensor
	Outputs []tensor.Tensor
	// State is the backend's own.
	State any
}

// Streamer is implemented by instances of decoupled models, which give any number
// of responses for one request. emit is called in order and must not be kept; the
// tensors it gets are valid during the call only.
type Streamer interface {
	Stream(ctx context.Context, inputs []tensor.Tensor, emit func(outputs []tensor.Tensor) error) error
}

// WarmupResult is how long one warm-up run took, for the batcher's first plan.
type WarmupResult struct {
	Rows    int
	Elapsed time.Duration
}
