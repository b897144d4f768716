// SPDX-License-Identifier: Apache-2.0

package direct

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// timed is a backend whose runs take a fixed time and a time per row, up to a
// batch size after which rows cost ten times as much.
type timed struct {
	fixed, perRow time.Duration
	cheapRows     int
	shape         tensor.Shape
	open          atomic.Int64
	fail          error
}

func (b *timed) Name() string { return "timed" }
func (b *timed) Inspect(string, *modelconfig.Config) (engine.Signature, error) {
	return b.Signature(), nil
}
func (b *timed) Load(context.Context, string, *modelconfig.Config) (engine.Model, error) {
	b.open.Add(1)
	return b, nil
}
func (b *timed) Signature() engine.Signature {
	return engine.Signature{Inputs: []engine.TensorSpec{{Name: "x", Datatype: tensor.FP32, Shape: b.shape}}}
}
func (b *timed) NewInstance(p engine.Placement) (engine.Instance, error) {
	b.open.Add(1)
	return &timedInstance{timed: b, input: make([]byte, p.MaxBatchSize*4)}, nil
}
func (b *timed) Close() error {
	b.open.Add(-1)
	return nil
}

type timedInstance struct {
	*timed
	input []byte
}

func (i *timedInstance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	rows := shapes[0][0]
	return &engine.Binding{Inputs: []tensor.Tensor{{Shape: shapes[0], Datatype: tensor.FP32, Data: i.input[:rows*4]}}}, nil
}

func (i *timedInstance) Run(_ context.Context, b *engine.Binding) error {
	rows := int(b.Inputs[0].Shape[0])
	if &b.Inputs[0].Data[0] != &i.input[0] {
		return errors.New("the input was not filled in place")
	}
	cheap := min(rows, i.cheapRows)
	<-time.After(i.fixed + time.Duration(cheap+10*(rows-cheap))*i.perRow)
	return i.fail
}

func openTimed(t *testing.T, b *timed, instances int) *Model {
	t.Helper()
	m, err := Open(t.Context(), Options{Backend: b, Config: &modelconfig.Config{Name: "m"}, Instances: instances, BatchSizeMax: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil || b.open.Load() != 0 {
			t.Errorf("close: %v, and %d things are left open", err, b.open.Load())
		}
	})
	return m
}

func TestBestBatchIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &timed{fixed: 8 * time.Millisecond, perRow: time.Millisecond, cheapRows: 8, shape: tensor.Shape{-1}}
		best, all, err := openTimed(t, b, 2).Best(t.Context(), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		// 8 rows take 16 ms on each of two instances.
		if best.BatchSize != 8 || math.Abs(best.RowsPerSecond-1000) > 10 {
			t.Errorf("the best is %+v, want 1000 rows/s in batches of 8", best)
		}
		if len(all) != 5 || all[0].BatchSize != 1 || all[4].BatchSize != 16 {
			t.Errorf("measured %+v, want batch sizes 1 to 16", all)
		}
	})
}

func TestMedianLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &timed{fixed: 3 * time.Millisecond, perRow: time.Millisecond, cheapRows: 16, shape: tensor.Shape{-1}}
		got, err := openTimed(t, b, 2).MedianLatency(t.Context(), 2, time.Second)
		if err != nil || got != 5*time.Millisecond {
			t.Errorf("the median latency is %v, %v, want 5 ms", got, err)
		}
	})
}

func TestFaultsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		for name, c := range map[string]struct {
			backend *timed
			size    int
			want    error
		}{
			"run":        {&timed{shape: tensor.Shape{-1}, fail: broken}, 1, broken},
			"batch size": {&timed{shape: tensor.Shape{-1}}, 17, ErrInvalidMeasurement},
			"open shape": {&timed{shape: tensor.Shape{-1, -1}}, 1, ErrInvalidMeasurement},
		} {
			if _, err := openTimed(t, c.backend, 1).RowsPerSecond(t.Context(), c.size, time.Second); !errors.Is(err, c.want) {
				t.Errorf("%s: error is %v, want %v", name, err, c.want)
			}
		}
	})
	if _, err := Open(t.Context(), Options{Config: &modelconfig.Config{}}); !errors.Is(err, ErrInvalidMeasurement) {
		t.Errorf("no instances: error is %v", err)
	}
}
