// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/bench/models"
	"github.com/millrace-ml/millrace/proto/inference"
)

// memory is a server's resident memory after loading and unloading a model so
// many times.
type memory struct {
	Model       string  `json:"model"`
	Cycles      []int   `json:"cycles"`
	Resident    []int64 `json:"resident_bytes"`
	MillisCycle float64 `json:"cycle_ms"`
}

const (
	unloadTimeout = 30 * time.Second
	// settleStep and settleSteps bound the wait for memory to be given back after
	// the last unload.
	settleStep  = 100 * time.Millisecond
	settleSteps = 20
)

func memoryAfterCycles(ctx context.Context, b *bench) ([]float64, any, error) {
	server, err := b.serve(ctx, "--model-control-mode=explicit")
	if err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient(server.url, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	client := inference.NewGRPCInferenceServiceClient(conn)

	model := models.Large().Name
	d := memory{Model: model}
	began := time.Now()
	done := 0
	for _, until := range []int{b.pace.cyclesBefore, b.pace.cycles} {
		for ; done < until; done++ {
			if err := cycle(ctx, client, model); err != nil {
				return nil, nil, fmt.Errorf("cycle %d: %w", done+1, err)
			}
		}
		resident, err := settledBytes(ctx, server)
		if err != nil {
			return nil, nil, err
		}
		d.Cycles, d.Resident = append(d.Cycles, done), append(d.Resident, resident)
	}
	d.MillisCycle = time.Since(began).Seconds() * 1e3 / float64(done)
	return []float64{float64(d.Resident[1]) / float64(d.Resident[0])}, d, nil
}

// cycle loads a model, unloads it and waits until it is gone.
func cycle(ctx context.Context, client inference.GRPCInferenceServiceClient, model string) error {
	if _, err := client.RepositoryModelLoad(ctx, &inference.RepositoryModelLoadRequest{ModelName: model}); err != nil {
		return err
	}
	if _, err := client.RepositoryModelUnload(ctx, &inference.RepositoryModelUnloadRequest{ModelName: model}); err != nil {
		return err
	}
	deadline := time.Now().Add(unloadTimeout)
	for time.Now().Before(deadline) {
		gone, err := isUnloaded(ctx, client, model)
		if gone || err != nil {
			return err
		}
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
	return fmt.Errorf("model %q is not unloaded after %v", model, unloadTimeout)
}

func isUnloaded(ctx context.Context, client inference.GRPCInferenceServiceClient, model string) (bool, error) {
	index, err := client.RepositoryIndex(ctx, &inference.RepositoryIndexRequest{})
	if err != nil {
		return false, err
	}
	for _, entry := range index.Models {
		if entry.Name == model && entry.State != "UNAVAILABLE" {
			return false, nil
		}
	}
	return true, nil
}

// settledBytes waits until the resident memory stops falling.
func settledBytes(ctx context.Context, p *process) (int64, error) {
	last, err := p.residentBytes()
	for range settleSteps {
		if err != nil {
			return 0, err
		}
		if err := pause(ctx, settleStep); err != nil {
			return 0, err
		}
		var now int64
		if now, err = p.residentBytes(); now >= last {
			return now, err
		}
		last = now
	}
	return last, errors.Join(err)
}

// pause waits, or returns the reason why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
