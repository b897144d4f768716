// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// ErrClosed is returned by a client or stream after its Close.
var ErrClosed = errors.New("client is closed")

// Client calls one server.
type Client struct {
	options Options
	lanes   []lane
	next    atomic.Uint32
	budget  budget
	// jitter draws a wait below a bound; tests replace it.
	jitter func(time.Duration) time.Duration

	// ctx ends with Close; streams, the goroutines of open streams, with it.
	ctx     context.Context
	cancel  context.CancelFunc
	streams sync.WaitGroup
	mu      struct {
		sync.Mutex
		closed bool
	}
}

// lane is a connection and the calls over it.
type lane struct {
	conn      io.Closer
	decisions millracev1.DecisionsClient
	features  millracev1.FeaturesClient
	inference inference.GRPCInferenceServiceClient
}

// Dial connects to a server's gRPC port, host:port or any name that gRPC resolves. Unless
// Options.Lazy is set, it waits until a connection stands, at most DialTimeout. Connections
// that break are made again, however often.
func Dial(ctx context.Context, address string, o Options) (*Client, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("client options: %w", err)
	}
	var conns []*grpc.ClientConn
	closeAll := func() {
		for _, conn := range conns {
			_ = conn.Close() // nothing was sent over it
		}
	}
	for range o.Connections {
		conn, err := grpc.NewClient(address, o.dialOptions()...)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("address %q: %w", address, err)
		}
		conns = append(conns, conn)
		conn.Connect()
	}
	if !o.Lazy {
		if err := awaitReady(ctx, conns[0], o.DialTimeout); err != nil {
			closeAll()
			return nil, fmt.Errorf("address %q: %w", address, err)
		}
	}
	lanes := make([]lane, len(conns))
	for i, conn := range conns {
		lanes[i] = newLane(conn, conn)
	}
	return newClient(lanes, o), nil
}

func newLane(conn grpc.ClientConnInterface, closer io.Closer) lane {
	return lane{
		conn: closer, decisions: millracev1.NewDecisionsClient(conn),
		features: millracev1.NewFeaturesClient(conn), inference: inference.NewGRPCInferenceServiceClient(conn),
	}
}

func newClient(lanes []lane, o Options) *Client {
	c := &Client{options: o, lanes: lanes, jitter: rand.N[time.Duration]}
	c.budget.init(o.RetryShare)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (o *Options) dialOptions() []grpc.DialOption {
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		// What is repeated is decided here, where it is known what is safe.
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: o.Keepalive, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.MessageBytesMax), grpc.MaxCallSendMsgSize(o.MessageBytesMax)),
	}, o.DialOptions...)
}

// awaitReady waits until a connection stands.
func awaitReady(ctx context.Context, conn *grpc.ClientConn, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.Idle {
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("no connection stands (%s); is a server running there?: %w", state, ctx.Err())
		}
	}
	return nil
}

// lane is the connection whose turn it is.
func (c *Client) lane() *lane {
	return &c.lanes[int(c.next.Add(1)%uint32(len(c.lanes)))]
}

// track counts the goroutines of a stream, n of them, unless the client is closed.
func (c *Client) track(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return ErrClosed
	}
	c.streams.Add(n)
	return nil
}

// within returns a context that also ends with the client.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	context.AfterFunc(ctx, func() { stop() })
	return ctx, cancel
}

// Close ends the streams, whose requests in flight fail, and the connections. Push
// streams that are not to lose events are closed before. A second Close returns
// ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	closed := c.mu.closed
	c.mu.closed = true
	c.mu.Unlock()
	if closed {
		return ErrClosed
	}
	c.cancel()
	var problems []error
	for i := range c.lanes {
		problems = append(problems, c.lanes[i].conn.Close())
	}
	c.streams.Wait()
	return errors.Join(problems...)
}
