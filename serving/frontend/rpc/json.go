// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// bodyBytesMax is the largest body of a request.
const bodyBytesMax = 1 << 20

// jsonRequest is the body of POST /v1/decisions/{decision}.
type jsonRequest struct {
	Facts          map[string]json.RawMessage `json:"facts"`
	IdempotencyKey string                     `json:"idempotency_key"`
	RequestID      string                     `json:"request_id"`
	Explain        bool                       `json:"explain"`
}

// jsonAnswer is the body of an answer. A score that is not there is null.
type jsonAnswer struct {
	PredictionID    string              `json:"prediction_id"`
	RequestID       string              `json:"request_id,omitempty"`
	Decision        string              `json:"decision"`
	Score           *float64            `json:"score"`
	Reasons         []jsonReason        `json:"reasons"`
	Model           string              `json:"model,omitempty"`
	ModelVersion    int64               `json:"model_version,omitempty"`
	PolicyVersion   string              `json:"policy_version"`
	FeaturesVersion string              `json:"features_version"`
	Arm             string              `json:"arm,omitempty"`
	Propensity      float64             `json:"propensity"`
	Segment         string              `json:"segment,omitempty"`
	Rule            string              `json:"rule,omitempty"`
	Degraded        bool                `json:"degraded"`
	DegradedReason  string              `json:"degraded_reason,omitempty"`
	Fallback        string              `json:"fallback,omitempty"`
	Repeated        bool                `json:"repeated,omitempty"`
	Features        map[string]*float64 `json:"features,omitempty"`
	FeaturesNanos   int64               `json:"features_nanos"`
	ModelNanos      int64               `json:"model_nanos"`
	TotalNanos      int64               `json:"total_nanos"`
	// Contributions, by feature, and the base sum to the model's raw score.
	Contributions    map[string]*float64 `json:"contributions,omitempty"`
	ContributionBase *float64            `json:"contribution_base,omitempty"`
	Unattributed     string              `json:"unattributed,omitempty"`
}

type jsonReason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Routes adds the JSON calls to a mux.
func (s *Service) Routes(mux access.Mux) {
	mux.Handle("POST /v1/decisions/{decision}", http.HandlerFunc(s.jsonDecide))
	mux.Handle("GET /v1/decisions", http.HandlerFunc(s.jsonList))
}

func (s *Service) jsonDecide(w http.ResponseWriter, q *http.Request) {
	answer, err := s.decideJSON(w, q)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Service) decideJSON(w http.ResponseWriter, q *http.Request) (*jsonAnswer, error) {
	request, err := s.frontend.NewRequest(q.PathValue("decision"))
	if err != nil {
		return nil, err
	}
	defer request.Release()
	var body jsonRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, q.Body, bodyBytesMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return nil, fmt.Errorf("%w: body: %w", frontend.ErrInvalid, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: body: more than one JSON value", frontend.ErrInvalid)
	}
	if body.IdempotencyKey == "" {
		body.IdempotencyKey = q.Header.Get("Idempotency-Key")
	}
	if err := body.bind(request); err != nil {
		return nil, err
	}
	answer, err := s.frontend.Decide(q.Context(), request)
	if err != nil {
		return nil, err
	}
	return newJSONAnswer(request, answer, body.RequestID), nil
}

// bind sets the facts.
func (b *jsonRequest) bind(request *frontend.Request) error {
	request.Explain = b.Explain
	if err := request.SetKey(b.IdempotencyKey); err != nil {
		return err
	}
	for name, raw := range b.Facts {
		if err := bindJSON(request, name, raw); err != nil {
			return err
		}
	}
	return nil
}

