// SPDX-License-Identifier: Apache-2.0

// Package notify is the kind of task that tells a web service of something: it posts JSON.
// It runs in every run, as what it does is outside. An answer that says that another
// attempt may help (a server's fault, too many requests, no answer) is followed by a few
// more, some seconds apart; after that the task's own retries count.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

const (
	attemptsMax    = 4
	backoffFirst   = time.Second
	retryAfterMax  = time.Minute
	bodyBytesMax   = 1 << 20
	answerBytesMax = 1 << 10 // that go to the log
	timeoutDefault = 10 * time.Second
)

// with is what a pipeline says of the task.
type with struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	// Body is sent as JSON; without one the pipeline, run, task and message are.
	Body    any    `json:"body"`
	Message string `json:"message"`
}

// Kind is the kind. The client may be nil.
func Kind(client *http.Client) orchestrator.Kind {
	if client == nil {
		client = Client()
	}
	return orchestrator.Kind{
		Name: "notify", Version: "1", Doc: "posts JSON to a web service", OpenInputs: true, Uncached: true,
		Decode: func(data []byte) (orchestrator.Task, error) {
			t := &task{client: client}
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&t.with); err != nil {
				return nil, err
			}
			u, err := url.Parse(t.with.URL)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return nil, fmt.Errorf("url is %q, want such as https://example.com/hook", t.with.URL)
			}
			return t, nil
		},
	}
}

type task struct {
	client *http.Client
	with   with
}

// serviceOf is a URL without its path: that of a webhook is a secret, which logs and states
// are not to have.
func serviceOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the service"
	}
	return u.Scheme + "://" + u.Host
}

// Run posts, a few times if need be.
func (t *task) Run(ctx context.Context, c *orchestrator.Call) error {
	body := t.with.Body
	if body == nil {
		body = map[string]any{"pipeline": c.Pipeline, "run": c.Run, "task": c.Task, "message": t.with.Message}
	}
	data, err := json.Marshal(body)
	if err != nil || len(data) > bodyBytesMax {
		return fmt.Errorf("%w: the body has %d bytes, at most %d are allowed (%v)", orchestrator.ErrPermanent, len(data), bodyBytesMax, err)
	}
	m := Message{URL: t.with.URL, Headers: t.with.Headers, Key: c.Run + "/" + c.Task, Body: data}
	return m.Post(ctx, t.client, c.Log)
}

// Client is how services are asked: in bounded time, and not where they send us.
func Client() *http.Client {
	return &http.Client{Timeout: timeoutDefault, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Message is JSON for a service.
type Message struct {
	URL     string
	Headers map[string]string
	// Key tells the service a message that it was sent before.
	Key  string
	Body []byte
}

// Post sends the message, a few times if need be; what the service answers goes to the log.
// The error wraps orchestrator.ErrPermanent where sending it again is of no use.
func (m *Message) Post(ctx context.Context, client *http.Client, log io.Writer) error {
	wait := backoffFirst
	for attempt := 1; ; attempt++ {
		after, err := m.post(ctx, client, log)
		if err == nil || errors.Is(err, orchestrator.ErrPermanent) || attempt == attemptsMax {
			return err
		}
		fmt.Fprintf(log, "attempt %d: %v\n", attempt, err)
		timer := time.NewTimer(max(wait, min(after, retryAfterMax)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		wait *= 2
	}
}

// post sends the body once. after is how long the service wants us to wait.
func (m *Message) post(ctx context.Context, client *http.Client, log io.Writer) (after time.Duration, err error) {
	service := serviceOf(m.URL)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL, bytes.NewReader(m.Body))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", m.Key)
	for name, value := range m.Headers {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		var with *url.Error // its text has the whole URL
		if errors.As(err, &with) {
			err = with.Err
		}
		return 0, fmt.Errorf("notify %s: %w", service, err)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax))
	err = errors.Join(err, response.Body.Close())
	if err != nil {
		return 0, fmt.Errorf("notify %s: %w", service, err)
	}
	fmt.Fprintf(log, "%s: %s\n", response.Status, answer)
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return 0, nil
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // a date is not waited for
		return time.Duration(max(seconds, 0)) * time.Second, fmt.Errorf("notify %s: the service answers %s", service, response.Status)
	}
	return 0, fmt.Errorf("%w: notify %s: the service answers %s: %s", orchestrator.ErrPermanent, service, response.Status, answer)
}
