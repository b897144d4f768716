// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// feastBodyMax is the largest body of a read over HTTP, in bytes.
const feastBodyMax = 16 << 20

// feastRequest is the body of POST /get-online-features, as Feast's feature server
// takes it (docs.feast.dev, reference/feature-servers/python-feature-server).
type feastRequest struct {
	FeatureService   string                       `json:"feature_service"`
	Features         []string                     `json:"features"`
	Entities         map[string][]json.RawMessage `json:"entities"`
	RequestContext   map[string][]json.RawMessage `json:"request_context"`
	FullFeatureNames bool                         `json:"full_feature_names"`
}

// Routes adds POST /get-online-features to a mux.
func (s *Service) Routes(mux interface{ Handle(string, http.Handler) }) {
	mux.Handle("POST /get-online-features", http.HandlerFunc(s.feast))
}

func (s *Service) feast(w http.ResponseWriter, q *http.Request) {
	body, err := s.feastRead(w, q)
	if err != nil {
		writeFeastError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a client that is gone needs no answer
}

func (s *Service) feastRead(w http.ResponseWriter, q *http.Request) ([]byte, error) {
	var request feastRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, q.Body, feastBodyMax))
	if err := decoder.Decode(&request); err != nil {
		return nil, invalid(fmt.Errorf("body: %w", err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid(errors.New("body: more than one JSON value"))
	}
	assembler, err := s.assembler(request.FeatureService, request.Features)
	if err != nil {
		return nil, err
	}
	c := s.calls.Get().(*call)
	defer s.calls.Put(c)
	if err := request.bind(assembler.Service(), &c.in); err != nil {
		return nil, invalid(err)
	}
	c.vectors.WantEventTimes = true
	if err := s.store.Read(q.Context(), assembler, &c.in, &c.vectors); err != nil {
		return nil, err
	}
	body := appendFeast(nil, assembler, &c.in, &c.vectors, request.FullFeatureNames)
	clear(c.in.Keys)
	clear(c.in.Request)
	return body, nil
}

// bind makes columns of the JSON lists. Feast's clients send request data among the
// entities; request_context is taken too.
func (r *feastRequest) bind(service *definition.Service, in *plan.Inputs) error {
	*in = plan.Inputs{Keys: in.Keys[:0], Request: in.Request[:0]}
	taken := 0
	find := func(name string) []json.RawMessage {
		for _, from := range []map[string][]json.RawMessage{r.Entities, r.RequestContext} {
			if list, ok := from[name]; ok {
				taken++
				in.Rows = max(in.Rows, len(list))
				return list
			}
		}
		return nil
	}
	var lists [][]json.RawMessage
	for _, e := range service.Entities {
		list := find(e.Key)
		if list == nil {
			return fmt.Errorf("entities.%s: is required", e.Key)
		}
		lists = append(lists, list)
		in.Keys = append(in.Keys, column.Column{Name: e.Key, Type: e.Type})
	}
	for _, f := range service.Request {
		lists = append(lists, find(f.Name))
		in.Request = append(in.Request, column.Column{Name: f.Name, Type: f.Type})
	}
	if taken < len(r.Entities)+len(r.RequestContext) {
		return r.unknown(service)
	}
	for i := range in.Keys {
		if err := parseList("entities", lists[i], &in.Keys[i], in.Rows); err != nil {
			return err
		}
	}
	for i := range in.Request {
		list := lists[len(in.Keys)+i]
		f := &service.Request[i]
		if list == nil && f.Required {
			return fmt.Errorf("entities.%s: is required", f.Name)
		}
		if list != nil {
			if err := parseList("entities", list, &in.Request[i], in.Rows); err != nil {
				return err
			}
		}
		if err := checkRequest(f, &in.Request[i], in.Rows); err != nil {
			return err
		}
	}
	return nil
}

// unknown names a field that the service does not take.
func (r *feastRequest) unknown(service *definition.Service) error {
	for _, from := range []map[string][]json.RawMessage{r.Entities, r.RequestContext} {
		for name := range from {
			key := slices.ContainsFunc(service.Entities, func(e *definition.Entity) bool { return e.Key == name })
			field := slices.ContainsFunc(service.Request, func(f definition.Field) bool { return f.Name == name })
			if !key && !field {
				return fmt.Errorf("entities.%s: no such entity key or request field", name)
			}
		}
	}
	return errors.New("a field is given both in entities and in request_context")
}

// parseList makes a column of a list of JSON values.
func parseList(path string, list []json.RawMessage, c *column.Column, rows int) error {
	if len(list) != rows {
		return fmt.Errorf("%s.%s: has %d values, others have %d", path, c.Name, len(list), rows)
	}
	for i, raw := range list {
		if err := parseValue(string(raw), c); err != nil {
			return fmt.Errorf("%s.%s[%d]: %w", path, c.Name, i, err)
		}
	}
	return nil
}

func parseValue(raw string, c *column.Column) error {
	if raw == "null" {
		c.AppendNull()
		return nil
	}
	wrong := fmt.Errorf("%.64s is not of type %s", raw, c.Type)
	switch c.Type {
	case column.String:
		var text string
		if json.Unmarshal([]byte(raw), &text) != nil {
			return wrong
		}
		c.AppendText(text)
	case column.Bool:
		switch raw {
		case "true":
			c.AppendNumber(1)
		case "false":
			c.AppendNumber(0)
		default:
			return wrong
		}
	case column.Float64:
		x, err := strconv.ParseFloat(raw, 64)
		if err != nil {
			return wrong
		}
		c.AppendNumber(x)
	case column.Int64:
		x, err := parseInteger(raw)
		if err != nil {
			return wrong
		}
		c.AppendInt(x)
	case column.Timestamp:
		var text string
		if json.Unmarshal([]byte(raw), &text) == nil {
			t, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return fmt.Errorf("%.64q is not a time; write 2006-01-02T15:04:05Z or microseconds since 1970", text)
			}
			c.AppendInt(t.UnixMicro())
			return nil
		}
		x, err := parseInteger(raw)
		if err != nil {
			return wrong
		}
		c.AppendInt(x)
	}
	return nil
}

