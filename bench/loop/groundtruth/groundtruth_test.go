// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// TestRun is the benchmark, tiny. With MILLRACE_BENCH_GROUNDTRUTH set to a number of
// predictions it is the real one:
//
//	MILLRACE_BENCH_GROUNDTRUTH=10000000 go test -count=1 -v -timeout 20m ./bench/loop/groundtruth
func TestRun(t *testing.T) {
	c := Config{Dir: t.TempDir(), Predictions: 3000, Outcomes: 500, Rate: 10_000, Paced: 20 * time.Millisecond, Batch: 50, Progress: t.Logf}
	if n, err := strconv.Atoi(os.Getenv("MILLRACE_BENCH_GROUNDTRUTH")); err == nil {
		c.Predictions, c.Outcomes, c.Paced, c.Batch = n, 200_000, 20*time.Second, 500
	}
	result, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", *result)
	if result.Checksum == 0 || result.JoinedPerSecond <= 0 || result.LagP50 <= 0 {
		t.Errorf("nothing was joined: %+v", *result)
	}
}
