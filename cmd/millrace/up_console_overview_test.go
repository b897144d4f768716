// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"
	"time"
)

func TestReplayTellsWhereItIs(t *testing.T) {
	start := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	r := &replay{options: &projectReplay{Speed: 3600}, start: start, end: start.Add(60 * time.Hour).UnixMicro()}
	if s := r.story(start.Add(25 * time.Hour)); s.Day != 2 || s.Days != 3 || s.Speed != "3600x" || !s.Time.Equal(start.Add(25*time.Hour)) {
		t.Errorf("%+v", s)
	}
	if s := r.story(start.Add(200 * time.Hour)); s.Day != 3 || s.Speed != "" {
		t.Errorf("after the end: %+v", s)
	}
	r.end, r.options.Speed = math.MaxInt64, 0
	if s := r.story(start); s.Day != 1 || s.Days != 0 || s.Speed != "full speed" {
		t.Errorf("without an end: %+v", s)
	}
}
