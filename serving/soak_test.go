// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// soak is a model of two versions that answer differently, and its clients.
type soak struct {
	ts      *testServer
	request func(seed int32) *inference.ModelInferRequest
	// check holds an answer to the version that it names.
	check    func(seed int32, answer *inference.ModelInferResponse) error
	answered [3]atomic.Int64 // by version
}

// TestSwapUnderLoad swaps two versions to and fro while clients ask, one by one, on
// streams and in process, and while metrics are read. No request fails, and every answer is what
// the version it names gives. In the middle a corrupt version is loaded.
func TestSwapUnderLoad(t *testing.T) {
	duration := 2 * time.Second
	if testing.Short() {
		duration = time.Second
	}
	t.Run("backend=scripted", func(t *testing.T) { scriptedSoak(t).run(t, duration) })
	t.Run("backend=onnxruntime", func(t *testing.T) { onnxSoak(t, onnxrttest.Backend(t)).run(t, duration) })
	t.Run("backend=native", func(t *testing.T) { onnxSoak(t, native.Backend{}).run(t, duration) })
}

func (s *soak) run(t *testing.T, duration time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), duration+2*time.Minute)
	defer cancel()
	var running sync.WaitGroup
	var done atomic.Bool
	for _, client := range []func(context.Context, *atomic.Bool) error{s.unary, s.unary, s.unary, s.stream, s.stream, s.inProcess, s.scrape} {
		running.Go(func() {
			if err := client(ctx, &done); err != nil {
				t.Error(err)
			}
		})
	}
	swaps := 0
	const least = 8 // however slow the machine
	for end := time.Now().Add(duration); (time.Now().Before(end) || swaps < least) && !t.Failed(); swaps++ {
		if swaps == 5 {
			s.loadCorrupt(t)
		}
		version := 1 + swaps%2
		before := s.answered[version].Load()
		if _, err := s.ts.admin.SwapVersion(ctx, &millracev1.SwapVersionRequest{Model: "m", Version: int64(version), KeepOld: swaps%3 == 0}); err != nil {
			t.Error(err)
		}
		// Every version serves for a while, so that old requests meet the next swap.
		waitFor(t, func() bool { return s.answered[version].Load() > before+20 || t.Failed() })
	}
	done.Store(true)
	running.Wait()
	one, two := s.answered[1].Load(), s.answered[2].Load()
	t.Logf("%d swaps; version 1 answered %d requests, version 2 %d", swaps, one, two)
	if one == 0 || two == 0 {
		t.Errorf("a version answered nothing: %d, %d", one, two)
	}
}

// loadCorrupt tries a version that cannot be opened, in each of the ways there are,
// and goes on as if nothing had been.
func (s *soak) loadCorrupt(t *testing.T) {
	folder := filepath.Join(s.ts.dir, "m", "3")
	writeModels(t, folder, modelFiles{"model.onnx": "corrupt"})
	_, swapErr := s.ts.admin.SwapVersion(testContext(t), &millracev1.SwapVersionRequest{Model: "m", Version: 3})
	_, loadErr := s.ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "m"})
	for _, err := range []error{swapErr, loadErr} {
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("a corrupt version: %v", err)
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Error(err)
	}
}

func (s *soak) unary(ctx context.Context, done *atomic.Bool) error {
	for seed := int32(0); !done.Load(); seed++ {
		answer, err := s.ts.inference.ModelInfer(ctx, s.request(seed))
		if err != nil {
			return err
		}
		if err := s.took(seed, answer); err != nil {
			return err
		}
	}
	return nil
}

// stream keeps eight requests in flight.
func (s *soak) stream(ctx context.Context, done *atomic.Bool) error {
	stream, err := s.ts.inference.ModelStreamInfer(ctx)
	if err != nil {
		return err
	}
	const window = 8
	for sent, received := int32(0), int32(0); !done.Load() || received < sent; received++ {
		for ; sent < received+window && !done.Load(); sent++ {
			if err := stream.Send(s.request(sent)); err != nil {
				return err
			}
		}
		if received == sent {
			break
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if answer.ErrorMessage != "" {
			return errors.New(answer.ErrorMessage)
		}
		if err := s.took(received, answer.InferResponse); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ends with %w", err)
	}
	return nil
}

func (s *soak) inProcess(ctx context.Context, done *atomic.Bool) error {
	call := s.ts.NewCall()
	for seed := int32(0); !done.Load(); seed++ {
		answer, err := askInProcess(ctx, call, s.request(seed))
		if err != nil {
			return err
		}
		if err := s.took(seed, answer); err != nil {
			return err
		}
	}
	return nil
}

func (s *soak) took(seed int32, answer *inference.ModelInferResponse) error {
	version, err := strconv.Atoi(answer.ModelVersion)
	if err != nil || version < 1 || version > 2 {
		return fmt.Errorf("answered by version %q", answer.ModelVersion)
	}
	if err := s.check(seed, answer); err != nil {
		return fmt.Errorf("version %d: %w", version, err)
	}
	s.answered[version].Add(1)
	return nil
}

func (s *soak) scrape(ctx context.Context, done *atomic.Bool) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for !done.Load() {
		for _, url := range []string{s.ts.metrics + "/metrics", s.ts.http + "/v2/models/stats"} {
			q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			answer, err := client.Do(q)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: status %d, %w", url, answer.StatusCode, err)
			}
		}
	}
	return nil
}

