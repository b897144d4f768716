// SPDX-License-Identifier: Apache-2.0

package payments

import (
	"errors"
	"fmt"
	"time"
)

// Options describe a world. The zero value is a small one.
type Options struct {
	// Customers are 1 to CustomersMax: 0 is 1000. They pay about 1.9 times a day each.
	Customers int
	// Terminals are 1 to TerminalsMax: 0 is twice the customers.
	Terminals int
	// Days is how long payments last, 1 to DaysMax: 0 is 60.
	Days int
	// Seed draws another world.
	Seed uint64
	// Start is the first day, of which only the date in UTC counts: zero is 2026-01-05, a
	// Monday.
	Start time.Time
	// Changes are days from which on there are other patterns of fraud, in order; at most
	// ChangesMax. None is a world of the three first kinds alone.
	Changes []Change
}

// Bounds of a world.
const (
	CustomersMax = 1_000_000
	TerminalsMax = 2_000_000
	DaysMax      = 36_600
)

// EnsureDefaults replaces zero values.
func (o *Options) EnsureDefaults() {
	if o.Customers == 0 {
		o.Customers = 1000
	}
	if o.Terminals == 0 {
		o.Terminals = 2 * o.Customers
	}
	if o.Days == 0 {
		o.Days = 60
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	}
	o.Start = o.Start.UTC().Truncate(24 * time.Hour)
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	var all []error
	within := func(name string, n, most int) {
		if n < 1 || n > most {
			all = append(all, fmt.Errorf("%s %d: give 1 to %d", name, n, most))
		}
	}
	within("customers", o.Customers, CustomersMax)
	within("terminals", o.Terminals, TerminalsMax)
	within("days", o.Days, DaysMax)
	if o.Start.Year() < 1970 || o.Start.Year() > 9000 {
		all = append(all, fmt.Errorf("start %v: give a day from 1970 on", o.Start))
	}
	return errors.Join(append(all, validateChanges(o.Changes)...)...)
}
