// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

// panicGuard turns a panic in a model's run into the failure of the requests it ran
// for. A backend that panics on some input is a bug, but one model's bug must not
// take all the others down. Anywhere else a panic ends the process, with its stack
// on standard error.
type panicGuard struct {
	log  *slog.Logger
	seen atomic.Bool
}

// caught is to be deferred by what runs a model; it sets the error of a panic. The
// stack of the first one is logged: a model that panics may do so at every request.
func (g *panicGuard) caught(m *servedModel, err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	if !g.seen.Swap(true) {
		g.log.Error("the backend panicked, which is a bug in it; further panics of this version are only counted as failures",
			"model", m.name, "version", m.version.Number, "cause", cause, "stack", string(debug.Stack()))
	}
	*err = backendError(&Error{codes.Internal, fmt.Sprintf("model '%s' version %d: the backend panicked: %v", m.name, m.version.Number, cause)})
}
