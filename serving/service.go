// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"slices"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress with gzip ...
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	_ "github.com/millrace-ml/millrace/serving/internal/deflate" // ... and with deflate
)

// inferenceService is the inference protocol. ModelInfer and ModelStreamInfer have
// handlers of their own; the other calls use the generated ones.
type inferenceService struct {
	inference.UnimplementedGRPCInferenceServiceServer
	server *Server
}

// registerServices adds every gRPC service to the server, by way of the guard.
func (s *Server) registerServices(server *grpc.Server) {
	guarded := s.access.GRPC(server)
	guarded.RegisterService(inferenceServiceDesc(), &inferenceService{server: s})
	millracev1.RegisterAdminServer(guarded, &adminService{server: s})
	grpc_health_v1.RegisterHealthServer(guarded, s.health)
	for _, register := range s.options.Services {
		register(guarded)
	}
	reflection.Register(struct {
		grpc.ServiceRegistrar
		reflection.ServiceInfoProvider
	}{guarded, server})
}

// inferenceServiceDesc is the generated description of the service with the two
// handlers of the hot path in place of the generated ones.
func inferenceServiceDesc() *grpc.ServiceDesc {
	desc := inference.GRPCInferenceService_ServiceDesc
	desc.Methods = slices.Clone(desc.Methods)
	for i := range desc.Methods {
		if desc.Methods[i].MethodName == "ModelInfer" {
			desc.Methods[i].Handler = modelInfer
		}
	}
	desc.Streams = slices.Clone(desc.Streams)
	for i := range desc.Streams {
		if desc.Streams[i].StreamName == "ModelStreamInfer" {
			desc.Streams[i].Handler = modelStreamInfer
		}
	}
	return &desc
}
