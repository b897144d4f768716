// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/proto/inference"
)

const (
	serving        = healthpb.HealthCheckResponse_SERVING
	notServing     = healthpb.HealthCheckResponse_NOT_SERVING
	serviceUnknown = healthpb.HealthCheckResponse_SERVICE_UNKNOWN
)

func watch(t testing.TB, ts *testServer, service string) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
	t.Helper()
	w, err := healthpb.NewHealthClient(ts.conn).Watch(testContext(t), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func expectHealth(t testing.TB, w grpc.ServerStreamingClient[healthpb.HealthCheckResponse], want healthpb.HealthCheckResponse_ServingStatus) {
	t.Helper()
	if got, err := w.Recv(); err != nil || got.Status != want {
		t.Fatalf("told %v, %v; want %v", got, err, want)
	}
}

// TestHealthCheck: a service name is the server's, or a model's.
func TestHealthCheck(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	for service, want := range map[string]codes.Code{"": codes.OK, "inference.GRPCInferenceService": codes.OK, "echo": codes.OK, "nope": codes.NotFound} {
		got, err := healthpb.NewHealthClient(ts.conn).Check(testContext(t), &healthpb.HealthCheckRequest{Service: service})
		if status.Code(err) != want || err == nil && got.Status != serving {
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
}

// TestHealthWatch: who watches is told of every load and unload, and of the stop.
func TestHealthWatch(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "later/config.pbtxt": identityConfig},
		func(o *Options) { o.Repository.LoadModels = []string{"echo"} })
	server, echo, later := watch(t, ts, ""), watch(t, ts, "echo"), watch(t, ts, "later")
	expectHealth(t, server, serving)
	expectHealth(t, echo, serving)
	expectHealth(t, later, serviceUnknown)
	if _, err := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "later"}); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, later, serving)
	if _, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "echo"}); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, echo, notServing)
	if _, err := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "echo"}); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, echo, serving)
	if err := ts.stop(); err != nil {
		t.Error(err)
	}
	for _, w := range []grpc.ServerStreamingClient[healthpb.HealthCheckResponse]{server, echo, later} {
		expectHealth(t, w, notServing)
		if _, err := w.Recv(); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != errShuttingDown.Text {
			t.Errorf("a watch ends with %v", err)
		}
	}
}
