// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// instancesMax bounds the instances of one version.
const instancesMax = 1024

// placements lays out the instances of a complete configuration, in which groups on
// GPUs list them.
func placements(c *modelconfig.Config) ([]engine.Placement, error) {
	var all []engine.Placement
	for _, group := range c.InstanceGroup {
		devices := group.GPUs
		if group.Kind != modelconfig.KindGPU {
			devices = []int32{0}
		}
		if len(all)+int(group.Count)*len(devices) > instancesMax {
			return nil, fmt.Errorf("%w: more than %d instances: lower 'count' of the instance groups", engine.ErrInvalidModel, instancesMax)
		}
		for _, device := range devices {
			p := engine.Placement{Kind: group.Kind, GPU: int(device), MaxBatchSize: int(c.MaxBatchSize)}
			all = append(all, slices.Repeat([]engine.Placement{p}, int(group.Count))...)
		}
	}
	return all, shareThreads(c, all)
}

// shareThreads divides the cores this process may use among the instances on the
// CPU. Instances on other devices need one for themselves.
func shareThreads(c *modelconfig.Config, all []engine.Placement) error {
	onCPU := 0
	for _, p := range all {
		if p.Kind == modelconfig.KindCPU {
			onCPU++
		}
	}
	asked, err := c.IntParameter("intra_op_thread_count", 0)
	if err != nil {
		return err
	}
	for i := range all {
		all[i].Threads = 1
		switch {
		case asked > 0:
			all[i].Threads = asked
		case all[i].Kind == modelconfig.KindCPU:
			all[i].Threads = max(1, runtime.GOMAXPROCS(0)/onCPU)
		}
	}
	return nil
}
