// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/console"
)

// showOverview gives the console what its first page shows of simulated time: the story that
// is told, or where a replay is.
func (u *up) showOverview(o *console.Options) {
	switch {
	case u.story != nil:
		o.Story = u.story
	case u.replay != nil:
		o.Story = func() *console.Story { return u.replay.story(u.clock.now()) }
	}
}

// story says where a replay is.
func (r *replay) story(now time.Time) *console.Story {
	const day = 24 * time.Hour
	s := &console.Story{Time: now, Day: int(now.Sub(r.start)/day) + 1, Speed: "full speed", Headline: "Past events are played against the server, as clients would."}
	if r.options.Speed > 0 {
		s.Speed = strconv.FormatFloat(r.options.Speed, 'f', -1, 64) + "x"
	}
	if r.end < math.MaxInt64 {
		end := time.UnixMicro(r.end)
		s.Days = int((end.Sub(r.start) + day - 1) / day)
		if s.Day = min(s.Day, s.Days); !now.Before(end) {
			s.Speed, s.Headline = "", "All events were played; time goes on as it does."
		}
	}
	return s
}