func bindJSON(request *frontend.Request, name string, raw json.RawMessage) error {
	switch text := string(bytes.TrimSpace(raw)); {
	case text == "null":
		return request.SetNull(name)
	case text == "true" || text == "false":
		return request.SetBool(name, text == "true")
	case strings.HasPrefix(text, `"`):
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			return fmt.Errorf("%w: facts.%s: %w", frontend.ErrInvalid, name, err)
		}
		return request.SetTextOrTime(name, value)
	default:
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return request.SetInt(name, i)
		}
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%w: facts.%s: %.64s is no number, text, bool or null", frontend.ErrInvalid, name, text)
		}
		return request.SetNumber(name, x)
	}
}

func newJSONAnswer(request *frontend.Request, a *frontend.Answer, requestID string) *jsonAnswer {
	out := &jsonAnswer{
		PredictionID: a.PredictionID, RequestID: requestID, Decision: a.Decision, Score: finite(a.Score), Reasons: []jsonReason{},
		Model: a.Model, ModelVersion: a.ModelVersion, PolicyVersion: a.PolicyVersion, FeaturesVersion: a.FeaturesVersion,
		Arm: a.Arm, Propensity: a.Propensity, Segment: a.Segment, Rule: a.Rule,
		Degraded: a.Degraded, DegradedReason: a.DegradedReason, Fallback: a.Fallback, Repeated: a.Repeated,
		FeaturesNanos: int64(a.FeaturesTime), ModelNanos: int64(a.ModelTime), TotalNanos: int64(a.TotalTime),
	}
	for _, r := range a.Reasons {
		out.Reasons = append(out.Reasons, jsonReason{Code: r.Code, Text: r.Text})
	}
	if !request.Explain {
		return out
	}
	out.Features, out.Contributions, out.Unattributed = byFeature(request, a.Values), byFeature(request, a.Contributions), a.Unattributed
	if out.Contributions != nil {
		out.ContributionBase = finite(a.Base)
	}
	return out
}

// byFeature names the values of a vector; without any it is nil.
func byFeature(request *frontend.Request, values []float64) map[string]*float64 {
	if len(values) == 0 {
		return nil
	}
	named := make(map[string]*float64, len(values))
	for i, f := range request.Policy().Service.Features {
		named[f.Name] = finite(values[i])
	}
	return named
}

// finite is nil for what JSON has no number for.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func (s *Service) jsonList(w http.ResponseWriter, q *http.Request) {
	list, err := s.ListDecisions(q.Context(), &millracev1.ListDecisionsRequest{})
	if err != nil {
		writeError(w, err)
		return
	}
	type fact struct {
		Name     string `json:"name"`
		Type     string `json:"type"`
		Required bool   `json:"required"`
	}
	type decision struct {
		Name          string   `json:"name"`
		Description   string   `json:"description,omitempty"`
		Service       string   `json:"service"`
		Model         string   `json:"model,omitempty"`
		Decisions     []string `json:"decisions"`
		Arms          []string `json:"arms,omitempty"`
		PolicyVersion string   `json:"policy_version"`
		Facts         []fact   `json:"facts"`
	}
	all := []decision{}
	for _, d := range list.Decisions {
		one := decision{Name: d.Name, Description: d.Description, Service: d.Service, Model: d.Model, Decisions: d.Decisions, Arms: d.Arms, PolicyVersion: d.PolicyVersion}
		for _, f := range d.Facts {
			one.Facts = append(one.Facts, fact{Name: f.Name, Type: f.Type, Required: f.Required})
		}
		all = append(all, one)
	}
	writeJSON(w, http.StatusOK, map[string]any{"decisions": all})
}

var httpCodes = map[codes.Code]int{
	codes.InvalidArgument: http.StatusBadRequest, codes.NotFound: http.StatusNotFound,
	codes.Unavailable: http.StatusServiceUnavailable, codes.DeadlineExceeded: http.StatusGatewayTimeout,
	codes.Canceled: 499, // as some proxies have it: the client closed the request
}

func writeError(w http.ResponseWriter, err error) {
	status, known := httpCodes[codeOf(err)]
	if !known {
		status = http.StatusInternalServerError
	}
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON form"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}
