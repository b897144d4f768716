// SPDX-License-Identifier: Apache-2.0

package modelconfig

// Optimization holds hints for the backend.
type Optimization struct {
	Graph                       *GraphOptimization     `pb:"graph"`
	Priority                    ModelPriority          `pb:"priority"`
	CUDA                        *CUDAOptimization      `pb:"cuda"`
	ExecutionAccelerators       *ExecutionAccelerators `pb:"execution_accelerators"`
	InputPinnedMemory           *PinnedMemory          `pb:"input_pinned_memory"`
	OutputPinnedMemory          *PinnedMemory          `pb:"output_pinned_memory"`
	GatherKernelBufferThreshold uint32                 `pb:"gather_kernel_buffer_threshold"`
	EagerBatching               bool                   `pb:"eager_batching"`
}

// GraphOptimization is how far ONNX Runtime rewrites the graph: -1 basic, 0 all,
// 1 extended, 2 not at all.
type GraphOptimization struct {
	Level int32 `pb:"level"`
}

// ModelPriority is accepted and has no effect.
type ModelPriority int32

// Priorities of a model.
const (
	PriorityDefault ModelPriority = iota
	PriorityMax
	PriorityMin
)

// CUDAOptimization is accepted and has no effect.
type CUDAOptimization struct {
	Graphs           bool        `pb:"graphs"`
	BusyWaitEvents   bool        `pb:"busy_wait_events"`
	GraphSpec        []GraphSpec `pb:"graph_spec"`
	OutputCopyStream bool        `pb:"output_copy_stream"`
}

// GraphSpec names a batch for which a CUDA graph would be captured.
type GraphSpec struct {
	BatchSize       int32                 `pb:"batch_size"`
	Input           map[string]GraphShape `pb:"input"`
	GraphLowerBound *GraphLowerBound      `pb:"graph_lower_bound"`
}

// GraphShape is the shape of one input of a GraphSpec.
type GraphShape struct {
	Dim []int64 `pb:"dim"`
}

// GraphLowerBound is the smallest batch a CUDA graph would serve.
type GraphLowerBound struct {
	BatchSize int32                 `pb:"batch_size"`
	Input     map[string]GraphShape `pb:"input"`
}

// ExecutionAccelerators lists execution providers in order of preference.
type ExecutionAccelerators struct {
	GPU []Accelerator `pb:"gpu_execution_accelerator"`
	CPU []Accelerator `pb:"cpu_execution_accelerator"`
}

// Accelerator is one execution provider with its settings.
type Accelerator struct {
	Name       string            `pb:"name"`
	Parameters map[string]string `pb:"parameters"`
}

// PinnedMemory says whether transfers to a GPU use page-locked memory.
type PinnedMemory struct {
	Enable bool `pb:"enable"`
}
