// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// batchedConfig configures the model batched; valid texts are added to it.
const batchedConfig = `name: "m" backend: "onnxruntime" version_policy { latest { num_versions: 1 } } max_batch_size: 8
	input [ { name: "X" data_type: TYPE_FP32 dims: 16 }, { name: "id" data_type: TYPE_STRING dims: 1 reshape {} } ]
	output { name: "Y" data_type: TYPE_FP32 dims: 3 } `

func TestValidateAccepts(t *testing.T) {
	for _, added := range []string{
		"",
		"dynamic_batching { preferred_batch_size: [ 1, 8 ] preserve_ordering: true priority_levels: 1 default_priority_level: 1 }",
		"dynamic_batching { priority_levels: 2 default_priority_level: 2 priority_queue_policy { key: 1 value { timeout_action: DELAY } } }",
		"response_cache { enable: false }",
		"optimization { execution_accelerators { gpu_execution_accelerator { name: 'cuda' } cpu_execution_accelerator { name: 'openvino' } } }",
		"model_warmup { batch_size: 8 inputs { key: 'X' value { data_type: TYPE_FP32 dims: 16 zero_data: true } } }",
		"parameters { key: 'latency_objective_ms' value { string_value: '0.5' } } parameters { key: 'anything' value { string_value: 'x' } }",
	} {
		if err := modelconfig.Validate(mustParse(t, batchedConfig+added), batched); err != nil {
			t.Errorf("%s: %v", added, err)
		}
	}
}

// TestValidateAlone adds one fault to a valid configuration, which is wrong whatever
// the model. The texts of several faults come on a line each.
func TestValidateAlone(t *testing.T) {
	for _, test := range []struct{ added, want string }{
		{"default_model_filename: '../model.onnx'",
			`default_model_filename "../model.onnx" must be a relative path with forward slashes inside the model's folder`},
		{"cc_model_filenames { key: '8.0' value: '/etc/passwd' }",
			`cc_model_filenames "/etc/passwd" must be a relative path with forward slashes inside the model's folder`},
		{"dynamic_batching { preferred_batch_size: [ 4, 9 ] }", "dynamic batching preferred size must be <= max batch size for m"},
		{"dynamic_batching { preferred_batch_size: 0 }", "dynamic batching preferred size must be positive for m"},
		{"dynamic_batching { priority_levels: 2 }", "default priority level must be in range [1, 2] for m"},
		{"dynamic_batching { priority_levels: 2 default_priority_level: 3 }", "default priority level must be in range [1, 2] for m"},
		{"dynamic_batching { priority_levels: 2000 default_priority_level: 3 }", "priority_levels must be <= 1024 for m"},
		{"dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 } }",
			"priority queue policy must have priority level in range [1, 2] for m"},
		{"dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }",
			"Only one priority level is allowed when 'preserve_ordering' is true for m"},
		{"dynamic_batching { preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1 } }",
			"Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for m"},
		{"dynamic_batching { preserve_ordering: true priority_levels: 1 default_priority_level: 1" +
			" priority_queue_policy { key: 1 value { timeout_action: DELAY default_timeout_microseconds: 1 } } }",
			"Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for m"},
		{"instance_group { name: 'g' count: -1 }", "instance group g of model m has count -1, it must be at least 1, or 0 for the default"},
		{"instance_group { name: 'g' count: 1025 }", "model m asks for 1025 instances in its instance groups, it may have at most 1024"},
		{"instance_group { name: 'g' count: 2 } instance_group { name: 'h' kind: KIND_GPU count: 512 gpus: [ 0, 1 ] }",
			"model m asks for 1026 instances in its instance groups, it may have at most 1024"},
		{"instance_group { name: 'g' kind: KIND_CPU gpus: 0 }", "instance group g of model m has kind KIND_CPU but specifies one or more GPUs"},
		{"instance_group { name: 'g' } instance_group { name: 'g' }", "instance group g of model m is specified more than once"},
		{"optimization { graph { level: 3 } }",
			"optimization graph level is 3 for m, it must be -1 (basic), 0 (all), 1 (extended) or 2 (disabled)"},
		{"optimization { execution_accelerators { gpu_execution_accelerator { name: 'x' } } }", "unknown Execution Accelerator 'x' is requested"},
		{"optimization { execution_accelerators { cpu_execution_accelerator { name: 'cuda' } } }", "unknown Execution Accelerator 'cuda' is requested"},
		{"model_metrics { metric_control {} }", "metric control must specify 'metric_identifier'"},
		{"model_metrics { metric_control { metric_identifier {} } }", "metric identifier must specify non-empty 'family'"},
		{"model_metrics { metric_control { metric_identifier { family: 'f' } } }", "metric control must specify 'histogram_options'"},
		{"model_metrics { metric_control { metric_identifier { family: 'f' } histogram_options {} } }",
			"histogram options must specify non-empty 'buckets'"},
		{"model_metrics { metric_control { metric_identifier { family: 'f' } histogram_options { buckets: [ 2, 1 ] } } }",
			"histogram options for f must have 'buckets' in increasing order"},
		{"model_metrics { metric_control { metric_identifier { family: 'f' } histogram_options { buckets: [ nan ] } } }",
			"histogram options for f must have 'buckets' in increasing order"},
		{"parameters { key: 'execution_mode' value { string_value: '2' } }",
			"parameter 'execution_mode' of model 'm' is 2, it must be 0 (sequential) or 1 (parallel)"},
		{"parameters { key: 'intra_op_thread_count' value { string_value: 'two' } }",
			`parameter 'intra_op_thread_count' of model 'm' is "two", it must be a whole number`},
		{"parameters { key: 'inter_op_thread_count' value { string_value: '-1' } }",
			"parameter 'inter_op_thread_count' of model 'm' is -1, it must be at least 0"},
		{"parameters { key: 'latency_objective_ms' value { string_value: '0' } }",
			"parameter 'latency_objective_ms' of model 'm' is 0, it must be greater than 0"},
		{"parameters { key: 'latency_objective_ms' value { string_value: 'NaN' } }",
			`parameter 'latency_objective_ms' of model 'm' is "NaN", it must be a finite number`},
		{"parameters { key: 'enable_mem_arena' value { string_value: 'yes' } }",
			`parameter 'enable_mem_arena' of model 'm' is "yes", it must be true, false, 1 or 0`},
		{"parameters { key: 'execute_delay_ms' value { string_value: '-3' } }",
			`parameter 'execute_delay_ms' of model 'm' is "-3", it must be milliseconds between 0 and one day`},
	} {
		checkValidate(t, mustParse(t, batchedConfig+test.added), modelconfig.ErrInvalidConfig, test.want)
	}
}

