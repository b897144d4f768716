// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Service serves millrace.v1.Feedback and its JSON.
type Service struct {
	millracev1.UnimplementedFeedbackServer
	collector *groundtruth.Collector
	options   Options
	stopped   chan struct{}
	stop      func()
}

// Options are how a service works.
type Options struct {
	// Collector takes the feedback. It stays the caller's.
	Collector *groundtruth.Collector
	// SeldonTruth and SeldonReward name the outcomes of Seldon's feedback: "truth" and
	// "reward" if empty. SeldonSource is their source: "seldon" if empty.
	SeldonTruth, SeldonReward, SeldonSource string
}

func (o *Options) ensureDefaults() {
	for _, d := range []struct {
		field *string
		value string
	}{{&o.SeldonTruth, "truth"}, {&o.SeldonReward, "reward"}, {&o.SeldonSource, "seldon"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
}

// New returns the service of a collector.
func New(o Options) (*Service, error) {
	if o.Collector == nil {
		return nil, fmt.Errorf("%w: collector: must be given", groundtruth.ErrInvalid)
	}
	o.ensureDefaults()
	stopped := make(chan struct{})
	return &Service{collector: o.Collector, options: o, stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) })}, nil
}

// Register adds the gRPC service to a server.
func (s *Service) Register(r grpc.ServiceRegistrar) { millracev1.RegisterFeedbackServer(r, s) }

// Stop ends streams, for a server that stops, once what they are storing is stored.
func (s *Service) Stop() { s.stop() }

// SubmitFeedback implements the call.
func (s *Service) SubmitFeedback(ctx context.Context, q *millracev1.SubmitFeedbackRequest) (*millracev1.SubmitFeedbackResponse, error) {
	if err := tooMany(len(q.Items)); err != nil {
		return nil, status.Error(codeOf(err), err.Error())
	}
	answers, err := s.submit(ctx, []*millracev1.SubmitFeedbackRequest{q})
	if err != nil {
		return nil, status.Error(codeOf(err), err.Error())
	}
	return answers[0], nil
}

func tooMany(n int) error {
	if n > groundtruth.ItemsMax {
		return fmt.Errorf("%w: items: %d pieces of feedback, at most %d at once", groundtruth.ErrInvalid, n, groundtruth.ItemsMax)
	}
	return nil
}

// submit stores the items of several requests together, which have ItemsMax at most.
func (s *Service) submit(ctx context.Context, requests []*millracev1.SubmitFeedbackRequest) ([]*millracev1.SubmitFeedbackResponse, error) {
	var items []groundtruth.Feedback
	var places []*millracev1.FeedbackResult
	answers := make([]*millracev1.SubmitFeedbackResponse, len(requests))
	for i, q := range requests {
		answers[i] = &millracev1.SubmitFeedbackResponse{RequestId: q.RequestId, Results: make([]*millracev1.FeedbackResult, len(q.Items))}
		for k, item := range q.Items {
			result := &millracev1.FeedbackResult{FeedbackId: item.GetFeedbackId()}
			answers[i].Results[k] = result
			f, err := fromWire(item)
			if err != nil {
				result.Error = err.Error()
				continue
			}
			items, places = append(items, f), append(places, result)
		}
	}
	results, err := s.collector.Submit(ctx, items)
	if err != nil {
		return nil, err
	}
	for i := range results {
		fillResult(places[i], &results[i])
	}
	return answers, nil
}

func fillResult(into *millracev1.FeedbackResult, r *groundtruth.Result) {
	into.FeedbackId, into.Retryable = r.FeedbackID, r.Retryable
	switch r.Status {
	case groundtruth.StatusAccepted:
		into.Status = millracev1.FeedbackStatus_FEEDBACK_STATUS_ACCEPTED
	case groundtruth.StatusDuplicate:
		into.Status = millracev1.FeedbackStatus_FEEDBACK_STATUS_DUPLICATE
	}
	if r.Err != nil {
		into.Error = r.Err.Error()
	}
}

