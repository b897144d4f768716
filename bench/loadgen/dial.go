// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/bench/internal/raw"
)

const (
	connectionsMax = 1024
	// Fixed flow-control windows save the pings with which a client otherwise
	// estimates them.
	streamWindowBytes     = 1 << 20
	connectionWindowBytes = 8 << 20
)

// Connections carry encoded messages only; calls with generated messages need a
// connection of their own.
type Connections []*grpc.ClientConn

// Dial makes n connections to a server, such as "localhost:8001". They connect on
// first use.
func Dial(url string, n int) (Connections, error) {
	if n < 1 || n > connectionsMax {
		return nil, fmt.Errorf("%w: %d connections are not between 1 and %d", ErrInvalidOptions, n, connectionsMax)
	}
	conns := make(Connections, 0, n)
	for range n {
		conn, err := grpc.NewClient(url,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDisableServiceConfig(),
			grpc.WithStaticStreamWindowSize(streamWindowBytes),
			grpc.WithStaticConnWindowSize(connectionWindowBytes),
			grpc.WithDefaultCallOptions(
				grpc.ForceCodecV2(raw.Codec{}),
				grpc.MaxCallRecvMsgSize(math.MaxInt32),
				grpc.MaxCallSendMsgSize(math.MaxInt32)),
		)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("server %q: %w", url, err), conns.Close())
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// Close closes all connections.
func (c Connections) Close() error {
	var errs []error
	for _, conn := range c {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}
