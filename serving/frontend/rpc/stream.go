// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// streamAhead is how many requests of a stream may wait to be decided. Behind that
// nothing is received, and the transport's flow control slows the client.
const streamAhead = 64

// decideStream handles StreamDecide: one goroutine receives and decodes, the
// handler's own decides and sends, in order. A request that is refused does not end
// the stream. After Stop a stream with nothing left to answer ends, since its client may
// keep it open for days.
func decideStream(srv any, stream grpc.ServerStream) error {
	s := srv.(*Service)
	received := make(chan *exchange, streamAhead)
	var end error // written before received is closed, read after
	go func() {
		defer close(received)
		for {
			x := s.newExchange()
			x.inBand = true
			if end = stream.RecvMsg(x); end != nil {
				x.release()
				return
			}
			select {
			case received <- x:
			case <-stream.Context().Done():
				x.release()
				end = stream.Context().Err()
				return
			}
		}
	}()
	err := s.answer(stream, received)
	if err == nil && !errors.Is(end, io.EOF) {
		return end
	}
	if err != nil { // returning ends the stream, and with it the receiver
		go func() {
			for x := range received {
				x.release()
			}
		}()
	}
	return err
}

// answer decides and sends until nothing more is received; nil says so.
func (s *Service) answer(stream grpc.ServerStream, received <-chan *exchange) error {
	for {
		var x *exchange
		select {
		case x = <-received:
		default:
			select {
			case x = <-received:
			case <-s.streams.Stopped():
				return status.Error(codes.Unavailable, "the server is stopping")
			}
		}
		if x == nil {
			return nil
		}
		x.decide(stream.Context())
		if err := stream.SendMsg(x); err != nil {
			return err
		}
	}
}
