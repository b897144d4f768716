// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func parse(t *testing.T, text string) *modelconfig.Config {
	t.Helper()
	c, err := modelconfig.ParseText([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c.Name = "m"
	return c
}

func load(t *testing.T, b engine.Backend, text string) (engine.Model, error) {
	t.Helper()
	return b.Load(t.Context(), "", parse(t, text))
}

func instance(t *testing.T, b engine.Backend, text string) engine.Instance {
	t.Helper()
	m, err := load(t, b, text)
	if err != nil {
		t.Fatal(err)
	}
	i, err := m.NewInstance(engine.Placement{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

const (
	twoTensors = `max_batch_size: 8
input [{ name: "A" data_type: TYPE_INT32 dims: [ 2 ] }, { name: "S" data_type: TYPE_STRING dims: [ 1 ] }]
output [{ name: "B" data_type: TYPE_INT32 dims: [ 2 ] }, { name: "R" data_type: TYPE_STRING dims: [ -1 ] }]
`
	oneTensor = `input [{ name: "A" data_type: TYPE_INT32 dims: [ 2 ] }] output [{ name: "B" data_type: TYPE_INT32 dims: [ 2 ] }]
`
)

func parameter(name, value string) string {
	return `parameters: { key: "` + name + `" value: { string_value: "` + value + `" } }
`
}

func TestNames(t *testing.T) {
	var names []string
	for _, b := range Backends() {
		names = append(names, b.Name())
		if needs, ok := b.(interface{ NeedsFiles() bool }); !ok || needs.NeedsFiles() {
			t.Errorf("%s needs files", b.Name())
		}
	}
	if want := []string{"identity", "repeat", "failing"}; !slices.Equal(names, want) {
		t.Errorf("backends %v, want %v", names, want)
	}
}

func TestIdentityAnswersItsInputs(t *testing.T) {
	i := instance(t, identityBackend{}, twoTensors)
	for _, text := range []string{"a long first answer", "b"} { // the second reuses memory
		b, err := i.Bind([]tensor.Shape{{3, 2}, {1, 1}})
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Inputs[0].Data) != 24 || len(b.Inputs[1].Data) != 0 {
			t.Fatalf("bound %d and %d bytes", len(b.Inputs[0].Data), len(b.Inputs[1].Data))
		}
		copy(b.Inputs[0].Data, text)
		b.Inputs[1].Data = tensor.AppendBytes(b.Inputs[1].Data, []byte(text))
		if err := i.Run(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		out := b.Outputs[0]
		if out.Name != "B" || out.Shape.String() != "[3,2]" || !strings.HasPrefix(string(out.Data), text) {
			t.Errorf("output %+v", out)
		}
		if got, rest, err := tensor.NextBytes(b.Outputs[1].Data); err != nil || string(got) != text || len(rest) != 0 {
			t.Errorf("text %q, rest %q, %v", got, rest, err)
		}
	}
}

func TestIdentityAllocatesNothing(t *testing.T) {
	i := instance(t, identityBackend{}, twoTensors)
	shapes := []tensor.Shape{{8, 2}, {8, 1}}
	element := []byte("text")
	run := func() {
		b, err := i.Bind(shapes)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			b.Inputs[1].Data = tensor.AppendBytes(b.Inputs[1].Data, element)
		}
		if err := i.Run(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if allocs := testing.AllocsPerRun(100, run); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestIdentityRefusesBadShapes(t *testing.T) {
	i := instance(t, identityBackend{}, oneTensor)
	for name, shapes := range map[string][]tensor.Shape{
		"none": {}, "missing": {nil}, "negative": {{-1}}, "huge": {{1 << 40}}, "overflow": {{1 << 40, 1 << 40}},
	} {
		if _, err := i.Bind(shapes); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestIdentityRefusesBadConfigurations(t *testing.T) {
	for text, want := range map[string]string{
		`output [{ name: "B" data_type: TYPE_INT32 dims: [ 2 ] }]`:                                                          "0 inputs and 1 outputs",
		`input [{ name: "A" data_type: TYPE_INT8 dims: [ 2 ] }] output [{ name: "B" data_type: TYPE_INT32 dims: [ 2 ] }]`:   "output 'B' (INT32 [2]) must be as input 'A' (INT8 [2])",
		`input [{ name: "A" data_type: TYPE_INT32 dims: [ -1 ] }] output [{ name: "B" data_type: TYPE_INT32 dims: [ 2 ] }]`: "must be as input",
		oneTensor + parameter("execute_delay_ms", "600001"):                                                                 "must be at most 10m0s",
		oneTensor + parameter("execution_delay_ms", "soon"):                                                                 "it must be milliseconds",
	} {
		m, err := load(t, identityBackend{}, text)
		if err == nil || m != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestIdentityDelay(t *testing.T) {
	for _, name := range []string{"execute_delay_ms", "execution_delay_ms"} {
		synctest.Test(t, func(t *testing.T) {
			i := instance(t, identityBackend{}, oneTensor+parameter(name, "3000"))
			b, err := i.Bind([]tensor.Shape{{2}})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the timer is used again
				begin := time.Now()
				if err := i.Run(t.Context(), b); err != nil || time.Since(begin) != 3*time.Second {
					t.Errorf("took %s, %v", time.Since(begin), err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begin := time.Now()
			if err := i.Run(ctx, b); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("cancelled after %s: %v", time.Since(begin), err)
			}
			if err := i.Run(t.Context(), b); err != nil || time.Since(begin) != 4*time.Second {
				t.Errorf("after a cancelled run: %s, %v", time.Since(begin), err)
			}
		})
	}
}

// warmedUp ends an instance's warm-up as its owner does.
func warmedUp(i engine.Instance) { i.(interface{ WarmedUp() }).WarmedUp() }

func TestFailing(t *testing.T) {
	for _, c := range []struct {
		name, parameters string
		warmup           bool
		runs             string // of four runs after warm-up, f for those that fail
	}{
		{"default", "", true, "ffff"},
		{"every third", parameter("fail_every", "3"), true, "..f."},
		{"warmup", parameter("fail_on", "warmup"), false, "...."},
	} {
		i := instance(t, failingBackend{}, oneTensor+parameter("message", "as told")+c.parameters)
		b, err := i.Bind([]tensor.Shape{{2}})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Run(t.Context(), b); (err == nil) != c.warmup {
			t.Errorf("%s: warm-up run: %v", c.name, err)
		}
		warmedUp(i)
		runs := ""
		for range 4 {
			err := i.Run(t.Context(), b)
			if err != nil && err.Error() != "as told" {
				t.Errorf("%s: says %q", c.name, err)
			}
			runs += map[bool]string{true: ".", false: "f"}[err == nil]
		}
		if runs != c.runs {
			t.Errorf("%s: runs %s, want %s", c.name, runs, c.runs)
		}
	}
}

func TestFailingLoad(t *testing.T) {
	for parameters, want := range map[string]string{
		parameter("fail_on", "load"):                              "invalid model: " + defaultMessage,
		parameter("fail_on", "load") + parameter("message", "no"): "invalid model: no",
		parameter("fail_on", "lunch"):                             "invalid model: parameter 'fail_on' of model 'm' is \"lunch\", it must be load, warmup or run",
		parameter("fail_every", "0"):                              "invalid model: parameter 'fail_every' of model 'm' is 0, it must be at least 1",
	} {
		m, err := load(t, failingBackend{}, oneTensor+parameters)
		if err == nil || m != nil || err.Error() != want || !errors.Is(err, engine.ErrInvalidModel) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

const decoupled = "model_transaction_policy { decoupled: true }"

// uint32s is a tensor of 4-byte elements.
func uint32s(values ...uint32) tensor.Tensor {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, v)
	}
	return tensor.Tensor{Shape: tensor.Shape{int64(len(values))}, Data: data}
}

type response struct {
	value, index uint32
	after        time.Duration
}

// stream collects what a repeat model answers, until limit responses.
func stream(ctx context.Context, i engine.Instance, limit int, inputs ...tensor.Tensor) ([]response, error) {
	begin := time.Now()
	var got []response
	err := i.(engine.Streamer).Stream(ctx, inputs, func(out []tensor.Tensor) error {
		if len(got) == limit {
			return errors.New("enough")
		}
		read := binary.LittleEndian.Uint32
		got = append(got, response{read(out[0].Data), read(out[1].Data), time.Since(begin)})
		return nil
	})
	return got, err
}

func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := instance(t, repeatBackend{}, decoupled)
		begin := time.Now()
		got, err := stream(t.Context(), i, 9, uint32s(7, 8, 9), uint32s(10, 0, 20), uint32s(5))
		want := []response{{7, 0, 10 * time.Millisecond}, {8, 1, 10 * time.Millisecond}, {9, 2, 30 * time.Millisecond}}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v %v, want %v", got, err, want)
		}
		if time.Since(begin) != 30*time.Millisecond {
			t.Errorf("took %s, the responses take longer than WAIT", time.Since(begin))
		}
		begin = time.Now()
		if got, err = stream(t.Context(), i, 9, uint32s(), uint32s(), uint32s(500)); err != nil || len(got) != 0 {
			t.Errorf("no elements: %v %v", got, err)
		}
		if time.Since(begin) != 500*time.Millisecond {
			t.Errorf("took %s, WAIT is 500 ms", time.Since(begin))
		}
		if got, err = stream(t.Context(), i, 1, uint32s(1, 2, 3), uint32s(0, 0, 0), uint32s(0)); err == nil || len(got) != 1 {
			t.Errorf("a receiver that has enough: %v %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err = stream(ctx, i, 9, uint32s(1, 2), uint32s(0, 5000), uint32s(0)); !errors.Is(err, context.DeadlineExceeded) || len(got) != 1 {
			t.Errorf("cancelled: %v %v", got, err)
		}
	})
}

func TestRepeatRefuses(t *testing.T) {
	i := instance(t, repeatBackend{}, decoupled)
	for want, inputs := range map[string][]tensor.Tensor{
		"1 inputs instead of 3":              {uint32s(1)},
		"'DELAY' has 1 elements, 'IN' has 2": {uint32s(1, 2), uint32s(0), uint32s(0)},
		"'WAIT' must have one element":       {uint32s(1), uint32s(0), uint32s()},
		"add up to more than 10m0s":          {uint32s(1, 2), uint32s(400_000, 300_000), uint32s(0)},
		"whole elements":                     {{Data: []byte{1}}, uint32s(), uint32s(0)},
	} {
		if got, err := stream(t.Context(), i, 9, inputs...); err == nil || len(got) != 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v %v, want %q", got, err, want)
		}
	}
	if _, err := i.Bind(nil); !errors.Is(err, ErrDecoupled) {
		t.Errorf("bind: %v", err)
	}
	if m, err := load(t, repeatBackend{}, ""); m != nil || !errors.Is(err, engine.ErrInvalidModel) {
		t.Errorf("not decoupled: %v", err)
	}
}
