// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// onnxInstancesOnCPU hides the copying of one run behind the computing of another.
const onnxInstancesOnCPU = 2

// completeInstances names the instance groups and decides where and how often each
// runs. After it no group has KindAuto, and every group of KindGPU lists its GPUs.
func (c *Config) completeInstances(gpus []int) error {
	if c.EnsembleScheduling != nil {
		return nil
	}
	if len(c.InstanceGroup) == 0 {
		c.InstanceGroup = []InstanceGroup{{Name: c.Name}}
	}
	var problems []error
	for i := range c.InstanceGroup {
		group := &c.InstanceGroup[i]
		if group.Name == "" {
			group.Name = fmt.Sprintf("%s_%d", c.Name, i)
		}
		if err := c.completeInstance(group, gpus); err != nil {
			problems = append(problems, err)
		}
	}
	return joinProblems(problems)
}

func (c *Config) completeInstance(group *InstanceGroup, gpus []int) error {
	if group.Kind == KindAuto {
		group.resolveKind(gpus)
	}
	if group.Count == 0 {
		group.Count = 1
		if group.Kind == KindCPU && c.runsONNX() {
			group.Count = onnxInstancesOnCPU
		}
	}
	if group.Kind != KindGPU {
		return nil
	}
	if len(group.GPUs) == 0 {
		for _, gpu := range gpus {
			group.GPUs = append(group.GPUs, int32(gpu))
		}
	}
	return c.checkGPUs(group, gpus)
}

// resolveKind takes the GPU where all GPUs asked for are there, else the CPU.
func (group *InstanceGroup) resolveKind(gpus []int) {
	group.Kind = KindGPU
	if len(gpus) == 0 || slices.ContainsFunc(group.GPUs, missingFrom(gpus)) {
		group.Kind = KindCPU
		group.GPUs = nil
	}
}

func missingFrom(gpus []int) func(int32) bool {
	return func(gpu int32) bool { return !slices.Contains(gpus, int(gpu)) }
}

func (c *Config) checkGPUs(group *InstanceGroup, gpus []int) error {
	if len(gpus) == 0 {
		return unsupportedf("instance group %s of model %s has kind KIND_GPU but no GPUs are available;"+
			" use KIND_CPU, or KIND_AUTO to take a GPU where there is one", group.Name, c.Name)
	}
	missing := slices.IndexFunc(group.GPUs, missingFrom(gpus))
	if missing < 0 {
		return nil
	}
	available := make([]string, len(gpus))
	for i, gpu := range gpus {
		available[i] = strconv.Itoa(gpu)
	}
	return unsupportedf("instance group %s of model %s specifies invalid or unsupported gpu id %d. Available GPUs are: %s",
		group.Name, c.Name, group.GPUs[missing], strings.Join(available, ", "))
}
