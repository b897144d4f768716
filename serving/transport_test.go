// SPDX-License-Identifier: Apache-2.0

//lint:file-ignore SA1019 the old reflection protocol is served, so it is tested

package serving

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/millrace-ml/millrace/proto/inference"
)

const rawConfig = `backend: "identity" input { name: "X" data_type: TYPE_UINT8 dims: [ -1 ] } output { name: "Y" data_type: TYPE_UINT8 dims: [ -1 ] }`

func rawRequest(data []byte) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: "raw", Inputs: []*inference.ModelInferRequest_InferInputTensor{input("X", "UINT8", int64(len(data)))}, RawInputContents: [][]byte{data},
	}
}

// TestCompressedCalls: gzip and deflate, unary and on a stream, both ways.
func TestCompressedCalls(t *testing.T) {
	ts := startServer(t, modelFiles{"raw/config.pbtxt": rawConfig})
	data := bytes.Repeat([]byte("0123456789"), 10_000)
	for _, name := range []string{"gzip", "deflate"} {
		answer, err := ts.inference.ModelInfer(testContext(t), rawRequest(data), grpc.UseCompressor(name))
		if err != nil || !bytes.Equal(answer.RawOutputContents[0], data) {
			t.Errorf("%s: %v", name, err)
		}
		stream, err := ts.inference.ModelStreamInfer(testContext(t), grpc.UseCompressor(name))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := stream.Send(rawRequest(data)); err != nil {
				t.Fatal(err)
			}
			answer, err := stream.Recv()
			if err != nil || answer.ErrorMessage != "" || !bytes.Equal(answer.InferResponse.RawOutputContents[0], data) {
				t.Fatalf("%s on a stream: %v", name, err)
			}
		}
		stream.CloseSend()
	}
}

// TestLargeMessages: far beyond grpc's default of 4 MiB, and not beyond the limit.
func TestLargeMessages(t *testing.T) {
	ts := startServer(t, modelFiles{"raw/config.pbtxt": rawConfig})
	data := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 50<<20/7)
	answer, err := ts.inference.ModelInfer(testContext(t), rawRequest(data))
	if err != nil || !bytes.Equal(answer.RawOutputContents[0], data) {
		t.Errorf("50 MiB: %v", err)
	}
	ts.conn.Close()
	if err := ts.stop(); err != nil {
		t.Fatal(err)
	}
	small := startServer(t, modelFiles{"raw/config.pbtxt": rawConfig}, func(o *Options) { o.Limits.MessageBytesMax = 1 << 16 })
	if _, err := small.inference.ModelInfer(testContext(t), rawRequest(data[:1<<16])); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := small.inference.ModelInfer(testContext(t), rawRequest(data[:1<<15])); err != nil {
		t.Errorf("within the limit: %v", err)
	}
}

// TestTLS: with a certificate the server takes secured connections only.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(parsed)

	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}}
	})
	secured, err := grpc.NewClient(ts.conn.Target(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: trusted})))
	if err != nil {
		t.Fatal(err)
	}
	defer secured.Close()
	answer, err := inference.NewGRPCInferenceServiceClient(secured).ModelInfer(testContext(t), identityRequest("echo", 1, 2))
	if err != nil || !bytes.Equal(answer.RawOutputContents[0], floatBytes(1, 2)) {
		t.Errorf("secured: %v, %v", answer, err)
	}
	if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo", 1, 2)); status.Code(err) != codes.Unavailable {
		t.Errorf("plain text: %v", err)
	}
}

var servicesWanted = []string{
	"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	"inference.GRPCInferenceService", "millrace.v1.Admin",
}

// TestReflection lists and describes the services, in both versions of the protocol.
func TestReflection(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	v1, err := reflectionv1.NewServerReflectionClient(ts.conn).ServerReflectionInfo(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, q := range []*reflectionv1.ServerReflectionRequest{
		{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "inference.GRPCInferenceService.ModelInfer"}},
	} {
		if err := v1.Send(q); err != nil {
			t.Fatal(err)
		}
		answer, err := v1.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, service := range answer.GetListServicesResponse().GetService() {
			names = append(names, service.Name)
		}
		if file := answer.GetFileDescriptorResponse(); file != nil {
			expectService(t, file.FileDescriptorProto[0])
		}
	}
	if slices.Sort(names); !slices.Equal(names, servicesWanted) {
		t.Errorf("services: %v", names)
	}
	v1alpha, err := reflectionv1alpha.NewServerReflectionClient(ts.conn).ServerReflectionInfo(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := v1alpha.Send(&reflectionv1alpha.ServerReflectionRequest{MessageRequest: &reflectionv1alpha.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "millrace.v1.Admin"}}); err != nil {
		t.Fatal(err)
	}
	answer, err := v1alpha.Recv()
	if err != nil {
		t.Fatal(err)
	}
	expectService(t, answer.GetFileDescriptorResponse().GetFileDescriptorProto()[0])
}

// expectService looks for a described service with methods.
func expectService(t testing.TB, encoded []byte) {
	t.Helper()
	var file descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(encoded, &file); err != nil || len(file.Service) == 0 || len(file.Service[0].Method) == 0 {
		t.Errorf("%v, %v", &file, err)
	}
}
