// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

// service answers requests from a list.
type service struct {
	answers []int
	bodies  []string
	keys    []string
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.bodies, s.keys = append(s.bodies, string(body)), append(s.keys, r.Header.Get("Idempotency-Key"))
	code := s.answers[0]
	s.answers = s.answers[1:]
	if code == 0 {
		return nil, errors.New("no route")
	}
	header := http.Header{}
	if code == http.StatusTooManyRequests {
		header.Set("Retry-After", "30")
	}
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Header: header, Body: io.NopCloser(strings.NewReader("answer"))}, nil
}

func TestPosts(t *testing.T) {
	for _, c := range []struct {
		answers   []int
		took      time.Duration
		wrong     string
		permanent bool
	}{
		{[]int{200}, 0, "", false},
		{[]int{503, 0, 204}, 3 * time.Second, "", false},
		{[]int{429, 200}, 30 * time.Second, "", false},
		{[]int{404}, 0, "answers 404: answer", true},
		{[]int{302}, 0, "answers 302", true},
		{[]int{500, 500, 500, 500}, 7 * time.Second, "answers 500", false},
		{[]int{0, 0, 0, 0}, 7 * time.Second, "no route", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &service{answers: c.answers}
			task, err := Kind(&http.Client{Transport: s, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).
				Decode([]byte(`{"url": "https://example.com/hook", "message": "done"}`))
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			err = task.Run(t.Context(), &orchestrator.Call{Pipeline: "p", Run: "r", Task: "t", Log: io.Discard})
			if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) || errors.Is(err, orchestrator.ErrPermanent) != c.permanent {
				t.Errorf("%v: %v", c.answers, err)
			}
			if err != nil && strings.Contains(err.Error(), "hook") {
				t.Errorf("the error has the path of the webhook: %v", err)
			}
			if time.Since(begin) != c.took || len(s.answers) != 0 {
				t.Errorf("took %s, want %s; %d answers are left", time.Since(begin), c.took, len(s.answers))
			}
			var body map[string]string
			if err := json.Unmarshal([]byte(s.bodies[0]), &body); err != nil || body["message"] != "done" || body["run"] != "r" || s.keys[0] != "r/t" {
				t.Errorf("sent %s with key %s", s.bodies[0], s.keys[0])
			}
		})
	}
}

func TestBadWith(t *testing.T) {
	for _, text := range []string{`{}`, `{"url": "example.com"}`, `{"url": "file:///etc/passwd"}`, `{"url": "http://a", "bodi": 1}`} {
		if _, err := Kind(nil).Decode([]byte(text)); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}
