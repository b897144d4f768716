// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"time"
)

// PartitionsMax bounds the partitions of a range.
const PartitionsMax = 100_000

// Partitions cut time into what single runs work on.
type Partitions struct {
	By   string // hour, day, week (from Monday) or month
	From time.Time
	To   time.Time // zero for no end
	Zone *time.Location
}

// Partition is a part of time, Start included, End not.
type Partition struct {
	Key        string
	Start, End time.Time
}

var partitionLayouts = map[string]string{"hour": "2006-01-02T15Z07:00", "day": time.DateOnly, "week": time.DateOnly, "month": "2006-01"}

// Of is the partition that a time is in.
func (p *Partitions) Of(t time.Time) Partition {
	t = t.In(p.Zone)
	year, month, day := t.Date()
	var start, end time.Time
	switch p.By {
	case "hour":
		// On the clock's hours, as they pass: an hour that a clock shows twice is two.
		start = t.Truncate(time.Minute).Add(-time.Duration(t.Minute()) * time.Minute)
		end = start.Add(time.Hour)
	case "day":
		start, end = time.Date(year, month, day, 0, 0, 0, 0, p.Zone), time.Date(year, month, day+1, 0, 0, 0, 0, p.Zone)
	case "week":
		day -= (int(t.Weekday()) + 6) % 7
		start, end = time.Date(year, month, day, 0, 0, 0, 0, p.Zone), time.Date(year, month, day+7, 0, 0, 0, 0, p.Zone)
	default:
		start, end = time.Date(year, month, 1, 0, 0, 0, 0, p.Zone), time.Date(year, month+1, 1, 0, 0, 0, 0, p.Zone)
	}
	return Partition{start.Format(partitionLayouts[p.By]), start, end}
}

// Range returns the partitions that begin in [from, to) and are within the pipeline's
// bounds, the oldest first.
func (p *Partitions) Range(from, to time.Time) ([]Partition, error) {
	if from.Before(p.From) {
		from = p.From
	}
	if !p.To.IsZero() && to.After(p.To) {
		to = p.To
	}
	var all []Partition
	part := p.Of(from)
	if part.Start.Before(from) {
		part = p.Of(part.End)
	}
	for ; part.Start.Before(to); part = p.Of(part.End) {
		if len(all) == PartitionsMax {
			return nil, fmt.Errorf("%w: more than %d partitions from %s to %s", ErrInvalid, PartitionsMax, from.Format(time.RFC3339), to.Format(time.RFC3339))
		}
		all = append(all, part)
	}
	return all, nil
}

// Parse reads the key of a partition.
func (p *Partitions) Parse(key string) (Partition, error) {
	t, err := time.ParseInLocation(partitionLayouts[p.By], key, p.Zone)
	if err != nil {
		return Partition{}, fmt.Errorf("%w: partition %q of a %s, want such as %s", ErrInvalid, key, p.By, p.Of(p.From).Key)
	}
	part := p.Of(t)
	if part.Key != key {
		return Partition{}, fmt.Errorf("%w: partition %q does not begin a %s, want %s", ErrInvalid, key, p.By, part.Key)
	}
	if part.Start.Before(p.From) || !p.To.IsZero() && !part.Start.Before(p.To) {
		return Partition{}, fmt.Errorf("%w: partition %q is outside of the pipeline's partitions", ErrInvalid, key)
	}
	return part, nil
}

// Env is what expressions know of a partition.
func (p Partition) Env() map[string]any {
	return map[string]any{"key": p.Key, "start": p.Start.Format(time.RFC3339), "end": p.End.Format(time.RFC3339)}
}
