// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// codeOf is the code of an error of a call.
func codeOf(err error) codes.Code {
	var e *Error
	switch {
	case err == nil:
		return codes.OK
	case errors.As(err, &e):
		return e.Code
	}
	return codes.Unknown
}

// give fills a call with what a ModelInfer request holds.
func give(c *Call, q *inference.ModelInferRequest) error {
	for i, raw := range q.RawInputContents {
		in := q.Inputs[i]
		index := -1
		for k, info := range c.Inputs() {
			if info.Name == in.Name {
				index = k
			}
		}
		if in.Datatype == "BYTES" {
			var texts []string
			for rest := raw; len(rest) > 0; {
				text, tail, err := tensor.NextBytes(rest)
				if err != nil {
					return err
				}
				texts, rest = append(texts, string(text)), tail
			}
			if err := c.InputTexts(index, texts); err != nil {
				return err
			}
			continue
		}
		var memory []byte
		var err error
		if c.Inputs()[index].Width < 0 {
			memory, err = c.InputShaped(index, in.Shape)
		} else {
			rows := 1
			if c.Inputs()[index].byRows() {
				rows = int(in.Shape[0])
			}
			memory, err = c.Input(index, rows)
		}
		if err != nil {
			return err
		}
		if copy(memory, raw) != len(raw) || len(memory) != len(raw) {
			return fmt.Errorf("input %s has room for %d bytes, not %d", in.Name, len(memory), len(raw))
		}
	}
	return nil
}

// askInProcess is ModelInfer by a call.
func askInProcess(ctx context.Context, c *Call, q *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	if err := c.Begin(q.ModelName, q.ModelVersion); err != nil {
		return nil, err
	}
	defer c.Release()
	if err := give(c, q); err != nil {
		return nil, err
	}
	if err := c.Run(ctx, time.Time{}); err != nil {
		return nil, err
	}
	answer := &inference.ModelInferResponse{ModelName: c.Model(), ModelVersion: strconv.FormatInt(c.Version(), 10)}
	for i, info := range c.Outputs() {
		value, err := c.OutputTensor(i)
		if err != nil {
			return nil, err
		}
		if value.Name != info.Name || value.Datatype != info.Datatype {
			return nil, fmt.Errorf("output %d is %s of %s, described as %s of %s", i, value.Name, value.Datatype, info.Name, info.Datatype)
		}
		answer.Outputs = append(answer.Outputs, &inference.ModelInferResponse_InferOutputTensor{Name: value.Name, Datatype: value.Datatype.String(), Shape: slices.Clone(value.Shape)})
		answer.RawOutputContents = append(answer.RawOutputContents, bytes.Clone(value.Data))
	}
	return answer, nil
}

