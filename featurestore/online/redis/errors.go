// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/featurestore/online"
)

// Errors that callers branch on, besides those of package online: online.ErrUnavailable
// (Redis does not answer, or not in time), online.ErrCorrupt (a stored value is not what
// was written), online.ErrAhead (the event log is not the one that Redis knows by its
// name), online.ErrClosed. After ErrUnavailable, ErrConflict and ErrIncomplete an event may
// be pushed again, with the same id, and counts once.
var (
	// ErrConflict says that other replicas changed an entity each time it was to be
	// written. Push again.
	ErrConflict = errors.New("other replicas keep changing the entity")
	// ErrIncomplete says that Redis lost states, or was not given those of all event logs
	// yet. It wraps online.ErrUnavailable.
	ErrIncomplete = fmt.Errorf("redis does not have all states: %w", online.ErrUnavailable)
	// ErrFenced says that another store was opened for the same event log; this one writes
	// no more.
	ErrFenced = errors.New("another store was opened for the same event log")
)
