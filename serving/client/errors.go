// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is why a call failed. errors.Is finds context.DeadlineExceeded and
// context.Canceled in it where the codes say so.
type Error struct {
	// Call is what was called, such as decide.
	Call string
	// Code is gRPC's. A request that was wrong before it was sent has InvalidArgument, an
	// answer that makes no sense Internal.
	Code codes.Code
	// Field is the path of what is wrong, such as facts.amount or columns.amount[3]; empty
	// where the server names none.
	Field string
	// Message is the server's text.
	Message string
	// Retryable: the same call may succeed later. Whether a repeat is safe is for the
	// caller to know, see C2.
	Retryable bool
	// Attempts is how often it was sent; 0 if it never was.
	Attempts int

	err error
}

// Error is the text for a person.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s: %s", e.Call, e.Code, e.Message)
	if e.Attempts > 1 {
		text += fmt.Sprintf(" (%d attempts)", e.Attempts)
	}
	return text
}

// Unwrap is the error behind it.
func (e *Error) Unwrap() error { return e.err }

// Is matches the errors of contexts by code.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded ||
		target == context.Canceled && e.Code == codes.Canceled
}

// GRPCStatus lets status.FromError and status.Code see the code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// newError makes one of any error of a call.
func newError(call string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		e := *known
		e.Call = call
		return &e
	}
	state, ok := status.FromError(err)
	switch {
	case errors.Is(err, ErrClosed):
		state = status.New(codes.Canceled, err.Error())
	case !ok:
		state = status.FromContextError(err)
	}
	e := errorOf(call, state.Code(), state.Message())
	e.err = err
	return e
}

// errorOf makes one of what a server said, by status or on a stream.
func errorOf(call string, code codes.Code, message string) *Error {
	return &Error{Call: call, Code: code, Message: message, Field: fieldOf(message), Retryable: retryable(code, message)}
}

func invalidRequest(call, field, format string, args ...any) *Error {
	return &Error{Call: call, Code: codes.InvalidArgument, Field: field, Message: fmt.Sprintf(format, args...)}
}

// malformed says that an answer makes no sense.
func malformed(call, format string, args ...any) *Error {
	return &Error{Call: call, Code: codes.Internal, Message: "the server's answer is malformed: " + fmt.Sprintf(format, args...)}
}

// retryable reports whether a code says that the same call may succeed later. gRPC uses
// ResourceExhausted also for a message that is too large, which stays so.
func retryable(code codes.Code, message string) bool {
	return code == codes.Unavailable || code == codes.ResourceExhausted && !strings.Contains(message, "larger than max")
}

// The servers write paths before a colon, and facts that are wrong by name alone.
var (
	fieldPath = regexp.MustCompile(`(?:^|: )((?:facts|columns|entities|request|inputs|outputs|ids)(?:[.\[][^\s:]+)|idempotency_key|ids):`)
	factName  = regexp.MustCompile(`facts: invalid fact: (\w+) `)
)

func fieldOf(message string) string {
	if match := fieldPath.FindStringSubmatch(message); match != nil {
		return match[1]
	}
	if match := factName.FindStringSubmatch(message); match != nil {
		return "facts." + match[1]
	}
	return ""
}
