// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func packed(encoding, text string) string {
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "deflate" {
		w = zlib.NewWriter(&b)
	}
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// TestRESTCompressedBodies: compressed requests are read, within the same bound.
func TestRESTCompressedBodies(t *testing.T) {
	const limit = 4096
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) { o.Limits.MessageBytesMax = limit })
	const request = `{"inputs":[{"name":"X","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`
	bomb := request + strings.Repeat(" ", 1<<20)
	for _, c := range []struct {
		name, encoding, body string
		status               int
		text                 string
	}{
		{"gzip", "gzip", packed("gzip", request), 200, `"data":[1,2]`},
		{"deflate", "deflate", packed("deflate", request), 200, `"data":[1,2]`},
		{"identity", "identity", request, 200, `"data":[1,2]`},
		{"just not too large", "", request + strings.Repeat(" ", limit-len(request)), 200, `"data":[1,2]`},
		{"too large", "", request + strings.Repeat(" ", limit-len(request)+1), 413, "request body is larger than 4096 bytes"},
		{"gzip bomb", "gzip", packed("gzip", bomb), 413, "request body is larger than 4096 bytes"},
		{"deflate bomb", "deflate", packed("deflate", bomb), 413, "request body is larger than 4096 bytes"},
		{"no gzip", "gzip", request, 400, "read request body: gzip: invalid header"},
		{"gzip cut", "gzip", packed("gzip", request)[:40], 400, "read request body: unexpected EOF"},
		{"no deflate", "deflate", request, 400, "read request body: zlib: invalid header"},
		{"unknown", "br", request, 400, `Content-Encoding \"br\" is not supported: send gzip, deflate or none`},
	} {
		got := ts.rest(t, "POST", "/v2/models/echo/infer", c.body, "Content-Encoding", c.encoding)
		if got.status != c.status || !strings.Contains(got.body, c.text) {
			t.Errorf("%s: %+v, want %d %s", c.name, got, c.status, c.text)
		}
	}
}

// TestRESTCompressedAnswers: answers are compressed where the client accepts it and
// they are not small.
func TestRESTCompressedAnswers(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig})
	plain := ts.rest(t, "GET", "/v2/models/pair/config", "")
	if len(plain.body) < compressBytesMin {
		t.Fatalf("the configuration has only %d bytes", len(plain.body))
	}
	for accepted, want := range map[string]string{
		"gzip": "gzip", "deflate": "deflate", "br, deflate;q=0.5 , gzip;q=1.0": "gzip", "gzip;q=0, deflate": "deflate",
		"gzip; q=0.000": "", "br": "", "identity": "",
	} {
		got := ts.rest(t, "GET", "/v2/models/pair/config", "", "Accept-Encoding", accepted)
		if encoding := got.header.Get("Content-Encoding"); encoding != want {
			t.Errorf("Accept-Encoding %q is answered in %q, want %q", accepted, encoding, want)
			continue
		}
		reader, err := decompressor(want, strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(reader); err != nil || string(text) != plain.body {
			t.Errorf("%s: %v, %s", want, err, text)
		}
	}
	if got := ts.rest(t, "GET", "/v2/models/pair", "", "Accept-Encoding", "gzip"); got.header.Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
}

// TestRESTStalledBody: a client that stops in the middle of a body is cut off.
func TestRESTStalledBody(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o := Options{}
		o.Repository.Paths = []string{dir}
		o.Repository.Backends = append(o.Repository.Backends, &scriptedBackend{})
		s, err := NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		l := &oneConnListener{conns: make(chan net.Conn, 1)}
		f := httpFace("REST", l, s.restHandler(), false)
		served := make(chan error, 1)
		go func() { served <- f.serve() }()
		for call, status := range map[string]int{"POST /v2/models/m/infer": 400, "GET /v2": 200, "GET /nope": 404} {
			client, server := net.Pipe()
			l.conns <- server
			fmt.Fprintf(client, "%s HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{", call)
			began := time.Now()
			received := bufio.NewReader(client)
			answer, err := http.ReadResponse(received, nil)
			if err != nil || answer.StatusCode != status || time.Since(began) != bodyStallMax {
				t.Errorf("%s after %v: %v, %v", call, time.Since(began), answer, err)
			}
			if _, err := io.ReadAll(received); err != nil { // it ends with the connection
				t.Error(err)
			}
			client.Close()
		}
		if err := f.stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// oneConnListener accepts the connections that a test makes.
type oneConnListener struct{ conns chan net.Conn }

func (l *oneConnListener) Accept() (net.Conn, error) {
	conn, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l *oneConnListener) Close() error   { close(l.conns); return nil }
func (l *oneConnListener) Addr() net.Addr { return &net.TCPAddr{} }
