// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/millrace-ml/millrace/proto/inference"
)

// healthService is gRPC's health protocol. The empty service name and the inference
// service's stand for the server; any other name is taken for a model's, so that a
// balancer can watch one model.
type healthService struct {
	healthpb.UnimplementedHealthServer
	server *Server
	mu     struct {
		sync.Mutex
		// changed is closed and replaced at every change of any state.
		changed chan struct{}
	}
}

func newHealthService(s *Server) *healthService {
	h := &healthService{server: s}
	h.mu.changed = make(chan struct{})
	return h
}

// modelsChanged wakes everyone who watches.
func (h *healthService) modelsChanged() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.mu.changed)
	h.mu.changed = make(chan struct{})
}

func (h *healthService) nextChange() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.changed
}

// Check answers the state of the server or of a model.
func (h *healthService) Check(_ context.Context, q *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	state := h.state(q.Service)
	if state == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, &Error{codes.NotFound, "unknown service or model '" + q.Service + "'"}
	}
	return &healthpb.HealthCheckResponse{Status: state}, nil
}

// Watch sends the state now and whenever it changes. A stop of the server ends it,
// after telling that nothing is served any more: it would hold the stop up.
func (h *healthService) Watch(q *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for stopping := false; ; {
		changed := h.nextChange()
		if state := h.state(q.Service); state != last {
			last = state
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: state}); err != nil {
				return err
			}
		}
		if stopping {
			return errShuttingDown
		}
		select {
		case <-changed:
		case <-h.server.stopping:
			stopping = true
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (h *healthService) state(service string) healthpb.HealthCheckResponse_ServingStatus {
	ready := h.server.isReady()
	if service != "" && service != inference.GRPCInferenceService_ServiceDesc.ServiceName {
		if _, err := h.server.repository.Versions(service); err != nil {
			return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
		}
		ready, _ = h.server.modelReady(service, "")
	}
	if ready {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}
