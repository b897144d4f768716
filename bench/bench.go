// SPDX-License-Identifier: Apache-2.0

// Package bench loads a model server with requests for one model and reports what
// came back: what `millrace bench` does.
//
// It joins the parts that lie below it. Package workload makes the requests,
// loadgen sends and measures them, report writes the outcome; echo and direct are
// the peers that suite compares a server with.
package bench

import (
	"context"
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/proto/inference"
)

// Options says which server to load, with what and how.
type Options struct {
	// URL is the server's gRPC address, such as "localhost:8001".
	URL string `json:"url"`
	// Connections is the number of connections the load is spread over. 0 means 1.
	Connections int `json:"connections"`
	// Requests says which random requests to make.
	Requests workload.Spec `json:"requests"`
	// File, when not empty, holds the requests to send instead.
	File string          `json:"file,omitempty"`
	Load loadgen.Options `json:"load"`
}

// Outcome is what one load measured.
type Outcome struct {
	Workload string          `json:"workload"`
	Load     string          `json:"load"`
	Result   *loadgen.Result `json:"result"`
}

// Prepare connects to the server, makes the requests and, unless answers are not
// to be checked, asks each once for the answers to expect.
func Prepare(ctx context.Context, o Options) (*workload.Workload, error) {
	conn, err := DialControl(o.URL)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := inference.NewGRPCInferenceServiceClient(conn)
	w, err := makeRequests(ctx, client, o)
	if err != nil || o.Load.CheckEvery < 0 {
		return w, err
	}
	return w, w.Learn(ctx, client)
}

func makeRequests(ctx context.Context, client inference.GRPCInferenceServiceClient, o Options) (*workload.Workload, error) {
	if o.File != "" {
		return workload.FromFile(o.File, o.Requests)
	}
	return workload.FromServer(ctx, client, o.Requests)
}

// Run sends a prepared workload to the server. Requests that fail are part of the
// outcome.
func Run(ctx context.Context, w *workload.Workload, o Options) (*Outcome, error) {
	conns, err := loadgen.Dial(o.URL, max(o.Connections, 1))
	if err != nil {
		return nil, err
	}
	defer conns.Close()
	result, err := loadgen.Run(ctx, conns, w, o.Load)
	if err != nil {
		return nil, err
	}
	o.Load.EnsureDefaults()
	return &Outcome{Workload: w.Description(), Load: o.Load.Description(), Result: result}, nil
}

// DialControl connects to a server for calls other than the load.
func DialControl(url string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(url,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", url, err)
	}
	return conn, nil
}
