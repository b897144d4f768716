// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"

	"github.com/millrace-ml/millrace/bench/internal/raw"
	"github.com/millrace-ml/millrace/proto/inference"
)

// unary sends the requests of a source one after the other, until ctx ends.
func (r *run) unary(ctx context.Context, i int, from source) {
	conn, rec := r.conns[i%len(r.conns)], r.recorders[i%len(r.recorders)]
	var reply raw.Message
	for a, ok := from.next(); ok && ctx.Err() == nil; a, ok = from.next() {
		s := r.sending(a)
		err := conn.Invoke(ctx, inference.GRPCInferenceService_ModelInfer_FullMethodName, r.message(a), &reply)
		if err != nil {
			r.failed(ctx, rec, s, errorKind(err), err)
			continue
		}
		r.answered(rec, s, reply.Data)
	}
}
