// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/repository"
)

// Error is an error with the code that a client gets. gRPC takes the code through
// GRPCStatus; REST maps it to an HTTP status.
type Error struct {
	Code codes.Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// GRPCStatus lets grpc-go find the code. A status travels in a header, for which
// clients have limits, while the text may quote a name or an id of any length.
func (e *Error) GRPCStatus() *status.Status {
	text := e.Text
	if len(text) > statusTextMax {
		text = strings.ToValidUTF8(text[:statusTextMax], "") + "..."
	}
	return status.New(e.Code, text)
}

const statusTextMax = 4096

var errSharedMemory = &Error{codes.Unimplemented, "shared memory regions are not supported by this server: send the tensor data in the request"}

func invalidArgument(format string, args ...any) *Error {
	return &Error{codes.InvalidArgument, fmt.Sprintf(format, args...)}
}

// statusRules maps the errors of other packages to codes, first match first. What
// ends an operation from outside comes before what the operation makes of it.
var statusRules = []struct {
	is   error
	code codes.Code
}{
	{repository.ErrClosed, codes.Unavailable},
	{batching.ErrClosed, codes.Unavailable},
	{batching.ErrTimeout, codes.Unavailable},
	{batching.ErrDeadline, codes.DeadlineExceeded},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{repository.ErrUnknownModel, codes.NotFound},
	{repository.ErrUnknownVersion, codes.NotFound},
	{repository.ErrNoVersion, codes.NotFound},
	{repository.ErrNotReady, codes.Unavailable},
	{repository.ErrBadVersion, codes.InvalidArgument},
	{repository.ErrInvalidName, codes.InvalidArgument},
	{repository.ErrControlMode, codes.Unavailable},
	{repository.ErrPoll, codes.Internal},
	{repository.ErrLoadFailed, codes.InvalidArgument},
	{repository.ErrNoPrevious, codes.FailedPrecondition},
	{repository.ErrDuplicate, codes.FailedPrecondition},
	{batching.ErrQueueFull, codes.Unavailable},
	{batching.ErrInvalidItem, codes.Internal},
	{batching.ErrInvalidOptions, codes.InvalidArgument},
	{engine.ErrInvalidInput, codes.InvalidArgument},
	{engine.ErrInvalidModel, codes.InvalidArgument},
	{engine.ErrUnavailable, codes.Unavailable},
	{modelconfig.ErrInvalidConfig, codes.InvalidArgument},
	{modelconfig.ErrUnsupported, codes.Unimplemented},
}

// toError gives any error its code. Errors nobody classified are the server's
// own: INTERNAL.
func toError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	for _, rule := range statusRules {
		if errors.Is(err, rule.is) {
			return &Error{rule.code, err.Error()}
		}
	}
	return &Error{codes.Internal, err.Error()}
}

// httpStatus is the HTTP status for a code, as the REST protocol maps them.
func httpStatus(code codes.Code) int {
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.NotFound:
		return http.StatusNotFound
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Internal:
		return http.StatusInternalServerError
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.ResourceExhausted:
		return http.StatusRequestEntityTooLarge
	case codes.Canceled:
		return 499 // client closed request, as proxies log it
	}
	return http.StatusBadRequest
}
