// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// RequestsMax is how many requests of a stream wait at most.
const RequestsMax = 64

type feedbackStream = grpc.BidiStreamingServer[millracev1.SubmitFeedbackRequest, millracev1.SubmitFeedbackResponse]

// errStopped is what the client of a stream gets that ends for Stop.
var errStopped = status.Error(codes.Unavailable, "the server stops; send again what was not answered")

// StreamFeedback implements the call. A request that is refused does not end the stream.
func (s *Service) StreamFeedback(stream feedbackStream) error {
	requests, ended := make(chan *millracev1.SubmitFeedbackRequest, RequestsMax), make(chan error, 1)
	// It ends with the stream, which is when this method has returned, or before.
	go receive(stream, requests, ended)
	var next *millracev1.SubmitFeedbackRequest // was received and did not fit
	for {
		group := []*millracev1.SubmitFeedbackRequest{next}
		if next == nil {
			select {
			case q, ok := <-requests:
				if !ok {
					return <-ended
				}
				group[0] = q
			case <-s.stopped:
				return errStopped
			}
		}
		group, next = gather(group, requests)
		if err := s.answer(stream, group); err != nil {
			return err
		}
	}
}

func receive(stream feedbackStream, requests chan<- *millracev1.SubmitFeedbackRequest, ended chan<- error) {
	defer close(requests)
	for {
		q, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err != nil || q == nil {
			ended <- err
			return
		}
		select {
		case requests <- q:
		case <-stream.Context().Done():
			ended <- stream.Context().Err()
			return
		}
	}
}

// gather adds what waits to a group, as long as it has ItemsMax items at most.
func gather(group []*millracev1.SubmitFeedbackRequest, requests <-chan *millracev1.SubmitFeedbackRequest) (all []*millracev1.SubmitFeedbackRequest, next *millracev1.SubmitFeedbackRequest) {
	items := len(group[0].Items)
	for len(group) < RequestsMax {
		select {
		case q, ok := <-requests:
			if !ok {
				return group, nil // the next receive says so again
			}
			if items += len(q.Items); items > groundtruth.ItemsMax {
				return group, q
			}
			group = append(group, q)
		default:
			return group, nil
		}
	}
	return group, nil
}

func (s *Service) answer(stream feedbackStream, group []*millracev1.SubmitFeedbackRequest) error {
	// What is being stored when the server stops is stored and answered.
	answers, err := s.answers(stream.Context(), group)
	if err != nil {
		answers = answers[:0]
		for _, q := range group {
			answers = append(answers, &millracev1.SubmitFeedbackResponse{RequestId: q.RequestId, Error: err.Error(), ErrorCode: uint32(codeOf(err))})
		}
	}
	for _, a := range answers {
		if err := stream.Send(a); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) answers(ctx context.Context, group []*millracev1.SubmitFeedbackRequest) ([]*millracev1.SubmitFeedbackResponse, error) {
	if err := tooMany(len(group[0].Items)); err != nil {
		return nil, err // it is alone: see gather
	}
	return s.submit(ctx, group)
}
