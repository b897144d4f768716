// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// bodyBytesMax is the largest body of a request.
const bodyBytesMax = 8 << 20

// Routes adds the JSON calls to a mux. Whoever reaches the port may make them, but for a
// browser that is on a page of another site: it would say what that page wants.
func (s *Service) Routes(mux interface{ Handle(string, http.Handler) }) {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusForbidden, map[string]string{"error": "the request comes from a page of another site"})
	}))
	mux.Handle("POST /v1/feedback", guard.Handler(http.HandlerFunc(s.jsonSubmit)))
	mux.Handle("GET /v1/feedback", http.HandlerFunc(s.jsonFind))
	mux.Handle("POST /seldon/feedback", guard.Handler(http.HandlerFunc(s.seldonSubmit)))
}

// jsonResult is what became of an item.
type jsonResult struct {
	FeedbackID string `json:"feedback_id,omitempty"`
	Status     string `json:"status"`
	Error      string `json:"error,omitempty"`
	Retryable  bool   `json:"retryable,omitempty"`
}

// parsed is an item of a body, or what is wrong with it.
type parsed struct {
	feedback groundtruth.Feedback
	err      error
}

func (s *Service) jsonSubmit(w http.ResponseWriter, q *http.Request) {
	body, err := readBody(w, q)
	if err != nil {
		writeError(w, err)
		return
	}
	items, single, err := parseBody(body)
	if err != nil {
		writeError(w, err)
		return
	}
	results, err := s.take(q, items)
	if err != nil {
		writeError(w, err)
		return
	}
	status := http.StatusOK
	out := make([]jsonResult, len(results))
	for i, r := range results {
		out[i] = jsonResult{FeedbackID: r.FeedbackID, Status: statusNames[r.Status]}
		if r.Err != nil {
			out[i].Error, out[i].Retryable, status = r.Err.Error(), r.Retryable, http.StatusMultiStatus
		}
	}
	if single {
		if results[0].Err != nil {
			status = httpStatus(results[0].Err)
		}
		writeJSON(w, status, out[0])
		return
	}
	writeJSON(w, status, map[string]any{"results": out})
}

var statusNames = [...]string{groundtruth.StatusRefused: "refused", groundtruth.StatusAccepted: "accepted", groundtruth.StatusDuplicate: "duplicate"}

// take submits the items that could be read.
func (s *Service) take(q *http.Request, items []parsed) ([]groundtruth.Result, error) {
	results := make([]groundtruth.Result, len(items))
	var good []groundtruth.Feedback
	var places []int
	for i := range items {
		if items[i].err != nil {
			results[i] = groundtruth.Result{FeedbackID: items[i].feedback.ID, Err: items[i].err}
			continue
		}
		good, places = append(good, items[i].feedback), append(places, i)
	}
	taken, err := s.collector.Submit(q.Context(), good)
	if err != nil {
		return nil, err
	}
	for n, i := range places {
		results[i] = taken[n]
	}
	return results, nil
}

func readBody(w http.ResponseWriter, q *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, bodyBytesMax))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, fmt.Errorf("%w: body: has more than %d bytes; send several batches", groundtruth.ErrTooMany, bodyBytesMax)
	} else if err != nil {
		return nil, fmt.Errorf("%w: body: %w", groundtruth.ErrInvalid, err)
	}
	return body, nil
}

// parseBody reads a list, an object with items, or a single piece.
func parseBody(body []byte) (items []parsed, single bool, err error) {
	var raw []json.RawMessage
	switch body = bytes.TrimSpace(body); {
	case len(body) > 0 && body[0] == '[':
		err = json.Unmarshal(body, &raw)
	default:
		var fields map[string]json.RawMessage
		if err = json.Unmarshal(body, &fields); err != nil {
			break
		}
		list, ok := fields["items"]
		if !ok {
			raw, single = []json.RawMessage{body}, true
			break
		}
		if len(fields) > 1 {
			return nil, false, fmt.Errorf("%w: body: items stands alone", groundtruth.ErrInvalid)
		}
		err = json.Unmarshal(list, &raw)
	}
	var other *json.UnmarshalTypeError
	if errors.As(err, &other) {
		return nil, false, fmt.Errorf("%w: body: is a JSON %s; send an object, a list, or {\"items\": [...]}", groundtruth.ErrInvalid, other.Value)
	} else if err != nil {
		return nil, false, fmt.Errorf("%w: body: %w", groundtruth.ErrInvalid, err)
	}
	if err := tooMany(len(raw)); err != nil {
		return nil, false, err
	}
	items = make([]parsed, len(raw))
	for i := range raw {
		items[i].feedback, items[i].err = groundtruth.ParseJSON(raw[i])
	}
	return items, single, nil
}

// jsonVersion is a version of feedback.
type jsonVersion struct {
	Feedback    json.RawMessage `json:"feedback"`
	ArrivalTime string          `json:"arrival_time"`
	Sequence    uint64          `json:"sequence"`
}

func (s *Service) jsonFind(w http.ResponseWriter, q *http.Request) {
	find := groundtruth.Find{PredictionID: q.FormValue("prediction_id"), FeedbackID: q.FormValue("feedback_id")}
	for name, into := range map[string]*int64{"from": &find.From, "to": &find.To, "as_of": &find.AsOf} {
		if err := timeParameter(q, name, into); err != nil {
			writeError(w, err)
			return
		}
	}
	found, truncated, err := s.collector.Find(q.Context(), find)
	if err != nil {
		writeError(w, err)
		return
	}
	versions := make([]jsonVersion, len(found))
	for i := range found {
		text, err := groundtruth.AppendJSON(nil, &found[i].Feedback)
		if err != nil {
			writeError(w, err)
			return
		}
		versions[i] = jsonVersion{Feedback: text, ArrivalTime: time.UnixMicro(found[i].Arrival).UTC().Format(time.RFC3339Nano), Sequence: found[i].Sequence}
	}
	writeJSON(w, http.StatusOK, map[string]any{"versions": versions, "truncated": truncated})
}

func timeParameter(q *http.Request, name string, into *int64) error {
	text := q.FormValue(name)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("%w: %s: %.64q is neither RFC 3339 nor microseconds", groundtruth.ErrInvalid, name, text)
		}
		n = t.UnixMicro()
	}
	*into = n
	return nil
}

func httpStatus(err error) int {
	if errors.Is(err, groundtruth.ErrTooMany) {
		return http.StatusRequestEntityTooLarge
	}
	switch codeOf(err) {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.AlreadyExists:
		return http.StatusConflict
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Canceled:
		return 499 // as some proxies have it: the client closed the request
	}
	return http.StatusServiceUnavailable
}

func writeError(w http.ResponseWriter, err error) {
	writeJSON(w, httpStatus(err), map[string]string{"error": err.Error()})
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
