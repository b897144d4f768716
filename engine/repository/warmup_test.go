// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestWarmupRunsEveryBatchSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its budget is of time
		p := newPlace(t)
		var ran []int64
		p.backend.onRun = func(shapes []tensor.Shape) { ran = append(ran, shapes[0][0]) }
		p.model("m", "", 1)
		r := p.start(p.options(ModeNone))
		if want := []int64{1, 1, 2, 2, 4, 4}; !slices.Equal(ran, want) {
			t.Errorf("ran rows %v, want %v", ran, want)
		}
		v, err := r.Acquire("m", "")
		if err != nil {
			t.Fatal(err)
		}
		defer v.Release()
		var rows []int
		for _, w := range v.Warmup {
			rows = append(rows, w.Rows)
		}
		if !slices.Equal(rows, []int{1, 2, 4}) {
			t.Errorf("results for %v", rows)
		}
	})
}

func TestBuckets(t *testing.T) {
	for size, want := range map[int][]int{0: {1}, 1: {1}, 2: {1, 2}, 6: {1, 2, 4, 6}, 8: {1, 2, 4, 8}} {
		if got := buckets(size); !slices.Equal(got, want) {
			t.Errorf("max batch size %d: %v, want %v", size, got, want)
		}
	}
}

func TestFailingWarmupFailsLoad(t *testing.T) {
	p := newPlace(t)
	p.model("auto", "")
	p.write("auto/1/model.bin", "bad run")
	p.model("sample", `model_warmup [{ name: "first" batch_size: 2
		inputs: { key: "X" value: { data_type: TYPE_FP32 dims: [ 2 ] zero_data: true } } }]`)
	p.write("sample/1/model.bin", "bad run")
	r := p.start(p.options(ModeNone))
	for model, sample := range map[string]string{"auto": "batch size 1", "sample": "first"} {
		want := "failed to run warmup sample '" + sample + "': cannot run"
		if err := r.InitialErrors()[model]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", model, err, want)
		}
	}
}

func TestWarmupSamples(t *testing.T) {
	warmup := func(data string) string {
		return `model_warmup [{ name: "s" batch_size: 3 count: 2 inputs: { key: "X" value: { data_type: TYPE_FP32 dims: [ 2 ] ` + data + ` } } }]`
	}
	for data, want := range map[string]string{
		"zero_data: true":             "",
		"random_data: true":           "",
		`input_data_file: "good"`:     "",
		`input_data_file: "short"`:    "failed to run warmup sample 's': data file holds 3 bytes, but shape [3,2] of FP32 takes 24",
		`input_data_file: "absent"`:   "failed to run warmup sample 's': input 'X': ",
		`input_data_file: "../steal"`: "must be a relative path",
	} {
		p := newPlace(t)
		runs := 0
		p.backend.onRun = func(shapes []tensor.Shape) {
			if shapes[0][0] == 3 {
				runs++
			}
		}
		p.model("m", warmup(data), 1)
		p.write("m/warmup/good", strings.Repeat("x", 24))
		p.write("m/warmup/short", "xxx")
		r := p.start(p.options(ModeNone))
		err := r.InitialErrors()["m"]
		if want == "" && (err != nil || runs != 2) {
			t.Errorf("%s: %d runs, %v", data, runs, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", data, err, want)
		}
	}
}

// Made-up inputs prove nothing where the signature leaves open what a model takes.
func TestAnyInputServes(t *testing.T) {
	input := func(d tensor.Datatype, shape ...int64) engine.Signature {
		return engine.Signature{Inputs: []engine.TensorSpec{{Name: "X", Datatype: d, Shape: shape}}}
	}
	for _, c := range []struct {
		signature engine.Signature
		samples   int
		want      bool
	}{
		{input(tensor.FP32, -1, 2), 0, true},
		{input(tensor.FP32, -1, -1), 0, false},
		{input(tensor.Bytes, -1, 2), 0, false},
		{input(tensor.FP32, -1, 2), 1, false},
	} {
		config := &modelconfig.Config{MaxBatchSize: 4, ModelWarmup: make([]modelconfig.Warmup, c.samples)}
		w := warmup{version: &Version{Config: config, Signature: c.signature}}
		if got := w.anyInputServes(); got != c.want {
			t.Errorf("%v with %d samples: %v", c.signature, c.samples, got)
		}
	}
}

func TestFillers(t *testing.T) {
	all := []tensor.Datatype{
		tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Int8, tensor.Int16,
		tensor.Int32, tensor.Int64, tensor.FP16, tensor.FP32, tensor.FP64, tensor.BF16, tensor.Bytes,
	}
	fillers := map[string]func([]byte, tensor.Datatype, int) []byte{"ones": fillOnes, "zeros": fillZeros, "random": fillRandom}
	for name, fill := range fillers {
		for _, d := range all {
			data := fill(nil, d, 5)
			want := 5 * d.Size()
			if d == tensor.Bytes {
				var err error
				if want, err = tensor.SkipBytes(data, 5); err != nil {
					t.Errorf("%s %s: %v", name, d, err)
				}
			}
			if len(data) != want || want == 0 {
				t.Errorf("%s %s: %d bytes, want %d", name, d, len(data), want)
			}
		}
	}
	if a, b := fillRandom(nil, tensor.FP32, 9), fillRandom(nil, tensor.FP32, 9); !slices.Equal(a, b) {
		t.Error("random data differs from run to run")
	}
}

func TestWarmupBoundsItsMemory(t *testing.T) {
	w := warmupTensor{shape: tensor.Shape{1 << 20, 1 << 20}, fill: fillZeros}
	if _, err := w.data(tensor.FP32); err == nil {
		t.Error("an absurd shape is accepted")
	}
}

func TestReshaped(t *testing.T) {
	for _, c := range []struct{ dims, reshape, want []int64 }{
		{[]int64{1}, nil, nil},
		{[]int64{3, 4}, []int64{1, -1, 4}, []int64{1, 3, 4}},
		{[]int64{2, 3}, []int64{2, 1, 3}, []int64{2, 1, 3}},
	} {
		if got := reshaped(c.dims, c.reshape); fmt.Sprint(got) != fmt.Sprint(tensor.Shape(c.want)) {
			t.Errorf("%v as %v: %v, want %v", c.dims, c.reshape, got, c.want)
		}
	}
}

// TestWarmupRestsBesideServing: a run is followed by a rest in proportion, bounded,
// and cut short by the end of the load.
func TestWarmupRestsBesideServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rested := func(w warmup, ctx context.Context, ran time.Duration) time.Duration {
			begin := time.Now()
			w.rest(ctx, ran)
			return time.Since(begin)
		}
		if got := rested(warmup{}, t.Context(), time.Second); got != 0 {
			t.Errorf("rested %v with nothing to serve", got)
		}
		if got := rested(warmup{quiet: true}, t.Context(), time.Millisecond); got != restShare*time.Millisecond {
			t.Errorf("rested %v after a millisecond", got)
		}
		if got := rested(warmup{quiet: true}, t.Context(), time.Hour); got != restMax {
			t.Errorf("rested %v after an hour, want %v", got, restMax)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if got := rested(warmup{quiet: true}, ended, time.Hour); got != 0 {
			t.Errorf("rested %v though the load was over", got)
		}
	})
}
