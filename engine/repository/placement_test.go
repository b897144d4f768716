// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

func TestPlacements(t *testing.T) {
	c := &modelconfig.Config{MaxBatchSize: 8, InstanceGroup: []modelconfig.InstanceGroup{
		{Kind: modelconfig.KindCPU, Count: 2},
		{Kind: modelconfig.KindGPU, Count: 1, GPUs: []int32{0, 3}},
	}}
	got, err := placements(c)
	if err != nil {
		t.Fatal(err)
	}
	cpu := engine.Placement{Kind: modelconfig.KindCPU, Threads: max(1, runtime.GOMAXPROCS(0)/2), MaxBatchSize: 8}
	gpu := engine.Placement{Kind: modelconfig.KindGPU, Threads: 1, MaxBatchSize: 8}
	gpu3 := gpu
	gpu3.GPU = 3
	if want := []engine.Placement{cpu, cpu, gpu, gpu3}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	c.Parameters = map[string]modelconfig.Parameter{"intra_op_thread_count": {StringValue: "5"}}
	if got, err = placements(c); err != nil || got[0].Threads != 5 {
		t.Errorf("got %+v, %v", got, err)
	}
	c.Parameters["intra_op_thread_count"] = modelconfig.Parameter{StringValue: "many"}
	if _, err := placements(c); !errors.Is(err, modelconfig.ErrInvalidConfig) {
		t.Errorf("a bad parameter: %v", err)
	}
	c.InstanceGroup[0].Count = instancesMax
	if _, err := placements(c); !errors.Is(err, engine.ErrInvalidModel) {
		t.Errorf("too many instances: %v", err)
	}
}

func TestGPUAskedForWithoutOne(t *testing.T) {
	p := newPlace(t)
	p.write("m/config.pbtxt", "backend: \"fake\"\ninstance_group [{ kind: KIND_GPU }]")
	p.write("m/1/model.bin", "good")
	p.write("auto/config.pbtxt", "backend: \"fake\"\ninstance_group [{ kind: KIND_AUTO }]")
	p.write("auto/1/model.bin", "good")
	r := p.start(p.options(ModeNone))
	if err := r.InitialErrors()["m"]; !errors.Is(err, modelconfig.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	v, err := r.Acquire("auto", "")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	if v.Placements[0].Kind != modelconfig.KindCPU {
		t.Errorf("placement %+v", v.Placements[0])
	}
	if len(v.Config.Input) != 1 || v.Config.MaxBatchSize != defaultMaxBatchSize {
		t.Errorf("the configuration was not completed: %+v", v.Config)
	}
}

func TestAutoCompleteCanBeDisabled(t *testing.T) {
	p := newPlace(t)
	p.write("m/config.pbtxt", `backend: "fake"`)
	p.write("m/1/model.bin", "good")
	opts := p.options(ModeNone)
	opts.DisableAutoComplete = true
	r := p.start(opts)
	if err := r.InitialErrors()["m"]; !errors.Is(err, modelconfig.ErrInvalidConfig) {
		t.Errorf("got %v", err)
	}
}
