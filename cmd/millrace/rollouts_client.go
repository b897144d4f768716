// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

// errNoServer means that nobody answers at an address.
var errNoServer = errors.New("no server answers")

// rolloutClient asks a server about the rollout of one decision, over HTTP.
type rolloutClient struct {
	address, decision, model string
	// token is given to the server unless it is empty.
	token string
}

// rolloutReplyMax bounds an answer that is read.
const rolloutReplyMax = 1 << 20

func (c *rolloutClient) get(ctx context.Context) (*rolloutReport, error) {
	return c.ask(ctx, http.MethodGet, url.Values{"model": {c.model}}, nil)
}

func (c *rolloutClient) post(ctx context.Context, change *rolloutChange) error {
	_, err := c.ask(ctx, http.MethodPost, nil, change)
	return err
}

// end ends the rollout; without one it does nothing.
func (c *rolloutClient) end(ctx context.Context, by, reason string) (*rolloutReport, error) {
	return c.ask(ctx, http.MethodDelete, url.Values{"by": {by}, "reason": {reason}}, nil)
}

// ask makes one call. A connection that cannot be made is errNoServer; what the server
// refuses stays refused at another attempt.
func (c *rolloutClient) ask(ctx context.Context, method string, query url.Values, body any) (*rolloutReport, error) {
	ctx, cancel := context.WithTimeout(ctx, rolloutTimeout+10*time.Second)
	defer cancel()
	target := url.URL{Scheme: "http", Host: c.address, Path: "/v1/decisions/" + c.decision + "/rollout", RawQuery: query.Encode()}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		q.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, fmt.Errorf("%w at http://%s: %w", errNoServer, c.address, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, rolloutReplyMax))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%w at http://%s yet or any more: %s", errNoServer, c.address, firstLine(string(text), 200))
	}
	if answer.StatusCode != http.StatusOK {
		var said struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(text, &said) // what is no JSON is not ours
		why := cmp.Or(said.Error, answer.Status)
		if answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden {
			why += "; " + tokenAdvice
		}
		return nil, fmt.Errorf("%w: http://%s: %s", orchestrator.ErrPermanent, c.address, why)
	}
	report := new(rolloutReport)
	if err := json.Unmarshal(text, report); err != nil {
		return nil, fmt.Errorf("http://%s: its answer: %w", c.address, err)
	}
	return report, nil
}
