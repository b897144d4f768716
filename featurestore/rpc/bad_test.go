// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	pb "github.com/millrace-ml/millrace/proto/millrace/v1"
)

const badFeatures = `
entities:
  user: {key: user_id, type: int64}
  shop: {key: shop_id, type: string}
sources:
  payments:
    push: true
    id: payment_id
    timestamp: at
    future_max: 5s
    fields:
      payment_id: string
      at: timestamp
      user_id: int64
      shop_id: string
      amount: {type: float64, min: 0, required: true}
      units: int64
      channel: {type: string, values: [pos, web]}
      express: bool
      fraud: {type: bool, late: true, known_after: 7d}
  plain:
    push: true
    timestamp: at
    fields: {at: timestamp, user_id: int64}
  history:
    timestamp: at
    fields: {at: timestamp, user_id: int64}
    inputs: [{format: csv, path: none.csv}]
views:
  user:
    entity: user
    source: payments
    features:
      payments: {function: count, window: 7d}
      units: {function: sum, field: units, window: 7d}
      last: {function: last_k, k: 2, field: amount, window: 7d}
  shop:
    entity: shop
    source: payments
    delay: 7d
    features: {risk: {function: mean, field: fraud, window: 7d, default: 0}}
services:
  both:
    request: {amount: {type: float64, required: true, max: 1000}, at: timestamp}
    time: at
    features: [amount, user.payments, shop.risk]
`