func checkValidate(t *testing.T, config *modelconfig.Config, class error, want string) {
	t.Helper()
	err := modelconfig.Validate(config, batched)
	if !errors.Is(err, class) || err.Error() != want {
		t.Errorf("Validate(%s):\n got %v\nwant %s", mustJSON(t, config), err, want)
	}
}

// configOf writes a configuration of the model batched, by its parts.
func configOf(maxBatchSize int, input, output string) string {
	return fmt.Sprintf(`name: "m" backend: "onnxruntime" version_policy { all {} } max_batch_size: %d input [ %s ] output [ %s ]`,
		maxBatchSize, input, output)
}

const (
	inputX  = `{ name: "X" data_type: TYPE_FP32 dims: 16 }`
	inputID = `{ name: "id" data_type: TYPE_STRING dims: 1 reshape {} }`
	outputY = `{ name: "Y" data_type: TYPE_FP32 dims: 3 }`
)

// TestValidateTensors judges inputs and outputs alone: the model follows its
// configuration.
func TestValidateTensors(t *testing.T) {
	const noBatch, batches = 0, 4
	for _, test := range []struct {
		maxBatchSize int
		input, want  string
	}{
		{noBatch, `{ data_type: TYPE_FP32 dims: 1 }`, "model input must specify 'name' for m"},
		{noBatch, `{ name: "a" dims: 1 }`, "model input 'a' must specify 'data_type' for m"},
		{noBatch, `{ name: "a" data_type: TYPE_FP32 }`, "model input 'a' must specify 'dims' for m"},
		{noBatch, `{ name: "a" data_type: TYPE_FP32 dims: 0 }`,
			"model input 'a' dimension must be integer >= 1, or -1 to indicate a variable-size dimension for m"},
		{noBatch, `{ name: "a" data_type: TYPE_FP32 dims: [ 1, -2 ] }`,
			"model input 'a' dimension must be integer >= 1, or -1 to indicate a variable-size dimension for m"},
		{noBatch, `{ name: "a" data_type: TYPE_FP32 dims: [ 4294967296, -1, 4294967296 ] }`,
			"model input 'a' has more elements than can be counted for m"},
		{noBatch, inputX + "," + inputX, "model input 'X' is specified more than once for m"},
		{noBatch, `{ name: "a" data_type: TYPE_FP32 dims: [ 1, 2 ] format: FORMAT_NHWC }`, "model input NHWC/NCHW require 3 dims for m"},
		{noBatch, inputID, "model input 'id' cannot have empty reshape for non-batching model as scalar tensors are not supported for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: 2 reshape {} }`, "model input 'a' has different size for dims and reshape for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: -1 reshape {} }`, "model input 'a' has different size for dims and reshape for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: 2 reshape { shape: 0 } }`,
			"model input 'a' reshape dimensions must be integer >= 1, or -1 to indicate a variable-size dimension for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: [ 2, -1 ] reshape { shape: [ -1, 2 ] } }`,
			"model input 'a' has different size for dims and reshape for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: [ -1, -1 ] reshape { shape: -1 } }`,
			"model input 'a' has different number of variable-size dimensions for dims and reshape for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: 6 reshape { shape: [ 4294967296, 4294967296 ] } }`,
			"model input 'a' has a reshape with more elements than can be counted for m"},
		{batches, `{ name: "a" data_type: TYPE_FP32 dims: [ 2, 4, -1, 6 ] reshape { shape: [ 8, -1, 1, 6 ] } }`, ""},
	} {
		err := modelconfig.Validate(mustParse(t, configOf(test.maxBatchSize, test.input, outputY)), modelconfig.ModelIO{})
		if got := errorText(err); got != test.want {
			t.Errorf("input %s:\n got %s\nwant %s", test.input, got, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestValidateAgainstModel configures a model that takes X [-1,16] and id [-1] and
// gives Y [-1,-1].
func TestValidateAgainstModel(t *testing.T) {
	for _, test := range []struct {
		name, config, want string
	}{
		{"wrong name", configOf(8, inputX+`, { name: "ID" data_type: TYPE_STRING dims: 1 reshape {} }`, outputY),
			"unexpected inference input 'ID', allowed inputs are: X, id"},
		{"wrong output", configOf(8, inputX+","+inputID, `{ name: "Z" data_type: TYPE_FP32 dims: 3 }`),
			"unexpected inference output 'Z', allowed outputs are: Y"},
		{"missing input", configOf(8, inputX, outputY), "unable to load model 'm', configuration expects 1 inputs, model provides 2"},
		{"wrong datatype", configOf(8, `{ name: "X" data_type: TYPE_FP64 dims: 16 },`+inputID, outputY),
			"unable to load model 'm', configuration expects datatype TYPE_FP64 for input 'X', model provides TYPE_FP32"},
		{"rank with batching", configOf(8, `{ name: "X" data_type: TYPE_FP32 dims: [ 16, 1 ] },`+inputID, outputY),
			"model 'm', tensor 'X': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 3 dimensions" +
				" (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape," +
				" making complete shape [-1,16,1])"},
		{"extent with batching", configOf(8, `{ name: "X" data_type: TYPE_FP32 dims: 15 },`+inputID, outputY),
			"model 'm', tensor 'X': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 2 dimensions" +
				" (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape," +
				" making complete shape [-1,15])"},
		{"extent left open", configOf(0, `{ name: "X" data_type: TYPE_FP32 dims: [ 1, -1 ] }, { name: "id" data_type: TYPE_STRING dims: 5 }`,
			`{ name: "Y" data_type: TYPE_FP32 dims: [ 2, 3 ] }`),
			"model 'm', tensor 'X': the model expects 2 dimensions (shape [-1,16]) but the model configuration specifies 2 dimensions" +
				" (shape [1,-1])"},
		{"optional but required", configOf(8, `{ name: "X" data_type: TYPE_FP32 dims: 16 optional: true },`+inputID, outputY),
			"input 'X' of model 'm' is optional in the configuration but the model requires it; remove 'optional'"},
		{"reshape is what the model sees",
			configOf(8, `{ name: "X" data_type: TYPE_FP32 dims: [ 4, 4 ] reshape { shape: 16 } },`+inputID, outputY), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := errorText(modelconfig.Validate(mustParse(t, test.config), batched)); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestValidateAgainstUnbatched configures a model that takes X [-1,16] and a scalar
// s, and gives Y [1,4].
func TestValidateAgainstUnbatched(t *testing.T) {
	const cannotBatch = ": for the model to support batching the shape should have at least 1 dimension" +
		" and the first dimension must be -1; but shape expected by the model is "
	for _, test := range []struct {
		maxBatchSize int
		x, scalar, y string
		want         string
	}{
		{2, "16", "1", "4", "model 'm', tensor 's'" + cannotBatch + "[]\nmodel 'm', tensor 'Y'" + cannotBatch + "[1,4]"},
		{0, "[ -1, 16 ]", "1", "[ 1, 4 ]", ""},
		{0, "[ 5, 16 ]", "[ 1, 1 ]", "[ 1, 4 ]", ""},
		{0, "[ -1, 16 ]", "2", "[ 1, 4 ]",
			"unable to load model 'm', scalar tensor 's', should only provide 1 in the model configuration" +
				" when the model doesn't support batching. Model configuration provided: [2]."},
		{0, "[ -1, 16 ]", "1", "[ -1, 4 ]",
			"model 'm', tensor 'Y': the model expects 2 dimensions (shape [1,4]) but the model configuration specifies 2 dimensions" +
				" (shape [-1,4])"},
	} {
		input := fmt.Sprintf(`{ name: "X" data_type: TYPE_INT64 dims: %s }, { name: "s" data_type: TYPE_FP32 dims: %s }`, test.x, test.scalar)
		output := fmt.Sprintf(`{ name: "Y" data_type: TYPE_BF16 dims: %s }`, test.y)
		config := mustParse(t, configOf(test.maxBatchSize, input, output))
		if got := errorText(modelconfig.Validate(config, unbatched)); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", mustJSON(t, config), got, test.want)
		}
	}
}

func TestValidateVersions(t *testing.T) {
	for policy, want := range map[string]string{
		"":                        "must specify 'version policy' for m",
		"latest {}":               "version_policy latest must have num_versions of at least 1 for m",
		"specific {}":             "version_policy specific must list at least one version for m",
		"specific<versions:0":     "version_policy lists version 0, versions are at least 1, for m",
		"specific<versions:[3,3]": "version_policy lists version 3 more than once for m",
	} {
		config := mustParse(t, batchedConfig)
		config.VersionPolicy = nil
		if policy != "" {
			closing := strings.Repeat(">", strings.Count(policy, "<"))
			config.VersionPolicy = mustParse(t, "version_policy { "+policy+closing+" }").VersionPolicy
		}
		checkValidate(t, config, modelconfig.ErrInvalidConfig, want)
	}
}

func TestValidateUnsupported(t *testing.T) {
	const one = "is not supported, it is set for model 'm'; "
	for _, test := range []struct{ added, want string }{
		{"sequence_batching {}", "sequence_batching " + one + "remove it and pass the state of a sequence as inputs and outputs of the model"},
		{"ensemble_scheduling {}", "ensemble_scheduling " + one + "merge the steps into one ONNX graph, or call the models one after another"},
		{"platform: 'ensemble'", "ensemble_scheduling " + one + "merge the steps into one ONNX graph, or call the models one after another"},
		{"batch_output {}", "batch_output " + one + "remove it and give all rows of a batch one shape"},
		{"response_cache { enable: true }", "response_cache " + one + "remove it or set enable to false"},
	} {
		checkValidate(t, mustParse(t, batchedConfig+test.added), modelconfig.ErrUnsupported, test.want)
	}

	config := mustParse(t, batchedConfig)
	config.Input[0].AllowRaggedBatch = true
	checkValidate(t, config, modelconfig.ErrUnsupported,
		"allow_ragged_batch "+one+"remove it from input 'X' and pad its rows to one shape")
}

// TestValidateCombinations has faults that come with a refused feature; both are
// told, and the error is of both classes.
func TestValidateCombinations(t *testing.T) {
	for _, test := range []struct{ added, want string }{
		{"response_cache { enable: true } model_transaction_policy { decoupled: true }",
			"Response Cache does not currently support model m with 'decoupled' transaction policy. Please disable the response cache."},
		{"response_cache { enable: true } sequence_batching {}",
			"Response Cache does not currently support model m with sequence batching scheduler. Please disable the response cache."},
		{"ensemble_scheduling {} instance_group { name: 'g' }", "instance group should not be specified for ensemble 'm'"},
		{"ensemble_scheduling {} optimization {}", "optimization should not be specified for ensemble 'm'"},
		{"ensemble_scheduling {} model_warmup {}", "model_warmup can not be specified for ensemble 'm'"},
		{"batch_input { data_type: TYPE_FP64 }", "batch input data type must be TYPE_INT32 or TYPE_FP32 for m"},
	} {
		err := modelconfig.Validate(mustParse(t, batchedConfig+test.added), modelconfig.ModelIO{})
		if !errors.Is(err, modelconfig.ErrInvalidConfig) || !errors.Is(err, modelconfig.ErrUnsupported) {
			t.Errorf("%s: %v is not of both classes", test.added, err)
			continue
		}
		if !strings.Contains("\n"+err.Error()+"\n", "\n"+test.want+"\n") {
			t.Errorf("%s:\n got %v\nwant a line %s", test.added, err, test.want)
		}
	}
}

func TestValidateWarmup(t *testing.T) {
	for _, test := range []struct{ warmup, want string }{
		{"batch_size: 9", "warmup sample 'w' of model 'm' has batch_size 9, the model takes at most 8"},
		{"inputs { key: 'Z' }", "warmup sample 'w' of model 'm', input 'Z': the model has no such input"},
		{"inputs { key: 'X' value { dims: 16 zero_data: true } }", "warmup sample 'w' of model 'm', input 'X': must specify 'data_type'"},
		{"inputs { key: 'X' value { data_type: TYPE_FP32 dims: -1 zero_data: true } }",
			"warmup setting expects all variable-size dimensions are specified for input 'X'"},
		{"inputs { key: 'X' value { data_type: TYPE_FP32 dims: 0 zero_data: true } }",
			"warmup sample 'w' of model 'm', input 'X': dimension must be integer >= 1"},
		{"batch_size: 8 inputs { key: 'X' value { data_type: TYPE_FP32 dims: 67108864 zero_data: true } }",
			"warmup sample 'w' of model 'm', input 'X': has more than 2 GiB of data"},
		{"inputs { key: 'X' value { data_type: TYPE_FP32 dims: [ 9223372036854775807, 2 ] zero_data: true } }",
			"warmup sample 'w' of model 'm', input 'X': has more than 2 GiB of data"},
		{"inputs { key: 'X' value { data_type: TYPE_FP32 dims: 16 } }",
			"warmup sample 'w' of model 'm', input 'X': must specify one of 'zero_data', 'random_data' and 'input_data_file'"},
		{"inputs { key: 'X' value { data_type: TYPE_FP32 dims: 16 input_data_file: 'a/../../b' } }",
			`input_data_file of warmup sample w "a/../../b" must be a relative path with forward slashes inside the model's folder`},
	} {
		config := mustParse(t, batchedConfig+"model_warmup { name: 'w' "+test.warmup+" }")
		checkValidate(t, config, modelconfig.ErrInvalidConfig, test.want)
	}
}

func TestValidateReportsAll(t *testing.T) {
	config := mustParse(t, `max_batch_size: -1 input { name: "a" } output { data_type: TYPE_FP32 dims: 1 label_filename: "/x" }`)
	const want = "Model name cannot be empty. Please enter a valid name to deploy.\n" +
		"must specify 'platform' or 'backend' for ''\n" +
		"'max_batch_size' must be non-negative value for \n" +
		"label_filename of output  \"/x\" must be a relative path with forward slashes inside the model's folder\n" +
		"must specify 'version policy' for \n" +
		"model input 'a' must specify 'data_type' for \n" +
		"model output must specify 'name' for "
	if got := errorText(modelconfig.Validate(config, modelconfig.ModelIO{})); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
