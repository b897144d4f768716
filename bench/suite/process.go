// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/proto/inference"
)

const (
	readyTimeout = 60 * time.Second
	stopTimeout  = 15 * time.Second
	pollInterval = 2 * time.Millisecond
	logTailBytes = 4 << 10
)

// process is a server that this suite started.
type process struct {
	command *exec.Cmd
	url     string
	log     *tail
	// readyAfter is the time from the start of the process until it was ready.
	readyAfter time.Duration
	exited     chan struct{}
	exit       error // valid once exited is closed
}

// start runs a command of the program under test that serves the inference protocol
// on --grpc-port, and waits until it is ready. The scenario's end stops it.
func (b *bench) start(ctx context.Context, args ...string) (*process, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &process{
		command: exec.Command(b.Binary, append(args, fmt.Sprintf("--grpc-port=%d", port))...),
		url:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		log:     &tail{},
		exited:  make(chan struct{}),
	}
	p.command.Stdout, p.command.Stderr = p.log, p.log
	began := time.Now()
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s %s: %w", b.Binary, args[0], err)
	}
	go func() {
		p.exit = p.command.Wait()
		close(p.exited)
	}()
	b.processes = append(b.processes, p)
	if err := p.waitReady(ctx); err != nil {
		return nil, fmt.Errorf("%s %s: %w; it wrote:\n%s", b.Binary, args[0], err, p.log)
	}
	p.readyAfter = time.Since(began)
	return p, nil
}

// freePort finds a port that nobody listens on now.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// waitReady asks until the server says that it is ready.
func (p *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	conn, err := grpc.NewClient(p.url, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: pollInterval, Multiplier: 1, MaxDelay: pollInterval},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := inference.NewGRPCInferenceServiceClient(conn)
	for {
		ready, err := client.ServerReady(ctx, &inference.ServerReadyRequest{})
		if err == nil && ready.Ready {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("ended before it was ready: %w", p.exit)
		case <-ctx.Done():
			return errors.Join(errors.New("did not get ready"), ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// stopProcesses stops what the scenario started, and reports what did not end well.
func (b *bench) stopProcesses() error {
	var errs []error
	for _, p := range b.processes {
		errs = append(errs, p.stop())
	}
	b.processes = nil
	return errors.Join(errs...)
}

// stop asks the process to end and kills it when it does not.
func (p *process) stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("server %s ended on its own: %w; it wrote:\n%s", p.url, p.exit, p.log)
	default:
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, p.command.Process.Kill())
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		err := p.command.Process.Kill()
		<-p.exited
		return errors.Join(fmt.Errorf("server %s did not stop within %v and was killed", p.url, stopTimeout), err)
	}
}

// residentBytes is the memory that the process holds now.
func (p *process) residentBytes() (int64, error) {
	path := fmt.Sprintf("/proc/%d/status", p.command.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return parseResident(path, string(text))
}

// parseResident finds the line "VmRSS:  1234 kB".
func parseResident(path, status string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: VmRSS: %w", path, err)
			}
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("%s: no VmRSS", path)
}

// tail keeps the end of what a process writes.
type tail struct {
	mu struct {
		sync.Mutex
		text []byte
	}
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.text = append(t.mu.text, p...)
	if excess := len(t.mu.text) - logTailBytes; excess > 0 {
		t.mu.text = append(t.mu.text[:0], t.mu.text[excess:]...)
	}
	return len(p), nil
}

// String is the end of the log.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.mu.text))
}
