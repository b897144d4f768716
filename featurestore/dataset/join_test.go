// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestJoinTmp(t *testing.T) {
	name := os.Getenv("JOIN")
	if name == "" {
		t.Skip()
	}
	best := time.Hour
	defer func() { t.Log("best", best) }()
	for range 8 {
		start, begin := time.Now(), cpu()
		n, err := Join(t.Context(), JoinOptions{Labels: JoinFile{Format: definition.Parquet, Path: "/tmp/ds/labels_" + name + ".parquet", Key: "key", Time: "ts"},
			Rows: JoinFile{Format: definition.Parquet, Path: "/tmp/ds/rows_" + name + ".parquet", Key: "key", Time: "ts"}, Columns: []string{"value"}, Carry: []string{"id", "key", "ts"},
			Output: "/tmp/ds/out_our.parquet"})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = n, start
		best = min(best, cpu()-begin)
	}
}
