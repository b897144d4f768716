// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/serving/stats"
)

// startDecoupled runs a request to a decoupled model beside the stream's order. It
// blocks while too many are in flight on this stream. A failure takes its place in
// the order when it happens, and is answered like any other.
func (st *stream) startDecoupled(r *request) {
	select {
	case st.decoupled <- struct{}{}:
	case <-st.ctx.Done():
		r.release()
		return
	}
	st.running.Go(func() {
		defer func() { <-st.decoupled }()
		err := st.runDecoupled(r)
		if err == nil {
			r.release()
			return
		}
		if st.ctx.Err() != nil {
			err = st.ctx.Err() // the client went, and whatever failed failed for that
		}
		r.outcome = toError(r.failed(backendError(err)))
		r.ready <- struct{}{}
		st.inOrder <- r
	})
}

// awaitDecoupled waits for the decoupled requests in flight, and lets no other start.
func (st *stream) awaitDecoupled() {
	for range cap(st.decoupled) {
		st.decoupled <- struct{}{}
	}
}

// runDecoupled waits for an idle instance and sends each response as it comes. The
// end is told by triton_final_response: on the last response where the number is
// known, otherwise on an empty one for clients that asked for it.
func (st *stream) runDecoupled(r *request) (err error) {
	m := r.model
	defer m.guard.caught(m, &err)
	var streamer engine.Streamer
	select {
	case streamer = <-m.streamers:
	case <-st.ctx.Done():
		return st.ctx.Err()
	}
	defer func() { m.streamers <- streamer }()
	started := batching.Now()
	inputs := make([]tensor.Tensor, len(r.bound))
	for i, b := range r.bound {
		inputs[i] = tensor.Tensor{Name: m.inputs[i].name, Datatype: m.inputs[i].datatype, Shape: b.shape, Data: b.data}
	}
	responses := 0
	err = streamer.Stream(st.ctx, inputs, func(outputs []tensor.Tensor) error {
		m.stats.RecordResponse(responses, batching.Now()-r.received)
		responses++
		return st.sendReply(r, finalFalse, outputs)
	})
	if err != nil {
		return err
	}
	finished := batching.Now()
	m.stats.RecordBatch(stats.Batch{Requests: 1, Rows: max(r.Rows, 1), InferNanos: finished - started})
	m.stats.RecordRequest(finished-r.received, started-r.received)
	if r.params.emptyFinalResponse {
		return st.sendReply(r, finalTrue, nil)
	}
	return nil
}

// sendReply sends one response to a decoupled request.
func (st *stream) sendReply(r *request, parameters []byte, outputs []tensor.Tensor) error {
	reply, err := encodeReply(r.model.head, r.id, parameters, outputs, true, r.model.replyBytesMax)
	if err != nil {
		return err
	}
	answer := newRequest()
	answer.reply = reply
	return st.sendMessage(answer)
}
