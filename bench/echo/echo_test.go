// SPDX-License-Identifier: Apache-2.0

package echo_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/proto/inference"
)

// client starts an echo server and connects to it with generated code.
func client(t *testing.T, o echo.Options) inference.GRPCInferenceServiceClient {
	t.Helper()
	server, err := echo.New(o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error("serve:", err)
		}
	})
	return inference.NewGRPCInferenceServiceClient(conn)
}

func TestBothCodecsAnswerAlike(t *testing.T) {
	response := &inference.ModelInferResponse{ModelName: "m", ModelVersion: "3", RawOutputContents: [][]byte{{1, 2, 3, 4}}}
	for _, codec := range []echo.Codec{echo.Raw, echo.Protobuf} {
		t.Run(string(codec), func(t *testing.T) {
			c := client(t, echo.Options{Response: response, Codec: codec})
			ready, err := c.ServerReady(context.Background(), &inference.ServerReadyRequest{})
			if err != nil || !ready.Ready {
				t.Errorf("ServerReady gave %v, %v", ready, err)
			}
			unary, err := c.ModelInfer(context.Background(), &inference.ModelInferRequest{ModelName: "m"})
			if err != nil || !proto.Equal(unary, response) {
				t.Errorf("ModelInfer gave %v, %v", unary, err)
			}
			expectStreamAnswers(t, c, response, 3)
		})
	}
}

func expectStreamAnswers(t *testing.T, c inference.GRPCInferenceServiceClient, response *inference.ModelInferResponse, n int) {
	t.Helper()
	stream, err := c.ModelStreamInfer(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := stream.Send(&inference.ModelInferRequest{ModelName: "m"}); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil || answer.ErrorMessage != "" || !proto.Equal(answer.InferResponse, response) {
			t.Fatalf("the stream answered %v, %v", answer, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if extra, err := stream.Recv(); err == nil {
		t.Errorf("an answer more than requests: %v", extra)
	}
}

func TestInvalidOptions(t *testing.T) {
	for name, o := range map[string]echo.Options{
		"no response":   {},
		"unknown codec": {Response: &inference.ModelInferResponse{}, Codec: "json"},
	} {
		if _, err := echo.New(o); !errors.Is(err, echo.ErrInvalidOptions) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestStopBeforeServe(t *testing.T) {
	server, err := echo.New(echo.Options{Response: &inference.ModelInferResponse{}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := server.Serve(listener); err != nil {
		t.Errorf("serve after a stop: %v", err)
	}
}