// parseInteger also takes whole numbers written as floats, which some clients send.
func parseInteger(raw string) (int64, error) {
	if x, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return x, nil
	}
	x, err := strconv.ParseFloat(raw, 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) > column.IntegerMax {
		return 0, errors.New("not a whole number")
	}
	return int64(x), nil
}

var feastStatus = [...]string{
	window.NotFound: `"NOT_FOUND"`, window.Present: `"PRESENT"`, window.Null: `"NULL_VALUE"`, window.OutsideMaxAge: `"OUTSIDE_MAX_AGE"`,
}

// appendFeast appends the answer: names, and for each a column of values, statuses
// and event times; keys first, as Feast has them.
func appendFeast(b []byte, a *plan.Assembler, in *plan.Inputs, v *plan.Vectors, full bool) []byte {
	service := a.Service()
	b = append(b, `{"metadata":{"feature_names":[`...)
	for i := range in.Keys {
		b = append(appendComma(b, i), quote(in.Keys[i].Name)...)
	}
	for i := range service.Features {
		b = append(appendComma(b, len(in.Keys)+i), quote(feastName(service.Features[i].Name, full))...)
	}
	b = append(b, `]},"results":[`...)
	for i := range in.Keys {
		b = appendFeastColumn(appendComma(b, i), v.Rows, func(b []byte, row int) []byte { return appendKeyValue(b, &in.Keys[i], row) },
			func(row int) (window.Status, int64) { return window.Present, 0 })
	}
	text := 0
	for i := range service.Features {
		f, place := &service.Features[i], text
		if f.Type == column.String {
			text++
		}
		b = appendFeastColumn(appendComma(b, len(in.Keys)+i), v.Rows, func(b []byte, row int) []byte {
			if f.Type == column.String {
				if v.StatusRow(row)[i] != window.Present && !f.HasDefault {
					return append(b, "null"...)
				}
				return append(b, quote(v.TextRow(row)[place])...)
			}
			return appendNumber(b, f.Type, v.Row(row)[i])
		}, func(row int) (window.Status, int64) { return v.StatusRow(row)[i], v.EventTimes[row*v.Width+i] })
	}
	return append(b, "]}"...)
}

func appendFeastColumn(b []byte, rows int, value func([]byte, int) []byte, about func(int) (window.Status, int64)) []byte {
	b = append(b, `{"values":[`...)
	for row := range rows {
		b = value(appendComma(b, row), row)
	}
	b = append(b, `],"statuses":[`...)
	for row := range rows {
		st, _ := about(row)
		b = append(appendComma(b, row), feastStatus[st]...)
	}
	b = append(b, `],"event_timestamps":[`...)
	for row := range rows {
		_, t := about(row)
		b = append(appendComma(b, row), '"')
		b = append(time.UnixMicro(t).UTC().AppendFormat(b, time.RFC3339Nano), '"')
	}
	return append(b, "]}"...)
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func appendKeyValue(b []byte, c *column.Column, row int) []byte {
	switch {
	case c.Null(row):
		return append(b, "null"...)
	case c.Type == column.String:
		return append(b, quote(c.Texts[row])...)
	}
	return strconv.AppendInt(b, c.Ints[row], 10)
}

func appendNumber(b []byte, t column.Type, x float64) []byte {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return append(b, "null"...) // JSON has no such numbers
	case t == column.Bool:
		return strconv.AppendBool(b, x != 0)
	case (t == column.Int64 || t == column.Timestamp) && math.Abs(x) < 1<<63: // what an expression yields may be larger
		return strconv.AppendInt(b, int64(x), 10)
	}
	return strconv.AppendFloat(b, x, 'g', -1, 64)
}

// feastName is the name of a feature in an answer: view__feature in full, or what is
// behind the view.
func feastName(name string, full bool) string {
	view, feature, single := strings.Cut(name, ":")
	switch {
	case !single:
		return name
	case full:
		return view + "__" + feature
	}
	return feature
}

func quote(text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		return []byte(`""`) // a string always marshals
	}
	return quoted
}

var feastCodes = map[codes.Code]int{
	codes.InvalidArgument: http.StatusUnprocessableEntity, codes.NotFound: http.StatusNotFound,
	codes.ResourceExhausted: http.StatusTooManyRequests, codes.DeadlineExceeded: http.StatusGatewayTimeout,
}

// writeFeastError answers as Feast's server does: the text under "detail".
func writeFeastError(w http.ResponseWriter, err error) {
	code, known := feastCodes[codeOf(err)]
	if !known {
		code = http.StatusServiceUnavailable
	}
	body, _ := json.Marshal(map[string]string{"detail": err.Error()}) // strings always marshal
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}