// versionedBackend adds to each number the version that its folder is named for. It
// counts what it has open.
type versionedBackend struct {
	scriptedBackend
	open atomic.Int64
}

func (v *versionedBackend) Load(_ context.Context, dir string, _ *modelconfig.Config) (engine.Model, error) {
	content, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil || string(content) != "sound" {
		return nil, fmt.Errorf("%w: model.onnx is corrupt: %w", engine.ErrInvalidModel, err)
	}
	version, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return nil, err
	}
	v.open.Add(1)
	return &countedModel{scriptedBackend{signature: v.signature, run: func(b *engine.Binding) error {
		for at := 0; at < len(b.Outputs[0].Data); at += 4 {
			number := math.Float32frombits(binary.LittleEndian.Uint32(b.Outputs[0].Data[at:]))
			binary.LittleEndian.PutUint32(b.Outputs[0].Data[at:], math.Float32bits(number+float32(version)))
		}
		return nil
	}}, &v.open}, nil
}

// countedModel and countedInstance count themselves out once, and fail a second time.
type countedModel struct {
	scriptedBackend
	open *atomic.Int64
}

func (m *countedModel) Close() error { m.open.Add(-1); return nil }

func (m *countedModel) NewInstance(p engine.Placement) (engine.Instance, error) {
	i, err := m.scriptedBackend.NewInstance(p)
	m.open.Add(1)
	return &countedInstance{Instance: i, open: m.open}, err
}

type countedInstance struct {
	engine.Instance
	open   *atomic.Int64
	closed atomic.Bool
}

// Run fails the request that meets a version already closed.
func (i *countedInstance) Run(ctx context.Context, b *engine.Binding) error {
	if i.closed.Load() {
		return errors.New("the instance is closed")
	}
	return i.Instance.Run(ctx, b)
}

func (i *countedInstance) Close() error {
	if i.closed.Swap(true) {
		return errors.New("the instance was closed before")
	}
	i.open.Add(-1)
	return nil
}

func scriptedSoak(t *testing.T) *soak {
	backend := &versionedBackend{scriptedBackend: scriptedBackend{signature: signatureOf(tensor.Shape{-1, 2}, []string{"X"}, []string{"Y"})}}
	t.Cleanup(func() { // runs after the server has stopped
		if n := backend.open.Load(); n != 0 {
			t.Errorf("%d models and instances are still open", n)
		}
	})
	ts := startServer(t, modelFiles{
		"m/config.pbtxt": `backend: "scripted" max_batch_size: 8 dynamic_batching { } instance_group { count: 2 kind: KIND_CPU }`, "m/1/model.onnx": "sound", "m/2/model.onnx": "sound",
	}, withBackend(backend))
	return &soak{
		ts:      ts,
		request: func(seed int32) *inference.ModelInferRequest { return identityRequest("m", float32(seed), -1) },
		check: func(seed int32, answer *inference.ModelInferResponse) error {
			version := float32(answer.ModelVersion[0] - '0')
			if got, want := answer.RawOutputContents[0], floatBytes(float32(seed)+version, version-1); string(got) != string(want) {
				return fmt.Errorf("request %d: answer %v, want %v", seed, got, want)
			}
			return nil
		},
	}
}

// onnxSoak has versions that exchange sum and difference.
func onnxSoak(t *testing.T, backend engine.Backend) *soak {
	files := modelFiles{"m/config.pbtxt": `backend: "` + backend.Name() + `" max_batch_size: 8 dynamic_batching { } instance_group { count: 1 kind: KIND_CPU }`}
	for version, swapped := range map[string]bool{"1": false, "2": true} {
		content, err := zoo.SumDifference("m", tensor.Int32, swapped).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		files["m/"+version+"/model.onnx"] = string(content)
	}
	return &soak{
		ts: startServer(t, files, withBackend(backend)),
		request: func(seed int32) *inference.ModelInferRequest {
			return &inference.ModelInferRequest{
				ModelName:        "m",
				Inputs:           []*inference.ModelInferRequest_InferInputTensor{input("INPUT0", "INT32", 1, 16), input("INPUT1", "INT32", 1, 16)},
				RawInputContents: [][]byte{int32Row(seed), int32Row(3)},
			}
		},
		check: func(seed int32, answer *inference.ModelInferResponse) error {
			sum, difference := 0, 1
			if answer.ModelVersion == "2" {
				sum, difference = 1, 0
			}
			if string(answer.RawOutputContents[sum]) != string(int32Row(seed+3)) || string(answer.RawOutputContents[difference]) != string(int32Row(seed-3)) {
				return fmt.Errorf("request %d: answer %v", seed, answer.RawOutputContents)
			}
			return nil
		},
	}
}

// int32Row is a row of 16 equal numbers.
func int32Row(value int32) (row []byte) {
	for range 16 {
		row = binary.LittleEndian.AppendUint32(row, uint32(value))
	}
	return row
}
