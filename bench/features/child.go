// SPDX-License-Identifier: Apache-2.0

package features

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	readyTimeout = 2 * time.Minute
	stopTimeout  = 60 * time.Second
	logTail      = 4 << 10
)

// child is a server of the program under test.
type child struct {
	command *exec.Cmd
	address string
	http    string
	metrics string
	log     tail
	began   time.Time
	exited  chan struct{}
	exit    error // valid once exited is closed
}

// tail keeps the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if excess := len(t.text) - logTail; excess > 0 {
		t.text = append(t.text[:0], t.text[excess:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// start starts a server on free ports of this machine. The caller stops it.
func (l *Lab) start(args ...string) (*child, error) {
	ports := make([]int, 3)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		ports[i] = listener.Addr().(*net.TCPAddr).Port
		defer listener.Close()
	}
	c := &child{
		address: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), http: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1])),
		metrics: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[2])),
		exited:  make(chan struct{}),
	}
	args = append(args, fmt.Sprintf("--grpc-port=%d", ports[0]), fmt.Sprintf("--http-port=%d", ports[1]), fmt.Sprintf("--metrics-port=%d", ports[2]))
	c.command = exec.Command(l.Binary, args...)
	c.command.Stdout, c.command.Stderr = &c.log, &c.log
	return c, nil
}

// run begins the process; the ports are free for it by now.
func (c *child) run() error {
	c.began = time.Now()
	if err := c.command.Start(); err != nil {
		return fmt.Errorf("start %v: %w", c.command.Args, err)
	}
	go func() {
		c.exit = c.command.Wait()
		close(c.exited)
	}()
	return nil
}

// serve starts a server and connects to it.
func (l *Lab) serve(ctx context.Context, args ...string) (*child, *grpc.ClientConn, error) {
	c, err := l.start(args...)
	if err != nil {
		return nil, nil, err
	}
	if err := c.run(); err != nil {
		return nil, nil, err
	}
	conn, err := c.dial()
	if err != nil {
		return nil, nil, errors.Join(err, c.stop())
	}
	return c, conn, nil
}

// dial returns a connection of its own.
func (c *child) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient(c.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)),
		grpc.WithInitialWindowSize(8<<20), grpc.WithInitialConnWindowSize(16<<20),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 2 * time.Millisecond, Multiplier: 1, MaxDelay: 2 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
}

// await repeats a call until it works.
func (c *child) await(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		err := call(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.exited:
			return fmt.Errorf("%v ended: %w; it wrote:\n%s", c.command.Args, c.exit, &c.log)
		case <-ctx.Done():
			return fmt.Errorf("%v did not get ready: %w; it wrote:\n%s", c.command.Args, err, &c.log)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// stop asks the process to end, and kills it when it does not.
func (c *child) stop() error {
	select {
	case <-c.exited:
		return nil
	default:
	}
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-c.exited:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%v did not stop within %v; it wrote:\n%s", c.command.Args, stopTimeout, &c.log), c.kill())
	}
}

// kill ends the process at once.
func (c *child) kill() error {
	err := c.command.Process.Kill()
	<-c.exited
	return err
}
