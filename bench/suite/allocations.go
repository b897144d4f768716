// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// allocationBenchmark is the benchmark of one request through our code alone.
const allocationBenchmark = "BenchmarkCodecToResponse"

var errNoSource = errors.New("allocations are counted by a benchmark in the source, which is not here; run in the module's folder")

// requestAllocations runs the serving package's own benchmark: from outside, a
// server's allocations cannot be told from those of grpc-go.
func requestAllocations(ctx context.Context, b *bench) ([]float64, any, error) {
	if b.Source == "" {
		return nil, nil, errNoSource
	}
	command := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^"+allocationBenchmark+"$",
		"-benchmem", "-benchtime="+b.pace.benchtime, "./serving")
	command.Dir = b.Source
	output, err := command.CombinedOutput()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; it wrote:\n%s", command, err, output)
	}
	allocations, err := worstAllocations(string(output))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", command, err)
	}
	return []float64{allocations}, string(output), nil
}

var allocationsPerOp = regexp.MustCompile(`(?m)^Benchmark\S*\s.*\s(\d+) allocs/op`)

// worstAllocations is the largest count among the benchmarks in the output of go test.
func worstAllocations(output string) (float64, error) {
	matches := allocationsPerOp.FindAllStringSubmatch(output, -1)
	if len(matches) == 0 {
		return 0, fmt.Errorf("no allocations in its output:\n%s", output)
	}
	worst := 0.0
	for _, match := range matches {
		count, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			return 0, err
		}
		worst = max(worst, count)
	}
	return worst, nil
}
