// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"runtime"
	"strings"
	"testing"
)

// checkLeaks waits until no goroutine runs code of this module but the test itself.
func checkLeaks(t testing.TB) {
	t.Helper()
	var left []string
	defer func() {
		if len(left) > 0 {
			t.Errorf("%d goroutines leaked:\n%s", len(left), strings.Join(left, "\n\n"))
		}
	}()
	waitFor(t, func() bool { left = ourGoroutines(); return len(left) == 0 })
}

// ourGoroutines are the stacks of other goroutines with code of this module. Those
// that wait for a subtest do not count.
func ourGoroutines() []string {
	buffer := make([]byte, 4<<20)
	stacks := strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n")
	var ours []string
	for _, stack := range stacks[1:] { // the first is the caller
		if strings.Contains(stack, "millrace-ml/millrace/") && !strings.Contains(stack, "testing.(*T).Run(") {
			ours = append(ours, stack)
		}
	}
	return ours
}
