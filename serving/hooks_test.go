// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/repository"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/access"
)

// upper is a gRPC service of one method, Say, as others bring them.
type upper struct {
	say func(context.Context, string) (string, error)
}

func (u *upper) register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Upper", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			text, err := u.say(ctx, in.Value)
			return wrapperspb.String(text), err
		}}},
	}, u)
}

func say(ctx context.Context, ts *testServer, text string) (string, error) {
	answer := new(wrapperspb.StringValue)
	err := ts.conn.Invoke(ctx, "/test.Upper/Say", wrapperspb.String(text), answer)
	return answer.Value, err
}

// TestServicesOfOthers are answered on the same port, and listed by reflection.
func TestServicesOfOthers(t *testing.T) {
	u := &upper{func(_ context.Context, text string) (string, error) {
		if text == "" {
			return "", &Error{codes.InvalidArgument, "nothing was said"}
		}
		return strings.ToUpper(text), nil
	}}
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) { o.Services = append(o.Services, u.register) })
	if got, err := say(testContext(t), ts, "aloud"); err != nil || got != "ALOUD" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := say(testContext(t), ts, ""); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
	stream, err := reflectionpb.NewServerReflectionClient(ts.conn).ServerReflectionInfo(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().Service {
		names = append(names, s.Name)
	}
	if !slices.Contains(names, "test.Upper") || !slices.Contains(names, "inference.GRPCInferenceService") {
		t.Errorf("reflection lists %q", names)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

// TestRoutesOfOthers have bounded bodies, and calls that miss them are explained.
func TestRoutesOfOthers(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) {
		o.Limits.MessageBytesMax = 1000
		o.Routes = func(mux access.Mux) {
			mux.Handle("POST /v1/say", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				text, err := io.ReadAll(q.Body)
				var large *http.MaxBytesError
				if errors.As(err, &large) {
					http.Error(w, "too much is said", http.StatusRequestEntityTooLarge)
					return
				}
				_, _ = io.WriteString(w, strings.ToUpper(string(text))) // the client may be gone
			}))
		}
	})
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/say", "aloud", 200, "ALOUD"},
		{"POST", "/v1/say", strings.Repeat("x", 1000), 200, strings.Repeat("X", 1000)},
		{"POST", "/v1/say", strings.Repeat("x", 1001), 413, "too much is said"},
		{"GET", "/v1/say", "", 405, "takes the methods POST, not GET"},
		{"POST", "/v1/sing", "", 404, "no such endpoint"},
		{"POST", "/v2/models/echo/infer", `{"inputs":[{"name":"X","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`, 200, `"data":[1,2]`},
		{"POST", "/v2/models/echo/infer", strings.Repeat(" ", 1001), 413, "larger than 1000 bytes"},
	} {
		if got := ts.rest(t, c.method, c.path, c.body); got.status != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s of %d bytes: %d %s", c.method, c.path, len(c.body), got.status, got.body)
		}
	}
}

// TestCollectorsOfOthers are read with the rest; one that is there already is refused.
func TestCollectorsOfOthers(t *testing.T) {
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "decisions_total", Help: "Decisions."})
	count.Inc()
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) { o.Collectors = []prometheus.Collector{count} })
	if text := getBody(t, ts.metrics+"/metrics"); !strings.Contains(text, "decisions_total 1\n") || !strings.Contains(text, "nv_inference_count") {
		t.Error("the counter or our own are not among the metrics")
	}
	_, err := NewServer(Options{Repository: repository.Options{Paths: []string{t.TempDir()}, Backends: []engine.Backend{&scriptedBackend{}}}, Collectors: []prometheus.Collector{count, count}})
	if !errors.As(err, &prometheus.AlreadyRegisteredError{}) {
		t.Errorf("a metric registered twice: %v", err)
	}
}

