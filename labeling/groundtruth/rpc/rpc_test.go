// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

const now = int64(1_700_000_000_000_000)

func newService(t testing.TB) *Service {
	t.Helper()
	clock := func() time.Time { return time.UnixMicro(now) }
	log, err := offline.Open(t.Context(), offline.Options{Dir: t.TempDir(), CompactEvery: -1, Now: clock, WaitWhenFull: -1})
	if err != nil {
		t.Fatal(err)
	}
	collector, err := groundtruth.OpenCollector(t.Context(), groundtruth.Options{Log: log, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := New(Options{Collector: collector})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dial serves the service and returns a client of it.
func dial(t *testing.T, s *Service) millracev1.FeedbackClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	s.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		server.GracefulStop() // it hangs if Stop does not end streams
		if err := errors.Join(conn.Close(), <-served); err != nil {
			t.Error(err)
		}
	})
	return millracev1.NewFeedbackClient(conn)
}

func number(x float64) *millracev1.Value {
	return &millracev1.Value{Kind: &millracev1.Value_Number{Number: x}}
}

func text(x string) *millracev1.Value {
	return &millracev1.Value{Kind: &millracev1.Value_Text{Text: x}}
}

// TestSubmit: every kind and value comes back as it went in.
func TestSubmit(t *testing.T) {
	client := dial(t, newService(t))
	truth := &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: true}}
	items := []*millracev1.FeedbackItem{
		{FeedbackId: "a", PredictionId: "p", Name: "n", Kind: millracev1.FeedbackKind_FEEDBACK_KIND_OUTCOME, Value: truth, Source: "s", EventTime: 5, Weight: proto.Float64(2), Reason: "r"},
		{FeedbackId: "b", PredictionId: "p", Name: "n", Kind: millracev1.FeedbackKind_FEEDBACK_KIND_REWARD, Value: number(-1), EventTime: 6, Weight: proto.Float64(0)},
		{FeedbackId: "c", PredictionId: "p", Name: "n", Kind: millracev1.FeedbackKind_FEEDBACK_KIND_LABEL, Value: text("cat"), Class: true, EventTime: 7, Weight: proto.Float64(1)},
		{FeedbackId: "d", PredictionId: "p", Name: "n", Kind: millracev1.FeedbackKind_FEEDBACK_KIND_USER, Value: text("bad"), EventTime: 8, Weight: proto.Float64(1)},
		{FeedbackId: "a", PredictionId: "p", Name: "n", Kind: millracev1.FeedbackKind_FEEDBACK_KIND_CORRECTION, EventTime: 9, Weight: proto.Float64(1)},
		{FeedbackId: "e", Entity: map[string]string{"k": "v"}, Name: "n", Kind: millracev1.FeedbackKind_FEEDBACK_KIND_OUTCOME, Value: truth, EventTime: 10, Weight: proto.Float64(1)},
	}
	a, err := client.SubmitFeedback(t.Context(), &millracev1.SubmitFeedbackRequest{Items: items, RequestId: "id"})
	if err != nil || a.RequestId != "id" || len(a.Results) != len(items) {
		t.Fatal(err, a)
	}
	for i, r := range a.Results {
		if r.Status != millracev1.FeedbackStatus_FEEDBACK_STATUS_ACCEPTED || r.Error != "" || r.FeedbackId != items[i].FeedbackId {
			t.Errorf("item %d: %v", i, r)
		}
	}
	found, err := client.GetOutcome(t.Context(), &millracev1.GetOutcomeRequest{PredictionId: "p", From: 1})
	if err != nil || len(found.Versions) != 5 || found.Truncated {
		t.Fatal(err, found)
	}
	for i, v := range found.Versions {
		if !proto.Equal(v.Item, items[i]) || v.ArrivalTime != now {
			t.Errorf("version %d:\n got %v\nwant %v", i, v.Item, items[i])
		}
	}
	if found, err = client.GetOutcome(t.Context(), &millracev1.GetOutcomeRequest{FeedbackId: "e", From: 1}); err != nil || len(found.Versions) != 1 || !proto.Equal(found.Versions[0].Item, items[5]) {
		t.Error(err, found)
	}
}

