// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// tensorOf describes a tensor of a model.
func tensorOf(name string, datatype tensor.Datatype, shape ...int64) modelconfig.TensorInfo {
	return modelconfig.TensorInfo{Name: name, Datatype: datatype, Shape: shape}
}

// Models the tests configure.
var (
	batched = modelconfig.ModelIO{
		Inputs:  []modelconfig.TensorInfo{tensorOf("X", tensor.FP32, -1, 16), tensorOf("id", tensor.Bytes, -1)},
		Outputs: []modelconfig.TensorInfo{tensorOf("Y", tensor.FP32, -1, -1)},
	}
	unbatched = modelconfig.ModelIO{
		Inputs:  []modelconfig.TensorInfo{tensorOf("X", tensor.Int64, -1, 16), tensorOf("s", tensor.FP32)},
		Outputs: []modelconfig.TensorInfo{tensorOf("Y", tensor.BF16, 1, 4)},
	}
)

func TestComplete(t *testing.T) {
	const onnx = `name: "m" backend: "auto" default_model_filename: "model.onnx"
		version_policy { latest { num_versions: 1 } } `
	const onCPU = ` instance_group { name: "m" kind: KIND_CPU count: 2 }`
	const batchedTensors = `
		input [ { name: "X" data_type: TYPE_FP32 dims: 16 }, { name: "id" data_type: TYPE_STRING dims: 1 reshape {} } ]
		output { name: "Y" data_type: TYPE_FP32 dims: -1 }`
	const unbatchedTensors = `
		input [ { name: "X" data_type: TYPE_INT64 dims: [ -1, 16 ] }, { name: "s" data_type: TYPE_FP32 dims: 1 } ]
		output { name: "Y" data_type: TYPE_BF16 dims: [ 1, 4 ] }`
	for _, test := range []struct {
		name, config string
		io           modelconfig.ModelIO
		options      modelconfig.Options
		want         string
	}{
		{name: "nothing given, model batches", io: batched,
			want: onnx + onCPU + batchedTensors + `max_batch_size: 4 dynamic_batching {}`},
		{name: "nothing given, model does not batch", io: unbatched,
			want: onnx + onCPU + unbatchedTensors},
		{name: "default batch size of the server", io: batched, options: modelconfig.Options{DefaultMaxBatchSize: 32},
			want: onnx + onCPU + batchedTensors + `max_batch_size: 32 dynamic_batching {}`},
		{name: "default batch size of one", io: batched, options: modelconfig.Options{DefaultMaxBatchSize: 1},
			want: onnx + onCPU + batchedTensors + `max_batch_size: 1`},
		{name: "no default batch size", io: batched, options: modelconfig.Options{DefaultMaxBatchSize: -1},
			want: onnx + onCPU + `
				input [ { name: "X" data_type: TYPE_FP32 dims: [ -1, 16 ] }, { name: "id" data_type: TYPE_STRING dims: -1 } ]
				output { name: "Y" data_type: TYPE_FP32 dims: [ -1, -1 ] }`},
		{name: "batch size given", config: `max_batch_size: 7`, io: batched,
			want: onnx + onCPU + batchedTensors + `max_batch_size: 7 dynamic_batching {}`},
		{name: "batching given", config: `max_batch_size: 7 dynamic_batching { max_queue_delay_microseconds: 9 }`, io: batched,
			want: onnx + onCPU + batchedTensors + `max_batch_size: 7 dynamic_batching { max_queue_delay_microseconds: 9 }`},
		{name: "only the outputs are missing", io: batched,
			config: `max_batch_size: 2 input [ { name: "id" data_type: TYPE_STRING dims: 1 reshape {} }, { name: "X" data_type: TYPE_FP32 dims: 16 } ]`,
			want: onnx + onCPU + `input [ { name: "id" data_type: TYPE_STRING dims: 1 reshape {} }, { name: "X" data_type: TYPE_FP32 dims: 16 } ]
				output { name: "Y" data_type: TYPE_FP32 dims: -1 } max_batch_size: 2 dynamic_batching {}`},
		{name: "both given, nothing is decided on batching", config: `max_batch_size: 8` + batchedTensors, io: batched,
			want: onnx + onCPU + batchedTensors + `max_batch_size: 8`},
		{name: "other version policy and file", config: `version_policy { all {} } default_model_filename: "v.onnx"` + unbatchedTensors,
			want: `name: "m" backend: "auto" version_policy { all {} } default_model_filename: "v.onnx"` +
				onCPU + unbatchedTensors},
		{name: "empty version policy", config: `version_policy {}` + unbatchedTensors, want: onnx + onCPU + unbatchedTensors},
		{name: "platform given", config: `platform: "onnxruntime_onnx"` + unbatchedTensors,
			want: `name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime" default_model_filename: "model.onnx"
				version_policy { latest { num_versions: 1 } }` + onCPU + unbatchedTensors},
		{name: "backend given", config: `backend: "onnxruntime"` + unbatchedTensors,
			want: `name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime" default_model_filename: "model.onnx"
				version_policy { latest { num_versions: 1 } }` + onCPU + unbatchedTensors},
		{name: "own backend", config: `backend: "native"` + unbatchedTensors,
			want: `name: "m" backend: "native" default_model_filename: "model.onnx" version_policy { latest { num_versions: 1 } }` +
				onCPU + unbatchedTensors},
		{name: "built-in backend", config: `backend: "identity"` + unbatchedTensors,
			want: `name: "m" backend: "identity" version_policy { latest { num_versions: 1 } }
				instance_group { name: "m" kind: KIND_CPU count: 1 }` + unbatchedTensors},
		{name: "a GPU is there", io: unbatched, options: modelconfig.Options{GPUs: []int{0, 2}},
			want: onnx + unbatchedTensors + `instance_group { name: "m" kind: KIND_GPU count: 1 gpus: [ 0, 2 ] }`},
		{name: "groups listed", io: unbatched, options: modelconfig.Options{GPUs: []int{0, 2}},
			config: `instance_group [ { kind: KIND_CPU }, { count: 3 }, { name: "own" gpus: 2 }, { gpus: [ 0, 1 ] }, { kind: KIND_MODEL } ]`,
			want: onnx + unbatchedTensors + `instance_group [
				{ name: "m_0" kind: KIND_CPU count: 2 }, { name: "m_1" kind: KIND_GPU count: 3 gpus: [ 0, 2 ] },
				{ name: "own" kind: KIND_GPU count: 1 gpus: 2 }, { name: "m_3" kind: KIND_CPU count: 2 }, { name: "m_4" kind: KIND_MODEL count: 1 } ]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := mustParse(t, test.config)
			test.options.ModelName = "m"
			for range 2 { // completing again changes nothing
				if err := modelconfig.Complete(got, test.io, test.options); err != nil {
					t.Fatal(err)
				}
			}
			if want := mustParse(t, test.want); !reflect.DeepEqual(got, want) {
				t.Errorf("completed to %s\nwant %s", mustJSON(t, got), mustJSON(t, want))
			}
			if err := modelconfig.Validate(got, test.io); err != nil {
				t.Errorf("completed configuration is not valid: %v", err)
			}
		})
	}
}

func TestCompleteKeepsOptional(t *testing.T) {
	io := modelconfig.ModelIO{
		Inputs:  []modelconfig.TensorInfo{{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{-1, 2}, Optional: true}},
		Outputs: []modelconfig.TensorInfo{tensorOf("y", tensor.FP32, -1, 2)},
	}
	config := &modelconfig.Config{}
	if err := modelconfig.Complete(config, io, modelconfig.Options{ModelName: "m"}); err != nil {
		t.Fatal(err)
	}
	if !config.Input[0].Optional {
		t.Error("an optional input of the model became required")
	}
}

func TestCompleteErrors(t *testing.T) {
	for _, test := range []struct {
		config string
		io     modelconfig.ModelIO
		want   string
		class  error
	}{
		{`max_batch_size: 8`, unbatched,
			"autofill failed for model 'm': model does not support batching while non-zero max_batch_size is specified",
			modelconfig.ErrInvalidConfig},
		{`name: "other"`, batched,
			"unexpected directory name 'm' for model 'other', directory name must equal model name", modelconfig.ErrInvalidConfig},
		{`platform: "tensorrt_plan"`, batched,
			"unexpected platform type 'tensorrt_plan' for m; use platform 'onnxruntime_onnx', or name a backend",
			modelconfig.ErrUnsupported},
		{`platform: "pytorch_libtorch" backend: "onnxruntime"`, batched,
			"unexpected 'platform' and 'backend' pair, got:pytorch_libtorch, onnxruntime", modelconfig.ErrInvalidConfig},
		{`instance_group { kind: KIND_GPU }`, batched,
			"instance group m_0 of model m has kind KIND_GPU but no GPUs are available;" +
				" use KIND_CPU, or KIND_AUTO to take a GPU where there is one", modelconfig.ErrUnsupported},
	} {
		err := modelconfig.Complete(mustParse(t, test.config), test.io, modelconfig.Options{ModelName: "m"})
		if !errors.Is(err, test.class) || err.Error() != test.want {
			t.Errorf("Complete(%s):\n got %v\nwant %s", test.config, err, test.want)
		}
	}

	config := mustParse(t, `instance_group { kind: KIND_GPU gpus: [ 1, 5 ] }`)
	err := modelconfig.Complete(config, batched, modelconfig.Options{ModelName: "m", GPUs: []int{0, 1}})
	const want = "instance group m_0 of model m specifies invalid or unsupported gpu id 5. Available GPUs are: 0, 1"
	if !errors.Is(err, modelconfig.ErrUnsupported) || err.Error() != want {
		t.Errorf("GPU that is not there:\n got %v\nwant %s", err, want)
	}
}

// TestReported shows defaults to clients and keeps them from the batcher.
func TestReported(t *testing.T) {
	config := mustParse(t, `max_batch_size: 8 dynamic_batching { preserve_ordering: true } optimization { graph { level: 1 } }`)
	before := mustJSON(t, config)
	want := mustParse(t, `max_batch_size: 8 dynamic_batching { preserve_ordering: true preferred_batch_size: 8 }
		optimization { graph { level: 1 } input_pinned_memory { enable: true } output_pinned_memory { enable: true } }`)
	if got := config.Reported(); !reflect.DeepEqual(got, want) {
		t.Errorf("reported as %s\nwant %s", mustJSON(t, got), mustJSON(t, want))
	}
	if after := mustJSON(t, config); string(after) != string(before) {
		t.Errorf("reporting changed the configuration from %s to %s", before, after)
	}

	given := mustParse(t, `max_batch_size: 8 dynamic_batching { preferred_batch_size: 4 }
		optimization { input_pinned_memory {} output_pinned_memory {} }`)
	if got := given.Reported(); !reflect.DeepEqual(got, given) {
		t.Errorf("what the user gave is reported as %s", mustJSON(t, got))
	}
}
