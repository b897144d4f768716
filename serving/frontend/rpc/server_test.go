// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// connect serves decisions over the codec of package serving, to a generated client.
func connect(t *testing.T, s *Service) millracev1.DecisionsClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(serving.Codec()))
	s.Register(server)
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		running.Wait()
	})
	return millracev1.NewDecisionsClient(conn)
}

func ask(id string, score float64) *millracev1.DecideRequest {
	return &millracev1.DecideRequest{Decision: "anyone", RequestId: id, Explain: true,
		Facts: []*millracev1.Fact{number("number", score), integer("whole", 12), words("text", "come"), truth("flag", true), {Name: "when"}}}
}

func checkAnswer(t *testing.T, a *millracev1.DecideResponse, id string, score float64) {
	t.Helper()
	decision, reasons := "approve", 1
	if score >= 0.5 {
		decision, reasons = "block", 2
	}
	if a.Error != "" || a.RequestId != id || a.Decision != decision || a.Score != score || len(a.Reasons) != reasons || a.Reasons[reasons-1].Text != "a text came" ||
		a.Model != "score" || a.ModelVersion != 3 || len(a.PredictionId) != 26 || a.PolicyVersion == "" || a.FeaturesVersion == "" || a.Propensity != 1 || a.TotalNanos <= 0 {
		t.Errorf("got %v", a)
	}
	if len(a.FeatureValues) != 2 || a.FeatureValues[0] != score || a.FeatureValues[1] != 12 || strings.Join(a.FeatureNames, " ") != "number whole" || len(a.FeatureStatuses) != 2 {
		t.Errorf("vector %v %v %v", a.FeatureNames, a.FeatureValues, a.FeatureStatuses)
	}
}

// TestServer asks as clients do, many at once, compressed too.
func TestServer(t *testing.T) {
	client := connect(t, newService(t))
	var running sync.WaitGroup
	for c := range 4 {
		running.Go(func() {
			for i := range 25 {
				id, score := fmt.Sprint(c, "/", i), float64(i)/25
				var options []grpc.CallOption
				if c == 0 {
					options = append(options, grpc.UseCompressor(gzip.Name))
				}
				a, err := client.Decide(t.Context(), ask(id, score), options...)
				if err != nil {
					t.Error(err)
					return
				}
				checkAnswer(t, a, id, score)
			}
		})
	}
	running.Wait()
	a, err := client.Decide(t.Context(), &millracev1.DecideRequest{Decision: "user", Facts: []*millracev1.Fact{integer("user_id", 7), number("amount", 0.25)}})
	if err != nil || a.Decision != "approve" || a.FeatureNames != nil {
		t.Errorf("%v, %v", a, err)
	}
	list, err := client.ListDecisions(t.Context(), &millracev1.ListDecisionsRequest{})
	if err != nil || len(list.Decisions) != 2 || list.Decisions[0].Name != "anyone" || len(list.Decisions[1].Facts) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	for _, c := range []struct {
		q    *millracev1.DecideRequest
		code codes.Code
		want string
	}{
		{&millracev1.DecideRequest{Decision: "none"}, codes.NotFound, `decision "none"`},
		{&millracev1.DecideRequest{}, codes.NotFound, `decision ""`},
		{&millracev1.DecideRequest{Decision: "user", Facts: []*millracev1.Fact{number("amount", 1)}}, codes.InvalidArgument, "user_id is required"},
		{&millracev1.DecideRequest{Decision: "anyone", Facts: []*millracev1.Fact{number("number", math.NaN())}}, codes.Unavailable, "the score is NaN"},
		{&millracev1.DecideRequest{Decision: "anyone", Facts: []*millracev1.Fact{words("text", strings.Repeat("x", requestBytesMax))}}, codes.InvalidArgument, "at most 1048576"},
	} {
		if _, err := client.Decide(t.Context(), c.q); status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.100v: %v", c.q, err)
		}
	}
}

