// SPDX-License-Identifier: Apache-2.0

package modelconfig

import "github.com/millrace-ml/millrace/engine/tensor"

// Names with a meaning of their own in Backend and Platform.
const (
	// BackendONNXRuntime runs ONNX models in ONNX Runtime.
	BackendONNXRuntime = "onnxruntime"
	// BackendNative and BackendAuto run ONNX models too, by other means.
	BackendNative = "native"
	BackendAuto   = "auto"

	platformONNXRuntime = "onnxruntime_onnx"
	platformEnsemble    = "ensemble"
)

const (
	modelFilenameDefault = "model.onnx"
	maxBatchSizeDefault  = 4
)

// TensorInfo describes one input or output as the model itself has it, batch
// dimension included; -1 is any extent.
type TensorInfo struct {
	Name     string
	Datatype tensor.Datatype
	Shape    tensor.Shape
	// Optional inputs may be left out of a request.
	Optional bool
}

// ModelIO is what a model takes and gives. The zero value says that the model has
// no tensors of its own and follows its configuration.
type ModelIO struct {
	Inputs  []TensorInfo
	Outputs []TensorInfo
}

func (io ModelIO) unknown() bool { return len(io.Inputs) == 0 && len(io.Outputs) == 0 }

// Options are the facts about the server that complete a configuration.
type Options struct {
	// ModelName is the name of the model's folder. Required.
	ModelName string
	// DefaultMaxBatchSize is the max_batch_size of models that can batch and do not
	// say how far. 0 means 4; a negative value leaves them unbatched.
	DefaultMaxBatchSize int32
	// GPUs are the indices of the devices that may be used, none when empty.
	GPUs []int
}

// Normalize sets the defaults that do not depend on the model: name, backend,
// platform, model file and version policy. After it, Backend says who can inspect
// the model. It may be called again. Errors wrap ErrInvalidConfig or ErrUnsupported.
func Normalize(c *Config, opts Options) error {
	if c.Name == "" {
		c.Name = opts.ModelName
	}
	if c.Name != opts.ModelName {
		return invalidf("unexpected directory name '%s' for model '%s', directory name must equal model name",
			opts.ModelName, c.Name)
	}
	if err := c.normalizeBackend(); err != nil {
		return err
	}
	if c.DefaultModelFilename == "" && c.runsONNX() {
		c.DefaultModelFilename = modelFilenameDefault
	}
	if c.VersionPolicy == nil || *c.VersionPolicy == (VersionPolicy{}) {
		c.VersionPolicy = &VersionPolicy{Latest: &LatestVersions{NumVersions: 1}}
	}
	return nil
}

// normalizeBackend derives backend and platform from each other; where neither is
// given, the backend is picked when the model is opened. Backends other than ONNX
// Runtime's have no platform of their own and keep what is written.
func (c *Config) normalizeBackend() error {
	if c.EnsembleScheduling != nil || c.Platform == platformEnsemble {
		return nil // refused by Validate, with all else that is wrong
	}
	if c.Backend == "" {
		if c.Platform != "" && c.Platform != platformONNXRuntime {
			return unsupportedf("unexpected platform type '%s' for %s; use platform '%s', or name a backend",
				c.Platform, c.Name, platformONNXRuntime)
		}
		c.Backend = BackendONNXRuntime
		if c.Platform == "" {
			c.Backend = BackendAuto
		}
	}
	if c.Backend != BackendONNXRuntime {
		return nil
	}
	if c.Platform == "" {
		c.Platform = platformONNXRuntime
	}
	if c.Platform != platformONNXRuntime {
		return invalidf("unexpected 'platform' and 'backend' pair, got:%s, %s", c.Platform, c.Backend)
	}
	return nil
}

// runsONNX reports whether the backend reads ONNX files.
func (c *Config) runsONNX() bool {
	switch c.Backend {
	case BackendONNXRuntime, BackendNative, BackendAuto:
		return true
	}
	return false
}

