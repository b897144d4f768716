// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/bench/internal/raw"
)

// Kinds of failures that have no gRPC code.
const (
	kindUnanswered  = "unanswered"
	kindWrongAnswer = "wrong answer"
	kindInStream    = "error in stream"
)

// errorKind names an error by its gRPC code.
func errorKind(err error) string { return status.Code(err).String() }

// sending is a request on its way.
type sending struct {
	arrival
	sent time.Duration // since the start of the run
}

// sender sends the requests of a source until it ends, or ctx does.
func (r *run) sender(ctx context.Context, i int, from source) {
	if r.options.Stream {
		r.stream(ctx, i, from)
	} else {
		r.unary(ctx, i, from)
	}
}

// sending marks a request as sent now. In a closed loop it was just due, and a second
// look at the clock is saved.
func (r *run) sending(a arrival) sending {
	if r.options.Rate == 0 {
		return sending{arrival: a, sent: a.due}
	}
	return sending{arrival: a, sent: r.clock.now()}
}

func (r *run) requestOf(a arrival) int { return a.seq % len(r.messages) }

func (r *run) message(a arrival) *raw.Message { return &r.messages[r.requestOf(a)] }

// answered records a ModelInferResponse that came now, and checks it first if it
// is in the sample. The time of the check is not part of the latency.
func (r *run) answered(rec *recorder, s sending, response []byte) {
	done := r.clock.now()
	checked := r.sampled(s.seq)
	if checked {
		if err := r.workload.Check(r.requestOf(s.arrival), response); err != nil {
			r.countFailure()
			rec.failure(s.arrival, kindWrongAnswer, err)
			return
		}
	}
	rec.success(s, done, checked)
}

// sampled picks one request in CheckEvery, spread over all distinct requests.
func (r *run) sampled(seq int) bool {
	if r.options.CheckEvery < 0 {
		return false
	}
	scattered := uint32(seq) * 0x9e3779b1 >> 8
	return scattered%uint32(r.options.CheckEvery) == 0
}

// failed records a request that got an error for an answer.
func (r *run) failed(ctx context.Context, rec *recorder, s sending, kind string, err error) {
	if ctx.Err() != nil {
		kind, err = kindUnanswered, fmt.Errorf("no answer before the run ended: %w", err)
	}
	r.countFailure()
	rec.failure(s.arrival, kind, err)
}

func (r *run) countFailure() {
	if r.failures.Add(1) == failuresMax {
		r.stop(fmt.Errorf("%w: %d", ErrTooManyFailures, failuresMax))
	}
}
