// SPDX-License-Identifier: Apache-2.0

// Package echo is the peer that a model server's transport is measured against: a
// bare grpc-go server that answers every inference request with one prepared
// response, and does nothing else.
//
// It takes requests of the same messages and answers with messages of the same
// size as the server it stands beside, under the same server options, so the
// difference between the two is what serving a model costs. With the raw codec it
// neither decodes requests nor encodes responses and is the strictest peer there
// is; with the protobuf codec it is what generated code alone would give.
//
// A Server serves any number of connections and calls at once.
package echo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/bench/internal/raw"
	"github.com/millrace-ml/millrace/proto/inference"
)

// Codec is how an echo server reads and writes messages.
type Codec string

// Raw leaves messages encoded; Protobuf decodes and encodes each with generated code.
const (
	Raw      Codec = "raw"
	Protobuf Codec = "protobuf"
)

// ErrInvalidOptions reports an echo server that cannot be made as asked.
var ErrInvalidOptions = errors.New("invalid echo options")

// Options says what an echo server answers and how.
type Options struct {
	// Response is the answer to every request. It must be given.
	Response *inference.ModelInferResponse
	// Codec is Raw when empty.
	Codec Codec
	// ServerOptions are those of the server that is compared. A codec among them is
	// overridden.
	ServerOptions []grpc.ServerOption
}

// Server is an echo server.
type Server struct{ grpc *grpc.Server }

// New makes an echo server.
func New(o Options) (*Server, error) {
	if o.Response == nil {
		return nil, fmt.Errorf("%w: no response to answer with", ErrInvalidOptions)
	}
	switch o.Codec {
	case Raw, "":
		return newRaw(o)
	case Protobuf:
		codec := grpc.ForceServerCodecV2(encoding.GetCodecV2("proto"))
		server := grpc.NewServer(append(append([]grpc.ServerOption(nil), o.ServerOptions...), codec)...)
		inference.RegisterGRPCInferenceServiceServer(server, &protobufService{response: o.Response})
		return &Server{server}, nil
	default:
		return nil, fmt.Errorf("%w: codec %q is neither %q nor %q", ErrInvalidOptions, o.Codec, Raw, Protobuf)
	}
}

// Serve accepts connections until Stop. It closes the listener.
func (s *Server) Serve(listener net.Listener) error {
	if err := s.grpc.Serve(listener); !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
		return err
	}
	return nil
}

// Stop ends all connections and waits for their calls to end.
func (s *Server) Stop() { s.grpc.Stop() }

func newRaw(o Options) (*Server, error) {
	unary, err := proto.Marshal(o.Response)
	if err != nil {
		return nil, fmt.Errorf("%w: encode the response: %w", ErrInvalidOptions, err)
	}
	stream, err := proto.Marshal(&inference.ModelStreamInferResponse{InferResponse: o.Response})
	if err != nil {
		return nil, fmt.Errorf("%w: encode the response: %w", ErrInvalidOptions, err)
	}
	server := grpc.NewServer(append(append([]grpc.ServerOption(nil), o.ServerOptions...), grpc.ForceServerCodecV2(blindCodec{}))...)
	server.RegisterService(&rawService, &rawAnswers{unary: &raw.Message{Data: unary}, stream: &raw.Message{Data: stream}})
	return &Server{server}, nil
}

// blindCodec sends encoded messages and does not look at what it receives.
type blindCodec struct{ raw.Codec }

func (blindCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

type rawAnswers struct{ unary, stream *raw.Message }

// rawService is the inference service with the two calls that carry load, and the
// one that says whether the server is up.
var rawService = grpc.ServiceDesc{
	ServiceName: inference.GRPCInferenceService_ServiceDesc.ServiceName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "ModelInfer", Handler: answerUnary},
		{MethodName: "ServerReady", Handler: answerReady},
	},
	Streams: []grpc.StreamDesc{{StreamName: "ModelStreamInfer", Handler: answerStream, ServerStreams: true, ClientStreams: true}},
}

func answerUnary(service any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	if err := decode(nil); err != nil {
		return nil, err
	}
	return service.(*rawAnswers).unary, nil
}

// readyResponse is an encoded ServerReadyResponse: field 1, a true bool.
var readyResponse = &raw.Message{Data: []byte{0x08, 0x01}}

func answerReady(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	return readyResponse, decode(nil)
}

func answerStream(service any, stream grpc.ServerStream) error {
	answer := service.(*rawAnswers).stream
	for {
		if err := stream.RecvMsg(nil); err != nil {
			return endOfStream(err)
		}
		if err := stream.SendMsg(answer); err != nil {
			return err
		}
	}
}

func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// protobufService answers through generated code.
type protobufService struct {
	inference.UnimplementedGRPCInferenceServiceServer
	response *inference.ModelInferResponse
}

func (s *protobufService) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

func (s *protobufService) ModelInfer(context.Context, *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	return s.response, nil
}

func (s *protobufService) ModelStreamInfer(stream inference.GRPCInferenceService_ModelStreamInferServer) error {
	answer := &inference.ModelStreamInferResponse{InferResponse: s.response}
	for {
		if _, err := stream.Recv(); err != nil {
			return endOfStream(err)
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}