// Complete fills what the configuration leaves open: first as Normalize does, then
// inputs, outputs and batching from the model, then instance groups from the
// machine. What the user wrote is kept; the choice of batch sizes and delay stays
// open in DynamicBatching, so that the batcher can tell it from a user's.
//
// On an error the configuration is partly completed and of no use. Errors wrap
// ErrInvalidConfig or ErrUnsupported.
func Complete(c *Config, io ModelIO, opts Options) error {
	if err := Normalize(c, opts); err != nil {
		return err
	}
	if err := c.completeTensors(io, opts); err != nil {
		return err
	}
	return c.completeInstances(opts.GPUs)
}

// completeTensors acts only where inputs or outputs are left out: who writes both
// has decided on batching too.
func (c *Config) completeTensors(io ModelIO, opts Options) error {
	if len(c.Input)+len(c.BatchInput) > 0 && len(c.Output) > 0 || io.unknown() {
		return nil
	}
	if err := c.completeBatching(io, opts); err != nil {
		return err
	}
	if len(c.Input)+len(c.BatchInput) == 0 {
		for _, t := range io.Inputs {
			dims, reshape := c.dimsOf(t.Shape)
			c.Input = append(c.Input, Input{
				Name: t.Name, DataType: Datatype{t.Datatype}, Dims: dims, Reshape: reshape, Optional: t.Optional,
			})
		}
	}
	if len(c.Output) == 0 {
		for _, t := range io.Outputs {
			dims, reshape := c.dimsOf(t.Shape)
			c.Output = append(c.Output, Output{
				Name: t.Name, DataType: Datatype{t.Datatype}, Dims: dims, Reshape: reshape,
			})
		}
	}
	return nil
}

// dimsOf is a model's shape as configurations write it: without the batch
// dimension, and never empty. Where nothing is left it is [1], which a batching
// model sees reshaped to nothing.
func (c *Config) dimsOf(shape tensor.Shape) (dims []int64, reshape *Reshape) {
	if c.MaxBatchSize > 0 {
		shape = shape[1:] // completeBatching has seen that it is there
	}
	if len(shape) > 0 {
		return append(dims, shape...), nil
	}
	if c.MaxBatchSize > 0 {
		reshape = &Reshape{}
	}
	return []int64{1}, reshape
}

func (c *Config) completeBatching(io ModelIO, opts Options) error {
	if !io.canBatch() {
		if c.MaxBatchSize != 0 {
			return invalidf("autofill failed for model '%s': model does not support batching"+
				" while non-zero max_batch_size is specified", c.Name)
		}
		return nil
	}
	if c.MaxBatchSize == 0 {
		c.MaxBatchSize = max(0, opts.DefaultMaxBatchSize)
		if opts.DefaultMaxBatchSize == 0 {
			c.MaxBatchSize = maxBatchSizeDefault
		}
	}
	if c.MaxBatchSize > 1 && c.SequenceBatching == nil && c.EnsembleScheduling == nil && c.DynamicBatching == nil {
		c.DynamicBatching = &DynamicBatching{}
	}
	return nil
}

// canBatch reports whether the first dimension of every tensor may be any number
// of rows.
func (io ModelIO) canBatch() bool {
	return allBatched(io.Inputs) && allBatched(io.Outputs)
}

func allBatched(tensors []TensorInfo) bool {
	for _, t := range tensors {
		if len(t.Shape) == 0 || t.Shape[0] != -1 {
			return false
		}
	}
	return true
}

// Reported is the configuration as clients are told it: a copy that shows the
// values which defaults stand for in this protocol. The batcher must not see these,
// since it could not tell them from a user's.
func (c *Config) Reported() *Config {
	reported := *c
	if c.DynamicBatching != nil && len(c.DynamicBatching.PreferredBatchSize) == 0 && c.MaxBatchSize > 0 {
		batching := *c.DynamicBatching
		batching.PreferredBatchSize = []int32{c.MaxBatchSize}
		reported.DynamicBatching = &batching
	}
	optimization := Optimization{}
	if c.Optimization != nil {
		optimization = *c.Optimization
	}
	if optimization.InputPinnedMemory == nil {
		optimization.InputPinnedMemory = &PinnedMemory{Enable: true}
	}
	if optimization.OutputPinnedMemory == nil {
		optimization.OutputPinnedMemory = &PinnedMemory{Enable: true}
	}
	reported.Optimization = &optimization
	return &reported
}
