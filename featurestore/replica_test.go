// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReplicaName is the same over restarts, also where a crash left the file unfinished.
func TestReplicaName(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "replica.new"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	first, err := replicaName(dir)
	if err != nil || len(first) < 20 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := replicaName(dir); err != nil || again != first {
		t.Errorf("%q, then %q, %v", first, again, err)
	}
	if other, err := replicaName(t.TempDir()); err != nil || other == first {
		t.Errorf("another replica: %q, %v", other, err)
	}
}