// TestCallAnswersAsModelInfer: whatever the model, a call gives what the network gives,
// and counts the same.
func TestCallAnswersAsModelInfer(t *testing.T) {
	reshape := `backend: "identity" max_batch_size: 4 input { name: "X" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 2 ] } } output { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 2, 2 ] } }`
	unbatched := `backend: "identity" input { name: "X" data_type: TYPE_FP32 dims: [ -1, 2 ] } output { name: "Y" data_type: TYPE_FP32 dims: [ -1, 2 ] }`
	fixed := `backend: "identity" input { name: "X" data_type: TYPE_FP32 dims: [ 3 ] } output { name: "Y" data_type: TYPE_FP32 dims: [ 3 ] }`
	variable := `backend: "identity" max_batch_size: 4 input { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } output { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }`
	text := `backend: "identity" max_batch_size: 4 input { name: "T" data_type: TYPE_STRING dims: [ 2 ] } output { name: "U" data_type: TYPE_STRING dims: [ 2 ] }`
	ts := startServer(t, modelFiles{
		"echo/config.pbtxt": identityConfig, "pair/config.pbtxt": pairConfig, "optional/config.pbtxt": optionalConfig,
		"reshape/config.pbtxt": reshape, "unbatched/config.pbtxt": unbatched, "fixed/config.pbtxt": fixed,
		"variable/config.pbtxt": variable, "text/config.pbtxt": text,
	})
	texts := &inference.ModelInferRequest{ModelName: "text", Inputs: []*inference.ModelInferRequest_InferInputTensor{input("T", "BYTES", 2, 2)}}
	var raw []byte
	for _, s := range []string{"one", "", "drei", "quatre mots à la fois"} {
		raw = tensor.AppendBytes(raw, []byte(s))
	}
	texts.RawInputContents = [][]byte{raw}
	pair := pairRequest()
	copy(pair.RawInputContents[1], "not all the same")
	both := floatRequest("optional", "B", []int64{1, 1}, 5)
	both.Inputs = append(both.Inputs, input("A", "FP32", 1, 1))
	both.RawInputContents = append(both.RawInputContents, floatBytes(7))
	call := ts.NewCall()
	for name, q := range map[string]*inference.ModelInferRequest{
		"one row": identityRequest("echo", 1, 2), "rows": identityRequest("echo", 1, 2, 3, 4, 5, 6), "two inputs": pair,
		"inputs in another order": both, "reshaped": floatRequest("reshape", "X", []int64{2, 4}, 1, 2, 3, 4, 5, 6, 7, 8),
		"unbatched": floatRequest("unbatched", "X", []int64{3, 2}, 1, 2, 3, 4, 5, 6), "no rows": floatRequest("unbatched", "X", []int64{0, 2}),
		"fixed shape": floatRequest("fixed", "X", []int64{3}, 1, 2, 3), "variable shape": floatRequest("variable", "X", []int64{2, 3}, 1, 2, 3, 4, 5, 6),
		"texts": texts,
	} {
		want, err := ts.inference.ModelInfer(testContext(t), q)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for range 2 { // the second time in memory that was used before
			got, err := askInProcess(t.Context(), call, q)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if fmt.Sprint(got.Outputs) != fmt.Sprint(want.Outputs) || got.ModelVersion != want.ModelVersion || !sameBytes(got.RawOutputContents, want.RawOutputContents) {
				t.Errorf("%s: the call gives %v, the network %v", name, got, want)
			}
		}
	}
	for _, s := range ts.stats.Snapshot("echo") {
		if s.Success.Count != 6 || s.InferenceCount != 12 || s.Fail.Count != 0 {
			t.Errorf("statistics of two requests, asked for three times each: %+v", s)
		}
	}
}

// TestCallLeavesOptionalInputsOut: what is not given is not there, also if it was in the
// call before.
func TestCallLeavesOptionalInputsOut(t *testing.T) {
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{-1, 1}, []string{"A", "B"}, []string{"Y"}), run: func(b *engine.Binding) error {
		present := float32(0)
		for _, in := range b.Inputs {
			present = 2*present + float32(len(in.Shape)/2)
		}
		b.Outputs[0].Shape, b.Outputs[0].Data = tensor.Shape{1, 1}, floatBytes(present)
		return nil
	}}
	for i := range backend.signature.Inputs {
		backend.signature.Inputs[i].Optional = true
	}
	ts := startServer(t, modelFiles{"m/1/model.onnx": "", "m/config.pbtxt": `backend: "scripted" max_batch_size: 4`}, withBackend(backend))
	call := ts.NewCall()
	for _, given := range [][]int{{0, 1}, {1}, {0}, {}} {
		if err := call.Begin("m", ""); err != nil {
			t.Fatal(err)
		}
		want := float32(0)
		for _, i := range given {
			if _, err := call.Input(i, 1); err != nil {
				t.Fatal(err)
			}
			want += float32(2 - i)
		}
		err := call.Run(t.Context(), time.Time{})
		got, outputErr := call.Output(0)
		if err != nil || outputErr != nil || !bytes.Equal(got, floatBytes(want)) {
			t.Errorf("with inputs %v: %v, %v, %v", given, got, err, outputErr)
		}
		call.Release()
	}
}

