// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
)

// TransportOptions are the settings of the gRPC transport. Zero values mean
// defaults, which were chosen by measurement (bench, suite serve).
type TransportOptions struct {
	// StreamWorkers is how many goroutines are kept to run calls. A call that finds
	// none idle gets a new one, which first has to grow its stack. Default 32 a core;
	// negative is none.
	StreamWorkers int
	// KeepaliveTime and KeepaliveTimeout: an idle connection is probed after the one
	// and closed when no answer comes within the other. Default 2 h and 20 s.
	KeepaliveTime, KeepaliveTimeout time.Duration
	// KeepaliveMinTime is the least time between two probes of a client. Default 5 min.
	KeepaliveMinTime time.Duration
	// KeepaliveWithoutCalls allows clients to probe without a call. Default false.
	KeepaliveWithoutCalls bool
	// MaxConnectionAge closes connections of that age, in order. 0 is never.
	MaxConnectionAge, MaxConnectionAgeGrace time.Duration
}

// EnsureDefaults replaces zero values.
func (o *TransportOptions) EnsureDefaults() {
	if o.StreamWorkers == 0 {
		o.StreamWorkers = 32 * runtime.GOMAXPROCS(0)
	}
	if o.KeepaliveTime == 0 {
		o.KeepaliveTime = 2 * time.Hour
	}
	if o.KeepaliveTimeout == 0 {
		o.KeepaliveTimeout = 20 * time.Second
	}
	if o.KeepaliveMinTime == 0 {
		o.KeepaliveMinTime = 5 * time.Minute
	}
}

// ServerOptions are the options of the gRPC server but for codec and credentials.
// Benchmarks give the same ones to the peers they compare with.
func (o TransportOptions) ServerOptions(limits Limits) []grpc.ServerOption {
	o.EnsureDefaults()
	limits.EnsureDefaults()
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(limits.MessageBytesMax),
		grpc.MaxSendMsgSize(limits.MessageBytesMax),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: o.KeepaliveTime, Timeout: o.KeepaliveTimeout,
			MaxConnectionAge: o.MaxConnectionAge, MaxConnectionAgeGrace: o.MaxConnectionAgeGrace,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: o.KeepaliveMinTime, PermitWithoutStream: o.KeepaliveWithoutCalls,
		}),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		experimental.BufferPool(&buffers),
	}
	if o.StreamWorkers > 0 {
		options = append(options, grpc.NumStreamWorkers(uint32(o.StreamWorkers)))
	}
	return options
}

// Flow-control windows. The default of 64 KiB stops a client in the middle of a
// middling tensor until the server has read.
const (
	streamWindow     = 1 << 20
	connectionWindow = 8 << 20
)
