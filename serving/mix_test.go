// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// mixSignature has a dimension that varies, strings, and an optional input.
var mixSignature = engine.Signature{
	Inputs: []engine.TensorSpec{
		{Name: "X", Datatype: tensor.FP32, Shape: tensor.Shape{-1, -1}},
		{Name: "T", Datatype: tensor.Bytes, Shape: tensor.Shape{-1, 2}},
		{Name: "B", Datatype: tensor.FP32, Shape: tensor.Shape{-1, 1}, Optional: true},
	},
	Outputs: []engine.TensorSpec{
		{Name: "Y", Datatype: tensor.FP32, Shape: tensor.Shape{-1, -1}},
		{Name: "U", Datatype: tensor.Bytes, Shape: tensor.Shape{-1, 2}},
	},
}

const mixIO = `backend: "scripted" max_batch_size: 16
	input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "T" data_type: TYPE_STRING dims: [ 2 ] }, { name: "B" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]
	output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }, { name: "U" data_type: TYPE_STRING dims: [ 2 ] } ]
	`

// mixRequest is a request of random rows, width and strings. The first number of
// each row tells the model how wide the rows are and whether B is given; B repeats
// it, so that the model can check what was joined.
func mixRequest(random *rand.Rand) *inference.ModelInferRequest {
	rows, width, withB := 1+random.IntN(8), 1+random.IntN(4), random.IntN(2) == 1
	var x, b []float32
	var t []byte
	for range rows {
		key := float32(2 * width)
		if withB {
			key++
		}
		x, b = append(x, key), append(b, key)
		for range width - 1 {
			x = append(x, random.Float32())
		}
		for range 2 {
			t = tensor.AppendBytes(t, bytes.Repeat([]byte{byte('a' + random.IntN(26))}, random.IntN(40)))
		}
	}
	n := int64(rows)
	q := &inference.ModelInferRequest{
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{input("X", "FP32", n, int64(width)), input("T", "BYTES", n, 2)},
		RawInputContents: [][]byte{floatBytes(x...), t},
		Parameters:       map[string]*inference.InferParameter{"priority": {ParameterChoice: &inference.InferParameter_Uint64Param{Uint64Param: random.Uint64N(4)}}},
	}
	if withB {
		q.Inputs = append(q.Inputs, input("B", "FP32", n, 1))
		q.RawInputContents = append(q.RawInputContents, floatBytes(b...))
	}
	return q
}

// checkMixBatch fails the run when rows were joined that do not belong together.
func checkMixBatch(b *engine.Binding) error {
	x, optional := &b.Inputs[0], &b.Inputs[2]
	rows, width := int(x.Shape[0]), int(x.Shape[1])
	for row := range rows {
		at := func(t *tensor.Tensor, i int) float32 {
			return math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
		key := int(at(x, row*width))
		if key == 0 {
			continue // of a warm-up
		}
		if key/2 != width || (key%2 == 1) != (optional.Shape != nil) {
			return fmt.Errorf("row %d of width %d was joined with others of width %d, optional input %v", row, key/2, width, optional.Shape)
		}
		if optional.Shape != nil && int(at(optional, row)) != key {
			return fmt.Errorf("row %d has the optional input of another", row)
		}
	}
	return nil
}

// checkMixAnswer compares an answer with its request, as the model is an identity.
func checkMixAnswer(q *inference.ModelInferRequest, answer *inference.ModelInferResponse) error {
	if answer == nil || len(answer.RawOutputContents) != 2 {
		return fmt.Errorf("answer %v", answer)
	}
	for i := range 2 {
		if !bytes.Equal(answer.RawOutputContents[i], q.RawInputContents[i]) {
			return fmt.Errorf("output %d is %q, want %q", i, answer.RawOutputContents[i], q.RawInputContents[i])
		}
		if got, want := tensor.Shape(answer.Outputs[i].Shape).String(), tensor.Shape(q.Inputs[i].Shape).String(); got != want {
			return fmt.Errorf("output %d has shape %s, want %s", i, got, want)
		}
	}
	return nil
}

// TestBatchedAnswersEqualSingleOnes: whatever is batched with what, under every
// policy, each request gets the answer to its own rows.
func TestBatchedAnswersEqualSingleOnes(t *testing.T) {
	policies := map[string]string{
		"none": "", "plain": "dynamic_batching { }",
		"delay":      "dynamic_batching { max_queue_delay_microseconds: 3000 preferred_batch_size: [ 8, 16 ] }",
		"priorities": "dynamic_batching { priority_levels: 3 default_priority_level: 2 priority_queue_policy { key: 1 value { max_queue_size: 1000 } } }",
		"ordered":    "dynamic_batching { preserve_ordering: true } instance_group { count: 3 kind: KIND_CPU }",
		"timeouts":   "dynamic_batching { default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 100 allow_timeout_override: true } }",
	}
	files := modelFiles{}
	for name, policy := range policies {
		files[name+"/config.pbtxt"] = mixIO + policy
		files[name+"/1/model.onnx"] = ""
	}
	ts := startServer(t, files, withBackend(&scriptedBackend{signature: mixSignature, run: checkMixBatch}))
	const seed, clients, requests = 7, 8, 40
	t.Logf("seed %d", seed)
	for name := range policies {
		t.Run(name, func(t *testing.T) {
			var running sync.WaitGroup
			for client := range clients {
				random := rand.New(rand.NewPCG(seed, uint64(client)))
				running.Go(func() {
					ask := mixUnary
					if client%2 == 1 {
						ask = mixStream
					}
					if err := ask(testContext(t), ts, name, random, requests); err != nil {
						t.Errorf("client %d: %v", client, err)
					}
				})
			}
			running.Wait()
			got := ts.stats.Snapshot(name)[0]
			if got.Success.Count != clients*requests || got.Fail.Count != 0 {
				t.Errorf("%d succeeded, %d failed", got.Success.Count, got.Fail.Count)
			}
			// Without a delay, batches form only where requests come faster than runs end.
			if alone := got.ExecutionCount == got.Success.Count; name == "none" && !alone || name == "delay" && alone {
				t.Errorf("%d requests in %d runs", got.Success.Count, got.ExecutionCount)
			}
		})
	}
}

func mixUnary(ctx context.Context, ts *testServer, model string, random *rand.Rand, requests int) error {
	for range requests {
		q := mixRequest(random)
		q.ModelName = model
		answer, err := ts.inference.ModelInfer(ctx, q)
		if err == nil {
			err = checkMixAnswer(q, answer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mixStream has all requests in flight at once.
func mixStream(ctx context.Context, ts *testServer, model string, random *rand.Rand, requests int) error {
	stream, err := ts.inference.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	var sent []*inference.ModelInferRequest
	for range requests {
		q := mixRequest(random)
		q.ModelName = model
		if err := stream.Send(q); err != nil {
			return err
		}
		sent = append(sent, q)
	}
	for _, q := range sent {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if answer.ErrorMessage != "" {
			return errors.New(answer.ErrorMessage)
		}
		if err := checkMixAnswer(q, answer.InferResponse); err != nil {
			return err
		}
	}
	return stream.CloseSend()
}
