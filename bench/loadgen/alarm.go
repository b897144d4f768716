// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"time"
)

// alarm wakes the pacer. One goroutine uses it at a time.
type alarm struct {
	// sleep returns after the time given, at once when that is not positive, and
	// early when the context that the alarm was made with ends.
	sleep func(time.Duration)
	close func()
}

// newRuntimeAlarm sleeps on the runtime's timers.
func newRuntimeAlarm(ctx context.Context) alarm {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	sleep := func(d time.Duration) {
		if d <= 0 {
			return
		}
		timer.Reset(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return alarm{sleep: sleep, close: func() { timer.Stop() }}
}
