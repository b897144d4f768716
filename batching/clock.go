// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"math"
	"time"
)

// never is a time that does not come.
const never = math.MaxInt64

// epoch is the zero of the package's clock, which is monotonic.
var epoch = time.Now()

// Now is the time on the clock of this package, in nanoseconds since an arbitrary
// start. It is what Enqueued, Started and Deadline of an [Item] are measured on.
func Now() int64 { return int64(time.Since(epoch)) }

// Nanos is the time t on the clock of this package, never 0.
func Nanos(t time.Time) int64 {
	if n := int64(t.Sub(epoch)); n != 0 {
		return n
	}
	return 1
}

// after is the time d after t, for d of at least 0, or never where that overflows.
func after(t int64, d time.Duration) int64 {
	if sum := t + int64(d); sum >= t {
		return sum
	}
	return never
}
