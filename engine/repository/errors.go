// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// Errors that callers branch on. The errors returned match them by errors.Is and
// carry the text that clients of the inference protocol expect.
var (
	// ErrUnknownModel says that no model of that name was ever loaded.
	ErrUnknownModel = errors.New("unknown model")
	// ErrUnknownVersion says that the model has no such version.
	ErrUnknownVersion = errors.New("unknown model version")
	// ErrNoVersion says that no version of the model is ready.
	ErrNoVersion = errors.New("no available version")
	// ErrNotReady says that the version is known and cannot serve now; a request
	// may be tried again later.
	ErrNotReady = errors.New("version not ready")
	// ErrBadVersion says that a version is neither a number nor an alias.
	ErrBadVersion = errors.New("bad version")
	// ErrInvalidName says that a model's name or an alias is not allowed.
	ErrInvalidName = errors.New("invalid name")
	// ErrControlMode says that the control mode does not allow loading by call.
	ErrControlMode = errors.New("explicit model load / unload is not allowed if polling is enabled")
	// ErrPoll says that the model is not in the repository, or that what was sent to
	// load it cannot be used. Its text is fixed; the cause is wrapped, logged and
	// shown in the index.
	ErrPoll = errors.New("failed to poll from model repository")
	// ErrLoadFailed says that the model was found and could not be loaded. What was
	// served before still is.
	ErrLoadFailed = errors.New("load failed")
	// ErrNoPrevious says that there is no earlier version to roll back to.
	ErrNoPrevious = errors.New("no previous version")
	// ErrDuplicate says that two repositories hold the same model.
	ErrDuplicate = errors.New("model appears in two or more repositories")
	// ErrClosed says that the repository was closed.
	ErrClosed = errors.New("model repository is closed")
)

// textError has a text of its own, where the protocol fixes one, and still matches
// its class and its cause.
type textError struct {
	text  string
	class error
	cause error
}

func (e *textError) Error() string { return e.text }

func (e *textError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.class}
	}
	return []error{e.class, e.cause}
}

func classified(class error, format string, args ...any) error {
	return &textError{text: fmt.Sprintf(format, args...), class: class}
}

func pollError(model string, cause error) error {
	text := fmt.Sprintf("failed to load '%s', failed to poll from model repository", model)
	return &textError{text: text, class: ErrPoll, cause: cause}
}

func loadError(model string, cause error) error {
	text := fmt.Sprintf("load failed for model '%s': %s\n", model, cause)
	return &textError{text: text, class: ErrLoadFailed, cause: cause}
}

// reason is how the state of a version that failed to load explains itself: the
// kind of fault, then the fault.
func reason(err error) string {
	switch {
	case errors.Is(err, modelconfig.ErrUnsupported):
		return "Unsupported: " + err.Error()
	case errors.Is(err, engine.ErrInvalidModel), errors.Is(err, modelconfig.ErrInvalidConfig):
		return "Invalid argument: " + err.Error()
	case errors.Is(err, engine.ErrUnavailable):
		return "Unavailable: " + err.Error()
	default:
		return "Internal: " + err.Error()
	}
}

// fault is an error as operators should read it: with the cause that the protocol's
// text hides.
func fault(err error) string {
	var hidden *textError
	if errors.As(err, &hidden) && hidden.class == ErrPoll && hidden.cause != nil {
		return hidden.cause.Error()
	}
	return err.Error()
}
