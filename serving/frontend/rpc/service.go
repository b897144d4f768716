// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/featurestore/rpc/streams"
	"github.com/millrace-ml/millrace/featurestore/window"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// Service serves millrace.v1.Decisions.
type Service struct {
	millracev1.UnimplementedDecisionsServer
	frontend *frontend.Frontend
	streams  streams.Stopper
}

// New returns the service of a front-end, which stays the caller's.
func New(f *frontend.Frontend) *Service { return &Service{frontend: f} }

// Register adds the gRPC service to a server with the codec of package serving, which
// knows the messages used here (serving.Codec).
func (s *Service) Register(r grpc.ServiceRegistrar) { r.RegisterService(serviceDesc(), s) }

// Stop ends streams, for a server that stops.
func (s *Service) Stop() { s.streams.Stop() }

var wireStatus = [...]millracev1.FieldStatus{
	window.NotFound:      millracev1.FieldStatus_FIELD_STATUS_NOT_FOUND,
	window.Present:       millracev1.FieldStatus_FIELD_STATUS_PRESENT,
	window.Null:          millracev1.FieldStatus_FIELD_STATUS_NULL_VALUE,
	window.OutsideMaxAge: millracev1.FieldStatus_FIELD_STATUS_OUTSIDE_MAX_AGE,
}

// ListDecisions implements the call.
func (s *Service) ListDecisions(context.Context, *millracev1.ListDecisionsRequest) (*millracev1.ListDecisionsResponse, error) {
	answer := new(millracev1.ListDecisionsResponse)
	for _, p := range s.frontend.Policies() {
		d := &millracev1.DecisionDescription{
			Name: p.Name, Description: p.Description, Service: p.Service.Name, Model: p.Arms[0].Model.Name,
			Decisions: p.Decisions, PolicyVersion: p.Version(),
		}
		for _, f := range p.Facts {
			d.Facts = append(d.Facts, &millracev1.FieldDescription{Name: f.Name, Type: f.Type.String(), Required: f.Required})
		}
		for i := range p.Arms {
			if p.Arms[i].Name != "" {
				d.Arms = append(d.Arms, p.Arms[i].Name)
			}
		}
		answer.Decisions = append(answer.Decisions, d)
	}
	return answer, nil
}

// codeOf is the gRPC code of an error of the front-end.
func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, frontend.ErrInvalid):
		return codes.InvalidArgument
	case errors.Is(err, frontend.ErrUnknown):
		return codes.NotFound
	case errors.Is(err, frontend.ErrUnavailable), errors.Is(err, frontend.ErrClosed):
		return codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Internal
}