func sameBytes(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// TestCallRefusals: what cannot be run is refused with the code that a request gets, and
// the call can be used again.
func TestCallRefusals(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "pair/config.pbtxt": pairConfig, "text/config.pbtxt": textConfig, "repeat/config.pbtxt": repeatConfig},
		func(o *Options) { o.Limits.MessageBytesMax = 1 << 16 })
	call := ts.NewCall()
	run := func() error { return call.Run(t.Context(), time.Time{}) }
	input := func(i, rows int) error { _, err := call.Input(i, rows); return err }
	for _, c := range []struct {
		name, model, version string
		steps                func() error
		code                 codes.Code
		text                 string
	}{
		{"no such model", "nope", "", nil, codes.NotFound, "Request for unknown model: 'nope' is not found"},
		{"no such version", "echo", "7", nil, codes.NotFound, "version 7"},
		{"no version", "echo", "seven", nil, codes.InvalidArgument, "specified version string 'seven'"},
		{"decoupled", "repeat", "", nil, codes.Unimplemented, "decoupled"},
		{"begun twice", "echo", "", func() error { return call.Begin("echo", "") }, codes.FailedPrecondition, "Release it"},
		{"no inputs", "pair", "", run, codes.InvalidArgument, "Missing required input(s) ['A','B']"},
		{"half the inputs", "pair", "", func() error { return errors.Join(input(1, 1), run()) }, codes.InvalidArgument, "missing required input(s) ['A']"},
		{"rows that differ", "pair", "", func() error { return errors.Join(input(0, 1), input(1, 2), run()) }, codes.InvalidArgument, "batch size does not match"},
		{"too many rows", "echo", "", func() error { return errors.Join(input(0, 9), run()) }, codes.InvalidArgument, "batch-size must be <= 8"},
		{"no rows", "echo", "", func() error { return errors.Join(input(0, 0), run()) }, codes.InvalidArgument, "batch-size must be >= 1"},
		{"negative rows", "echo", "", func() error { return input(0, -1) }, codes.InvalidArgument, "cannot have -1 rows"},
		{"too large", "echo", "", func() error { return input(0, 1<<30) }, codes.ResourceExhausted, "more than the 65536"},
		{"far too large", "echo", "", func() error { return input(0, math.MaxInt) }, codes.InvalidArgument, "rows: "},
		{"far too large a shape", "echo", "", func() error {
			_, err := call.InputShaped(0, tensor.Shape{math.MaxInt64, 2})
			return err
		}, codes.InvalidArgument, "cannot have shape"},
		{"no such input", "echo", "", func() error { return input(1, 1) }, codes.InvalidArgument, "1 inputs and none with index 1"},
		{"numbers for texts", "text", "", func() error { return input(0, 1) }, codes.InvalidArgument, "give its texts"},
		{"texts of no width", "text", "", func() error { return call.InputTexts(0, []string{"a"}) }, codes.InvalidArgument, "no whole number of rows"},
		{"texts for numbers", "echo", "", func() error { return call.InputTexts(0, []string{"a"}) }, codes.InvalidArgument, "takes no texts"},
		{"wrong shape", "echo", "", func() error { _, err := call.InputShaped(0, tensor.Shape{1, 3}); return errors.Join(err, run()) }, codes.InvalidArgument, "unexpected shape"},
		{"unknown shape", "echo", "", func() error { _, err := call.InputShaped(0, tensor.Shape{-1, 2}); return err }, codes.InvalidArgument, "cannot have shape"},
		{"not run", "echo", "", func() error { _, err := call.Output(0); return err }, codes.FailedPrecondition, "Run it first"},
		{"no such output", "echo", "", func() error {
			err := errors.Join(input(0, 1), run())
			_, outputErr := call.Output(1)
			return errors.Join(err, outputErr)
		}, codes.InvalidArgument, "1 outputs and none with index 1"},
	} {
		err := call.Begin(c.model, c.version)
		if err == nil && c.steps != nil {
			err = c.steps()
		}
		call.Release()
		if codeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, %v; want %v with %q", c.name, codeOf(err), err, c.code, c.text)
		}
	}
	for name, step := range map[string]func() error{
		"run": run, "input": func() error { return input(0, 1) }, "texts": func() error { return call.InputTexts(0, nil) },
	} {
		if err := step(); codeOf(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "Begin comes first") {
			t.Errorf("%s without a model: %v", name, err)
		}
	}
	if call.Version() != 0 || call.Model() != "" || call.Inputs() != nil || call.Outputs() != nil {
		t.Error("a call without a model tells of one")
	}
	if got, err := askInProcess(t.Context(), call, identityRequest("echo", 1, 2)); err != nil || !bytes.Equal(got.RawOutputContents[0], floatBytes(1, 2)) {
		t.Errorf("after all that: %v, %v", got, err)
	}
	if got := ts.stats.Snapshot("echo")[0]; got.Fail.Count != 3 || got.Success.Count != 2 {
		t.Errorf("%d runs of echo failed and %d succeeded, want 3 and 2", got.Fail.Count, got.Success.Count)
	}
}

