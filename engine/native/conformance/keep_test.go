// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
)

// What testdata has room for: so many bytes of cases before they are packed, none of
// them larger than caseBytes.
const (
	keptBytes = 1_900_000
	caseBytes = 16_000
)

// keep writes the smallest of the covered cases to testdata.
func keep(t *testing.T, python string, covered []example) {
	t.Helper()
	size := func(e example) int {
		n := len(e.model)
		for _, s := range e.sets {
			for _, x := range slices.Concat(s.inputs, s.outputs) {
				n += len(x.Data)
			}
		}
		return n
	}
	slices.SortStableFunc(covered, func(a, b example) int { return cmp.Compare(size(a), size(b)) })
	var names []string
	total := 0
	for _, e := range covered {
		n := size(e)
		if total += n; n > caseBytes || total > keptBytes {
			break
		}
		names = append(names, e.name)
	}
	list := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(list, []byte(strings.Join(names, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	foreigntest.Run(t, exec.CommandContext(t.Context(), python, "-B", "cases.py", keptCases, list))
	t.Logf("%d cases kept", len(names))
}
