// SPDX-License-Identifier: Apache-2.0

// Package schedule says when a pipeline is due: cron expressions, what to do with times
// that were missed, and what to do when a run is due while another one goes on.
//
// Expressions have five fields, or are @hourly, @daily, @every 90m and so on, as package
// github.com/robfig/cron/v3 reads them; a time zone may be given beside the expression, or
// in it by CRON_TZ=. On the day a clock is put forward a time that does not exist is left
// out, on the day it is put back one that comes twice is due once an hour of that clock.
// @every counts from the last time it was due, to the second.
//
// The package has no clock: the caller says what time it is. Values do not change and may
// be used from many goroutines.
package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// ErrSpec means that a schedule cannot be understood.
var ErrSpec = errors.New("invalid schedule")

// CatchUp says what happens with times that were missed while nothing was running.
type CatchUp string

// What is done about missed times: they are left out, the last one is run, or all are, the
// oldest first.
const (
	CatchUpNone CatchUp = "none"
	CatchUpLast CatchUp = "last"
	CatchUpAll  CatchUp = "all"
)

// Overlap says what happens when a run is due while another one goes on.
type Overlap string

// What is done with a run that is due: it is left out, waits, or the running one is
// cancelled for it.
const (
	OverlapSkip   Overlap = "skip"
	OverlapQueue  Overlap = "queue"
	OverlapCancel Overlap = "cancel"
)

// Limits of a schedule.
const (
	CatchUpMaxDefault = 100
	CatchUpMaxMax     = 10_000
	// looks bounds the search for missed times: older ones are given up.
	looks = 200_000
)

// Spec is a schedule as it is written.
type Spec struct {
	Cron     string
	Timezone string  // IANA name; empty is UTC
	CatchUp  CatchUp // empty is CatchUpNone
	// CatchUpMax bounds the runs of CatchUpAll, the newest being kept; 0 is CatchUpMaxDefault.
	CatchUpMax int
	Overlap    Overlap // empty is OverlapSkip
}

// Schedule is a Spec that was checked.
type Schedule struct {
	Spec  Spec
	times cron.Schedule
	place *time.Location
}

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// New checks a schedule and reports all that is wrong with it.
func New(spec Spec) (*Schedule, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrSpec}, args...)...))
	}
	if spec.CatchUp == "" {
		spec.CatchUp = CatchUpNone
	}
	if spec.Overlap == "" {
		spec.Overlap = OverlapSkip
	}
	if spec.CatchUpMax == 0 {
		spec.CatchUpMax = CatchUpMaxDefault
	}
	switch spec.CatchUp {
	case CatchUpNone, CatchUpLast, CatchUpAll:
	default:
		bad("catch_up is %q, want none, last or all", spec.CatchUp)
	}
	switch spec.Overlap {
	case OverlapSkip, OverlapQueue, OverlapCancel:
	default:
		bad("overlap is %q, want skip, queue or cancel", spec.Overlap)
	}
	if spec.CatchUpMax < 1 || spec.CatchUpMax > CatchUpMaxMax {
		bad("catch_up_max is %d, want 1 to %d", spec.CatchUpMax, CatchUpMaxMax)
	}
	s := &Schedule{Spec: spec, place: time.UTC}
	if spec.Timezone != "" {
		place, err := time.LoadLocation(spec.Timezone)
		if err != nil || spec.Timezone == "Local" {
			bad("timezone %q is not known here, want a name such as Europe/Berlin", spec.Timezone)
		} else {
			s.place = place
		}
	}
	times, err := parse(spec)
	if err != nil {
		errs = append(errs, err)
	}
	s.times = times
	return s, errors.Join(errs...)
}

// parse never panics: the library does for a CRON_TZ= without an expression.
func parse(spec Spec) (times cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			times, err = nil, fmt.Errorf("%w: cron %q cannot be read", ErrSpec, spec.Cron)
		}
	}()
	text := strings.TrimSpace(spec.Cron)
	if text == "" || len(text) > 256 {
		return nil, fmt.Errorf("%w: cron is empty or longer than 256 characters, want such as \"0 3 * * *\"", ErrSpec)
	}
	inText := strings.HasPrefix(text, "CRON_TZ=") || strings.HasPrefix(text, "TZ=")
	switch {
	case inText && spec.Timezone != "":
		return nil, fmt.Errorf("%w: the time zone is given twice, in cron %q and as timezone", ErrSpec, text)
	case !inText:
		text = "CRON_TZ=UTC " + text
		if spec.Timezone != "" {
			text = "CRON_TZ=" + spec.Timezone + strings.TrimPrefix(text, "CRON_TZ=UTC")
		}
	}
	if times, err = parser.Parse(text); err != nil {
		return nil, fmt.Errorf("%w: cron %q: %w", ErrSpec, spec.Cron, err)
	}
	if _, every, ok := strings.Cut(spec.Cron, "@every "); ok { // the library rounds it up in silence
		if d, err := time.ParseDuration(every); err != nil || d < time.Second {
			return nil, fmt.Errorf("%w: cron %q: want at least one second", ErrSpec, spec.Cron)
		}
	}
	if times.Next(time.Unix(0, 0)).IsZero() {
		return nil, fmt.Errorf("%w: cron %q is never due", ErrSpec, spec.Cron)
	}
	return times, nil
}

// Next is the first time after t at which the schedule is due. It is zero if there is none
// within five years.
func (s *Schedule) Next(t time.Time) time.Time {
	next := s.times.Next(t)
	if next.IsZero() {
		return next
	}
	return next.In(s.place)
}

// Due returns the times after last until now that are to be run, the oldest first, as
// catch-up says; missed is how many others there were. What is due now, to grace, was not
// missed.
func (s *Schedule) Due(last, now time.Time, grace time.Duration) (due []time.Time, missed int) {
	for t, n := s.Next(last), 0; !t.IsZero() && !t.After(now); t = s.Next(t) {
		if n++; n > looks {
			return due, missed
		}
		due = append(due, t)
		if len(due) > s.Spec.CatchUpMax {
			due = due[1:]
			missed++
		}
	}
	if len(due) == 0 || s.Spec.CatchUp == CatchUpAll {
		return due, missed
	}
	newest := due[len(due)-1]
	missed += len(due) - 1
	if s.Spec.CatchUp == CatchUpNone && now.Sub(newest) > grace {
		return nil, missed + 1
	}
	return []time.Time{newest}, missed
}