// TestStopOfThoseAbove: when a stop begins, a service that runs models is told first; what
// it has in flight can still begin runs, and models unload only when it is done.
func TestStopOfThoseAbove(t *testing.T) {
	var ts *testServer
	arrived, goOn := make(chan struct{}), make(chan struct{})
	told := make(chan struct{})
	finished := make(chan struct{})
	u := &upper{func(ctx context.Context, _ string) (string, error) {
		close(arrived)
		<-goOn
		defer close(finished)
		got, err := askInProcess(ctx, ts.NewCall(), identityRequest("slow", 1, 2))
		if err != nil {
			return "", err
		}
		return got.ModelVersion, nil
	}}
	ts, started, proceed := blockingModel(t, func(o *Options) {
		o.Services = append(o.Services, u.register)
		o.OnStop = func(ctx context.Context) error {
			if _, limited := ctx.Deadline(); !limited {
				t.Error("the stop has no time limit")
			}
			close(told)
			select {
			case <-finished:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	answered := make(chan error, 1)
	go func() {
		got, err := say(testContext(t), ts, "")
		if err == nil && got != "1" {
			err = errors.New("answered by version " + got)
		}
		answered <- err
	}()
	<-arrived
	stopped := stopInBackground(ts)
	<-told
	if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2)); status.Code(err) != codes.Unavailable {
		t.Errorf("a request from outside during the stop: %v", err)
	}
	close(goOn) // the service begins its run only now
	<-started
	close(proceed)
	if err := <-answered; err != nil {
		t.Errorf("what was in flight: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := ts.NewCall().Begin("slow", ""); codeOf(err) != codes.Unavailable {
		t.Errorf("a call after the stop: %v", err)
	}
}

// TestStopOfThoseAboveThatTakesTooLong is cut, and said.
func TestStopOfThoseAboveThatTakesTooLong(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) {
		o.ExitTimeout = 20 * time.Millisecond
		o.OnStop = func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("decisions were cut")
		}
	})
	if err := ts.stop(); err == nil || !strings.Contains(err.Error(), "decisions were cut") {
		t.Errorf("Serve: %v", err)
	}
}

// TestCallBeforeReady: until the models are loaded, calls are told to come later.
func TestCallBeforeReady(t *testing.T) {
	s, err := NewServer(Options{Repository: repository.Options{Paths: []string{t.TempDir()}, Backends: []engine.Backend{&scriptedBackend{}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.NewCall().Begin("m", ""); codeOf(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestModelVersions: who answers, who did before and can still be asked, and by what names.
func TestModelVersions(t *testing.T) {
	config := `backend: "scripted" max_batch_size: 4`
	backend := &versionedBackend{scriptedBackend: scriptedBackend{signature: signatureOf([]int64{-1, 2}, []string{"X"}, []string{"Y"})}}
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("kept=%v", keep), func(t *testing.T) {
			ts := startServer(t, modelFiles{"m/config.pbtxt": config, "m/1/model.onnx": "sound", "m/2/model.onnx": "sound"},
				withBackend(backend), func(o *Options) { o.Repository.KeepPrevious = keep })
			if _, err := ts.admin.SwapVersion(testContext(t), &millracev1.SwapVersionRequest{Model: "m", Version: 1}); err != nil {
				t.Fatal(err)
			}
			if err := ts.repository.SetAlias(t.Context(), "m", "champion", 1); err != nil {
				t.Fatal(err)
			}
			got, err := ts.ModelVersions("m")
			want := ModelVersions{Current: 1, Ready: []int64{1}, Aliases: map[string]int64{"champion": 1}}
			if keep {
				want.Previous, want.Ready = 2, []int64{1, 2}
			}
			if err != nil || got.Current != want.Current || got.Previous != want.Previous || ts.PreviousVersion("m") != want.Previous || !slices.Equal(got.Ready, want.Ready) || !maps.Equal(got.Aliases, want.Aliases) {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
			if keep {
				q := identityRequest("m", 1, 2)
				q.ModelVersion = "2"
				answer, err := askInProcess(t.Context(), ts.NewCall(), q)
				if err != nil || answer.ModelVersion != "2" {
					t.Errorf("the previous version: %v, %v", answer, err)
				}
			}
			if _, err := ts.ModelVersions("nope"); codeOf(err) != codes.NotFound || ts.PreviousVersion("nope") != 0 {
				t.Errorf("an unknown model: %v", err)
			}
		})
	}
}

// TestDescribeModel tells what requests must look like.
func TestDescribeModel(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig, "text/config.pbtxt": textConfig, "optional/config.pbtxt": optionalConfig})
	got, err := ts.DescribeModel("pair", "")
	if err != nil || got.Model != "pair" || got.Version != 1 || got.MaxBatchSize != 8 || len(got.Inputs) != 2 || len(got.Outputs) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if in := got.Inputs[1]; in.Name != "B" || in.Datatype.String() != "INT32" || in.Width != 16 || in.Shape.String() != "[-1,16]" || in.Optional {
		t.Errorf("input %+v", in)
	}
	if out := got.Outputs[0]; out.Name != "C" || out.Width != 16 {
		t.Errorf("output %+v", out)
	}
	if got, err = ts.DescribeModel("text", "1"); err != nil || got.Inputs[0].Width != -1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = ts.DescribeModel("optional", ""); err != nil || got.Inputs[0].Optional || !got.Inputs[1].Optional {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ts.DescribeModel("pair", "9"); codeOf(err) != codes.NotFound {
		t.Error(err)
	}
}