// badNow is the clock of the tests.
var badNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newService(t *testing.T) *Service {
	t.Helper()
	c, err := definition.Parse("features.yaml", []byte(badFeatures))
	if err != nil {
		t.Fatal(err)
	}
	s, err := featurestore.Open(t.Context(), featurestore.Options{Dir: t.TempDir(), Catalog: c, Now: func() time.Time { return badNow },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Log: offline.Options{CompactEvery: -1}, Online: online.Options{Shards: 4, CheckpointEvery: -1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return New(s)
}

func numbers(name string, v ...float64) *pb.Column { return &pb.Column{Name: name, Numbers: v} }
func integers(name string, v ...int64) *pb.Column  { return &pb.Column{Name: name, Integers: v} }
func texts(name string, v ...string) *pb.Column    { return &pb.Column{Name: name, Texts: v} }

// push is a push of one good payment, with some columns in place of those.
func push(columns ...*pb.Column) *pb.PushRequest {
	q := &pb.PushRequest{Source: "payments"}
	good := []*pb.Column{texts("payment_id", "1"), integers("at", badNow.UnixMicro()), integers("user_id", 7), texts("shop_id", "s"), numbers("amount", 10)}
	for _, g := range good {
		replaced := false
		for _, c := range columns {
			replaced = replaced || c.Name == g.Name
		}
		if !replaced {
			q.Columns = append(q.Columns, g)
		}
	}
	q.Columns = append(q.Columns, columns...)
	return q
}

func many(n int) *pb.PushRequest {
	q := &pb.PushRequest{Source: "plain", Columns: []*pb.Column{{Name: "at"}}}
	for range n {
		q.Columns[0].Integers = append(q.Columns[0].Integers, badNow.UnixMicro())
		q.Ids = append(q.Ids, "x")
	}
	return q
}

// TestBadPush has all that can be wrong with a push as a whole.
func TestBadPush(t *testing.T) {
	s := newService(t)
	for name, c := range map[string]struct {
		q    *pb.PushRequest
		code codes.Code
		want string
	}{
		"unknown source": {&pb.PushRequest{Source: "nothing"}, codes.NotFound, `source "nothing": not defined`},
		"no push source": {&pb.PushRequest{Source: "history"}, codes.InvalidArgument, "source history: invalid request: it takes no pushes; set push: true"},
		"unknown field":  {push(numbers("colour", 1)), codes.InvalidArgument, "columns.colour: no such field"},
		"twice":          {push(numbers("amount", 1), numbers("amount", 1)), codes.InvalidArgument, "columns.amount: given twice"},
		"two kinds":      {push(&pb.Column{Name: "amount", Numbers: []float64{1}, Integers: []int64{1}}), codes.InvalidArgument, "columns.amount: has values of 2 kinds"},
		"wrong kind":     {push(texts("amount", "10")), codes.InvalidArgument, "columns.amount: has no numbers, the type is float64"},
		"text as id":     {push(integers("payment_id", 1)), codes.InvalidArgument, "columns.payment_id: has no texts, the type is string"},
		"number as bool": {push(numbers("express", 1)), codes.InvalidArgument, "columns.express: has no bools, the type is bool"},
		"half a unit":    {push(numbers("units", 1.5)), codes.InvalidArgument, "columns.units[0]: 1.5 is not a whole number"},
		"NaN as integer": {push(numbers("units", math.NaN())), codes.InvalidArgument, "columns.units[0]: NaN is not a whole number"},
		"lengths":        {push(numbers("amount", 1, 2)), codes.InvalidArgument, "columns.payment_id: has 1 values for 2 rows"},
		"empty column":   {push(&pb.Column{Name: "units"}), codes.InvalidArgument, "columns.units: has no values; leave the column out if all are null"},
		"null row":       {push(&pb.Column{Name: "units", Integers: []int64{1}, Nulls: []uint32{1}}), codes.InvalidArgument, "columns.units: nulls: row 1 of 1"},
		"too many nulls": {push(&pb.Column{Name: "units", Integers: []int64{1}, Nulls: []uint32{0, 0}}), codes.InvalidArgument, "columns.units: nulls: 2 of them for 1 rows"},
		"too many":       {many(featurestore.EventsMax + 1), codes.InvalidArgument, "100001 events, at most 100000 at once"},
		"no ids":         {&pb.PushRequest{Source: "plain", Columns: []*pb.Column{integers("at", 1)}}, codes.InvalidArgument, "ids: 0 of them for 1 events; the source has no id field"},
		"a nil column":   {&pb.PushRequest{Source: "plain", Columns: []*pb.Column{nil}}, codes.InvalidArgument, "columns.: no such field"},
	} {
		_, err := s.Push(t.Context(), c.q)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.code, c.want)
		}
	}
}

// TestBadEvents has what can be wrong with one event; the others of the push are taken.
func TestBadEvents(t *testing.T) {
	s := newService(t)
	now := badNow.UnixMicro()
	hour := time.Hour.Microseconds()
	for name, c := range map[string]struct {
		column    *pb.Column
		field     string
		want      string
		retryable bool
	}{
		"null":        {&pb.Column{Name: "amount", Numbers: []float64{0, 1}, Nulls: []uint32{0}}, "columns.amount[0]", "is required", false},
		"NaN":         {numbers("amount", math.NaN(), 1), "columns.amount[0]", "is required", false},
		"infinite":    {numbers("amount", math.Inf(1), 1), "columns.amount[0]", "is infinite", false},
		"minimum":     {numbers("amount", -1, 1), "columns.amount[0]", "-1 is below the minimum of 0", false},
		"values":      {texts("channel", "fax", "web"), "columns.channel[0]", `"fax" is not one of ["pos" "web"]`, false},
		"beyond 2^53": {integers("units", 1<<53+1, 1), "columns.units", "9007199254740993 is beyond 2^53", false},
		"no id":       {texts("payment_id", "", "b"), "columns.payment_id[0]", "an id has 1 to 256 bytes", false},
		"huge id":     {texts("payment_id", strings.Repeat("x", 257), "b"), "columns.payment_id[0]", "an id has 1 to 256 bytes", false},
		"null id":     {&pb.Column{Name: "payment_id", Texts: []string{"", "b"}, Nulls: []uint32{0}}, "columns.payment_id[0]", "is required: it is the id of the event", false},
		"null time":   {&pb.Column{Name: "at", Integers: []int64{0, now}, Nulls: []uint32{0}}, "columns.at[0]", "is required: it is the time of the event", false},
		"before 1970": {integers("at", -1, now), "columns.at[0]", "lies before 1970", false},
		"far past":    {integers("at", 1, now), "columns.at[0]", "in the past; no view reaches further back than", false},
		"soon":        {integers("at", now+hour/2, now), "columns.at[0]", "lies 30m0s in the future; future_max of the source allows 5s", true},
		"far future":  {integers("at", math.MaxInt64, now), "columns.at[0]", "in the future; future_max of the source allows 5s", false},
		"bad UTF-8":   {texts("shop_id", "\xff\xfe", "s"), "", "UTF-8", false},
		"a long shop": {texts("shop_id", strings.Repeat("s", 1<<16), "s"), "", "shop, entity " + strings.Repeat("s", 64) + ": invalid event: a key of 65539 bytes", false},
	} {
		q := push(texts("payment_id", name, name+" b"), integers("at", now, now), integers("user_id", 7, 7), texts("shop_id", "s", "s"), numbers("amount", 1, 1))
		found := false
		for i := range q.Columns {
			if q.Columns[i].Name == c.column.Name {
				q.Columns[i], found = c.column, true
			}
		}
		if !found {
			q.Columns = append(q.Columns, c.column)
		}
		answer, err := s.Push(t.Context(), q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if answer.Accepted != 1 || len(answer.Errors) != 1 {
			t.Errorf("%s: %v", name, answer)
			continue
		}
		if e := answer.Errors[0]; e.Row != 0 || e.Field != c.field || !strings.Contains(e.Message, c.want) || e.Retryable != c.retryable {
			t.Errorf("%s: %v, want %s %q", name, e, c.field, c.want)
		}
	}
}

// get is a read of one row, with some columns in place of the good ones.
func get(columns ...*pb.Column) *pb.GetRequest {
	q := &pb.GetRequest{Service: "both"}
	for _, g := range []*pb.Column{integers("user_id", 7), texts("shop_id", "s"), numbers("amount", 10)} {
		for _, c := range columns {
			if c.Name == g.Name {
				g = c
			}
		}
		if g.Name == "amount" {
			q.Request = append(q.Request, g)
		} else {
			q.Entities = append(q.Entities, g)
		}
	}
	for _, c := range columns {
		if c.Name != "user_id" && c.Name != "shop_id" && c.Name != "amount" {
			q.Request = append(q.Request, c)
		}
	}
	return q
}

func TestBadGet(t *testing.T) {
	s := newService(t)
	rows := make([]int64, featurestore.RowsMax+1)
	for name, c := range map[string]struct {
		q    *pb.GetRequest
		code codes.Code
		want string
	}{
		"unknown service":  {&pb.GetRequest{Service: "nothing"}, codes.NotFound, `feature service "nothing": not defined`},
		"nothing":          {&pb.GetRequest{}, codes.InvalidArgument, "name a feature service or features as view:feature"},
		"both":             {&pb.GetRequest{Service: "both", Features: []string{"user:payments"}}, codes.InvalidArgument, "give a service or features, not both"},
		"no colon":         {&pb.GetRequest{Features: []string{"payments"}}, codes.InvalidArgument, `feature "payments": invalid request: write it as view:feature`},
		"unknown view":     {&pb.GetRequest{Features: []string{"a:b"}}, codes.NotFound, `feature "a:b": no view or lookup is called "a"`},
		"unknown feature":  {&pb.GetRequest{Features: []string{"user:b"}}, codes.NotFound, `feature "user:b": view user has no feature "b"`},
		"beyond k":         {&pb.GetRequest{Features: []string{"user:last_2"}}, codes.NotFound, `view user has no feature "last_2"`},
		"unknown entity":   {&pb.GetRequest{Service: "both", Entities: []*pb.Column{integers("colour", 1)}}, codes.InvalidArgument, "entities.colour: no such field"},
		"no entity":        {&pb.GetRequest{Service: "both", Entities: []*pb.Column{integers("user_id", 1)}, Request: []*pb.Column{numbers("amount", 1)}}, codes.InvalidArgument, "entities.shop_id: is required"},
		"twice":            {&pb.GetRequest{Service: "both", Entities: []*pb.Column{integers("user_id", 1), integers("user_id", 1)}}, codes.InvalidArgument, "entities.user_id: given twice"},
		"wrong type":       {get(texts("user_id", "7")), codes.InvalidArgument, "entities.user_id: has no integers, the type is int64"},
		"lengths":          {get(integers("user_id", 7, 8)), codes.InvalidArgument, "entities.shop_id: has 1 values for 2 rows"},
		"required":         {&pb.GetRequest{Service: "both", Entities: []*pb.Column{integers("user_id", 1), texts("shop_id", "s")}}, codes.InvalidArgument, "request.amount: is required"},
		"null":             {get(numbers("amount", math.NaN())), codes.InvalidArgument, "request.amount[0]: is required"},
		"infinite":         {get(numbers("amount", math.Inf(-1))), codes.InvalidArgument, "request.amount[0]: is infinite"},
		"above":            {get(numbers("amount", 1001)), codes.InvalidArgument, "request.amount[0]: 1001 is above the maximum of 1000"},
		"unknown in it":    {get(numbers("colour", 1)), codes.InvalidArgument, "request.colour: no such field"},
		"half a user":      {get(numbers("user_id", 7.5)), codes.InvalidArgument, "entities.user_id[0]: 7.5 is not a whole number"},
		"too many rows":    {&pb.GetRequest{Features: []string{"user:payments"}, Entities: []*pb.Column{{Name: "user_id", Integers: rows}}}, codes.InvalidArgument, "100001 rows, at most 100000"},
		"too many values":  {&pb.GetRequest{Features: slices.Repeat([]string{"user:payments"}, featurestore.FeaturesMax), Entities: []*pb.Column{{Name: "user_id", Integers: rows[:1+featurestore.ValuesMax/featurestore.FeaturesMax]}}}, codes.InvalidArgument, "4097 rows of 4096 features, at most 16777216 values at once"},
		"a nil column":     {&pb.GetRequest{Service: "both", Entities: []*pb.Column{nil}}, codes.InvalidArgument, "entities.: no such field"},
		"the time is huge": {get(integers("at", math.MaxInt64)), codes.InvalidArgument, "request field at: row 0: the moment 9223372036854775807 is out of range"},
	} {
		_, err := s.Get(t.Context(), c.q)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.code, c.want)
		}
	}
	// A null key is that of no entity.
	answer, err := s.Get(t.Context(), get(&pb.Column{Name: "user_id", Nulls: []uint32{0}}))
	if err == nil && answer.Statuses[1] != byte(pb.FieldStatus_FIELD_STATUS_NOT_FOUND) {
		t.Errorf("null key: %v", answer)
	} else if err != nil && status.Code(err) != codes.InvalidArgument {
		t.Errorf("null key: %v", err)
	}
}