// TestSubmitWrong: an item that is refused says why and harms no other.
func TestSubmitWrong(t *testing.T) {
	client := dial(t, newService(t))
	good := &millracev1.FeedbackItem{PredictionId: "p", Name: "n", Value: number(1)}
	a, err := client.SubmitFeedback(t.Context(), &millracev1.SubmitFeedbackRequest{Items: []*millracev1.FeedbackItem{
		{}, {PredictionId: "p", Name: "n"}, {PredictionId: "p", Name: "n", Value: number(1), Kind: 77}, {PredictionId: "p", Name: "n", Value: number(1), Kind: -1},
		{PredictionId: "p", Name: "n", Value: &millracev1.Value{Kind: &millracev1.Value_Integer{Integer: 1<<53 + 1}}}, {PredictionId: "p", Name: "n", Value: number(1), EventTime: now * 2}, good, good,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"name: is required", "value: is required", "kind: 77", "kind: -1", "too large", "in the future", "", ""} {
		r := a.Results[i]
		if !strings.Contains(r.Error, want) || (want == "") != (r.Error == "") || r.Retryable || (want == "") == (r.Status == millracev1.FeedbackStatus_FEEDBACK_STATUS_REFUSED) {
			t.Errorf("item %d: want %q, got %v", i, want, r)
		}
	}
	if a.Results[7].Status != millracev1.FeedbackStatus_FEEDBACK_STATUS_DUPLICATE || a.Results[7].FeedbackId != a.Results[6].FeedbackId {
		t.Errorf("%v", a.Results[7])
	}
	many := &millracev1.SubmitFeedbackRequest{Items: make([]*millracev1.FeedbackItem, groundtruth.ItemsMax+1)}
	for i := range many.Items {
		many.Items[i] = good
	}
	if _, err := client.SubmitFeedback(t.Context(), many); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	if _, err := client.GetOutcome(t.Context(), &millracev1.GetOutcomeRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

// TestStream: a client that sends ahead gets every answer in order, a batch that is too
// large is refused alone, and Stop ends the stream.
func TestStream(t *testing.T) {
	s := newService(t)
	client := dial(t, s)
	stream, err := client.StreamFeedback(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const requests = 300
	sent := make(chan error, 1)
	go func() {
		for n := range requests {
			q := &millracev1.SubmitFeedbackRequest{RequestId: fmt.Sprint(n)}
			size := n % 5
			if n == 100 {
				size = groundtruth.ItemsMax + 1
			} else if n > 280 {
				size = groundtruth.ItemsMax / 3
			}
			for i := range size {
				q.Items = append(q.Items, &millracev1.FeedbackItem{PredictionId: fmt.Sprint(i % 7), Name: "n", Value: number(1)})
			}
			if err := stream.Send(q); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	accepted := 0
	for n := range requests {
		a, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if a.RequestId != fmt.Sprint(n) || (n == 100) != (codes.Code(a.ErrorCode) == codes.InvalidArgument) || (n < 100 && len(a.Results) != n%5) {
			t.Fatalf("answer %d: %v", n, a)
		}
		for _, r := range a.Results {
			if r.Error != "" {
				t.Fatalf("answer %d: %v", n, r)
			}
			if r.Status == millracev1.FeedbackStatus_FEEDBACK_STATUS_ACCEPTED {
				accepted++
			}
		}
	}
	if err := <-sent; err != nil || accepted != 7 {
		t.Errorf("%v, %d accepted", err, accepted)
	}
	s.Stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestStreamEnds when its client has sent all, after the last answer.
func TestStreamEnds(t *testing.T) {
	client := dial(t, newService(t))
	stream, err := client.StreamFeedback(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&millracev1.SubmitFeedbackRequest{Items: []*millracev1.FeedbackItem{{PredictionId: "p", Name: "n", Value: number(1)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		a, err := stream.Recv()
		if n == 3 {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		} else if err != nil || len(a.Results) != 1 || a.Results[0].Error != "" {
			t.Fatal(err, a)
		}
	}
}

// post asks the JSON calls.
func post(s *Service, path, body string) (int, string) {
	mux := http.NewServeMux()
	s.Routes(mux)
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// TestOtherSites: a page of another site cannot use the browser of somebody who reaches the
// port to say what became of predictions.
func TestOtherSites(t *testing.T) {
	s := newService(t)
	mux := http.NewServeMux()
	s.Routes(mux)
	for path, body := range map[string]string{
		"/v1/feedback":     `{"prediction_id":"p","name":"n","value":true}`,
		"/seldon/feedback": `{"response":{"meta":{"puid":"p"}},"reward":1}`,
	} {
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://elsewhere.example", "": ""} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			r.Header.Set("Content-Type", "text/plain") // what a form can send by itself
			want := http.StatusOK
			if name != "" {
				r.Header.Set(name, value)
				want = http.StatusForbidden
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != want || want == http.StatusForbidden && !strings.Contains(w.Body.String(), "another site") {
				t.Errorf("%s with %s: %d %s", path, name, w.Code, w.Body)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	s := newService(t)
	for _, c := range []struct {
		body string
		code int
		want string
	}{
		{`{"feedback_id":"f","prediction_id":"p","name":"n","value":true}`, 200, `{"feedback_id":"f","status":"accepted"}`},
		{`{"feedback_id":"f","prediction_id":"p","name":"n","value":true}`, 200, `{"feedback_id":"f","status":"duplicate"}`},
		{`{"feedback_id":"f","prediction_id":"p","name":"n","value":false}`, 409, `send a correction`},
		{`{"feedback_id":"f","prediction_id":"p","name":"n","kind":"correction","value":null}`, 200, `accepted`},
		{`{"prediction_id":5,"name":"n","value":true}`, 400, `prediction_id: is a JSON number, which does not fit there`},
		{`[7]`, 207, `item: is a JSON number`},
		{`7`, 400, `body: is a JSON number; send an object`},
		{`[{"feedback_id":"g","prediction_id":"p","name":"n","value":1},{"x":1}]`, 207, `{"results":[{"feedback_id":"g","status":"accepted"},{"status":"refused","error":"invalid: JSON: json: unknown field \"x\""}]}`},
		{`{"items":[{"feedback_id":"h","entity":{"customer_id":7},"event_time":"2023-11-14T00:00:00Z","name":"n","value":"cat"}]}`, 200, `{"results":[{"feedback_id":"h","status":"accepted"}]}`},
		{`{"items":[],"x":1}`, 400, `items stands alone`},
		{`{"items":7}`, 400, `body`},
		{`[]`, 200, `{"results":[]}`},
		{`{`, 400, `body`},
		{`null`, 400, `name`},
		{`{"prediction_id":"p","name":"n","value":{"a":1}}`, 400, `is no bool, number, text or null`},
		{`{"prediction_id":"p","name":"n","value":1,"event_time":"2033-01-01T00:00:00Z"}`, 400, `in the future`},
		{`[` + strings.Repeat(`{},`, groundtruth.ItemsMax) + `{}]`, 400, `at most 10000`},
		{`{"reason":"` + strings.Repeat("x", bodyBytesMax) + `"}`, 413, `send several batches`},
	} {
		code, body := post(s, "/v1/feedback", c.body)
		if code != c.code || !strings.Contains(body, c.want) || !json.Valid([]byte(body)) {
			t.Errorf("%.90s: %d %.300s", c.body, code, body)
		}
	}
	for path, want := range map[string]string{
		"/v1/feedback?feedback_id=f":                           `"versions":[{"feedback":{"feedback_id":"f","prediction_id":"p","name":"n","kind":"outcome","value":true,"value_type":"bool"`,
		"/v1/feedback?feedback_id=h&from=2023-11-13T00:00:00Z": `"entity":{"customer_id":"7"}`,
		"/v1/feedback?prediction_id=none":                      `{"truncated":false,"versions":[]}`,
		"/v1/feedback":                                         `give one of them`,
		"/v1/feedback?prediction_id=p&to=x":                    `to: \"x\" is neither`,
	} {
		if _, body := post(s, path, ""); !strings.Contains(body, want) {
			t.Errorf("%s: %s", path, body)
		}
	}
}

func TestSeldon(t *testing.T) {
	s := newService(t)
	for _, c := range []struct {
		body string
		code int
		want string
	}{
		{`{"request":{"meta":{"puid":"q"},"data":{"ndarray":[[1,2]]}},"response":{"meta":{"puid":"p","routing":{"a":1}},"data":{"tensor":{"values":[0.5,0.5]}}},"reward":0.5,"truth":{"data":{"ndarray":[[1]]}}}`, 200, `{"meta":{"puid":"p"}}`},
		{`{"response":{"meta":{"puid":"p2"}},"reward":0}`, 200, `{"meta":{"puid":"p2"}}`},
		{`{"response":{"meta":{"puid":"p3"}},"truth":{"data":{"tensor":{"shape":[1],"values":[3]}}},"reward":0}`, 200, `p3`},
		{`{"request":{"meta":{"puid":"p4"}},"truth":{"strData":"cat"}}`, 200, `p4`},
		{`{"request":{"meta":{"puid":"p5"}},"truth":{"jsonData":true}}`, 200, `p5`},
		{`{"reward":1}`, 400, `response.meta.puid`},
		{`{"response":{"meta":{"puid":"p"}}}`, 400, `reward or truth`},
		{`{"response":{"meta":{"puid":"p"}},"truth":{"data":{"ndarray":[1,2]}}}`, 400, `is not one number`},
		{`{"response":{"meta":{"puid":"p"}},"truth":{"data":{"tensor":{"values":[]}}}}`, 400, `has 0 values`},
		{`{"response":{"meta":{"puid":"p"}},"truth":{}}`, 400, `has none of`},
		{`{"response":7}`, 400, `body`},
	} {
		code, body := post(s, "/seldon/feedback", c.body)
		if code != c.code || !strings.Contains(body, c.want) || (code != 200) != strings.Contains(body, `"status":"FAILURE"`) {
			t.Errorf("%s: %d %s", c.body, code, body)
		}
	}
	found, _, err := s.collector.Find(t.Context(), groundtruth.Find{PredictionID: "p"})
	if err != nil || len(found) != 2 || found[0].Name != "truth" || found[0].Value != groundtruth.Number(1) || found[1].Name != "reward" || found[1].Kind != groundtruth.KindReward || found[1].Source != "seldon" {
		t.Errorf("%v, %+v", err, found)
	}
	for id, n := range map[string]int{"p2": 1, "p3": 1, "p4": 1} {
		if found, _, err := s.collector.Find(t.Context(), groundtruth.Find{PredictionID: id}); err != nil || len(found) != n {
			t.Errorf("%s: %v, %+v", id, err, found)
		}
	}
}

// TestStatuses of errors, in gRPC and HTTP.
func TestStatuses(t *testing.T) {
	for err, want := range map[error]int{
		groundtruth.ErrInvalid: 400, groundtruth.ErrConflict: 409, groundtruth.ErrTooMany: 413, groundtruth.ErrUnavailable: 503,
		context.Canceled: 499, context.DeadlineExceeded: 504, errors.New("else"): 503,
	} {
		if got := httpStatus(fmt.Errorf("somewhere: %w", err)); got != want {
			t.Errorf("%v: %d", err, got)
		}
	}
	if _, err := New(Options{}); !errors.Is(err, groundtruth.ErrInvalid) {
		t.Error(err)
	}
}

// FuzzJSON: every body gets an answer in JSON that is no internal error.
func FuzzJSON(f *testing.F) {
	s := newService(f)
	f.Add(`{"items":[{"prediction_id":"p","name":"n","value":1}]}`, false)
	f.Add(`[{"entity":{"a":1},"event_time":5,"name":"n","value":"x","kind":"correction"}]`, false)
	f.Add(`{"response":{"meta":{"puid":"p"}},"truth":{"data":{"ndarray":[[[1]]]}},"reward":1}`, true)
	f.Fuzz(func(t *testing.T, body string, seldon bool) {
		path := "/v1/feedback"
		if seldon {
			path = "/seldon/feedback"
		}
		if code, answer := post(s, path, body+" "); code >= 500 || !json.Valid([]byte(answer)) {
			t.Fatalf("%d %s", code, answer)
		}
	})
}

// FuzzWire: every message gets an answer for each item, and what is accepted is found
// again as it was sent.
func FuzzWire(f *testing.F) {
	s := newService(f)
	for _, q := range []*millracev1.SubmitFeedbackRequest{{}, {RequestId: "r", Items: []*millracev1.FeedbackItem{{}, {FeedbackId: "f", PredictionId: "p", Name: "n", Value: number(1), Kind: 2}}}} {
		data, err := proto.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q := new(millracev1.SubmitFeedbackRequest)
		if proto.Unmarshal(data, q) != nil {
			return
		}
		a, err := s.SubmitFeedback(context.Background(), q)
		if err != nil {
			if status.Code(err) != codes.InvalidArgument {
				t.Fatal(err)
			}
			return
		}
		if len(a.Results) != len(q.Items) {
			t.Fatalf("%d results for %d items", len(a.Results), len(q.Items))
		}
		for _, r := range a.Results {
			if (r.Status == millracev1.FeedbackStatus_FEEDBACK_STATUS_REFUSED) == (r.Error == "") || r.Retryable {
				t.Fatalf("%v", r)
			}
		}
		if _, err := proto.Marshal(a); err != nil { // as with an error in no UTF-8
			t.Fatal(err)
		}
	})
}
