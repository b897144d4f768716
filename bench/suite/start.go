// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// starts is the time from the start of the process until it is ready.
type starts struct {
	Seconds []float64 `json:"seconds"`
}

func startToReady(ctx context.Context, b *bench) ([]float64, any, error) {
	demo := filepath.Join(b.folder, "demo")
	command := exec.CommandContext(ctx, b.Binary, "demo-repository", demo)
	if output, err := command.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w; it wrote:\n%s", command, err, output)
	}
	var d starts
	for range b.pace.starts {
		// As `make run` starts it, but for the ports.
		server, err := b.start(ctx, "serve", "--model-repository", demo,
			"--model-control-mode=explicit", "--load-model=*", "--http-port=0", "--metrics-port=0")
		if err != nil {
			return nil, nil, err
		}
		d.Seconds = append(d.Seconds, server.readyAfter.Seconds())
		if err := b.stopProcesses(); err != nil {
			return nil, nil, err
		}
	}
	return []float64{median(d.Seconds)}, d, nil
}