// pushStream is a stream of pushes in memory.
type pushStream struct {
	grpc.ServerStream
	ctx     context.Context
	in      []*pb.PushRequest
	answers []*pb.PushResponse
}

func (s *pushStream) Context() context.Context { return s.ctx }

func (s *pushStream) Recv() (*pb.PushRequest, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	q := s.in[0]
	s.in = s.in[1:]
	return q, nil
}

func (s *pushStream) Send(a *pb.PushResponse) error {
	s.answers = append(s.answers, a)
	return nil
}

// A stream goes on behind a request that is refused and an event that is bad.
func TestStreamGoesOn(t *testing.T) {
	s := newService(t)
	bad := push(texts("amount", "x"))
	bad.RequestId = "bad"
	stream := &pushStream{ctx: t.Context(), in: []*pb.PushRequest{push(), bad, push(numbers("amount", -1)), {Source: "nothing"}, push(texts("payment_id", "2"))}}
	if err := s.StreamPush(stream); err != nil {
		t.Fatal(err)
	}
	if len(stream.answers) != 5 {
		t.Fatalf("%d answers", len(stream.answers))
	}
	a := stream.answers
	if a[0].Accepted != 1 || a[1].RequestId != "bad" || !strings.Contains(a[1].Error, "columns.amount") || len(a[2].Errors) != 1 || a[3].Error == "" || a[4].Accepted != 1 {
		t.Errorf("answers %v", a)
	}
	answer, err := s.Get(t.Context(), get())
	if err != nil || answer.Numbers[1] != 2 {
		t.Errorf("%v, %v", answer, err)
	}
}

