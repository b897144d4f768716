// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// faulty is a server whose answers tests choose.
type faulty struct {
	millracev1.UnimplementedDecisionsServer
	millracev1.UnimplementedFeaturesServer
	inference.UnimplementedGRPCInferenceServiceServer

	decide func(*millracev1.DecideRequest) (*millracev1.DecideResponse, error)
	get    func(*millracev1.GetRequest) (*millracev1.GetResponse, error)
	push   func(*millracev1.PushRequest) (*millracev1.PushResponse, error)
	infer  func(*inference.ModelInferRequest) (*inference.ModelInferResponse, error)
	// cut ends each stream after that many answers, as a server that stops does; 0 does not.
	cut     int
	streams atomic.Int64
}

func (f *faulty) Decide(_ context.Context, q *millracev1.DecideRequest) (*millracev1.DecideResponse, error) {
	return f.decide(q)
}

func (f *faulty) Get(_ context.Context, q *millracev1.GetRequest) (*millracev1.GetResponse, error) {
	return f.get(q)
}

func (f *faulty) Push(_ context.Context, q *millracev1.PushRequest) (*millracev1.PushResponse, error) {
	return f.push(q)
}

func (f *faulty) ModelInfer(_ context.Context, q *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	return f.infer(q)
}

func (f *faulty) StreamDecide(stream grpc.BidiStreamingServer[millracev1.DecideRequest, millracev1.DecideResponse]) error {
	return serveStream(f, stream, func(q *millracev1.DecideRequest) *millracev1.DecideResponse {
		answer, err := f.decide(q)
		if err != nil {
			return &millracev1.DecideResponse{RequestId: q.RequestId, Error: err.Error(), ErrorCode: uint32(status.Code(err))}
		}
		answer.RequestId = q.RequestId
		return answer
	})
}

func (f *faulty) StreamPush(stream grpc.BidiStreamingServer[millracev1.PushRequest, millracev1.PushResponse]) error {
	return serveStream(f, stream, func(q *millracev1.PushRequest) *millracev1.PushResponse {
		answer, err := f.push(q)
		if err != nil {
			return &millracev1.PushResponse{Error: err.Error()}
		}
		return answer
	})
}

func serveStream[Q, A any](f *faulty, stream grpc.BidiStreamingServer[Q, A], answer func(*Q) *A) error {
	f.streams.Add(1)
	for n := 0; f.cut == 0 || n < f.cut; n++ {
		q, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.Send(answer(q)); err != nil {
			return err
		}
	}
	if _, err := stream.Recv(); err != nil { // one more was taken, and is not answered
		return nil
	}
	return status.Error(codes.Unavailable, "the server stops")
}

// trackingListener can drop its connections.
type trackingListener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *trackingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, conn)
		l.mu.Unlock()
	}
	return conn, err
}

