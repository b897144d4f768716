// SPDX-License-Identifier: Apache-2.0

package client

import (
	"net"
	"testing"

	"google.golang.org/grpc"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// BenchmarkDecide compares calls of their own with a stream, for a server that answers at
// once: what is left is the cost of asking.
//
//	go test ./serving/client -run '^$' -bench Decide -benchtime 20000x -count 6
func BenchmarkDecide(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	millracev1.RegisterDecisionsServer(server, &faulty{decide: echo})
	go server.Serve(listener) // ends with Stop
	defer server.Stop()
	c, err := Dial(b.Context(), listener.Addr().String(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	q := NewDecide("d").Float("score", 0.5).Int("customer_id", 7).Int("terminal_id", 42)
	b.Run("way=call", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := c.Decide(b.Context(), q); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("way=stream", func(b *testing.B) {
		s, err := c.DecideStream(b.Context(), 64)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Decide(b.Context(), q); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
