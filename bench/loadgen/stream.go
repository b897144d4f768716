// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace-ml/millrace/bench/internal/raw"
	"github.com/millrace-ml/millrace/proto/inference"
)

var (
	errStreamEnded = errors.New("the server ended the stream before it answered")
	errStreamAhead = errors.New("an answer came that no request waits for; models that answer a request more than once cannot be measured")
)

// stream keeps a window of requests in flight on one stream. The server answers in
// order, so answers are matched to requests by their order.
//
// The calling goroutine receives; one more, which it owns, sends.
func (r *run) stream(ctx context.Context, i int, from source) {
	conn, rec := r.conns[i%len(r.conns)], r.recorders[i%len(r.recorders)]
	client, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		inference.GRPCInferenceService_ModelStreamInfer_FullMethodName)
	if err != nil {
		r.streamBroken(err)
		return
	}
	s := &streamSender{
		run: r, client: client,
		window:   make(chan struct{}, r.options.Window),
		inFlight: make(chan sending, r.options.Window),
	}
	go s.send(from)
	err = s.receive(ctx, rec)
	if lost := s.loseInFlight(ctx, rec, err); lost > 0 || !errors.Is(err, io.EOF) {
		r.streamBroken(err)
	}
}

// streamBroken counts streams that ended early. When the last has, nobody is left
// to take requests.
func (r *run) streamBroken(err error) {
	if int(r.broken.Add(1)) == r.options.Streams {
		r.stop(fmt.Errorf("%w: %w", ErrNoStreams, err))
	}
}

// streamSender is one stream in use.
type streamSender struct {
	run    *run
	client grpc.ClientStream
	// window holds a token for each request from before it is due until its answer.
	window chan struct{}
	// inFlight holds the requests that wait for an answer, oldest first. The sender
	// closes it when it ends. It has room for all of the window.
	inFlight chan sending
}

func (s *streamSender) send(from source) {
	defer close(s.inFlight)
	for {
		s.window <- struct{}{}
		a, ok := from.next()
		if !ok {
			break
		}
		s.inFlight <- s.run.sending(a)
		if err := s.client.SendMsg(s.run.message(a)); err != nil {
			return // the receiver gets the reason
		}
	}
	// An error here reaches the receiver too.
	_ = s.client.CloseSend()
}

// receive takes answers until the stream ends; io.EOF is the regular end.
func (s *streamSender) receive(ctx context.Context, rec *recorder) error {
	var reply raw.Message
	for {
		if err := s.client.RecvMsg(&reply); err != nil {
			return err
		}
		request, ok := <-s.inFlight
		if !ok {
			return errStreamAhead
		}
		response, err := splitStreamReply(reply.Data)
		if err != nil {
			s.run.failed(ctx, rec, request, kindInStream, err)
		} else {
			s.run.answered(rec, request, response)
		}
		<-s.window
	}
}

// loseInFlight records what is unanswered on a stream that ended with err, and
// counts it. It returns when the sender has ended: the room it frees in the window
// lets the sender go on to find the stream broken.
func (s *streamSender) loseInFlight(ctx context.Context, rec *recorder, err error) (lost int) {
	kind := errorKind(err)
	if errors.Is(err, io.EOF) {
		kind, err = kindUnanswered, errStreamEnded
	}
	for request := range s.inFlight {
		s.run.failed(ctx, rec, request, kind, err)
		<-s.window
		lost++
	}
	return lost
}

// splitStreamReply finds the response in an encoded ModelStreamInferResponse, or
// the error that is there in its place.
func splitStreamReply(reply []byte) (response []byte, err error) {
	for len(reply) > 0 {
		number, kind, n := protowire.ConsumeTag(reply)
		if n < 0 {
			return nil, fmt.Errorf("stream response: %w", protowire.ParseError(n))
		}
		reply = reply[n:]
		n = protowire.ConsumeFieldValue(number, kind, reply)
		if n < 0 {
			return nil, fmt.Errorf("stream response: %w", protowire.ParseError(n))
		}
		value, _ := protowire.ConsumeBytes(reply[:n])
		switch {
		case number == 1 && len(value) > 0:
			return nil, errors.New(string(value))
		case number == 2:
			response = value
		}
		reply = reply[n:]
	}
	return response, nil
}