func (l *trackingListener) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// start serves and connects until the test ends, when nothing may be left running.
func start(t *testing.T, f *faulty, o Options) (*Client, *trackingListener) {
	t.Helper()
	t.Cleanup(func() { checkLeaks(t) })
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &trackingListener{Listener: inner}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	millracev1.RegisterDecisionsServer(server, f)
	millracev1.RegisterFeaturesServer(server, f)
	inference.RegisterGRPCInferenceServiceServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	// A slow machine must not fail a call that is meant to succeed.
	defaultTo(&o.DecideTimeout, time.Minute)
	defaultTo(&o.GetTimeout, time.Minute)
	defaultTo(&o.PushTimeout, time.Minute)
	defaultTo(&o.InferTimeout, time.Minute)
	defaultTo(&o.DialTimeout, time.Minute)
	defaultTo(&o.Attempts, 10)
	c, err := Dial(t.Context(), inner.Addr().String(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return c, listener
}

// checkLeaks waits until no other goroutine runs code of this package.
func checkLeaks(t *testing.T) {
	t.Helper()
	buffer := make([]byte, 1<<20)
	var left []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		left = left[:0]
		stacks := strings.Split(string(buffer[:runtime.Stack(buffer, true)]), "\n\n")
		for _, stack := range stacks[1:] {
			if strings.Contains(stack, "millrace/serving/client.") && !strings.Contains(stack, "testing.(*T).Run(") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines leaked:\n%s", len(left), strings.Join(left, "\n\n"))
}

// echo decides by the fact "score".
func echo(q *millracev1.DecideRequest) (*millracev1.DecideResponse, error) {
	return &millracev1.DecideResponse{Decision: "approve", PredictionId: q.IdempotencyKey, Score: q.Facts[0].Value.GetNumber()}, nil
}

func TestDecide(t *testing.T) {
	var got *millracev1.DecideRequest
	c, _ := start(t, &faulty{decide: func(q *millracev1.DecideRequest) (*millracev1.DecideResponse, error) {
		got = proto.CloneOf(q)
		return &millracev1.DecideResponse{
			PredictionId: "p1", RequestId: q.RequestId, Decision: "review", Score: 0.5, Reasons: []*millracev1.Reason{{Code: "NIGHT", Text: "an unusual hour"}},
			FeatureNames: []string{"amount"}, FeatureValues: []float64{12.5}, FeatureStatuses: []byte{1}, TotalNanos: 1500,
			Contributions: []float64{-0.5}, ContributionBase: 0.25, Unattributed: "why",
		}, nil
	}}, Options{Connections: 2})
	at := time.Date(2026, 3, 1, 2, 0, 0, 1000, time.UTC)
	q := NewDecide("card_payment").Int("customer_id", 7).Float("amount", 12.5).Text("channel", "web").Bool("known", true).Time("event_timestamp", at).Null("note")
	q.RequestID, q.Explain = "r1", true
	d, err := c.Decide(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if d.Decision != "review" || d.PredictionID != "p1" || d.RequestID != "r1" || d.Score != 0.5 || d.Reasons[0] != (Reason{"NIGHT", "an unusual hour"}) ||
		d.Features[0] != (Feature{"amount", 12.5, Present}) || d.TotalTime != 1500 || len(d.Contributions) != 1 || d.Contributions[0] != -0.5 || d.ContributionBase != 0.25 || d.Unattributed != "why" || d.Attempts != 1 || d.Key == "" {
		t.Errorf("decision %+v", d)
	}
	f := got.Facts
	if got.Decision != "card_payment" || !got.Explain || len(f) != 6 || f[0].Value.GetInteger() != 7 || f[1].Value.GetNumber() != 12.5 ||
		f[2].Value.GetText() != "web" || !f[3].Value.GetBool() || f[4].Value.GetInteger() != at.UnixMicro() || f[5].Value.GetKind() != nil {
		t.Errorf("the server got %v", got)
	}
}

// TestHalfAnswers checks that answers whose parts do not fit are errors, not panics.
func TestHalfAnswers(t *testing.T) {
	f := &faulty{}
	c, _ := start(t, f, Options{})
	for i, m := range []*millracev1.DecideResponse{{}, {Decision: "a", FeatureNames: []string{"x"}}} {
		f.decide = func(*millracev1.DecideRequest) (*millracev1.DecideResponse, error) { return m, nil }
		if _, err := c.Decide(t.Context(), NewDecide("d")); status.Code(err) != codes.Internal {
			t.Errorf("decide %d: %v", i, err)
		}
	}
	for i, m := range []*millracev1.GetResponse{
		{}, {Rows: 1, Names: []string{"x"}}, {Rows: 2, Names: []string{"x"}, Numbers: []float64{1, 2}, Statuses: []byte{1, 1}},
		{Rows: 1, Names: []string{"x"}, Numbers: []float64{1}, Statuses: []byte{1}, TextFeatures: []uint32{0}},
		{Rows: 1, Names: []string{"x"}, Numbers: []float64{1}, Statuses: []byte{1}, TextFeatures: []uint32{1}, Texts: []string{"t"}},
		{Rows: 1, Names: []string{"x"}, Numbers: []float64{1}, Statuses: []byte{1}, EventTimes: []int64{1, 2}},
	} {
		f.get = func(*millracev1.GetRequest) (*millracev1.GetResponse, error) { return m, nil }
		q := NewGet("s")
		q.Entities.Ints("id", 7)
		if _, err := c.Get(t.Context(), q); status.Code(err) != codes.Internal {
			t.Errorf("get %d: %v", i, err)
		}
	}
	for i, m := range []*millracev1.PushResponse{{}, {Accepted: 2}, {Accepted: 0, Errors: []*millracev1.PushError{{Row: 1}}}} {
		f.push = func(*millracev1.PushRequest) (*millracev1.PushResponse, error) { return m, nil }
		e := new(Events)
		e.Ints("id", 7)
		if _, err := c.Push(t.Context(), "s", e); status.Code(err) != codes.Internal {
			t.Errorf("push %d: %v", i, err)
		}
	}
	output := []*inference.ModelInferResponse_InferOutputTensor{{Name: "y", Datatype: "FP32", Shape: []int64{2}}}
	for i, m := range []*inference.ModelInferResponse{{Outputs: output}, {Outputs: output, RawOutputContents: [][]byte{make([]byte, 7)}}} {
		f.infer = func(*inference.ModelInferRequest) (*inference.ModelInferResponse, error) { return m, nil }
		if _, err := c.Infer(t.Context(), NewInfer("m")); status.Code(err) != codes.Internal {
			t.Errorf("infer %d: %v", i, err)
		}
	}
}

// TestDroppedConnection checks that a call whose connection breaks under it is sent again
// over another, with the same key.
func TestDroppedConnection(t *testing.T) {
	var keys []string
	var listener *trackingListener
	f := &faulty{}
	f.decide = func(q *millracev1.DecideRequest) (*millracev1.DecideResponse, error) {
		if keys = append(keys, q.IdempotencyKey); len(keys) == 1 {
			listener.drop()
		}
		return echo(q)
	}
	c, l := start(t, f, Options{})
	listener = l
	d, err := c.Decide(t.Context(), NewDecide("d").Float("score", 0.25))
	if err != nil || d.Score != 0.25 || len(keys) != 2 || keys[0] != keys[1] {
		t.Errorf("%+v, %v, keys %q", d, err, keys)
	}
}

func TestDialSaysThatNobodyIsThere(t *testing.T) {
	const address = "127.0.0.1:1" // below the ports that other tests are given
	if _, err := Dial(t.Context(), address, Options{DialTimeout: 50 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), address) {
		t.Errorf("error %v", err)
	}
	c, err := Dial(t.Context(), address, Options{Lazy: true, Attempts: 1, DecideTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var failure *Error
	if _, err := c.Decide(t.Context(), NewDecide("d")); !errors.As(err, &failure) || !failure.Retryable {
		t.Errorf("error %v, want a retryable one", err)
	}
}

func TestGet(t *testing.T) {
	var got *millracev1.GetRequest
	c, _ := start(t, &faulty{get: func(q *millracev1.GetRequest) (*millracev1.GetResponse, error) {
		got = proto.CloneOf(q)
		return &millracev1.GetResponse{
			Names: []string{"n", "country"}, Rows: 2, Numbers: []float64{1, 0, 2, 0}, Statuses: []byte{1, 1, 4, 3},
			Texts: []string{"NL", ""}, TextFeatures: []uint32{1}, EventTimes: []int64{1_000_000, 0, 0, 0},
		}, nil
	}}, Options{})
	q := NewGet("fraud")
	q.Entities.Ints("customer_id", 7, 8)
	q.Request.Floats("amount", 1.5, 0).Nulls(1).Texts("channel", "web", "pos")
	q.At, q.EventTimes = time.UnixMicro(5), true
	v, err := c.Get(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	text, isText := v.Text(0, v.Place("country"))
	if v.Number(1, 0) != 2 || text != "NL" || !isText || v.Status(1, 0) != OutsideMaxAge || v.Status(1, 1) != NotFound ||
		!v.EventTime(0, 0).Equal(time.Unix(1, 0)) || !v.EventTime(1, 0).IsZero() || v.Place("x") != -1 {
		t.Errorf("features %+v", v)
	}
	if got.At != 5 || !got.EventTimes || got.Entities[0].Integers[1] != 8 || got.Request[0].Nulls[0] != 1 || got.Request[1].Texts[0] != "web" {
		t.Errorf("the server got %v", got)
	}
	q.Request.Bools("known", true)
	var failure *Error
	if _, err := c.Get(t.Context(), q); !errors.As(err, &failure) || failure.Field != "request.known" || failure.Attempts != 0 {
		t.Errorf("a short column gave %v", err)
	}
}

func TestInfer(t *testing.T) {
	c, _ := start(t, &faulty{infer: func(q *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
		m := &inference.ModelInferResponse{ModelName: q.ModelName, ModelVersion: "3", Id: q.Id, RawOutputContents: q.RawInputContents}
		for _, in := range q.Inputs {
			m.Outputs = append(m.Outputs, &inference.ModelInferResponse_InferOutputTensor{Name: in.Name, Datatype: in.Datatype, Shape: in.Shape})
		}
		return m, nil
	}}, Options{})
	q := NewInfer("m").Float32("f", []int64{1, 2}, 1.5, -2).Float64("d", []int64{1}, 0.1).Int32("i", []int64{1}, -7).
		Int64("l", []int64{1}, 1<<40).Bool("b", []int64{2}, true, false).Text("t", []int64{2}, "ab", "")
	r, err := c.Infer(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	f, err1 := r.Output("f").Float32s()
	d, err2 := r.Output("d").Float64s()
	i, err3 := r.Output("i").Int64s()
	l, err4 := r.Output("l").Int64s()
	b, err5 := r.Output("b").Bools()
	s, err6 := r.Output("t").Texts()
	wide, err7 := r.Output("f").Float64s()
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	if f[1] != -2 || d[0] != 0.1 || i[0] != -7 || l[0] != 1<<40 || !b[0] || b[1] || s[0] != "ab" || s[1] != "" || wide[0] != 1.5 || r.Version != "3" {
		t.Errorf("answer %v %v %v %v %v %q of version %s", f, d, i, l, b, s, r.Version)
	}
	if _, err := r.Output("t").Float32s(); err == nil || r.Output("x") != nil {
		t.Error("texts were taken for numbers, or an output was found that is not there")
	}
	for _, bad := range []*InferRequest{
		NewInfer("m").Float32("f", []int64{3}, 1), NewInfer("m").Raw("f", "FP31", []int64{1}, nil),
		NewInfer("m").Text("t", []int64{2}, "a"), NewInfer("m").Int64("l", []int64{-1}),
	} {
		if _, err := c.Infer(t.Context(), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v gave %v", bad.inputs, err)
		}
	}
}

func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate, which is good for 127.0.0.1
	defer certified.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certified.TLS.Certificates[0])))
	millracev1.RegisterDecisionsServer(server, &faulty{decide: echo})
	go server.Serve(listener) // ends with Stop
	defer server.Stop()
	authorities := x509.NewCertPool()
	authorities.AddCert(certified.Certificate())
	c, err := Dial(t.Context(), listener.Addr().String(), Options{TLS: &tls.Config{RootCAs: authorities}, DecideTimeout: time.Minute, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if d, err := c.Decide(t.Context(), NewDecide("d").Float("score", 0.5)); err != nil || d.Score != 0.5 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := Dial(t.Context(), listener.Addr().String(), Options{TLS: &tls.Config{}, DialTimeout: 100 * time.Millisecond}); err == nil {
		t.Error("a server of an unknown authority was taken")
	}
}
