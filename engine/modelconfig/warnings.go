// SPDX-License-Identifier: Apache-2.0

package modelconfig

import "fmt"

// Warnings lists the settings that are accepted and have no effect here, so that
// nobody waits for one. They are not errors: the model answers the same without.
func Warnings(c *Config) []string {
	w := warnings{model: c.Name}
	w.add(c.Runtime != "", "runtime")
	w.add(c.ModelOperations != nil && len(c.ModelOperations.OpLibraryFilename) > 0, "model_operations.op_library_filename")
	w.add(c.RepositoryAgents != nil && len(c.RepositoryAgents.Agents) > 0, "model_repository_agents")
	if c.DynamicBatching != nil {
		w.add(c.MaxBatchSize == 0, "dynamic_batching, without a max_batch_size,")
		w.add(c.DynamicBatching.PriorityLevels == 0 && len(c.DynamicBatching.PriorityQueuePolicy) > 0,
			"dynamic_batching.priority_queue_policy, without priority_levels,")
	}
	w.tensors(c)
	w.instances(c.InstanceGroup)
	if c.Optimization != nil {
		w.optimization(c.Optimization)
	}
	return w.list
}

// warnings collects texts about one model.
type warnings struct {
	model string
	list  []string
}

func (w *warnings) add(given bool, field string) {
	if given {
		w.list = append(w.list, fmt.Sprintf("model '%s': %s has no effect", w.model, field))
	}
}

func (w *warnings) tensors(c *Config) {
	for _, in := range c.Input {
		w.add(in.Format != FormatNone, "format of input '"+in.Name+"'")
		w.add(in.IsShapeTensor, "is_shape_tensor of input '"+in.Name+"'")
		w.add(in.IsNonLinearFormat, "is_non_linear_format_io of input '"+in.Name+"'")
	}
	for _, out := range c.Output {
		w.add(out.IsShapeTensor, "is_shape_tensor of output '"+out.Name+"'")
		w.add(out.IsNonLinearFormat, "is_non_linear_format_io of output '"+out.Name+"'")
	}
}

func (w *warnings) instances(groups []InstanceGroup) {
	for _, group := range groups {
		of := " of instance group '" + group.Name + "'"
		w.add(group.RateLimiter != nil, "rate_limiter"+of)
		w.add(len(group.SecondaryDevices) > 0, "secondary_devices"+of)
		w.add(len(group.Profile) > 0, "profile"+of)
		w.add(group.Passive, "passive"+of)
		w.add(group.HostPolicy != "", "host_policy"+of)
	}
}

func (w *warnings) optimization(o *Optimization) {
	w.add(o.Priority != PriorityDefault, "optimization.priority")
	w.add(o.CUDA != nil, "optimization.cuda")
	w.add(o.GatherKernelBufferThreshold != 0, "optimization.gather_kernel_buffer_threshold")
	w.add(o.EagerBatching, "optimization.eager_batching")
	if o.ExecutionAccelerators == nil {
		return
	}
	for _, a := range o.ExecutionAccelerators.GPU {
		w.add(a.Name != "cuda", "execution accelerator '"+a.Name+"'")
	}
	for _, a := range o.ExecutionAccelerators.CPU {
		w.add(true, "execution accelerator '"+a.Name+"'")
	}
}
