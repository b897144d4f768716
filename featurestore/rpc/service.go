// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/rpc/streams"
	"github.com/millrace-ml/millrace/featurestore/window"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Service serves millrace.v1.Features and Feast's HTTP read.
type Service struct {
	millracev1.UnimplementedFeaturesServer
	store   *featurestore.Store
	calls   sync.Pool // *call
	streams streams.Stopper
}

// call is the memory of a read.
type call struct {
	in      plan.Inputs
	vectors plan.Vectors
}

// New returns the service of a store, which stays the caller's.
func New(store *featurestore.Store) *Service {
	s := &Service{store: store}
	s.calls.New = func() any { return new(call) }
	return s
}

// Register adds the gRPC service to a server.
func (s *Service) Register(r grpc.ServiceRegistrar) { millracev1.RegisterFeaturesServer(r, s) }

// Push implements the call.
func (s *Service) Push(ctx context.Context, q *millracev1.PushRequest) (*millracev1.PushResponse, error) {
	answer, err := s.push(ctx, q)
	if err != nil {
		return nil, status.Error(codeOf(err), err.Error())
	}
	return answer, nil
}

func (s *Service) push(ctx context.Context, q *millracev1.PushRequest) (*millracev1.PushResponse, error) {
	source := s.store.Catalog().Source(q.Source)
	if source == nil {
		return nil, fmt.Errorf("source %q: %w", q.Source, featurestore.ErrUnknown)
	}
	events, err := bindEvents(source, q)
	if err != nil {
		return nil, invalid(err)
	}
	var result featurestore.PushResult
	if err := s.store.Push(ctx, q.Source, events, &result); err != nil {
		return nil, err
	}
	answer := &millracev1.PushResponse{RequestId: q.RequestId, Accepted: uint32(result.Accepted), Duplicates: uint32(result.Duplicates)}
	for _, e := range result.Errors {
		answer.Errors = append(answer.Errors, &millracev1.PushError{Row: uint32(e.Row), Field: e.Field, Message: e.Message, Retryable: e.Retryable})
	}
	return answer, nil
}

