// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

func TestWarnings(t *testing.T) {
	config := mustParse(t, `name: "m" runtime: "python"
		input { name: "a" format: FORMAT_NHWC is_shape_tensor: true is_non_linear_format_io: true }
		output { name: "b" is_shape_tensor: true is_non_linear_format_io: true }
		instance_group { name: "g" rate_limiter { priority: 1 } secondary_devices {} profile: "0" passive: true host_policy: "p" }
		optimization { priority: PRIORITY_MAX cuda { graphs: true } gather_kernel_buffer_threshold: 1 eager_batching: true
			execution_accelerators { gpu_execution_accelerator [ { name: "cuda" }, { name: "tensorrt" } ]
				cpu_execution_accelerator { name: "openvino" } } }
		dynamic_batching { priority_queue_policy { key: 1 } }
		model_operations { op_library_filename: "ops.so" } model_repository_agents { agents { name: "x" } }`)
	want := []string{
		"runtime", "model_operations.op_library_filename", "model_repository_agents",
		"dynamic_batching, without a max_batch_size,", "dynamic_batching.priority_queue_policy, without priority_levels,",
		"format of input 'a'", "is_shape_tensor of input 'a'", "is_non_linear_format_io of input 'a'",
		"is_shape_tensor of output 'b'", "is_non_linear_format_io of output 'b'",
		"rate_limiter of instance group 'g'", "secondary_devices of instance group 'g'", "profile of instance group 'g'",
		"passive of instance group 'g'", "host_policy of instance group 'g'",
		"optimization.priority", "optimization.cuda", "optimization.gather_kernel_buffer_threshold", "optimization.eager_batching",
		"execution accelerator 'tensorrt'", "execution accelerator 'openvino'",
	}
	for i, field := range want {
		want[i] = "model 'm': " + field + " has no effect"
	}
	if got := modelconfig.Warnings(config); !slices.Equal(got, want) {
		t.Errorf("warnings are %q\nwant %q", got, want)
	}
	if got := modelconfig.Warnings(mustParse(t, batchedConfig)); len(got) != 0 {
		t.Errorf("an ordinary configuration has warnings %q", got)
	}
}
