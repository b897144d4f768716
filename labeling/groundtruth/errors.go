// SPDX-License-Identifier: Apache-2.0

package groundtruth

import "errors"

var (
	// ErrInvalid means that feedback, a definition or a query is wrong: correct it.
	ErrInvalid = errors.New("invalid")
	// ErrConflict means that a feedback id was used for something else: send a correction
	// of what it was used for, or take another id.
	ErrConflict = errors.New("conflicting feedback")
	// ErrUnavailable means that feedback could not be stored now: send it again.
	ErrUnavailable = errors.New("feedback cannot be stored now")
	// ErrTooMany means that a bound of the caller's options is met.
	ErrTooMany = errors.New("too many")
	// ErrClosed is returned by what was closed.
	ErrClosed = errors.New("closed")
)