// bindEvents makes the columns of a push those of its source.
func bindEvents(source *definition.Source, q *millracev1.PushRequest) (*featurestore.Events, error) {
	columns, err := byName("columns", q.Columns, func(name string) int {
		return slices.IndexFunc(source.Fields, func(f definition.Field) bool { return f.Name == name })
	}, len(source.Fields))
	if err != nil {
		return nil, err
	}
	rows := len(q.Ids)
	for _, c := range q.Columns {
		rows = max(rows, wireRows(c))
	}
	if rows > featurestore.EventsMax { // before columns are made of them
		return nil, fmt.Errorf("%d events, at most %d at once", rows, featurestore.EventsMax)
	}
	events := &featurestore.Events{IDs: q.Ids, NoWait: q.NoWait}
	events.Batch.Rows = rows
	events.Batch.Columns = make([]column.Column, len(source.Fields))
	for i := range source.Fields {
		f := &source.Fields[i]
		if err := bindColumn("columns", columns[i], &events.Batch.Columns[i], f.Name, f.Type, rows); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// StreamPush implements the call. A request that is refused does not end the stream.
func (s *Service) StreamPush(stream grpc.BidiStreamingServer[millracev1.PushRequest, millracev1.PushResponse]) error {
	return streams.Serve(&s.streams, stream, func(ctx context.Context, q *millracev1.PushRequest) *millracev1.PushResponse {
		answer, err := s.push(ctx, q)
		if err != nil {
			answer = &millracev1.PushResponse{RequestId: q.RequestId, Error: err.Error()}
		}
		return answer
	})
}

// Get implements the call.
func (s *Service) Get(ctx context.Context, q *millracev1.GetRequest) (*millracev1.GetResponse, error) {
	answer := new(millracev1.GetResponse)
	if err := s.get(ctx, q, answer); err != nil {
		return nil, status.Error(codeOf(err), err.Error())
	}
	return answer, nil
}

// StreamGet implements the call. A request that is refused does not end the stream.
func (s *Service) StreamGet(stream grpc.BidiStreamingServer[millracev1.GetRequest, millracev1.GetResponse]) error {
	return streams.Serve(&s.streams, stream, func(ctx context.Context, q *millracev1.GetRequest) *millracev1.GetResponse {
		answer := new(millracev1.GetResponse)
		if err := s.get(ctx, q, answer); err != nil {
			answer = &millracev1.GetResponse{RequestId: q.RequestId, Error: err.Error()}
		}
		return answer
	})
}

// Stop ends streams, for a server that stops.
func (s *Service) Stop() { s.streams.Stop() }

func (s *Service) get(ctx context.Context, q *millracev1.GetRequest, answer *millracev1.GetResponse) error {
	assembler, err := s.assembler(q.Service, q.Features)
	if err != nil {
		return err
	}
	c := s.calls.Get().(*call)
	defer s.calls.Put(c)
	if err := bindInputs(assembler.Service(), q, &c.in); err != nil {
		return invalid(err)
	}
	c.in.At = q.At
	c.vectors.WantEventTimes = q.EventTimes
	if err := s.store.Read(ctx, assembler, &c.in, &c.vectors); err != nil {
		return err
	}
	fill(assembler, &c.vectors, answer)
	answer.RequestId = q.RequestId
	clear(c.in.Keys) // they refer to the request's memory
	clear(c.in.Request)
	return nil
}

func (s *Service) assembler(service string, features []string) (*plan.Assembler, error) {
	if service == "" {
		return s.store.Features(features)
	}
	if len(features) > 0 {
		return nil, fmt.Errorf("%w: give a service or features, not both", featurestore.ErrInvalid)
	}
	return s.store.Service(service)
}

// bindInputs makes the columns of a read those of its service.
func bindInputs(service *definition.Service, q *millracev1.GetRequest, in *plan.Inputs) error {
	keys, err := byName("entities", q.Entities, func(name string) int {
		return slices.IndexFunc(service.Entities, func(e *definition.Entity) bool { return e.Key == name })
	}, len(service.Entities))
	if err != nil {
		return err
	}
	request, err := byName("request", q.Request, func(name string) int {
		return slices.IndexFunc(service.Request, func(f definition.Field) bool { return f.Name == name })
	}, len(service.Request))
	if err != nil {
		return err
	}
	in.Rows, in.At, in.Now = 0, 0, 0
	for _, c := range slices.Concat(q.Entities, q.Request) {
		in.Rows = max(in.Rows, wireRows(c))
	}
	if in.Rows > featurestore.RowsMax { // likewise
		return fmt.Errorf("%d rows, at most %d at once", in.Rows, featurestore.RowsMax)
	}
	in.Keys = slices.Grow(in.Keys[:0], len(keys))[:len(keys)]
	for i, e := range service.Entities {
		if keys[i] == nil {
			return fmt.Errorf("entities.%s: is required", e.Key)
		}
		if err := bindColumn("entities", keys[i], &in.Keys[i], e.Key, e.Type, in.Rows); err != nil {
			return err
		}
	}
	in.Request = slices.Grow(in.Request[:0], len(request))[:len(request)]
	for i := range service.Request {
		if err := bindRequest(&service.Request[i], request[i], &in.Request[i], in.Rows); err != nil {
			return err
		}
	}
	return nil
}

func bindRequest(f *definition.Field, from *millracev1.Column, into *column.Column, rows int) error {
	if from == nil && f.Required {
		return fmt.Errorf("request.%s: is required", f.Name)
	}
	if err := bindColumn("request", from, into, f.Name, f.Type, rows); err != nil {
		return err
	}
	return checkRequest(f, into, rows)
}

// checkRequest completes a column that was left out, and holds the values to what the
// field allows.
func checkRequest(f *definition.Field, c *column.Column, rows int) error {
	if c.Len() == 0 {
		for range rows {
			c.AppendNull()
		}
		return nil
	}
	for row := range rows {
		if message := f.Check(c, row); message != "" {
			return fmt.Errorf("request.%s[%d]: %s", f.Name, row, message)
		}
	}
	return nil
}

// fill copies vectors into an answer.
func fill(a *plan.Assembler, v *plan.Vectors, answer *millracev1.GetResponse) {
	service := a.Service()
	answer.Rows = uint32(v.Rows)
	answer.Names = make([]string, len(service.Features))
	for i := range service.Features {
		answer.Names[i] = service.Features[i].Name
		if service.Features[i].Type == column.String {
			answer.TextFeatures = append(answer.TextFeatures, uint32(i))
		}
	}
	answer.Numbers = slices.Clone(v.Numbers)
	answer.Statuses = make([]byte, len(v.Status))
	for i, s := range v.Status {
		answer.Statuses[i] = byte(wireStatus[s])
	}
	if v.TextWidth > 0 {
		answer.Texts = make([]string, len(v.Texts))
		for i, t := range v.Texts {
			answer.Texts[i] = string([]byte(t)) // the vectors' memory is used again
		}
	}
	answer.EventTimes = slices.Clone(v.EventTimes)
}

var wireStatus = [...]millracev1.FieldStatus{
	window.NotFound:      millracev1.FieldStatus_FIELD_STATUS_NOT_FOUND,
	window.Present:       millracev1.FieldStatus_FIELD_STATUS_PRESENT,
	window.Null:          millracev1.FieldStatus_FIELD_STATUS_NULL_VALUE,
	window.OutsideMaxAge: millracev1.FieldStatus_FIELD_STATUS_OUTSIDE_MAX_AGE,
}

func invalid(err error) error { return fmt.Errorf("%w: %w", featurestore.ErrInvalid, err) }

// codeOf is the gRPC code of an error of the store.
func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, featurestore.ErrInvalid), errors.Is(err, plan.ErrInputs):
		return codes.InvalidArgument
	case errors.Is(err, featurestore.ErrUnknown):
		return codes.NotFound
	case errors.Is(err, offline.ErrFull):
		return codes.ResourceExhausted
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Unavailable
}