// TestBadFeast has what can be wrong with Feast's read over HTTP.
func TestBadFeast(t *testing.T) {
	s := newService(t)
	mux := http.NewServeMux()
	s.Routes(mux)
	ask := func(body io.Reader) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("POST", "/get-online-features", body))
		return w.Code, w.Body.String()
	}
	for name, c := range map[string]struct {
		body string
		code int
		want string
	}{
		"no JSON":          {`{`, 422, "body"},
		"two values":       {`{} {}`, 422, "body"},
		"nothing":          {`{}`, 422, "name a feature service or features"},
		"unknown service":  {`{"feature_service": "nothing", "entities": {"user_id": [1]}}`, 404, `feature service \"nothing\": not defined`},
		"unknown feature":  {`{"features": ["user:b"], "entities": {"user_id": [1]}}`, 404, `view user has no feature`},
		"unknown entity":   {`{"features": ["user:payments"], "entities": {"user_id": [1], "colour": [1]}}`, 422, `entities.colour`},
		"no entity":        {`{"features": ["user:payments"], "entities": {}}`, 422, `entities.user_id`},
		"text for integer": {`{"features": ["user:payments"], "entities": {"user_id": ["x"]}}`, 422, `entities.user_id[0]`},
		"half":             {`{"features": ["user:payments"], "entities": {"user_id": [1.5]}}`, 422, `entities.user_id[0]`},
		"an object":        {`{"features": ["user:payments"], "entities": {"user_id": [{}]}}`, 422, `entities.user_id[0]`},
		"lengths":          {`{"feature_service": "both", "entities": {"user_id": [1, 2], "shop_id": ["s"]}, "request_context": {"amount": [1, 2]}}`, 422, `entities.shop_id`},
		"required":         {`{"feature_service": "both", "entities": {"user_id": [1], "shop_id": ["s"]}}`, 422, `request`},
		"above":            {`{"feature_service": "both", "entities": {"user_id": [1], "shop_id": ["s"]}, "request_context": {"amount": [1001]}}`, 422, `1001 is above the maximum of 1000`},
	} {
		code, body := ask(strings.NewReader(c.body))
		if code != c.code || !strings.Contains(body, c.want) || !strings.Contains(body, `"detail"`) {
			t.Errorf("%s: %d %s, want %d with %q", name, code, body, c.code, c.want)
		}
	}
	if code, body := ask(io.MultiReader(strings.NewReader(`{"features": ["`), io.LimitReader(zeros{}, feastBodyMax), strings.NewReader(`"]}`))); code != 422 && code != 413 {
		t.Errorf("a huge body: %d %.200s", code, body)
	}
	if code, body := ask(strings.NewReader(`{"feature_service": "both", "entities": {"user_id": [9007199254740993], "shop_id": ["s"]}, "request_context": {"amount": [1]}}`)); code != 200 || !strings.Contains(body, "9007199254740993") {
		t.Errorf("a key beyond 2^53: %d %s", code, body)
	}
}

// zeros is an endless text.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// Every error has its code.
func TestCodes(t *testing.T) {
	for err, want := range map[error]codes.Code{
		featurestore.ErrInvalid: codes.InvalidArgument, featurestore.ErrUnknown: codes.NotFound, featurestore.ErrClosed: codes.Unavailable,
		offline.ErrFull: codes.ResourceExhausted, offline.ErrNotDurable: codes.Unavailable, online.ErrUnavailable: codes.Unavailable,
		context.DeadlineExceeded: codes.DeadlineExceeded, context.Canceled: codes.Canceled,
	} {
		if got := codeOf(errors.Join(errors.New("somewhere"), err)); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