// fromWire is feedback as the collector has it.
func fromWire(m *millracev1.FeedbackItem) (groundtruth.Feedback, error) {
	if m == nil {
		return groundtruth.Feedback{}, fmt.Errorf("%w: item: is absent", groundtruth.ErrInvalid)
	}
	f := groundtruth.Feedback{ID: m.FeedbackId, PredictionID: m.PredictionId, Entity: m.Entity, Name: m.Name, Source: m.Source,
		EventTime: m.EventTime, Reason: m.Reason}
	if m.Weight != nil {
		f.Weight, f.Weighted = *m.Weight, true
	}
	if m.Kind < 0 || int(m.Kind) > int(groundtruth.KindUser) {
		return f, fmt.Errorf("%w: kind: %d is none", groundtruth.ErrInvalid, m.Kind)
	}
	f.Kind = groundtruth.Kind(m.Kind) // the numbers are the same; a test holds them to it
	switch v := m.Value.GetKind().(type) {
	case *millracev1.Value_Bool:
		f.Value = groundtruth.Bool(v.Bool)
	case *millracev1.Value_Number:
		f.Value = groundtruth.Number(v.Number)
	case *millracev1.Value_Integer:
		f.Value = groundtruth.Number(float64(v.Integer))
		if whole := int64(f.Value.Number); whole != v.Integer {
			return f, fmt.Errorf("%w: value: %d is too large to be kept exactly", groundtruth.ErrInvalid, v.Integer)
		}
	case *millracev1.Value_Text:
		if f.Value = groundtruth.Text(v.Text); m.Class {
			f.Value = groundtruth.Class(v.Text)
		}
	}
	return f, nil
}

// ToWire is feedback as the wire has it, for a client.
func ToWire(f *groundtruth.Feedback) *millracev1.FeedbackItem {
	m := &millracev1.FeedbackItem{FeedbackId: f.ID, PredictionId: f.PredictionID, Entity: f.Entity, Name: f.Name,
		Kind: millracev1.FeedbackKind(f.Kind), Source: f.Source, EventTime: f.EventTime, Reason: f.Reason}
	if f.Weighted {
		weight := f.Weight
		m.Weight = &weight
	}
	switch f.Value.Type {
	case groundtruth.TypeBool:
		m.Value = &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: f.Value.Number != 0}}
	case groundtruth.TypeNumber:
		m.Value = &millracev1.Value{Kind: &millracev1.Value_Number{Number: f.Value.Number}}
	case groundtruth.TypeText, groundtruth.TypeClass:
		m.Value = &millracev1.Value{Kind: &millracev1.Value_Text{Text: f.Value.Text}}
		m.Class = f.Value.Type == groundtruth.TypeClass
	}
	return m
}

// GetOutcome implements the call.
func (s *Service) GetOutcome(ctx context.Context, q *millracev1.GetOutcomeRequest) (*millracev1.GetOutcomeResponse, error) {
	found, truncated, err := s.collector.Find(ctx, groundtruth.Find{PredictionID: q.PredictionId, FeedbackID: q.FeedbackId, From: q.From, To: q.To, AsOf: q.AsOf})
	if err != nil {
		return nil, status.Error(codeOf(err), err.Error())
	}
	answer := &millracev1.GetOutcomeResponse{Truncated: truncated}
	for i := range found {
		answer.Versions = append(answer.Versions, &millracev1.OutcomeVersion{Item: ToWire(&found[i].Feedback), ArrivalTime: found[i].Arrival, Sequence: found[i].Sequence})
	}
	return answer, nil
}

// codeOf is the gRPC code of an error of the collector.
func codeOf(err error) codes.Code {
	switch {
	case errors.Is(err, groundtruth.ErrInvalid), errors.Is(err, groundtruth.ErrTooMany):
		return codes.InvalidArgument
	case errors.Is(err, groundtruth.ErrConflict):
		return codes.AlreadyExists
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Unavailable
}