// TestStream answers in order; a refused request does not end it.
func TestStream(t *testing.T) {
	client := connect(t, newService(t))
	stream, err := client.StreamDecide(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const requests = 3 * streamAhead
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range requests {
			q := ask(fmt.Sprint(i), float64(i)/requests)
			if i%3 == 1 {
				q.Decision = "none"
			} else if i%3 == 2 {
				q.Facts = append(q.Facts, number("none", 1))
			}
			if err := stream.Send(q); err != nil {
				t.Error(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	})
	defer sending.Wait()
	for i := range requests {
		a, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		want := []codes.Code{codes.OK, codes.NotFound, codes.InvalidArgument}[i%3]
		if a.RequestId != fmt.Sprint(i) || codes.Code(a.ErrorCode) != want || (a.Error == "") != (want == codes.OK) {
			t.Errorf("answer %d: %v", i, a)
		}
		if want == codes.OK {
			checkAnswer(t, a, fmt.Sprint(i), float64(i)/requests)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

// TestStreamsEnd when the server stops, and when a client goes away with answers due.
func TestStreamsEnd(t *testing.T) {
	s := newService(t)
	client := connect(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	gone, err := client.StreamDecide(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * streamAhead {
		if err := gone.Send(ask("gone", 0.25)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := gone.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	stream, err := client.StreamDecide(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(ask("last", 0.25)); err != nil {
		t.Fatal(err)
	}
	if a, err := stream.Recv(); err != nil || a.RequestId != "last" {
		t.Fatalf("%v, %v", a, err)
	}
	s.Stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("after Stop: %v", err)
	}
}

// TestJSONContributions are by feature, for requests that ask, and say why there are none.
func TestJSONContributions(t *testing.T) {
	q, err := newService(t).frontend.NewRequest("anyone")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Release()
	body := func(a frontend.Answer) string {
		text, err := json.Marshal(newJSONAnswer(q, &a, ""))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	a := frontend.Answer{Contributions: []float64{0.5, math.NaN()}, Base: 0, Unattributed: "why"}
	if got := body(a); strings.Contains(got, "contribution") || strings.Contains(got, "unattributed") {
		t.Errorf("not asked for: %s", got)
	}
	q.Explain = true
	if got := body(a); !strings.Contains(got, `"contributions":{"number":0.5,"whole":null},"contribution_base":0,"unattributed":"why"`) {
		t.Errorf("asked for: %s", got)
	}
	if got := body(frontend.Answer{}); strings.Contains(got, "contribution") {
		t.Errorf("none: %s", got)
	}
}

// TestJSON asks over HTTP.
func TestJSON(t *testing.T) {
	mux := http.NewServeMux()
	newService(t).Routes(mux)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/decisions/anyone", `{"facts":{"number":0.75,"whole":12,"text":"come","flag":true,"when":"2026-03-01T12:00:00Z"},"request_id":"id","explain":true}`, 200, `"features":{"number":0.75,"whole":12}`},
		{"POST", "/v1/decisions/anyone", `{"facts":{"number":0.75,"whole":null}}`, 200, `"decision":"block","score":0.75`},
		{"POST", "/v1/decisions/none", `{}`, 404, `no such decision`},
		{"POST", "/v1/decisions/user", `{"facts":{"amount":1}}`, 400, `user_id is required`},
		{"POST", "/v1/decisions/anyone", `{"facts":{"number":1e400}}`, 400, `1e400 is no number`},
		{"POST", "/v1/decisions/anyone", `{"facts":{"number":[1]}}`, 400, `facts.number: [1] is no number`},
		{"POST", "/v1/decisions/anyone", `{"facts":{"when":"noon"}}`, 400, `is not a time`},
		{"POST", "/v1/decisions/anyone", `{"facts":{"none":1}}`, 400, `takes no such fact`},
		{"POST", "/v1/decisions/anyone", `{"fact":{}}`, 400, `unknown field`},
		{"POST", "/v1/decisions/anyone", `{} {}`, 400, `more than one JSON value`},
		{"POST", "/v1/decisions/anyone", `{"facts":{"text":"` + strings.Repeat("x", bodyBytesMax) + `"}}`, 400, `too large`},
		{"POST", "/v1/decisions/anyone", `{"facts":{}}`, 503, `the score is NaN`},
		{"GET", "/v1/decisions", ``, 200, `"facts":[{"name":"user_id","type":"int64","required":true}`},
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %.200s: %d %s", c.method, c.path, c.body, w.Code, w.Body)
		}
	}
}
