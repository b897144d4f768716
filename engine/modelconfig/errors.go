// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"errors"
	"fmt"
)

// Errors that callers branch on.
var (
	// ErrInvalidConfig says that a configuration is malformed, contradicts itself or
	// contradicts its model. Loading it again without a change fails again.
	ErrInvalidConfig = errors.New("invalid model configuration")
	// ErrUnsupported says that a configuration is well formed but asks for something
	// this server, or this machine, does not have.
	ErrUnsupported = errors.New("unsupported model configuration")
)

// problemsMax bounds how many problems one error lists.
const problemsMax = 20

// configError matches one of the sentinels while its text stays exactly what
// clients of the protocol expect, without the sentinel's text in front.
type configError struct {
	text  string
	class error
}

func (e *configError) Error() string { return e.text }
func (e *configError) Unwrap() error { return e.class }

func invalidf(format string, args ...any) error {
	return &configError{fmt.Sprintf(format, args...), ErrInvalidConfig}
}

func unsupportedf(format string, args ...any) error {
	return &configError{fmt.Sprintf(format, args...), ErrUnsupported}
}

// joinProblems reports problems in one error, one per line, or nil for none.
func joinProblems(problems []error) error {
	if len(problems) > problemsMax {
		problems = append(problems[:problemsMax:problemsMax], invalidf("and more problems"))
	}
	return errors.Join(problems...)
}