// TestCallLeavesTheQueue: a call that is cancelled or late while it waits is answered at
// once, by its own deadline or that of its context, and never runs.
func TestCallLeavesTheQueue(t *testing.T) {
	ts, started, proceed := blockingModel(t)
	first := make(chan error, 1)
	go func() {
		_, err := askInProcess(context.Background(), ts.NewCall(), identityRequest("slow", 1, 2))
		first <- err
	}()
	<-started
	soon := func() time.Time { return time.Now().Add(20 * time.Millisecond) }
	for name, c := range map[string]struct {
		code codes.Code
		run  func(*Call) error
	}{
		"deadline": {codes.DeadlineExceeded, func(c *Call) error { return c.Run(t.Context(), soon()) }},
		"deadline of the context": {codes.DeadlineExceeded, func(c *Call) error {
			ctx, cancel := context.WithDeadline(t.Context(), soon())
			defer cancel()
			return c.Run(ctx, time.Now().Add(time.Hour))
		}},
		"cancelled": {codes.Canceled, func(c *Call) error {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				waitFor(t, func() bool { return queued(ts, "slow") == 1 })
				cancel()
			}()
			return c.Run(ctx, time.Time{})
		}},
	} {
		call := ts.NewCall()
		if err := call.Begin("slow", ""); err != nil {
			t.Fatal(err)
		}
		if err := give(call, identityRequest("slow", 3, 4)); err != nil {
			t.Fatal(err)
		}
		if err := c.run(call); codeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		call.Release()
		if n := queued(ts, "slow"); n != 0 {
			t.Errorf("%s: %d are still queued", name, n)
		}
	}
	close(proceed)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := ts.stats.Snapshot("slow")[0]; got.InferenceCount != 1 || got.Fail.Count != 3 {
		t.Errorf("%d rows ran, %d requests failed; want 1 and 3", got.InferenceCount, got.Fail.Count)
	}
}

// TestCallOfPanickingBackend: a panic is the failure of its run and of nothing else, and
// a failure of a run leaves no outputs.
func TestCallOfPanickingBackend(t *testing.T) {
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{-1, 2}, []string{"X"}, []string{"Y"}), run: func(b *engine.Binding) error {
		switch {
		case bytes.HasPrefix(b.Inputs[0].Data, floatBytes(13)):
			panic("no luck")
		case bytes.HasPrefix(b.Inputs[0].Data, floatBytes(14)):
			return errors.New("bad value")
		}
		return nil
	}}
	ts := startServer(t, modelFiles{"m/config.pbtxt": `backend: "scripted" max_batch_size: 8 dynamic_batching { }`, "m/1/model.onnx": ""}, withBackend(backend))
	call := ts.NewCall()
	if err := call.Begin("m", ""); err != nil {
		t.Fatal(err)
	}
	defer call.Release()
	for _, c := range []struct {
		value float32
		code  codes.Code
		text  string
	}{{1, codes.OK, ""}, {13, codes.Internal, "the backend panicked: no luck"}, {2, codes.OK, ""}, {14, codes.Internal, "bad value"}, {3, codes.OK, ""}} {
		if err := give(call, identityRequest("m", c.value, 0)); err != nil {
			t.Fatal(err)
		}
		err := call.Run(t.Context(), time.Time{})
		if codeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v: %v", c.value, err)
		}
		got, outputErr := call.Output(0)
		if (outputErr == nil) != (err == nil) || err == nil && !bytes.Equal(got, floatBytes(c.value, 0)) {
			t.Errorf("%v: output %v, %v", c.value, got, outputErr)
		}
	}
}

// TestCallsShareBatches: calls at once are batched, and each gets its own rows.
func TestCallsShareBatches(t *testing.T) {
	ts, started, proceed := blockingModel(t)
	var all sync.WaitGroup
	ask := func(rows int, first float32) {
		all.Go(func() {
			values := make([]float32, 2*rows)
			values[0] = first
			got, err := askInProcess(t.Context(), ts.NewCall(), identityRequest("slow", values...))
			if err != nil || !bytes.Equal(got.RawOutputContents[0], floatBytes(values...)) {
				t.Errorf("%d rows from %v: %v, %v", rows, first, got, err)
			}
		})
	}
	ask(1, 1)
	<-started
	ask(2, 2)
	ask(1, 3)
	waitFor(t, func() bool { return queued(ts, "slow") == 2 })
	close(proceed)
	all.Wait()
	if got := ts.stats.Snapshot("slow")[0]; got.ExecutionCount != 2 || got.InferenceCount != 4 {
		t.Errorf("%d rows in %d runs, want 4 in 2", got.InferenceCount, got.ExecutionCount)
	}
}

// TestCallHoldsItsVersion: from Begin to Release every run is by one version, which a swap
// does not close.
func TestCallHoldsItsVersion(t *testing.T) {
	s := scriptedSoak(t)
	swap := func(version int64) error {
		_, err := s.ts.admin.SwapVersion(testContext(t), &millracev1.SwapVersionRequest{Model: "m", Version: version})
		return err
	}
	if err := swap(1); err != nil {
		t.Fatal(err)
	}
	call, other := s.ts.NewCall(), s.ts.NewCall()
	if err := call.Begin("m", ""); err != nil {
		t.Fatal(err)
	}
	described := &call.Inputs()[0]
	swapped := make(chan error, 1)
	go func() { swapped <- swap(2) }()
	waitFor(t, func() bool {
		if err := other.Begin("m", ""); err != nil {
			t.Fatal(err)
		}
		defer other.Release()
		return other.Version() == 2 && &other.Inputs()[0] != described
	})
	for range 3 {
		if err := give(call, s.request(5)); err != nil {
			t.Fatal(err)
		}
		if err := call.Run(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got, err := call.Output(0); err != nil || !bytes.Equal(got, floatBytes(6, 0)) || call.Version() != 1 || &call.Inputs()[0] != described {
			t.Errorf("version %d: %v, %v", call.Version(), got, err)
		}
	}
	select {
	case err := <-swapped:
		t.Errorf("the swap ended while its old version was held: %v", err)
	default:
	}
	call.Release()
	call.Release() // does nothing
	if err := <-swapped; err != nil {
		t.Error(err)
	}
}

// TestCallAllocatesNothing in a steady state.
func TestCallAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("allocations cannot be counted under the race detector")
	}
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig, "text/config.pbtxt": strings.Replace(textConfig, "-1", "2", 2)})
	call := ts.NewCall()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	deadline := time.Now().Add(time.Hour)
	texts := []string{"a", "few words", "", "more"}
	for name, fill := range map[string]func() error{
		"pair": func() error {
			for i := range 2 {
				row, err := call.Input(i, 3)
				if err != nil {
					return err
				}
				row[0]++
			}
			return nil
		},
		"text": func() error { return call.InputTexts(0, texts) },
	} {
		run := func() {
			if err := call.Begin(name, ""); err != nil {
				t.Fatal(err)
			}
			defer call.Release()
			if err := fill(); err != nil {
				t.Fatal(err)
			}
			if err := call.Run(ctx, deadline); err != nil {
				t.Fatal(err)
			}
			if got, err := call.Output(0); err != nil || len(got) == 0 {
				t.Fatal(got, err)
			}
		}
		for range 100 {
			run()
		}
		if got := testing.AllocsPerRun(1000, run); got != 0 {
			t.Errorf("%s: %v allocations per call", name, got)
		}
	}
}

// TestCallKnowsItsFile: the file of the version that it holds, also of files sent.
func TestCallKnowsItsFile(t *testing.T) {
	ts := startServer(t, modelFiles{"m/1/model.onnx": "one", "m/config.pbtxt": identityConfig,
		"n/1/net.onnx/model.onnx": "in a folder", "n/config.pbtxt": identityConfig + ` default_model_filename: "net.onnx"`})
	call := ts.NewCall()
	if _, err := call.ModelFile(); codeOf(err) != codes.FailedPrecondition {
		t.Errorf("without a model: %v", err)
	}
	for model, want := range map[string]string{"m": "one", "n": "in a folder"} {
		if err := call.Begin(model, ""); err != nil {
			t.Fatal(err)
		}
		file, err := call.ModelFile()
		if err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(file); err != nil || string(content) != want {
			t.Errorf("%s: %s has %q, %v", model, file, content, err)
		}
		call.Release()
	}
}
